"""Points of ad hoc sweeps that a report of experiments lacks: the manifests of their sweeps name them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cotexp.compressions import compression_of
from cotexp.jobs.sweeps import sweeps_in
from cotexp.report.arms import labels
from cotexp.report.document import Gap
from cotexp.report.expected_runs import ExpectedArm, ExpectedRun, StoredRun, budget_of, chosen, is_run_of, last_mode, newest
from cotexp.report.finished_runs import Run, identify
from cotexp.settings.evaluation import FINE_TUNED_MODES


def with_missing(
    planned: Sequence[ExpectedArm], finished: Sequence[Run], unfinished: Sequence[StoredRun], expected: Sequence[ExpectedRun], outputs: Path
) -> list[ExpectedArm]:
    """The arms with a gap for every expected run that has not finished; an arm of which none has finished comes after the others."""
    missing = [each for each in expected if not any(run.mode == each.mode and is_run_of(run, each) for run in finished)]
    own = {_key(arm.arm.runs[0].mode, arm.arm.runs[0].identity): number for number, arm in enumerate(planned) if arm.arm}
    arms, identities = list(planned), [arm.arm.runs[0] for arm in planned if arm.arm]
    firsts: list[ExpectedRun] = []
    for each in missing:
        key = _key(each.mode, each.identity)
        if key not in own:
            own[key] = len(arms)
            arms.append(ExpectedArm(label="", mode=each.mode, arm=None, budget=budget_of(each)))
            firsts.append(each)
        gap = newest(each, [run for run in unfinished if is_run_of(run, each)], outputs, "")
        arm = arms[own[key]]
        if isinstance(gap, Gap):
            known = [other for other in arm.gaps if other.seed != gap.seed]
            arms[own[key]] = replace(arm, gaps=(*known, gap))
    return [_labelled(arm, label) for arm, label in zip(arms, labels([*identities, *firsts]), strict=True)] if firsts else arms


def expected_by_sweeps(names: Collection[str], outputs: Path, mode: str | None, where: dict[str, Any]) -> list[ExpectedRun]:
    """The runs of these experiments that the sweeps in `outputs` name, without duplicates."""
    runs: dict[tuple[Any, ...], ExpectedRun] = {}
    for run in _expected(names, outputs, mode):
        if chosen(run, where):
            runs.setdefault((run.mode, run.name, run.seed, *sorted(run.identity.items())), run)
    return list(runs.values())


def _expected(names: Collection[str], outputs: Path, mode: str | None) -> Iterator[ExpectedRun]:
    for point in (each for sweep in sweeps_in(outputs)[0] for each in sweep.points):
        settings, shown = point.settings, mode or last_mode(point.settings)
        if settings["name"] in names and shown in settings["evaluation"]["modes"]:
            trains = last_mode(settings) in FINE_TUNED_MODES and compression_of(settings).trains
            yield ExpectedRun(
                **identify(settings, settings["name"], shown),
                seed=settings["seed"] if trains else None,
                overrides=point.overrides,
                baseline=settings.get("baseline", ""),
            )


def _key(mode: str, identity: dict[str, str]) -> tuple[Any, ...]:
    return mode, *sorted(identity.items())


def _labelled(arm: ExpectedArm, label: str) -> ExpectedArm:
    own = replace(arm.arm, label=label) if arm.arm else None
    return replace(arm, label=label, arm=own, gaps=tuple(replace(gap, row=label) for gap in arm.gaps))
