"""Runs that a report expects: the finished ones, and for each of the others the reason and the command that computes it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from cotexp.invocation import run_command
from cotexp.jobs.status import read_status
from cotexp.report.arms import Arm, labels
from cotexp.report.document import Gap
from cotexp.report.finished_runs import Run, RunIdentity, differing, identify, is_finished, listed, name_of, read_run
from cotexp.report.stored import unless_broken
from cotexp.settings.base import ConfigError, RunFailed, plain, spelled, suggestion
from cotexp.settings.evaluation import MODES
from cotexp.settings.root import Settings, config_dir_words, outputs_words
from cotexp.store.stored_files import Damaged, settings_of

BUDGETS = ("trainer.max_steps", "trainer.max_tokens", "trainer.max_petaflops")
"""Settings of the length of a fine-tuning that are in `identity` only if they are set."""


class GridPoint(NamedTuple):
    """One point of a grid: its checked settings, and the arguments of a run for only this point."""

    settings: Settings
    overrides: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedRun(RunIdentity):
    """A run that a report should have. `seed` is None if the run does not depend on it; `overrides` are its arguments."""

    seed: int | None
    overrides: tuple[str, ...]
    baseline: str

    @property
    def command(self) -> str:
        return run_command(self.overrides)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedArm:
    """An arm that a report should have: its finished runs, if any, its gaps, and the budget of its training, if it has one."""

    label: str
    mode: str
    arm: Arm | None
    budget: tuple[str, ...] = ()
    gaps: tuple[Gap, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun(RunIdentity):
    """The folder of a run; `changed` is the time of its last change in seconds since the epoch."""

    folder: Path
    seed: int
    is_finished: bool
    changed: float


class ExpectedArms(NamedTuple):
    """Arms in the order of the expected runs, lines about excluded runs, and the baselines that the settings of the runs declare, each once.

    `takes_part` maps every stored run to whether it is an expected one.
    """

    arms: list[ExpectedArm]
    left_out: list[str]
    baselines: tuple[str, ...] = ()
    takes_part: Mapping[str, bool] = MappingProxyType({})


def expected_of(points: Sequence[GridPoint], mode: str | None, outputs: Path = Path("outputs")) -> list[ExpectedRun]:
    """The runs of these points of a grid, without duplicates; `mode` defaults to the last one that a point evaluates."""
    place = place_of(outputs)
    runs: dict[tuple[Any, ...], ExpectedRun] = {}
    for point in points:
        settings = dataclasses.asdict(point.settings)
        chosen_mode = mode or last_mode(settings)
        run = ExpectedRun(
            **identify(settings, point.settings.name, chosen_mode),
            seed=point.settings.seed if point.settings.trains else None,
            overrides=(*point.overrides, *place),
            baseline=point.settings.baseline,
        )
        runs.setdefault((chosen_mode, run.name, run.seed, *sorted(run.identity.items())), run)
    return list(runs.values())


def place_of(outputs: Path) -> list[str]:
    """The arguments that store runs in `outputs`, and name the user's folders of settings files."""
    return [*outputs_words(outputs), *config_dir_words()]


def last_mode(settings: dict[str, Any]) -> str:
    """The last mode that a run with these settings evaluates."""
    modes = settings.get("evaluation", {}).get("modes") or MODES
    return next(mode for mode in reversed(MODES) if mode in modes)


def stored_runs(folders: Sequence[Path], outputs: Path, mode: str | None) -> list[StoredRun]:
    """The runs in these folders. A run whose settings cannot be read is reported and left out."""
    runs = (unless_broken(folder, functools.partial(_stored, outputs=outputs, mode=mode), lambda: None) for folder in folders)
    return [run for run in runs if run is not None]


def _stored(folder: Path, outputs: Path, mode: str | None) -> StoredRun:
    settings, finished = settings_of(folder), is_finished(folder)
    return StoredRun(
        **identify(settings, name_of(folder, outputs), mode or last_mode(settings)),
        folder=folder,
        seed=settings.get("seed", 0),
        is_finished=finished,
        changed=(folder / ("metrics.json" if finished else "settings.json")).stat().st_mtime,
    )


def chosen(run: ExpectedRun | StoredRun | Run, where: dict[str, Any]) -> bool:
    """Whether a run has these settings: names of sections such as task: gsm8k, or values such as compression.stop: rebound."""
    values = run.names | run.identity | {"seed": str(run.seed)}
    return all(path in values and plain(values[path]) == plain(spelled(value)) for path, value in where.items())


