"""Figures of rationale difficulty (RD): by teacher and correctness, and against length. Reads only the store, without a model or a task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from cotexp.records import Rationale, Score
from cotexp.report.stored import stage_rows
from cotexp.report.style import COLOURS, Drawing, inches, is_narrow, legend_below, panels, plain_log_ticks
from cotexp.selections.filters import usable
from cotexp.stages.scores import row_id
from cotexp.store.stored_files import selection_of, stages_of

MOST_SOURCES = 8
"""Teachers that get a row; the others share one."""
OTHERS = "other teachers"
MOST_POINTS = 6000
"""Rationales drawn one by one in the scatter plot, evenly spaced in the order of the questions; medians use all of them."""
CORRECTNESS = ((True, "correct", COLOURS["blue"], "", "-"), (False, "wrong", COLOURS["orange"], "////", "--"))
"""Correctness, its name, colour, hatch and line."""
TITLES = {
    "plain": "plain RD: given the whole rationale",
    "masked": "masked RD: without the answer sentence",
    "hidden": "hidden RD: nor its value at the end of equations",
}


class Scored(NamedTuple):
    """One usable rationale of a training question: its teacher, whether it is correct, its length in tokens and its difficulty (RD) by kind."""

    source: str
    correct: bool
    num_tokens: int
    rd: dict[str, float]


def read(folder: Path) -> list[Scored]:
    """Every scored rationale of a finished run; empty if the run computed no scores."""
    stages = stages_of(folder)
    tasks = [name.removeprefix("scores/") for name in stages if name.startswith("scores/")]
    if not tasks:
        return []
    num_written = {row["question_id"]: row["num_written"] for row in selection_of(folder)}
    return [rationale for task in tasks for rationale in _of_task(folder, task, num_written)]


def _of_task(folder: Path, task: str, num_written: dict[str, int]) -> Iterator[Scored]:
    """The scored rationales of one task. The ledgers may also hold those of other runs: more questions, more samples, other texts."""
    rationales, grades, scores = (stage_rows(folder, f"{stage}/{task}") for stage in ("rationales", "grades/rationales", "scores"))
    for name, row in rationales.items():
        if row["sample"] < num_written.get(row["question_id"], 0):
            rationale = Rationale.from_row({**row, "answer": grades[name]["extracted"], "correct": grades[name]["strict"]})
            if usable([rationale]):
                score = Score.from_row({**scores[row_id(rationale)], **scores[rationale.question_id], "id": name})
                yield Scored(rationale.source, rationale.correct, rationale.num_tokens, {kind: score.rd(kind) for kind in TITLES})


def kinds(rd: str) -> tuple[str, str]:
    """The two kinds of RD to show: plain, and the one that the run selects by (masked if that is plain)."""
    return ("plain", "masked" if rd == "plain" else rd)


def grouped(rationales: Sequence[Scored]) -> dict[str, list[Scored]]:
    """The rationales of each teacher, the most frequent teacher first; teachers beyond MOST_SOURCES share one group."""
    counts = Counter(rationale.source for rationale in rationales)
    shown = [name for name, _ in counts.most_common(MOST_SOURCES - 1 if len(counts) > MOST_SOURCES else MOST_SOURCES)]
    groups: dict[str, list[Scored]] = {name: [] for name in shown}
    for rationale in rationales:
        groups.setdefault(rationale.source if rationale.source in shown else OTHERS, []).append(rationale)
    return groups


def drawings(rationales: Sequence[Scored], shown: tuple[str, str]) -> Iterator[Drawing]:
    """The two figures of difficulty, with these kinds of RD."""
    yield Drawing(
        "difficulty_by_teacher",
        "Rationale difficulty by teacher",
        "Distribution of rationale difficulty of correct and of wrong rationales, a row for each teacher.",
        lambda figure: draw_by_source(figure, rationales, shown),
        9.0,
    )
    yield Drawing(
        "difficulty_by_length",
        "Rationale difficulty against length",
        "Rationale difficulty over the tokens of a rationale, a point for each, with running medians of correct and of wrong ones.",
        lambda figure: draw_by_length(figure, rationales, shown),
        9.0,
    )


def draw_by_source(figure: Any, rationales: Sequence[Scored], shown: tuple[str, str]) -> None:
    """One row per teacher with a box for correct and one for wrong rationales, one panel per kind of RD."""
    groups = grouped(rationales)
    both = panels(figure, [1, 1], height=0.7 + 0.75 * len(groups), sharex=not is_narrow(figure), sharey=True)
    for axes, kind in zip(both, shown, strict=True):
        axes.axvline(1, color=COLOURS["grey"], linewidth=inches(1.0), linestyle="--", zorder=0)
        for offset, (correct, _, colour, hatch, _) in zip((-0.19, 0.19), CORRECTNESS, strict=True):
            values = [[rationale.rd[kind] for rationale in group if rationale.correct is correct] for group in groups.values()]
            present = [(row + offset, value) for row, value in enumerate(values) if value]
            if present:
                _boxes(axes, present, colour, hatch)
        axes.set(xscale="log", xlabel=TITLES[kind])
        axes.grid(axis="y", visible=False)
        axes.set_yticks(range(len(groups)), [_with_counts(name, group) for name, group in groups.items()])
        plain_log_ticks(axes.xaxis)
    both[0].invert_yaxis()
    _legend(figure)


def _boxes(axes: Any, present: list[tuple[float, list[float]]], colour: str, hatch: str) -> None:
    from matplotlib.colors import to_rgba

    axes.boxplot(
        [values for _, values in present],
        positions=[place for place, _ in present],
        orientation="horizontal",
        widths=0.32,
        whis=(5, 95),
        showfliers=False,
        manage_ticks=False,
        patch_artist=True,
        boxprops={"facecolor": to_rgba(colour, 0.45), "edgecolor": colour, "hatch": hatch},
        whiskerprops={"color": colour},
        capprops={"color": colour},
        medianprops={"color": "black", "linewidth": inches(2.0)},
    )


def _with_counts(name: str, group: Sequence[Scored]) -> str:
    num_correct = sum(rationale.correct for rationale in group)
    return f"{name or 'unnamed'}\n{num_correct:,} correct, {len(group) - num_correct:,} wrong"


def _legend(figure: Any) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [Patch(facecolor=colour, alpha=0.5, edgecolor=colour, hatch=hatch, label=name) for _, name, colour, hatch, _ in CORRECTNESS]
    handles.append(Line2D([], [], color="black", linewidth=inches(2.0), label="median (box: middle half, whiskers: 5 to 95 %)"))
    unchanged = "RD 1: the rationale changes nothing (axis: log scale, lower is better)"
    handles.append(Line2D([], [], color=COLOURS["grey"], linewidth=inches(1.0), linestyle="--", label=unchanged))
    legend_below(figure, handles)


def draw_by_length(figure: Any, rationales: Sequence[Scored], shown: tuple[str, str]) -> None:
    """RD against length in tokens, one point per rationale, with a running median for the correct and for the wrong ones."""
    from matplotlib.lines import Line2D

    both = panels(figure, [1, 1], height=3.2, sharex=not is_narrow(figure), sharey=True)
    points = rationales[:: -(-len(rationales) // MOST_POINTS)]
    alpha = max(0.2, min(0.7, 700 / len(points)))
    colours = {correct: colour for correct, _, colour, *_ in CORRECTNESS}
    for axes, kind in zip(both, shown, strict=True):
        axes.axhline(1, color=COLOURS["grey"], linewidth=inches(1.0), linestyle="--", zorder=0)
        coloured = [(point.num_tokens, point.rd[kind], colours[point.correct]) for point in points]
        lengths, difficulties, shades = zip(*coloured, strict=True)
        axes.scatter(lengths, difficulties, s=inches(2.8) ** 2, c=shades, alpha=alpha, linewidths=0)
        for correct, _, colour, _, style in CORRECTNESS:
            of_correctness = [rationale for rationale in rationales if rationale.correct is correct]
            line = running_median([(rationale.num_tokens, rationale.rd[kind]) for rationale in of_correctness])
            if line:
                axes.plot(*zip(*line, strict=True), color="white", linewidth=inches(4.5))
                axes.plot(*zip(*line, strict=True), color=colour, linewidth=inches(2.2), linestyle=style)
        axes.set(xscale="log", yscale="log", xlabel="tokens of the rationale", ylabel=TITLES[kind])
        plain_log_ticks(axes.xaxis)
        plain_log_ticks(axes.yaxis)
    counts = Counter(rationale.correct for rationale in rationales)
    lines = [
        Line2D(
            [],
            [],
            color=colour,
            marker="o",
            linestyle=style,  # type: ignore[arg-type]  # one of the styles that CORRECTNESS names
            label=f"{name} ({counts[correct]:,}); line: running median",
        )
        for correct, name, colour, _, style in CORRECTNESS
    ]
    legend_below(figure, lines)


def running_median(points: Sequence[tuple[float, float]], *, most_bins: int = 15, fewest_points: int = 30) -> list[tuple[float, float]]:
    """Medians of both coordinates in bins along the first coordinate. A bin has at least `fewest_points` points; no bin for fewer points.

    Points with the same first coordinate share a bin.
    """
    by_place: dict[float, list[float]] = {}
    for place, value in sorted(points):
        by_place.setdefault(place, []).append(value)
    size = max(fewest_points, -(-len(points) // most_bins))
    bins: list[list[tuple[float, float]]] = [[]]
    for place, values in by_place.items():
        if len(bins[-1]) >= size:
            bins.append([])
        bins[-1] += [(place, value) for value in values]
    if len(bins) > 1 and len(bins[-1]) < size:
        last = bins.pop()
        bins[-1] += last
    filled = [group for group in bins if len(group) >= fewest_points]
    return [(median(place for place, _ in group), median(value for _, value in group)) for group in filled]
