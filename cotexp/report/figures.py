"""Figures of one run: difficulty and selection of rationales, its rounds, the training curve."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cotexp.jobs.store import read_json
from cotexp.report import difficulty, funnel, rounds
from cotexp.report.stored import artifact_of
from cotexp.report.style import LINES, Drawing, picture

FORM_NAMES = {"full": "full form", "compress": "short form", "rewrite": "rewriting"}


def write(folder: Path) -> list[str]:
    """Write figures/*.png and *.svg of a run; returns the names of the former."""
    target = folder / "figures"
    target.mkdir(exist_ok=True)
    names = []
    for figure in map(picture, drawings(folder)):
        (target / f"{figure.name}.svg").write_bytes(figure.svg)
        (target / f"{figure.name}.png").write_bytes(figure.png)
        names.append(f"{figure.name}.png")
    return names


def drawings(folder: Path) -> Iterator[Drawing]:
    """What there is to draw of the run in `folder`, in the order of its stages."""
    yield from of_difficulty(folder)
    yield from funnel.drawings(
        {"": steps} if (steps := funnel.steps(read_json(folder / "metrics.json"), read_json(folder / "settings.json"))) else {}
    )
    if compressed := rounds.read(folder):
        yield from rounds.drawings([compressed])
    if is_trained(folder):
        rows = curve(folder)
        about = "Loss of every training step and of validation, by form of the answer."
        yield Drawing(
            "training_curve", "Training curve", about, lambda figure: _training_curve(figure.subplots(), "Training curve", rows, FORM_NAMES)
        )
        if tasks := _tasks(rows):
            about = "Loss of every training step and of validation, by task."
            title = "Training curve per task"
            yield Drawing("training_curve_per_task", title, about, lambda figure: _training_curve(figure.subplots(), title, rows, tasks))


def of_difficulty(folder: Path) -> Iterator[Drawing]:
    """Difficulty of rationales by teacher and by length, where it was scored."""
    if scored := difficulty.read(folder):
        yield from difficulty.drawings(scored, difficulty.kinds(read_json(folder / "settings.json")["selection"]["rd"]))


def _tasks(rows: list[dict[str, float]]) -> dict[str, str]:
    """The tasks whose losses stand apart in a curve, as their own names."""
    parts = (column.removeprefix("train/loss_") for row in rows for column in row if column.startswith("train/loss_"))
    return {part: part for part in parts if part not in FORM_NAMES}


def _training_curve(axes: Any, title: str, rows: list[dict[str, float]], names: Mapping[str, str]) -> None:
    """Loss of every step and validation; `names` says what stands apart, and how it is called."""
    for line, (part, name) in zip(itertools.cycle(LINES), names.items(), strict=False):
        steps = [(row["step"], row[f"train/loss_{part}"]) for row in rows if f"train/loss_{part}" in row]
        checks = [(row["step"], row[f"validation/loss_{part}"]) for row in rows if f"validation/loss_{part}" in row]
        if steps:
            axes.plot(*zip(*steps, strict=True), color=line.colour, linestyle=line.style, linewidth=1, alpha=0.8, label=f"{name}, training")
        if checks:
            axes.plot(*zip(*checks, strict=True), color=line.colour, marker=line.marker, linestyle="none", label=f"{name}, validation")
    axes.set(xlabel="step", ylabel="loss (nats per token)", title=title, yscale="log")
    axes.legend()


def is_trained(folder: Path) -> bool:
    """Whether the run in `folder` fine-tuned a model."""
    return "checkpoint" in read_json(folder / "stages.json")


def curve(folder: Path) -> list[dict[str, float]]:
    """Every row of the training curve of the run in `folder`; none where nothing was trained."""
    if not is_trained(folder):
        return []
    checkpoint = artifact_of(folder, "checkpoint")
    return [json.loads(line) for line in (checkpoint / "curve.jsonl").read_text().splitlines()]
