"""Declared reports (conf/report/NAME.yaml): their declarations, the runs that they expect, and the published numbers that they show."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import yaml

from cotexp.config import command_line
from cotexp.config.grids import expand_sweep
from cotexp.config.overrides import file_of, options
from cotexp.config.search_path import CONF
from cotexp.config.spelling import read_yaml
from cotexp.report.build import ReportOptions, joined_name, report_of
from cotexp.report.declared import DeclaredReport, DeclaredTable, Peers, Published
from cotexp.report.document import Report
from cotexp.report.expected_runs import GridPoint
from cotexp.settings.base import ConfigError, Section, suggestion

S = TypeVar("S", bound=Section)
PUBLISHED = "published"
"""Folder in conf/report with published numbers."""


def make(names: Sequence[str], outputs: Path, options: ReportOptions) -> Report:
    """The declared report of this name; otherwise all finished runs of the named experiments, one arm per row.

    Raises: ConfigError for an unknown name, mode or baseline, or mistakes in a declaration.
    """
    distinct = list(dict.fromkeys(names))
    declared = report_names()
    if places := [each for each in options.overrides if each.lstrip("+").startswith("paths.")]:
        raise ConfigError(f"report: the folder of runs and store is given by --outputs DIR, not as a setting; got {' '.join(places)}")
    if len(distinct) == 1 and distinct[0] in declared:
        return report_of(distinct[0], report_named(distinct[0]), outputs, options, grid=grid, published=published_named)
    if options.overrides:
        raise ConfigError(
            f"report: {' '.join(options.overrides)} is read only with one declared report, for its expected runs; declared: {', '.join(declared)}"
        )
    try:
        experiments = DeclaredReport(title=" and ".join(distinct), tables=[DeclaredTable(runs=distinct)])
        return report_of(joined_name(distinct), experiments, outputs, options, grid=grid, published=published_named)
    except ConfigError as error:
        unknown = [name for name in distinct if not (outputs / "runs" / name).is_dir()]
        near = [f"declared reports: {', '.join(declared)}{suggestion(unknown[0], declared)}"] if unknown and not options.only else []
        raise ConfigError(*error.problems, *near) from None


@cache
def grid(overrides: tuple[str, ...]) -> list[GridPoint]:
    """The points of `cotexp run -m` with these arguments, composed once. Raises: ConfigError with every mistake in them."""
    return [GridPoint(point.settings, tuple(expand_sweep(point.overrides))) for point in command_line.points_of(list(overrides), multirun=True)]


# --- files -----------------------------------------------------------------------------------------------------------------


def report_names() -> list[str]:
    """Every declared report."""
    return [name for name in options("report") if not name.startswith(f"{PUBLISHED}/")]


def published_names() -> list[str]:
    """Every file of published numbers."""
    return [name.removeprefix(f"{PUBLISHED}/") for name in options("report") if name.startswith(f"{PUBLISHED}/")]


def report_named(name: str) -> DeclaredReport:
    """The declaration of this report. Raises: ConfigError with every mistake in its file."""
    return _read(name, DeclaredReport)


def published_named(name: str) -> Published:
    """The numbers of this source. Raises: ConfigError with every mistake in its file."""
    return _read(f"{PUBLISHED}/{name}", Published)


def _texts_of(section: Any, path: str = "") -> tuple[str, ...]:
    """Paths of all settings in a file that hold texts or lists of texts. For a dict of texts, the prefix of its paths."""
    paths: tuple[str, ...] = ()
    for name, hint in get_type_hints(section).items():
        place, arguments = f"{path}{name}", get_args(hint)
        if parts := [part for part in (hint, *arguments) if dataclasses.is_dataclass(part)]:
            paths += _texts_of(parts[0], f"{place}.")
        elif hint == dict[str, str]:
            paths += (f"{place}.",)
        elif hint is str or (str in arguments and get_origin(hint) is not dict):
            paths += (place,)
    return paths


def _read(name: str, section: type[S]) -> S:
    path = file_of("report", name)
    assert path is not None, "its name comes from the list of these files"
    shown = path.relative_to(CONF.parent) if path.is_relative_to(CONF) else path
    try:
        texts = _texts_of(section)
        dicts = tuple(text for text in texts if text.endswith("."))
        content = read_yaml(path.read_text(encoding="utf-8"), "", lambda place: place in texts or place.startswith(dicts))
    except yaml.YAMLError as error:
        raise ConfigError(f"{shown}: no YAML: {' '.join(str(error).split())}") from None
    problems: list[str] = []
    built = build(section, content, "", problems)
    if problems:
        raise ConfigError(*(f"{shown}: {problem}" for problem in problems))
    return built  # type: ignore[no-any-return]


def build(kind: Any, value: Any, path: str, problems: list[str]) -> Any:
    """`value` from YAML as an instance of `kind`: a settings class, a plain type, a list or dict of these, or one of these or None.

    Every mistake is appended to `problems`; the returned value is then meaningless.
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
        return [build(arguments[0], item, f"{path}[{number}]", problems) for number, item in enumerate(value)]
    elif origin is dict:
        return {str(key): build(arguments[1], item, f"{path}.{key}", problems) for key, item in value.items()}
    return value


NOUNS = {str: "a text", int: "an integer", float: "a number", bool: "true or false", list: "a list", dict: "settings with their values"}


def _section(kind: Any, value: Any, path: str, problems: list[str]) -> Any:
    if not isinstance(value, dict):
        problems.append(f"{path or 'the file'} must be settings with their values; got {value!r}")
        return None
    hints, before = get_type_hints(kind), len(problems)
    known, prefix = [field.name for field in dataclasses.fields(kind)], f"{path}." if path else ""
    for key in (key for key in value if key not in known):
        problems.append(f"{prefix}{key} is not a setting{suggestion(str(key), known)}; settings here: {', '.join(known)}")
    values = {key: build(hints[key], item, prefix + key, problems) for key, item in value.items() if key in known}
    if len(problems) > before:
        return None
    try:
        section = kind(**values)
    except ConfigError as error:
        problems += [f"{prefix}{problem}" for problem in error.problems]
        return None
    problems += [f"{prefix}{file}" for file in _missing_files(section)]
    return section


def _missing_files(section: Any) -> Iterator[str]:
    """A problem for each file under conf/ that a section names and that does not exist."""
    if isinstance(section, Peers):
        named, known = {"file": section.file}, published_names()
    elif isinstance(section, DeclaredTable) and section.sweep is not None:
        named, known = {"sweep": section.sweep}, options("sweep")
    else:
        return
    for key, name in named.items():
        if name not in known:
            yield f"{key} must be one of {', '.join(known)}; got {name!r}{suggestion(name, known)}"
