"""Figures of one run: difficulty and selection of rationales, rounds of compression, training curve."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from cotexp.report import difficulty, funnel, rounds
from cotexp.report.stored import artifact_of, unless_broken
from cotexp.report.style import LINES, Drawing, inches, legend_below, panels
from cotexp.store.stored_files import metrics_of, read_lines, settings_of, stages_of

FORM_NAMES = {"full": "full form", "compress": "short form", "rewrite": "rewriting"}


def drawings(folder: Path) -> Iterator[Drawing]:
    """The drawings of the run in `folder`, in the order of its stages."""
    yield from of_difficulty(folder)
    yield from funnel.drawings({"": steps} if (steps := funnel.steps(metrics_of(folder), settings_of(folder))) else {})
    if compressed := rounds.read(folder):
        yield from rounds.drawings([compressed])
    if is_trained(folder):
        yield from _training_curves(unless_broken(folder, curve, list))


def of_difficulty(folder: Path) -> Iterator[Drawing]:
    """Difficulty of rationales by teacher and by length, if the run computed scores."""
    if scored := difficulty.read(folder):
        yield from difficulty.drawings(scored, difficulty.kinds(settings_of(folder)["selection"]["rd"]))


def _training_curves(rows: list[dict[str, float]]) -> Iterator[Drawing]:
    """Losses by form of the answer and, if logged, by task."""
    forms = {f"loss_{form}": name for form, name in FORM_NAMES.items()}
    tasks = {column.removeprefix("train/"): column.removeprefix("train/loss/") for row in rows for column in row if column.startswith("train/loss/")}
    for name, title, losses in (("training_curve", "Training curve", forms), ("training_curve_per_task", "Training curve per task", tasks)):
        if losses:
            about = "Loss of every training step and of validation."
            yield Drawing(name, title, about, partial(_draw_losses, rows=rows, losses=losses))


def _draw_losses(figure: Any, rows: list[dict[str, float]], losses: Mapping[str, str]) -> None:
    """`losses` maps columns of the curve, without the phase in front, to names."""
    (axes,) = panels(figure, [1], height=3.0)
    for line, (loss, name) in zip(itertools.cycle(LINES), losses.items(), strict=False):
        steps = [(row["step"], row[f"train/{loss}"]) for row in rows if f"train/{loss}" in row]
        checks = [(row["step"], row[f"validation/{loss}"]) for row in rows if f"validation/{loss}" in row]
        if steps:
            axes.plot(*zip(*steps, strict=True), color=line.colour, linestyle=line.style, linewidth=inches(1.0), alpha=0.8, label=f"{name}, training")
        if checks:
            axes.plot(*zip(*checks, strict=True), color=line.colour, marker=line.marker, linestyle="none", label=f"{name}, validation")
    axes.set(xlabel="step", ylabel="loss (nats per token)", yscale="log")
    legend_below(figure)


def is_trained(folder: Path) -> bool:
    """Whether the run in `folder` fine-tuned a model."""
    return "checkpoint" in stages_of(folder)


def curve(folder: Path) -> list[dict[str, float]]:
    """Every row of the training curve of the run in `folder`; empty if nothing was trained."""
    if not is_trained(folder):
        return []
    return read_lines(artifact_of(folder, "checkpoint") / "curve.jsonl")