def check_where(where: dict[str, Any], among: Sequence[ExpectedRun | Run]) -> None:
    """Raises: ConfigError if one of these settings exists in no run, or no run has all of these values."""
    known = sorted({path for run in among for path in (*run.names, *run.identity, "seed")})
    problems = [f"report: where.{path} is a setting of no run{suggestion(path, known)}" for path in where if path not in known]
    if not problems and not any(chosen(run, where) for run in among):
        problems = [f"report: no run has {', '.join(f'{path}={spelled(value)}' for path, value in where.items())}; leave one out"]
    if among and problems:
        raise ConfigError(*problems)


def match_runs(expected: Sequence[ExpectedRun], stored: Sequence[StoredRun], outputs: Path, *, any_name: bool = False) -> ExpectedArms:
    """The expected runs, matched with the stored ones. With `any_name`, the name of the experiment does not matter.

    A stored run matches if all settings that both have are equal, so a run from before a setting existed still matches, unless that setting says
    otherwise than what was done before it existed.
    """
    groups: dict[tuple[Any, ...], list[ExpectedRun]] = {}
    for expected_run in expected:
        groups.setdefault((expected_run.mode, expected_run.name, *sorted(expected_run.identity.items())), []).append(expected_run)
    planned, used = [], set[Path]()
    for label, members in zip(labels([members[0] for members in groups.values()]), groups.values(), strict=True):
        runs: list[Run] = []
        gaps: list[Gap] = []
        for member in members:
            matching = [run for run in stored if is_run_of(run, member, any_name)]
            used.update(run.folder for run in matching)
            run_or_gap = newest(member, matching, outputs, label)
            (runs if isinstance(run_or_gap, Run) else gaps).append(run_or_gap)  # type: ignore[arg-type]
        arm = Arm(label=label, runs=sorted(runs, key=lambda run: run.seed)) if runs else None
        planned.append(ExpectedArm(label=label, mode=members[0].mode, arm=arm, budget=budget_of(members[0]), gaps=tuple(gaps)))
    takes_part = {f"{run.name}/{run.folder.name}": run.folder in used for run in stored}
    return ExpectedArms(planned, [], distinct(run.baseline for run in expected), takes_part)


def budget_of(run: RunIdentity) -> tuple[str, ...]:
    """The settings of a run that end its fine-tuning in place of max_epochs."""
    return tuple(f"{path}={run.identity[path]}" for path in BUDGETS if path in run.identity)


def distinct(declared: Iterable[str]) -> tuple[str, ...]:
    """The baselines that runs declare, each once, in order."""
    return tuple(dict.fromkeys(declared))


def named(plan: ExpectedArms, names: Mapping[str, str]) -> ExpectedArms:
    """The arms with these short names of settings in their labels. Raises: ConfigError if two arms would have the same label."""
    short = [renamed(arm.label, names) for arm in plan.arms]
    if len(set(short)) < len(short):
        alike = next(label for label in short if short.count(label) > 1)
        raise ConfigError(f"report: labels must be different for all arms; several would be {alike!r}, with {dict(names)}")
    arms = []
    for label, arm_of_plan in zip(short, plan.arms, strict=True):
        arm = dataclasses.replace(arm_of_plan.arm, label=label) if arm_of_plan.arm else None
        arms.append(
            dataclasses.replace(arm_of_plan, label=label, arm=arm, gaps=tuple(dataclasses.replace(gap, row=label) for gap in arm_of_plan.gaps))
        )
    return plan._replace(arms=arms, baselines=tuple(renamed(each, names) for each in plan.baselines))


def renamed(label: str, names: Mapping[str, str]) -> str:
    """The label with short names of settings. A setting with an empty short name is left out."""
    parts = [part.partition("=") for part in label.split(", ")]
    kept = [f"{names.get(path, path)}{sign}{value}" for path, sign, value in parts if names.get(path, path)]
    return ", ".join(kept) or label


def is_run_of(run: StoredRun | Run, expected: ExpectedRun, any_name: bool = False) -> bool:
    """Whether a run is the expected one."""
    if not (any_name or run.name == expected.name) or expected.seed not in (None, run.seed):
        return False
    return not differing(run.identity, expected.identity)


