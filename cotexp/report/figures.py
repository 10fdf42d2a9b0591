"""Figures of one run: difficulty and selection of rationales, tokens per round, where rounds stopped, the training curve."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from cotexp.jobs.store import read_json
from cotexp.report import difficulty, funnel
from cotexp.report.stored import artifact_of
from cotexp.report.style import COLOURS, STYLE

REASON_COLOURS = {"rebound": "red", "limit": "blue", "fixed_point": "green", "failed": "grey"}
FORM_NAMES = {"full": "full form", "compress": "short form", "rewrite": "rewriting"}


def write(folder: Path) -> list[str]:
    """Write figures/*.png of a run; returns their names."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    target = folder / "figures"
    target.mkdir(exist_ok=True)
    with plt.rc_context(STYLE):
        drawings = list(_drawings(folder))
        for each in drawings:
            figure = plt.figure(figsize=each.size, layout="constrained")
            each.draw(figure)
            figure.savefig(target / each.name)
            plt.close(figure)
    return [each.name for each in drawings]


class Drawing(NamedTuple):
    """A figure's file name, how to draw it, and its width and height in inches where they are not the usual ones."""

    name: str
    draw: Callable[[Any], None]
    size: tuple[float, float] | None = None


def _drawings(folder: Path) -> Iterator[Drawing]:
    """What there is to draw of the run in `folder`, in the order of its stages."""
    settings = read_json(folder / "settings.json")
    scored = difficulty.read(folder)
    if scored:
        shown = difficulty.kinds(settings["selection"]["rd"])
        size = (11.0, difficulty.height_by_source(scored))
        yield Drawing("difficulty_by_teacher.png", lambda figure: difficulty.draw_by_source(figure, scored, shown), size)
        yield Drawing("difficulty_by_length.png", lambda figure: difficulty.draw_by_length(figure, scored, shown), (11.0, 4.6))
    steps = funnel.steps(read_json(folder / "metrics.json"), settings)
    if steps:
        yield Drawing("selection.png", lambda figure: funnel.draw(figure.subplots(), steps), (8.0, 3.8))
    if not is_trained(folder):
        return
    compressed = [orjson.loads(line) for line in (folder / "compressed.jsonl").read_bytes().splitlines()]
    rounds = [each for each in compressed if len(each["round_num_tokens"]) > 1]
    if rounds:
        yield Drawing("tokens_per_round.png", lambda figure: _tokens_per_round(figure.subplots(), rounds))
        yield Drawing("stop_rounds.png", lambda figure: _stop_rounds(figure.subplots(), rounds))
    yield Drawing("training_curve.png", lambda figure: _training_curve(figure.subplots(), folder))


def _tokens_per_round(axes: Any, rounds: list[dict[str, Any]]) -> None:
    """Length of the text that would be kept after each round, over all chains, and of the rewrites themselves."""
    import numpy as np

    last = max(len(each["round_num_tokens"]) for each in rounds)
    numbers = np.arange(last)
    kept = np.array([_kept_lengths(each, last) for each in rounds], dtype=float)
    mean, spread = kept.mean(axis=0), kept.std(axis=0)
    axes.fill_between(numbers, mean - spread, mean + spread, color=COLOURS["blue"], alpha=0.2, linewidth=0, label="± one standard deviation")
    axes.plot(numbers, mean, marker="o", color=COLOURS["blue"], label="kept text, all chains")
    rewritten = [[each["round_num_tokens"][number] for each in rounds if number < len(each["round_num_tokens"])] for number in numbers]
    axes.plot(numbers, [np.mean(each) for each in rewritten], marker="s", linestyle="--", color=COLOURS["orange"], label="rewrites of this round")
    axes.set_xticks(numbers, [f"{number}\n{len(each)}" for number, each in zip(numbers, rewritten, strict=True)])
    axes.set(xlabel="round (below: texts in it)", ylabel="tokens of the chain of thought", title="Tokens per round", ylim=(0, None))
    axes.legend()


def _kept_lengths(each: dict[str, Any], last: int) -> list[int]:
    """Tokens of the text kept so far after rounds 0, 1, ..., last - 1."""
    lengths = each["round_num_tokens"]
    return [lengths[min(number, each["kept_round"])] for number in range(last)]


def _stop_rounds(axes: Any, rounds: list[dict[str, Any]]) -> None:
    """How many chains ended in which round, and why."""
    counts = Counter((each["num_rounds_run"], each["stop_reason"]) for each in rounds)
    reasons = sorted({reason for _, reason in counts}, key=lambda each: (each not in REASON_COLOURS, each))
    numbers = range(1, max(number for number, _ in counts) + 1)
    bottom = [0] * len(numbers)
    for reason in reasons:
        heights = [counts[number, reason] for number in numbers]
        colour = COLOURS[REASON_COLOURS.get(reason, "purple")]
        axes.bar(numbers, heights, bottom=bottom, color=colour, label=f"{reason.replace('_', ' ')} ({sum(heights)})", edgecolor="white")
        bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
    axes.set_xticks(list(numbers))
    axes.set(xlabel="round in which the chain stopped", ylabel="training chains", title="Where and why rounds stopped")
    axes.legend()


def _training_curve(axes: Any, folder: Path) -> None:
    """Training loss per form, smoothed over steps, and validation loss."""
    rows = curve(folder)
    colours = dict(zip(FORM_NAMES, ("blue", "orange", "green"), strict=True))
    for form, name in FORM_NAMES.items():
        steps = [(row["step"], row[f"train/loss_{form}"]) for row in rows if f"train/loss_{form}" in row]
        checks = [(row["step"], row[f"validation/loss_{form}"]) for row in rows if f"validation/loss_{form}" in row]
        if steps:
            axes.plot(*zip(*steps, strict=True), color=COLOURS[colours[form]], linewidth=1, alpha=0.8, label=f"{name}, training")
        if checks:
            axes.plot(*zip(*checks, strict=True), color=COLOURS[colours[form]], marker="o", linestyle="none", label=f"{name}, validation")
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
