"""Arms that a report expects: which of their runs are finished, and for every other one why not and the command that fills it."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from cotexp.jobs.store import read_json
from cotexp.report.arms import Arm, Flat, Run, identity_of, is_finished, labels, listed, names_of, read_run, spelled
from cotexp.report.content import Gap
from cotexp.schema import CONF, Point
from cotexp.sections import ConfigError, RunFailed, suggestion
from cotexp.settings import MODES

COMMAND = "python run.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """A run that a report should have. `seed` is None where none is read; `words` make it, behind run.py."""

    name: str
    mode: str
    seed: int | None
    identity: Flat
    names: Flat
    words: tuple[str, ...]

    @property
    def command(self) -> str:
        return shlex.join([*COMMAND.split(), *self.words])


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """An arm that a report should have: its finished runs, if any, and what it lacks."""

    label: str
    mode: str
    arm: Arm | None
    gaps: tuple[Gap, ...] = ()


@dataclass(slots=True)
class Stored:
    """The folder of a run, with what its settings say of it in one mode."""

    folder: Path
    name: str
    seed: int
    mode: str
    identity: Flat
    names: Flat
    is_finished: bool
    changed: float
    used: bool = field(default=False)


class Plan(NamedTuple):
    """Arms in the order of the expected runs, and lines on runs that take no part."""

    arms: list[Planned]
    left_out: list[str]


def expected_of(points: Sequence[Point], mode: str | None) -> list[Expected]:
    """The runs that these points of a grid make, each once; `mode` is by default the last that a point evaluates."""
    found: dict[tuple[Any, ...], Expected] = {}
    for point in points:
        settings = dataclasses.asdict(point.settings)
        own = mode or last_mode(settings)
        each = Expected(
            name=point.settings.name,
            mode=own,
            seed=point.settings.seed if point.settings.trains else None,
            identity=identity_of(settings, own),
            names=names_of(settings),
            words=tuple(alone(point.words)),
        )
        found.setdefault((own, each.name, each.seed, *sorted(each.identity.items())), each)
    return list(found.values())


def alone(words: Sequence[str]) -> Iterator[str]:
    """The words of a point with what its sweep's file sets in place of `sweep=NAME`, which only a grid takes."""
    for word in words:
        if word.startswith("sweep="):
            file = CONF / "sweep" / f"{word.removeprefix('sweep=')}.yaml"
            yield from _words_of(yaml.safe_load(file.read_text(encoding="utf-8")))
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
            yield f"{path}{key}={spelled(value)}"


def last_mode(settings: dict[str, Any]) -> str:
    """The last mode that a run with these settings evaluates."""
    modes = settings.get("evaluation", {}).get("modes") or MODES
    return next(each for each in reversed(MODES) if each in modes)


def stored_runs(folders: Sequence[Path], outputs: Path, mode: str | None) -> list[Stored]:
    """What lies in these folders of runs."""
    found = []
    for folder in folders:
        settings = read_json(folder / "settings.json")
        own = mode or last_mode(settings)
        finished = is_finished(folder)
        found.append(
            Stored(
                folder=folder,
                name=str(folder.parent.relative_to(outputs / "runs")),
                seed=settings.get("seed", 0),
                mode=own,
                identity=identity_of(settings, own),
                names=names_of(settings),
                is_finished=finished,
                changed=(folder / ("metrics.json" if finished else "settings.json")).stat().st_mtime,
            )
        )
    return found


def chosen(each: Expected | Stored | Run, where: dict[str, Any]) -> bool:
    """Whether a run has these settings: names of sections such as task: gsm8k, or values such as compression.stop: rebound."""
    values = each.names | each.identity | {"seed": str(each.seed)}
    return all(values.get(path) == spelled(value) for path, value in where.items())


def check_where(where: dict[str, Any], among: Sequence[Expected | Run]) -> None:
    """Raises: ConfigError when no run has one of these settings at all, or none has all of these values."""
    known = sorted({path for each in among for path in (*each.names, *each.identity, "seed")})
    problems = [f"report: where.{path} is a setting of no run{suggestion(path, known)}" for path in where if path not in known]
    if not problems and not any(chosen(each, where) for each in among):
        problems = [f"report: no run has {', '.join(f'{path}={spelled(value)}' for path, value in where.items())}; leave one out"]
    if among and problems:
        raise ConfigError(*problems)


def plan_of(expected: Sequence[Expected], stored: Sequence[Stored], outputs: Path, *, any_name: bool = False) -> Plan:
    """Which of the expected runs are there. `any_name`: also under another experiment's name.

    A run is an expected one when all settings that both know are equal: one made before a setting existed is still found.
    """
    groups: dict[tuple[Any, ...], list[Expected]] = {}
    for each in expected:
        groups.setdefault((each.mode, each.name, *sorted(each.identity.items())), []).append(each)
    planned = []
    for label, own in zip(labels([each[0] for each in groups.values()]), groups.values(), strict=True):
        runs: list[Run] = []
        gaps: list[Gap] = []
        for each in own:
            found = [run for run in stored if _is(run, each, any_name)]
            run_or_gap = _newest(each, found, outputs, label)
            (runs if isinstance(run_or_gap, Run) else gaps).append(run_or_gap)  # type: ignore[arg-type]
        arm = Arm(label=label, runs=sorted(runs, key=lambda run: run.seed)) if runs else None
        planned.append(Planned(label=label, mode=own[0].mode, arm=arm, gaps=tuple(gaps)))
    return Plan(planned, list(_others(stored)))


def _is(run: Stored, expected: Expected, any_name: bool) -> bool:
    if not (any_name or run.name == expected.name) or expected.seed not in (None, run.seed):
        return False
    return all(run.identity[path] == value for path, value in expected.identity.items() if path in run.identity)


def _newest(expected: Expected, found: Sequence[Stored], outputs: Path, label: str) -> Run | Gap:
    """The newest finished run, or why there is none."""
    for each in found:
        each.used = True
    newest = sorted(found, key=lambda each: (each.is_finished, each.changed))
    gap = Gap(row=label, seed=expected.seed, state="missing", command=expected.command)
    if not newest:
        return gap
    last = newest[-1]
    gap = dataclasses.replace(gap, folder=str(last.folder.relative_to(outputs)))
    if not last.is_finished:
        return dataclasses.replace(gap, state="unfinished")
    try:
        return read_run(last.folder, outputs, expected.mode)
    except RunFailed as error:
        return dataclasses.replace(gap, state="unreadable", reason=str(error))


def _others(stored: Sequence[Stored]) -> Iterator[str]:
    others = [f"{each.name}/{each.folder.name}" for each in stored if not each.used]
    if others:
        yield f"{listed(others)}: no expected run has these settings; `cotexp report NAME SETTING=VALUE` expects them with other settings"
