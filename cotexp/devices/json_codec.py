"""Settings and jobs as plain JSON files, which worker processes read in place of a command line."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from cotexp import durable, records
from cotexp.compressions import COMPRESSIONS
from cotexp.extensions import Registry
from cotexp.selections import SELECTIONS
from cotexp.settings import compressors, evaluation, models, root, scoring, server, tracking, training
from cotexp.tasks import KINDS
from cotexp.teachers import TEACHERS

_SETTINGS = (compressors, evaluation, models, root, scoring, server, tracking, training)
MODULES = {each.__name__: each for each in (*_SETTINGS, records)}
"""Whose dataclasses a file may hold beside those of registries; no others are made, whatever it says."""


def write(path: Path, content: Any) -> None:
    """Keep a tree of dataclasses, lists, dictionaries, paths and plain values at `path`, for `read`."""
    unfinished = path.with_name(f".{path.name}")
    unfinished.write_text(json.dumps(_plain(content)), encoding="utf-8")
    durable.put(unfinished, path)


def read(path: Path) -> Any:
    """What `write` was given; sections of settings are checked again."""
    return _made(json.loads(path.read_text(encoding="utf-8")))


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        fields = {each.name: _plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
        return {"class": f"{type(value).__module__}:{type(value).__name__}", "fields": fields}
    if isinstance(value, Path):
        return {"path": str(value)}
    if isinstance(value, dict):
        return {"items": {name: _plain(each) for name, each in value.items()}}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _made(value: Any) -> Any:
    if isinstance(value, list):
        return [_made(each) for each in value]
    if not isinstance(value, dict):
        return value
    if "path" in value:
        return Path(value["path"])
    if "items" in value:
        return {name: _made(each) for name, each in value["items"].items()}
    module, _, name = value["class"].partition(":")
    kind = getattr(MODULES.get(module) or _modules_of_classes().get(module), name, None)
    if not dataclasses.is_dataclass(kind):
        raise ValueError(f"{value['class']} is no class of settings or records")
    return kind(**{name: _made(each) for name, each in value["fields"].items()})  # type: ignore[operator]


def _modules_of_classes() -> dict[str, Any]:
    """Modules of the settings classes in the registries, those of installed packages included."""
    registries: tuple[Registry[Any], ...] = (KINDS, TEACHERS, SELECTIONS, COMPRESSIONS)
    classes = [each for registry in registries for each in (*registry.values(), *registry.installed.values())]
    return {each.__module__: sys.modules[each.__module__] for each in classes}
