"""Figures of a report: its rows, and what their runs compressed and selected. What several runs share is drawn once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from cotexp.report import arm_figure, funnel, pareto, rounds, run_figures, won_lost
from cotexp.report.arm_rows import ArmRow
from cotexp.report.arms import labels
from cotexp.report.expected_runs import renamed
from cotexp.report.finished_runs import Run
from cotexp.report.stored import unless_broken
from cotexp.report.style import Drawing
from cotexp.store.stored_files import stages_of


def drawings(rows: Sequence[ArmRow], sets: Sequence[rounds.CompressedSet]) -> Iterator[Drawing]:
    """Drawings of the rows, of what they compressed, and of the first run of each arm."""
    yield from pareto.drawings(rows)
    yield from arm_figure.drawings(rows)
    yield from won_lost.drawings(rows)
    runs = [row.arm.runs[0] for row in rows if row.arm]
    yield from rounds.drawings(sets)
    yield from _difficulties(runs)
    steps = {row.label: funnel.steps(run.metrics, run.settings) for row in rows if row.arm for run in row.arm.runs[:1]}
    yield from funnel.drawings({label: filters for label, filters in steps.items() if filters})


def compressed_sets(rows: Sequence[ArmRow], short_names: Mapping[str, str]) -> list[rounds.CompressedSet]:
    """Every compressed training set once, labelled by the settings that set it apart from the others, with these `short_names`."""
    distinct: dict[str, tuple[Run, rounds.CompressedSet]] = {}
    for run in (row.arm.runs[0] for row in rows if row.arm):
        if compressed := unless_broken(run.folder, rounds.read, lambda: None):
            distinct.setdefault(compressed.content, (run, compressed))
    names = labels([run for run, _ in distinct.values()]) if distinct else []
    return [replace(compressed, label=renamed(name, short_names)) for name, (_, compressed) in zip(names, distinct.values(), strict=True)]


def _difficulties(runs: Sequence[Run]) -> Iterator[Drawing]:
    """Rationale difficulty, for every set of scores; the second and later ones are numbered."""
    scored: dict[tuple[str, ...], Run] = {}
    for run in runs:
        stages: dict[str, dict[str, Any]] = unless_broken(run.folder, stages_of, dict)
        if keys := tuple(stages[name]["key"] for name in sorted(stages) if name.startswith("scores/")):
            scored.setdefault(keys, run)
    for number, run in enumerate(scored.values(), 1):
        drawings: list[Drawing] = unless_broken(run.folder, lambda folder: list(run_figures.of_difficulty(folder)), list)
        ending = "" if number == 1 else f"_{number}"
        yield from (drawing._replace(name=drawing.name + ending) for drawing in drawings)
