"""Figures of one run: tokens per round, where rounds stopped, the training curve. One style, safe for the colour-blind."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import orjson

from cotexp.jobs.store import read_json

COLOURS = {"blue": "#0072B2", "orange": "#E69F00", "green": "#009E73", "red": "#D55E00", "purple": "#CC79A7", "grey": "#777777"}
REASON_COLOURS = {"rebound": "red", "limit": "blue", "fixed_point": "green", "failed": "grey"}
FORM_NAMES = {"full": "full form", "compress": "with <compress>", "rewrite": "rewriting"}
STYLE = {
    "figure.figsize": (6.0, 3.8),
    "figure.dpi": 150,
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
}


def write(folder: Path) -> list[str]:
    """Write figures/*.png of a run; returns their names."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    target = folder / "figures"
    target.mkdir(exist_ok=True)
    compressed = [orjson.loads(line) for line in (folder / "compressed.jsonl").read_bytes().splitlines()]
    rounds = [each for each in compressed if len(each["round_num_tokens"]) > 1]
    drawn: dict[str, Any] = {"training_curve.png": lambda axes: _training_curve(axes, folder)}
    if rounds:
        drawn = {
            "tokens_per_round.png": lambda axes: _tokens_per_round(axes, rounds),
            "stop_rounds.png": lambda axes: _stop_rounds(axes, rounds),
            **drawn,
        }
    with plt.rc_context(STYLE):
        for name, draw in drawn.items():
            figure, axes = plt.subplots(layout="constrained")
            draw(axes)
            figure.savefig(target / name)
            plt.close(figure)
    return list(drawn)


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


def curve(folder: Path) -> list[dict[str, float]]:
    """Every row of the training curve of the run in `folder`."""
    checkpoint = artifact_of(folder, "checkpoint")
    return [json.loads(line) for line in (checkpoint / "curve.jsonl").read_text().splitlines()]


def artifact_of(folder: Path, stage: str) -> Path:
    """Where the store keeps what a stage of the run in `folder` made."""
    outputs = next(parent for parent in folder.parents if (parent / "store").is_dir())
    return outputs / str(read_json(folder / "stages.json")[stage]["path"])
