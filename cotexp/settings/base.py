"""Declaration and checks of settings.

`setting(...)` declares a field. `keyed=False` marks a field that cannot change a result (paths, devices, micro-batches); it is not part of any
key of the store. `keyed=IF_SET` marks a field that was added later; at its default it is not part of a key, so earlier entries of the store
remain valid. If a default is None, the field's sentence says which value is used.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
import re
import string
from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Any, Literal

IF_SET: Literal["if set"] = "if set"
LARGEST = 1_000_000_000
"""Upper bound of numbers whose setting has no bound of its own. A larger number is a typing error."""
LARGEST_SEED = 2**32 - 1
"""The largest seed that all libraries accept."""
MOST_SHOWN = 200
"""The most characters of a value that an error quotes."""
LONGEST_FILE_NAME = 255
LONGEST_PATH = 4000
"""Limits of common file systems in bytes, for one name and for a whole path."""


class ConfigError(ValueError):
    """Invalid settings. `problems` has one sentence per mistake."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


class RunFailed(RuntimeError):
    """A run that cannot continue. The message names the file or folder and the next step. All computed results are kept."""


USER_ERRORS: tuple[type[Exception], ...] = (ConfigError, RunFailed)
"""Errors that a user can mend: shown as one line, without a traceback."""


class TrainingDiverged(RunFailed):
    """The loss has become NaN or infinite."""


def setting(
    default: Any,
    sentence: str,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    most: float = LARGEST,
    choices: tuple[str, ...] | None = None,
    keyed: bool | Literal["if set"] = True,
    is_path: bool = False,
) -> Any:
    """A dataclass field with a sentence and its rules: inclusive bounds `low` and `high`, exclusive bound `above`, or allowed `choices`.

    `most` bounds a number that has no `high`. `is_path` marks names of files and folders, which must be valid on a file system.
    """
    metadata = {"sentence": sentence, "low": low, "high": high, "above": above, "most": most, "choices": choices, "keyed": keyed, "is_path": is_path}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    if isinstance(default, type):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


def allowed(rules: Mapping[str, Any], quote: str = "") -> str:
    """The choices or limits of a setting: "full, lora", or "at least 1, at most 8,192"; empty for a setting without. `quote` goes around a choice."""
    if rules["choices"]:
        return ", ".join(f"{quote}{each}{quote}" for each in rules["choices"])
    most = rules["high"] if rules["high"] is not None else rules["most"] if rules["most"] != LARGEST else None
    limits = {"at least": rules["low"], "above": rules["above"], "at most": most}
    return ", ".join(f"{word} {limit:,}" for word, limit in limits.items() if limit is not None)


def suggestion(word: str, known: list[str]) -> str:
    """ " (did you mean 'x'?)" for the closest known word, or an empty string."""
    near = difflib.get_close_matches(word, known, n=1)
    return f" (did you mean '{near[0]}'?)" if near else ""


def spelled(value: Any) -> str:
    """A value in the form that labels and tables show."""
    if isinstance(value, list):
        return f"[{','.join(map(spelled, value))}]"
    return {None: "null", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else str(value)


def plain(text: str) -> str:
    """One spelling for all of a value: 2e-5 for 2e-05 and 0.00002, null for None, true for True, macc for MACC."""
    lower = text.strip().lower()
    try:
        return str(float(lower))
    except ValueError:
        return {"none": "null"}.get(lower, lower)


def quoted(text: str) -> str:
    """`text` as a value of an override, in quotes if Hydra would read another value without them."""
    if re.fullmatch(r"[A-Za-z_./-][A-Za-z0-9_./-]*|", text) and text.lower() not in ("null", "true", "false", "inf", "nan", "-inf", "-nan"):
        return text
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", text)  # Hydra halves the backslashes before a quote, and those at the end
    return "'" + re.sub(r"(\\+)$", r"\1\1", escaped) + "'"


def shortened(value: Any) -> str:
    """A value in the form that errors show: at most about MOST_SHOWN characters, without control characters."""
    try:
        shown = repr(value)
    except ValueError:  # an integer of thousands of digits
        return "a number of thousands of digits"
    return shown if len(shown) <= MOST_SHOWN else f"{shown[: MOST_SHOWN // 2]} ... {shown[-MOST_SHOWN // 4 :]}"


class Section:
    """Base of all settings dataclasses. Its constructor checks bounds and contradictions. Raises: ConfigError."""

    __slots__ = ()

    def __post_init__(self) -> None:
        problems = [*self._out_of_bounds(), *self.contradictions()]
        if problems:
            raise ConfigError(*problems)

    def contradictions(self) -> Iterator[str]:
        """Yield one sentence per contradiction between fields of this section. It begins with the name of a field."""
        yield from ()

    def _out_of_bounds(self) -> Iterator[str]:
        for spec in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, spec.name)
            for item in value if isinstance(value, list) else [value]:
                if item is not None and (rule := _broken_bound(item, spec.metadata)):
                    yield f"{spec.name} {rule}; got {shortened(item)}"


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
    """The broken rule of a text, if any. Python reads undecodable bytes of a command line as surrogates, which UTF-8 cannot encode."""
    return "must be text in UTF-8" if any("\ud800" <= character <= "\udfff" for character in value) else None


def broken_path(value: str) -> str | None:
    """The rule that a path breaks, if any."""
    if not value.strip():
        return "must name a file or folder"
    if "\0" in value:
        return "must not contain a NUL character"
    lengths = [len(os.fsencode(name)) for name in value.split("/")]
    if max(lengths) > LONGEST_FILE_NAME or sum(lengths) + len(lengths) > LONGEST_PATH:
        return f"must have names of at most {LONGEST_FILE_NAME} bytes, and at most {LONGEST_PATH} bytes in all"
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
    """The fields of a settings dataclass that can change a result, as plain JSON values."""
    result: dict[str, Any] = {}
    for spec in dataclasses.fields(section):
        value, is_keyed = getattr(section, spec.name), spec.metadata.get("keyed", True)
        if is_keyed is True or (is_keyed == IF_SET and value != spec.default):
            result[spec.name] = _plain(value)
    return result


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return keyed(value) if dataclasses.is_dataclass(value) else value


def bad_placeholders(template: str, allowed: set[str], needed: set[str], *, setting: str = "prompt") -> Iterator[str]:
    """Yield the rules that the template in a setting, with placeholders in braces, breaks."""
    try:
        fields = [field for field in string.Formatter().parse(template) if field[1] is not None]
    except ValueError as error:
        yield f"{setting} must double every brace that is not a placeholder ({error}); got {template!r}"
        return
    names = {str(name) for _, name, _, _ in fields}
    if formatted := [name for _, name, form, conversion in fields if form or conversion]:
        yield f"{setting} must have placeholders without a format, such as {{{min(allowed)}}}; got a format for {formatted[0]}"
    if unknown := names - allowed:
        yield f"{setting} allows only {', '.join(sorted(allowed))} in braces (double all other braces); got {sorted(unknown)}"
    if missing := needed - names:
        yield f"{setting} must contain {{{'}, {'.join(sorted(missing))}}}; got {template!r}"
