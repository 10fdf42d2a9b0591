"""Points of a named grid as commands of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cotexp.sections import spelled
from cotexp.spelling import is_text, quoted, read_yaml

SWEEPS = Path(__file__).resolve().parent.parent / "conf" / "sweep"


def alone(words: Sequence[str]) -> Iterator[str]:
    """The words of a point with what its sweep's file sets in place of `sweep=NAME`, which only a grid takes."""
    for word in words:
        if word.startswith("sweep="):
            file = SWEEPS / f"{word.removeprefix('sweep=')}.yaml"
            yield from _words_of(read_yaml(file.read_text(encoding="utf-8"), "", is_text))
        else:
            yield word


def _words_of(file: dict[str, Any], path: str = "") -> Iterator[str]:
    for key, value in file.items():
        if not path and key == "defaults":
            chosen = (each for each in value if isinstance(each, dict))
            yield from (f"{group.removeprefix('override /')}={option}" for each in chosen for group, option in each.items())
        elif isinstance(value, dict):
            yield from () if (path, key) == ("", "hydra") else _words_of(value, f"{path}{key}.")
        else:
            yield f"{path}{key}={_word(value)}"


def _word(value: Any) -> str:
    """A value so that the command line reads it back."""
    if isinstance(value, list):
        return f"[{','.join(map(_word, value))}]"
    return quoted(value) if isinstance(value, str) else spelled(value)
