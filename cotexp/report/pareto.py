"""Figure of accuracy against tokens with the Pareto front of the arms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cotexp.report.arm_rows import ArmRow
from cotexp.report.side_labels import Labels
from cotexp.report.style import COLOURS, Drawing, inches, legend_below

MOST_NAMED = 16
"""Arms that are all named; of more, only those on the front."""
LEAST, ROOM = 2.6, 0.6
"""Inches at a text of 10 points: the least height of the axes, and the name of the axis."""


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices, sorted by tokens, of the points (tokens, accuracy) that no other dominates, being as good in both and better in one."""
    best: list[int] = []
    for index in sorted(range(len(points)), key=lambda index: (points[index][0], -points[index][1], index)):
        if not best or points[index][1] > points[best[-1]][1]:
            best.append(index)
    return best


def drawings(rows: Sequence[ArmRow]) -> list[Drawing]:
    """One figure if at least two rows have an accuracy."""
    shown = [row for row in rows if row.answers]
    if len(shown) < 2:
        return []
    best = pareto_front([(row.num_tokens, row.accuracy) for row in shown])
    named = range(len(shown)) if len(shown) <= MOST_NAMED else best
    names = [f"{shown[index].label}: {100 * shown[index].accuracy:.1f} %, {shown[index].num_tokens:.0f} tokens" for index in named]

    def draw(figure: Any) -> None:
        labels = Labels(figure, names)
        height = max(inches(LEAST), labels.inches)
        figure.set_figheight(height + inches(ROOM))
        axes = figure.subplots()
        _draw_points(axes, shown, best)
        points = [(shown[index].num_tokens, 100 * shown[index].accuracy) for index in named]
        labels.draw(axes, points, height, [COLOURS["red"] if index in best else "black" for index in named])
        legend_below(figure, [*labels.key, *_legend(shown)])

    return [
        Drawing(
            "accuracy_against_tokens",
            "Accuracy against tokens",
            "Accuracy of each arm with its 95 % interval over the mean tokens of its answers; a line joins the arms that no other beats in both.",
            draw,
            7.5,
        )
    ]


def _draw_points(axes: Any, rows: Sequence[ArmRow], best: Sequence[int]) -> None:
    for index, row in enumerate(rows):
        errors = [[100 * (row.accuracy - row.low)], [100 * (row.high - row.accuracy)]]
        marker, colour = ("s", COLOURS["grey"]) if row.arm is None else ("o", COLOURS["blue"])
        look = {"marker": marker, "color": COLOURS["red"] if index in best else colour, "linewidth": inches(1.0)}
        filled = {} if index in best else {"markerfacecolor": "white", "alpha": 0.75}
        axes.errorbar(row.num_tokens, 100 * row.accuracy, yerr=errors, **look, **filled)
    front = [(rows[index].num_tokens, 100 * rows[index].accuracy) for index in best]
    axes.plot(*zip(*front, strict=True), color=COLOURS["red"], linestyle="--", zorder=1)
    axes.set(xlabel="mean tokens of an answer", ylabel="accuracy, %")
    axes.set_xlim(left=0)


def _legend(rows: Sequence[ArmRow]) -> list[Any]:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=COLOURS["red"], marker="o", linestyle="--", label="Pareto front"),
        Line2D([], [], color=COLOURS["blue"], marker="o", markerfacecolor="white", linestyle="none", label="arm (bar: 95 % interval)"),
    ]
    if any(row.arm is None for row in rows):
        handles.append(Line2D([], [], color=COLOURS["grey"], marker="s", markerfacecolor="white", linestyle="none", label="before fine-tuning"))
    return handles
