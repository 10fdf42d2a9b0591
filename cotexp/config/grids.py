"""A named grid, and the overrides that make each of its points a command by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from cotexp.config.overrides import file_of
from cotexp.config.spelling import is_text, read_yaml
from cotexp.settings.base import quoted, spelled


def expand_sweep(overrides: Sequence[str]) -> Iterator[str]:
    """The overrides of a point, with those of its sweep's file in place of `sweep=NAME`, which only a grid accepts.

    Left out is what other overrides or the file of `debug=NAME` set: in the point, as in Hydra's order, those win.
    """
    taken = {_key(each) for each in [*overrides, *_words_of(overrides, "debug")]}
    for override in overrides:
        if override.startswith("sweep="):
            yield from (each for each in _words_of([override], "sweep") if _key(each) not in taken)
        else:
            yield override


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+")


def _words_of(overrides: Sequence[str], group: str) -> Iterator[str]:
    """What the files of the chosen options of a group set, as overrides."""
    for option in (each.partition("=")[2] for each in overrides if each.startswith(f"{group}=")):
        if file := file_of(group, option):
            yield from _overrides_of(read_yaml(file.read_text(encoding="utf-8"), "", is_text))


def _overrides_of(file: dict[str, Any], path: str = "") -> Iterator[str]:
    for key, value in file.items():
        if not path and key == "defaults":
            chosen = (each for each in value if isinstance(each, dict))
            yield from (f"{group.removeprefix('override /')}={option}" for each in chosen for group, option in each.items())
        elif isinstance(value, dict):
            yield from () if (path, key) == ("", "hydra") else _overrides_of(value, f"{path}{key}.")
        else:
            yield f"{path}{key}={_as_override(value)}"


def _as_override(value: Any) -> str:
    """A value as an override has it."""
    if isinstance(value, list):
        return f"[{','.join(map(_as_override, value))}]"
    return quoted(value) if isinstance(value, str) else spelled(value)