def newest(expected: ExpectedRun, matching: Sequence[StoredRun], outputs: Path, label: str) -> Run | Gap:
    """The newest finished run, or the gap if there is none."""
    gap = Gap(row=label, seed=expected.seed, state="missing", command=expected.command)
    if not matching:
        return gap
    newest = max(matching, key=lambda run: (run.is_finished, run.changed))
    if not newest.is_finished:
        return dataclasses.replace(unfinished_gap(newest.folder, outputs, label, expected.seed), command=expected.command)
    try:
        return read_run(newest.folder, outputs, expected.mode)
    except RunFailed as error:
        return dataclasses.replace(gap, state="unreadable", reason=str(error), folder=str(newest.folder.relative_to(outputs)))


def of_same_content(planned: ExpectedArm, outputs: Path) -> ExpectedArm:
    """The arm with the seeds of the same weights that answered the same questions as its newest run; each other seed is a gap, with the command that
    computes it anew.
    """
    runs = planned.arm.runs if planned.arm else []
    if planned.arm is None or len(runs) < 2:
        return planned
    asked = {run.folder: {(answer.question_id, answer.same_as) for answer in run.answers} for run in runs}
    last = max(runs, key=lambda run: (run.finished, run.seed))
    kept, gaps = [], []
    for run in runs:
        if asked[run.folder] != asked[last.folder]:
            gaps.append(_other_content(run, last, "answered other test questions than", planned.label, outputs))
        elif other := [role for role in run.weights.keys() & last.weights.keys() if run.weights[role] != last.weights[role]]:
            gaps.append(_other_content(run, last, f"read other weights of its {' and '.join(sorted(other))} than", planned.label, outputs))
        else:
            kept.append(run)
    return dataclasses.replace(planned, arm=dataclasses.replace(planned.arm, runs=kept), gaps=(*planned.gaps, *gaps))


def _other_content(run: Run, last: Run, what: str, label: str, outputs: Path) -> Gap:
    reason = f"{run.name}/{run.key} {what} the newest run, {last.name}/{last.key}"
    status = unless_broken(run.folder, read_status, lambda: None)
    command = run_command(status.overrides) if status and status.overrides else ""
    return Gap(row=label, seed=run.seed, state="missing", reason=reason, command=command, folder=str(run.folder.relative_to(outputs)))


def unfinished_of(arms: Sequence[Arm], stored: Sequence[StoredRun], outputs: Path) -> dict[str, list[Gap]]:
    """Label of an arm -> its runs that began and did not finish."""
    gaps: dict[str, list[Gap]] = {arm.label: [] for arm in arms}
    for run in (run for run in stored if not run.is_finished):
        for arm in arms:
            if (arm.runs[0].mode, arm.runs[0].identity) == (run.mode, run.identity) and run.seed not in arm.seeds:
                gaps[arm.label].append(unfinished_gap(run.folder, outputs, arm.label, run.seed))
    return gaps


def unfinished_gap(folder: Path, outputs: Path, label: str = "", seed: int | None = None) -> Gap:
    """The gap that the unfinished run in `folder` leaves: its state, its stage and error, and the command that continues it, if known."""
    gap = Gap(row=label, seed=seed, state="unfinished", folder=str(folder.relative_to(outputs)))
    try:
        status = read_status(folder)
    except Damaged as error:
        return dataclasses.replace(gap, state="unreadable", reason=str(error))
    if status is None or status.state == "finished":
        return gap
    parts = (f"in {status.stage}" if status.stage else "", " ".join((status.error or "").split()))
    command = run_command(status.overrides) if status.overrides else ""
    return dataclasses.replace(gap, state=status.state, reason="; ".join(filter(None, parts)), command=command)  # type: ignore[arg-type]


def unexpected(plans: Iterable[Mapping[str, bool]]) -> Iterator[str]:
    """A line about the runs that no table uses; `plans` are the `takes_part` of all tables."""
    used: dict[str, bool] = {}
    for name, takes_part in (item for plan in plans for item in plan.items()):
        used[name] = takes_part or used.get(name, False)
    others = [name for name, takes_part in used.items() if not takes_part]
    if others:
        yield f"{listed(others)}: no expected run has these settings; `cotexp report NAME SETTING=VALUE` expects them with other settings"
