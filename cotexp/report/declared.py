"""Declared reports, conf/report/NAME.yaml: which runs are rows, which columns, the baseline, and whose published numbers stand beside ours."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import yaml

from cotexp.report import arm_table
from cotexp.schema import CONF, options
from cotexp.sections import ConfigError, Section, setting, suggestion
from cotexp.settings import MODES
from cotexp.spelling import read_yaml

FOLDER = CONF / "report"
S = TypeVar("S", bound=Section)
PUBLISHED = "published"
"""Folder among the reports that holds other people's numbers."""


@dataclass(slots=True, kw_only=True)
class Peers(Section):
    """Which published rows stand under a table."""

    file: str = setting("", "File in conf/report/published, without its ending.")
    model: str | None = setting(None, "Model of the rows, as the file spells it; all by default.")
    task: str | None = setting(None, "Task of the rows; all by default.")

    def contradictions(self) -> Iterator[str]:
        if self.file not in published_names():
            yield f"file must be one of {', '.join(published_names())}; got {self.file!r}{suggestion(self.file, published_names())}"


@dataclass(slots=True, kw_only=True)
class DeclaredTable(Section):
    """One table: the points of a sweep, or whatever runs of some experiments are there."""

    title: str = setting("", "Heading; the report's by default.")
    sweep: str | None = setting(None, "Grid in conf/sweep whose points are the expected runs.")
    overrides: list[str] = setting([], "Words beside the sweep, as behind run.py.")
    runs: list[str] = setting([], "Experiments whose runs are the rows, where no sweep says what is expected.")
    seeds: list[int] = setting([], "Seeds that every arm of `runs` should have; a sweep names its own.", low=0)
    where: dict[str, Any] = setting(dict, "Only runs with these settings, such as task: gsm8k or compression.stop: rebound.")
    mode: str | None = setting(None, "Evaluated mode; by default each run's last.", choices=MODES)
    baseline: str | None = setting(
        None,
        "Arm to measure against, by settings in its label; `base` for the model that each was made of; by default what its runs declare.",
    )
    columns: list[str] = setting([], "Columns in order; the usual ones by default.")
    labels: dict[str, str] = setting(dict, "Short names of settings in the rows' labels; a setting with an empty one is left out.")
    published: list[Peers] = setting([], "Other people's numbers under ours.")
    notes: list[str] = setting([], "Sentences under the table.")

    def contradictions(self) -> Iterator[str]:
        if (self.sweep is None) == (not self.runs):
            yield f"sweep or runs must be given, one of them; got sweep={self.sweep} and runs={self.runs}"
        if self.sweep is not None and self.sweep not in options("sweep"):
            yield f"sweep must be one of {', '.join(options('sweep'))}; got {self.sweep!r}{suggestion(self.sweep, options('sweep'))}"
        if self.seeds and self.sweep:
            yield f"seeds are those of the sweep; leave them out; got {self.seeds}"
        if self.overrides and not self.sweep:
            yield f"overrides are read only with sweep; got {self.overrides}"
        for each in self.columns:
            try:
                arm_table.shown(each)
            except ValueError as error:
                yield f"columns {error}"


@dataclass(slots=True, kw_only=True)
class DeclaredReport(Section):
    """A report in one file."""

    title: str = setting("", "Heading of the report.")
    tables: list[DeclaredTable] = setting([], "The tables in order.")
    footnotes: list[str] = setting([], "Sentences at the end.")

    def contradictions(self) -> Iterator[str]:
        if not self.title:
            yield "title must be given"
        if not self.tables:
            yield "tables must hold at least one table"


@dataclass(slots=True, kw_only=True)
class PublishedRow(Section):
    """What others published of one method; None where they published nothing."""

    method: str = setting("", "Name of the row.")
    model: str | None = setting(None, "Model that was measured.")
    task: str | None = setting(None, "Benchmark.")
    accuracy: float | None = setting(None, "Percent.", low=0, high=100)
    cot_tokens: float | None = setting(None, "Mean tokens of the chain of thought.", low=0)
    ratio: float | None = setting(None, "Short over long tokens.", low=0)
    latency: float | None = setting(None, "Seconds per question, as the source measured them.", low=0)


