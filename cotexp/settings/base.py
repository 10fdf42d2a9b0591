"""How a setting is declared and checked.

`setting(...)` declares a field. `keyed=False` marks what cannot change a result (paths, devices, micro-batches): such fields never
enter a key of the store. A value that is None by default means "decided where the sentence says".
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
import string
from collections.abc import Iterator
from dataclasses import field
from typing import Any

LARGEST = 1_000_000_000
"""Bound of every number whose setting has no upper bound of its own: beyond it a number is a slip of the keyboard."""
LARGEST_SEED = 2**32 - 1
"""The largest that every library here takes."""
MOST_SHOWN = 200
"""Characters of a value that an error repeats."""
LONGEST_FILE_NAME = 255
LONGEST_PATH = 4000
"""Bytes of one name and of a whole path that common file systems take."""


class ConfigError(ValueError):
    """Settings that cannot be run. `problems` holds one finished sentence per mistake."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


class RunFailed(RuntimeError):
    """A run that cannot go on; the message names the place and the next step. Nothing already computed is lost."""


class TrainingDiverged(RunFailed):
    """The loss is no number any more."""


def setting(
    default: Any,
    sentence: str,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    most: float = LARGEST,
    choices: tuple[str, ...] | None = None,
    keyed: bool = True,
    later: bool = False,
    is_path: bool = False,
) -> Any:
    """A dataclass field with its sentence, inclusive bounds `low`/`high`, exclusive bound `above`, or allowed `choices`. `most` is where a number
    becomes a slip of the keyboard that would run for ever; `is_path` marks names of files and folders, which must be such that a disk can have them.
    `later` marks settings that came when results were already stored: None, their default, enters no key.
    """
    metadata = {"sentence": sentence, "low": low, "high": high, "above": above, "most": most, "choices": choices, "keyed": keyed, "is_path": is_path}
    metadata["later"] = later
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    if isinstance(default, type):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


def suggestion(word: str, known: list[str]) -> str:
    """ " (did you mean 'x'?)" or an empty string."""
    near = difflib.get_close_matches(word, known, n=1)
    return f" (did you mean '{near[0]}'?)" if near else ""


def spelled(value: Any) -> str:
    """A value as labels and tables show it."""
    if isinstance(value, list):
        return f"[{','.join(map(spelled, value))}]"
    return {None: "null", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else str(value)


def shortened(value: Any) -> str:
    """A value as an error shows it: some hundred characters at most, and no control character."""
    try:
        shown = repr(value)
    except ValueError:  # an integer of thousands of digits
        return "a number of thousands of digits"
    return shown if len(shown) <= MOST_SHOWN else f"{shown[: MOST_SHOWN // 2]} ... {shown[-MOST_SHOWN // 4 :]}"


class Section:
    """Base of every settings dataclass: bounds are checked on construction."""

    __slots__ = ()

    def __post_init__(self) -> None:
        problems = [*self._out_of_bounds(), *self.contradictions()]
        if problems:
            raise ConfigError(*problems)

    def contradictions(self) -> Iterator[str]:
        """Sentences about fields of this section that cannot stand together; each begins with the field's name."""
        yield from ()

    def _out_of_bounds(self) -> Iterator[str]:
        for each in dataclasses.fields(self):  # type: ignore[arg-type]
            value, bounds = getattr(self, each.name), each.metadata
            for one in value if isinstance(value, list) else [value]:
                if one is not None and (rule := _broken_bound(one, bounds)):
                    yield f"{each.name} {rule}; got {shortened(one)}"


def _broken_bound(value: Any, bounds: Any) -> str | None:
    rule = _broken_range(value, bounds)
    if rule is None and isinstance(value, float) and not math.isfinite(value):
        return "must be a finite number"
    most = bounds.get("most", LARGEST)
    if rule is None and isinstance(value, int | float) and abs(value) > most:
        return f"must be at most {most}"
    if rule is None and isinstance(value, str):
        return _broken_text(value) or (broken_path(value) if bounds.get("is_path") else None)
    return rule


def _broken_text(value: str) -> str | None:
    """Files of settings hold UTF-8, which cannot spell bytes that the shell passed on and that are none."""
    return "must be text in UTF-8" if any("\ud800" <= sign <= "\udfff" for sign in value) else None


def broken_path(value: str) -> str | None:
    """Why no file or folder can have this name, if none can."""
    if not value.strip():
        return "must name a file or folder"
    if "\0" in value:
        return "must hold no NUL, which ends a name"
    names = [len(os.fsencode(each)) for each in value.split("/")]
    if max(names) > LONGEST_FILE_NAME or sum(names) + len(names) > LONGEST_PATH:
        return f"must have names of at most {LONGEST_FILE_NAME} bytes, {LONGEST_PATH} in all"
    return None


def _broken_range(value: Any, bounds: Any) -> str | None:
    choices = bounds.get("choices")
    if choices and value not in choices:
        return f"must be one of {', '.join(choices)}{suggestion(str(value), list(choices))}"
    low, high, above = bounds.get("low"), bounds.get("high"), bounds.get("above")
    if low is not None and high is not None and not low <= value <= high:
        return f"must lie in [{low}, {high}]"
    if low is not None and not value >= low:
        return f"must be at least {low}"
    if high is not None and not value <= high:
        return f"must be at most {high}"
    if above is not None and not value > above:
        return f"must be greater than {above}"
    return None


def keyed(section: Any) -> dict[str, Any]:
    """The part of a settings dataclass that can change a result, as plain JSON values."""
    result: dict[str, Any] = {}
    for each in dataclasses.fields(section):
        value = getattr(section, each.name)
        if each.metadata.get("keyed", True) and not (each.metadata.get("later") and value is None):
            result[each.name] = _plain(value)
    return result


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return keyed(value) if dataclasses.is_dataclass(value) else value


def bad_placeholders(template: str, allowed: set[str], needed: set[str]) -> Iterator[str]:
    try:
        fields = [field for field in string.Formatter().parse(template) if field[1] is not None]
    except ValueError as error:
        yield f"prompt must double every brace that is not a placeholder ({error}); got {template!r}"
        return
    found = {str(name) for _, name, _, _ in fields}
    if formatted := [name for _, name, form, conversion in fields if form or conversion]:
        yield f"prompt takes placeholders without a format, such as {{question}}; got one on {formatted[0]}"
    if unknown := found - allowed:
        yield f"prompt knows only {', '.join(sorted(allowed))} in braces (double other braces); got {sorted(unknown)}"
    if missing := needed - found:
        yield f"prompt must contain {{{'}, {'.join(sorted(missing))}}}; got {template!r}"
