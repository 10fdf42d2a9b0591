"""Accuracy of an experiment's arms against the number of training rationales."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from cotexp.report import side_labels
from cotexp.report.arm_rows import ArmRow
from cotexp.report.style import COLOURS, Drawing, inches, legend_below

LEAST, ROOM = 2.6, 0.6
"""Inches at a text of 10 points: the least height of the axes, and the name of the axis."""
NEAR = 0.05
"""Share of the axis. Points closer than this are drawn side by side at this distance."""
TICK_DISTANCE = 0.12
"""Share of the axis. If no two numbers of rationales are closer than this, they are the ticks of the axis."""


def drawings(rows: Sequence[ArmRow]) -> list[Drawing]:
    """Arms that trained on rationales as points and models before fine-tuning as lines; no figure if all arms trained on one number of rationales."""
    shown = [row for row in rows if row.answers and row.num_rationales]
    if len({row.num_rationales for row in shown}) < 2 and not any(row.is_selected for row in shown):
        return []
    bases = [row for row in rows if row.answers and not row.arm]

    def draw(figure: Any) -> None:
        labels = side_labels.Labels(figure, [f"{row.label}: {100 * row.accuracy:.1f} %" for row in (*shown, *bases)])
        height = max(inches(LEAST), labels.inches)
        figure.set_figheight(height + inches(ROOM))
        axes = figure.subplots()
        places = _draw_points(axes, shown)
        for row in bases:
            axes.axhline(100 * row.accuracy, color=COLOURS["grey"], linewidth=inches(1.0), linestyle="--", zorder=0)
        ends = [axes.get_xlim()[1]] * len(bases)
        points = list(zip((*places, *ends), (100 * row.accuracy for row in (*shown, *bases)), strict=True))
        labels.draw(axes, points, height, [*["black"] * len(shown), *[COLOURS["grey"]] * len(bases)])
        over = "seeds and questions" if any(len(row.seeds) > 1 for row in rows) else "questions"
        legend_below(figure, [*labels.key, *_legend(shown)], title=f"bar: 95 % interval over {over}")

    return [
        Drawing(
            "accuracy_against_rationales",
            "Accuracy against training rationales",
            "Accuracy of each arm with its 95 % interval over the number of rationales that it was trained on.",
            draw,
            7.5,
        )
    ]


def _draw_points(axes: Any, rows: Sequence[ArmRow]) -> list[float]:
    """Draw interval, mean and seeds of every arm. Returns their horizontal positions."""
    numbers = [row.num_rationales or 1.0 for row in rows]
    wide = max(numbers) > 10 * min(numbers)
    scaled = side_by_side([math.log10(number) if wide else number for number in numbers])
    places = [10**number if wide else number for number in scaled]
    for row, place in zip(rows, places, strict=True):
        colour = COLOURS["orange" if row.is_baseline else "blue"]
        filled = row.is_baseline or (row.against is not None and not row.within_noise)
        axes.plot([place, place], [100 * row.low, 100 * row.high], color=colour, linewidth=inches(2.0))
        axes.plot(
            place,
            100 * row.accuracy,
            marker="D" if row.is_baseline else "o",
            markeredgewidth=inches(1.8),
            color=colour,
            markerfacecolor=colour if filled else "white",
        )
        if len(row.seeds) > 1:
            axes.plot(
                [place] * len(row.seeds), [100 * accuracy for accuracy in row.seed_accuracies], "_", markersize=inches(10.0), color="black", zorder=3
            )
    axes.set(xlabel="training rationales (arms with nearly the same number are side by side)", ylabel="accuracy, %")
    axes.set_xscale("log" if wide else "linear")
    spread = max(scaled) - min(scaled) or 1.0
    limits = [min(scaled) - 0.1 * spread, max(scaled) + 0.1 * spread]
    axes.set_xlim([10**limit if wide else limit for limit in limits])
    ticks = sorted(set(numbers))
    if not wide and all(after - before > TICK_DISTANCE * spread for before, after in itertools.pairwise(ticks)):
        axes.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
    return places


def side_by_side(numbers: Sequence[float]) -> list[float]:
    """`numbers` with each group of nearly equal ones spread around its mean, in the given order."""
    order = sorted(range(len(numbers)), key=lambda index: (numbers[index], index))
    step = NEAR * ((max(numbers) - min(numbers)) or max(abs(max(numbers)), 1.0))
    groups: list[list[int]] = []
    for index in order:
        if groups and numbers[index] - numbers[groups[-1][-1]] < step:
            groups[-1].append(index)
        else:
            groups.append([index])
    places = list(numbers)
    for group in (group for group in groups if len(group) > 1):
        centre = sum(numbers[index] for index in group) / len(group)
        for rank, index in enumerate(sorted(group)):
            places[index] = centre + step * (rank - (len(group) - 1) / 2)
    return places


def _legend(rows: Sequence[ArmRow]) -> list[Any]:
    from matplotlib.lines import Line2D

    orange, blue = COLOURS["orange"], COLOURS["blue"]
    point: dict[str, Any] = {"markeredgewidth": inches(1.8), "linewidth": inches(2.0)}
    handles = [
        Line2D([], [], color=orange, marker="D", label="baseline", **point),
        Line2D([], [], color=blue, marker="o", label="differs from it", **point),
        Line2D([], [], color=blue, marker="o", markerfacecolor="white", label="within noise", **point),
    ]
    if any(len(row.seeds) > 1 for row in rows):
        handles.append(Line2D([], [], color="black", marker="_", markersize=inches(10.0), linestyle="none", label="one seed"))
    return handles
