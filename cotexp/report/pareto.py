"""Figure of accuracy against tokens with the Pareto front of the arms."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from cotexp.report.arm_rows import ArmRow
from cotexp.report.style import COLOURS, Drawing

LABEL_WIDTH = 58
"""Characters in a line of a label."""
ROOM = 1.6
"""Inches for the name of the axis and the legend."""


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
    lines = sum(len(_label(number, shown[index])) for number, index in enumerate(best, 1))
    return [
        Drawing(
            "accuracy_against_tokens",
            "Accuracy against tokens",
            "Accuracy of each arm with its 95 % interval over the mean tokens of its answers; a line joins the arms that no other beats in both.",
            lambda figure: _draw(figure, shown, best),
            (9.0, max(4.2, ROOM + 0.17 * lines)),
        )
    ]


def _label(number: int, row: ArmRow) -> list[str]:
    text = f"{number}  {row.label}: {100 * row.accuracy:.1f} %, {row.num_tokens:.0f} tokens"
    return textwrap.wrap(text, LABEL_WIDTH, subsequent_indent="    ")


def _draw(figure: Any, rows: Sequence[ArmRow], best: Sequence[int]) -> None:
    axes, legend_axes = figure.subplots(1, 2, gridspec_kw={"width_ratios": (3, 2)})
    for index, row in enumerate(rows):
        errors = [[100 * (row.accuracy - row.low)], [100 * (row.high - row.accuracy)]]
        marker, colour = ("s", COLOURS["grey"]) if row.arm is None else ("o", COLOURS["blue"])
        look = {"marker": marker, "color": COLOURS["red"] if index in best else colour, "markersize": 7, "linewidth": 1}
        filled = {} if index in best else {"markerfacecolor": "white", "alpha": 0.75}
        axes.errorbar(row.num_tokens, 100 * row.accuracy, yerr=errors, **look, **filled)
    places = [(rows[index].num_tokens, 100 * rows[index].accuracy) for index in best]
    axes.plot(*zip(*places, strict=True), color=COLOURS["red"], linestyle="--", linewidth=1.2, zorder=1)
    for number, place in enumerate(places, 1):
        axes.annotate(str(number), place, xytext=(4, 5), textcoords="offset points", fontsize=9, color=COLOURS["red"], fontweight="bold")
    axes.set(xlabel="mean tokens of an answer", ylabel="accuracy, %", title="Accuracy against tokens")
    axes.set_xlim(left=0)
    legend_axes.axis("off")
    text = "\n".join(line for number, index in enumerate(best, 1) for line in _label(number, rows[index]))
    legend_axes.text(0, 1, "Pareto front, by tokens:\n" + text, va="top", fontsize=8, transform=legend_axes.transAxes)
    _legend(figure, rows)


def _legend(figure: Any, rows: Sequence[ArmRow]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=COLOURS["red"], marker="o", linestyle="--", label="Pareto front"),
        Line2D([], [], color=COLOURS["blue"], marker="o", markerfacecolor="white", linestyle="none", label="arm (bar: 95 % interval)"),
    ]
    if any(row.arm is None for row in rows):
        handles.append(Line2D([], [], color=COLOURS["grey"], marker="s", markerfacecolor="white", linestyle="none", label="before fine-tuning"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=9)
