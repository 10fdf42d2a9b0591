"""Figures of one run: difficulty and selection of rationales, its rounds, the training curve."""

from __future__ import annotations

import json
from collections.abc import Iterator
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
        about = "Loss of training, smoothed over steps, and of validation, by form of the answer."
        yield Drawing("training_curve", "Training curve", about, lambda figure: _training_curve(figure.subplots(), folder))


def of_difficulty(folder: Path) -> Iterator[Drawing]:
    """Difficulty of rationales by teacher and by length, where it was scored."""
    if scored := difficulty.read(folder):
        yield from difficulty.drawings(scored, difficulty.kinds(read_json(folder / "settings.json")["selection"]["rd"]))


def _training_curve(axes: Any, folder: Path) -> None:
    """Training loss per form, smoothed over steps, and validation loss."""
    rows = curve(folder)
    for line, (form, name) in zip(LINES, FORM_NAMES.items(), strict=False):
        steps = [(row["step"], row[f"train/loss_{form}"]) for row in rows if f"train/loss_{form}" in row]
        checks = [(row["step"], row[f"validation/loss_{form}"]) for row in rows if f"validation/loss_{form}" in row]
        if steps:
            axes.plot(*zip(*steps, strict=True), color=line.colour, linestyle=line.style, linewidth=1, alpha=0.8, label=f"{name}, training")
        if checks:
            axes.plot(*zip(*checks, strict=True), color=line.colour, marker=line.marker, linestyle="none", label=f"{name}, validation")
    axes.set(xlabel="step", ylabel="loss (nats per token)", title="Training curve", yscale="log")
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
