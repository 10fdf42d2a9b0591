"""Settings and jobs as JSON files. Worker processes read them instead of a command line."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from cotexp import durable, records
from cotexp.compressions import COMPRESSIONS
from cotexp.compressors import COMPRESSORS
from cotexp.extensions import Registry
from cotexp.selections import SELECTIONS
from cotexp.settings import evaluation, models, root, scoring, server, tracking, training
from cotexp.tasks import KINDS
from cotexp.teachers import TEACHERS

_SETTINGS = (evaluation, models, root, scoring, server, tracking, training)
MODULES = {module.__name__: module for module in (*_SETTINGS, records)}
"""Modules whose dataclasses a file may contain, besides those of registries. `read` refuses all other classes."""


def write(path: Path, content: Any) -> None:
    """Write a tree of dataclasses, lists, dictionaries, paths and plain values to `path`."""
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(json.dumps(_encoded(content)), encoding="utf-8")
    durable.put(temporary, path)


def read(path: Path) -> Any:
    """The tree that `write` was given. Raises: ConfigError if settings in it are out of bounds; ValueError for any other class."""
    return _decoded(json.loads(path.read_text(encoding="utf-8")))


def _encoded(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        fields = {field.name: _encoded(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"class": f"{type(value).__module__}:{type(value).__name__}", "fields": fields}
    if isinstance(value, Path):
        return {"path": str(value)}
    if isinstance(value, dict):
        return {"items": {name: _encoded(item) for name, item in value.items()}}
    return [_encoded(item) for item in value] if isinstance(value, list | tuple) else value


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "path" in value:
        return Path(value["path"])
    if "items" in value:
        return {name: _decoded(item) for name, item in value["items"].items()}
    module, _, name = value["class"].partition(":")
    cls = getattr(MODULES.get(module) or _modules_of_classes().get(module), name, None)
    if not dataclasses.is_dataclass(cls):
        raise ValueError(f"{value['class']} is not a class of settings or records")
    return cls(**{name: _decoded(field) for name, field in value["fields"].items()})  # type: ignore[operator]


def _modules_of_classes() -> dict[str, Any]:
    """Modules of the settings classes in the registries, including those of installed packages."""
    registries: tuple[Registry[Any], ...] = (KINDS, TEACHERS, SELECTIONS, COMPRESSORS, COMPRESSIONS)
    classes = [cls for registry in registries for cls in (*registry.values(), *registry.installed.values())]
    return {cls.__module__: sys.modules[cls.__module__] for cls in classes}