@dataclass(slots=True, kw_only=True)
class Published(Section):
    """One source's numbers."""

    system: str = setting("", "Name of the method.")
    source: str = setting("", "Where the numbers stand, so that a reader finds them.")
    notes: list[str] = setting([], "What one must know to compare with them.")
    rows: list[PublishedRow] = setting([], "The numbers.")


# --- reading -------------------------------------------------------------------------------------------------------------


def names() -> list[str]:
    """Every declared report."""
    return [each for each in options("report") if not each.startswith(f"{PUBLISHED}/")]


@cache
def published_names() -> list[str]:
    """Every file of published numbers."""
    return [each.removeprefix(f"{PUBLISHED}/") for each in options("report") if each.startswith(f"{PUBLISHED}/")]


def report_named(name: str) -> DeclaredReport:
    """The declaration of this report. Raises: ConfigError with every mistake in its file."""
    return _read(FOLDER / f"{name}.yaml", DeclaredReport)


def published_named(name: str) -> Published:
    """The numbers of this source. Raises: ConfigError with every mistake in its file."""
    return _read(FOLDER / PUBLISHED / f"{name}.yaml", Published)


def _texts_of(section: Any, path: str = "") -> tuple[str, ...]:
    """Paths of all settings in a file that hold texts, also in lists; of a dict of texts the beginning of its paths."""
    found: tuple[str, ...] = ()
    for name, hint in get_type_hints(section).items():
        own, arguments = f"{path}{name}", get_args(hint)
        if parts := [each for each in (hint, *arguments) if dataclasses.is_dataclass(each)]:
            found += _texts_of(parts[0], f"{own}.")
        elif hint == dict[str, str]:
            found += (f"{own}.",)
        elif hint is str or (str in arguments and get_origin(hint) is not dict):
            found += (own,)
    return found


def _read(path: Path, section: type[S]) -> S:
    shown = path.relative_to(CONF.parent)
    try:
        texts = _texts_of(section)
        dicts = tuple(each for each in texts if each.endswith("."))
        content = read_yaml(path.read_text(encoding="utf-8"), "", lambda place: place in texts or place.startswith(dicts))
    except yaml.YAMLError as error:
        raise ConfigError(f"{shown}: no YAML: {' '.join(str(error).split())}") from None
    problems: list[str] = []
    built = build(section, content, "", problems)
    if problems:
        raise ConfigError(*(f"{shown}: {each}" for each in problems))
    return built  # type: ignore[no-any-return]


def build(kind: Any, value: Any, path: str, problems: list[str]) -> Any:
    """`value`, as YAML has it, as an instance of `kind`: a settings class, a plain type, a list or dict of them, or one of those or None.

    Every mistake is appended to `problems`; what is returned then is of no use.
    """
    if dataclasses.is_dataclass(kind):
        return _section(kind, value, path, problems)
    if get_origin(kind) is UnionType:
        return None if value is None else build(get_args(kind)[0], value, path, problems)
    origin, arguments = get_origin(kind) or kind, get_args(kind)
    if origin is float and type(value) is int:
        return float(value)
    if kind is not Any and type(value) is not origin:
        problems.append(f"{path} must be {NOUNS[origin]}; got {value!r}")
    elif origin is list:
        return [build(arguments[0], each, f"{path}[{number}]", problems) for number, each in enumerate(value)]
    elif origin is dict:
        return {str(key): build(arguments[1], each, f"{path}.{key}", problems) for key, each in value.items()}
    return value


NOUNS = {str: "a text", int: "an integer", float: "a number", bool: "true or false", list: "a list", dict: "settings with their values"}


def _section(kind: Any, value: Any, path: str, problems: list[str]) -> Any:
    if not isinstance(value, dict):
        problems.append(f"{path or 'the file'} must be settings with their values; got {value!r}")
        return None
    hints, before = get_type_hints(kind), len(problems)
    known, prefix = [each.name for each in dataclasses.fields(kind)], f"{path}." if path else ""
    for key in (key for key in value if key not in known):
        problems.append(f"{prefix}{key} is not a setting{suggestion(str(key), known)}; settings here: {', '.join(known)}")
    values = {key: build(hints[key], each, prefix + key, problems) for key, each in value.items() if key in known}
    if len(problems) > before:
        return None
    try:
        return kind(**values)
    except ConfigError as error:
        problems += [f"{prefix}{each}" for each in error.problems]
        return None
