"""Settings, names and tags of a run in the forms and within the limits that MLflow's servers accept."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from cotexp.settings.base import spelled
from cotexp.visible import visible_lines

LONGEST_NAME = 250
LONGEST_PARAM = 6000
LONGEST_TAG = 8000
LONGEST_EXPERIMENT = 500
"""In characters. MLflow refuses longer names, and cuts longer values with a warning for each."""
MOST_PARAMS = 100
MOST_METRICS = 1000
"""Most of each in one request."""

_DISALLOWED = re.compile(r"[^\w.\- /]")
Item = TypeVar("Item")


def name_of(text: str) -> str:
    """A name of a parameter, metric or tag that MLflow accepts. A character that it refuses becomes its code: `a+b` is `a_2b_b`.

    MLflow also accepts a colon, except on Windows. Names are paths to it: no part may be empty or only dots.
    """
    escaped = _DISALLOWED.sub(lambda match: f"_{ord(match[0]):x}_", text)
    name = "/".join("_" if part in ("", ".", "..") else part for part in escaped.split("/"))
    if len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.md5(name.encode(errors="replace"), usedforsecurity=False).hexdigest()[:8]
    return f"{name[: LONGEST_NAME - 9]}-{digest}"


def value_of(value: Any, longest: int) -> str:
    """A value as text of at most `longest` characters, without the characters that databases refuse."""
    text = visible_lines(spelled(value))
    mark = f"... ({len(text)} characters)"
    return text if len(text) <= longest else text[: longest - len(mark)] + mark


def params(config: Mapping[str, Any]) -> dict[str, str]:
    """The settings of a run as flat parameters: `trainer.learning_rate`."""
    return {name_of(name): value_of(value, LONGEST_PARAM) for name, value in _flat(config)}


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def tags(words: Iterable[str]) -> dict[str, str]:
    """Tags by key: `KEY=VALUE`, and `WORD` with the value true."""
    split = (word.partition("=") for word in words)
    return {name_of(key): value_of(value if equals else "true", LONGEST_TAG) for key, equals, value in split}


def number(value: float) -> float:
    """A metric's value. MLflow would show an infinite one as 1.8e308, so it is NaN."""
    return float(value) if math.isfinite(value) else math.nan


def batches(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Slices of at most `size` items."""
    return (items[start : start + size] for start in range(0, len(items), size))
