"""Accuracy of an experiment's arms against the number of training rationales."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Sequence
from typing import Any

from cotexp.report.arm_rows import ArmRow
from cotexp.report.style import COLOURS, Drawing

NEAR = 0.05
"""Share of the axis. Points closer than this are drawn side by side at this distance."""
LINE_INCHES = 0.17
LABEL_WIDTH = 52
"""Characters in a line of a label."""
TICK_DISTANCE = 0.12
"""Share of the axis. If no two numbers of rationales are closer than this, they are the ticks of the axis."""


def drawings(rows: Sequence[ArmRow]) -> list[Drawing]:
    """Arms that trained on rationales as points and models before fine-tuning as lines; no figure if all arms trained on one number of rationales."""
    shown = [row for row in rows if row.answers and row.num_rationales]
    if len({row.num_rationales for row in shown}) < 2 and not any(row.is_selected for row in shown):
        return []
    labels = [textwrap.fill(f"{row.label}: {row.accuracy:.1%}", LABEL_WIDTH) for row in shown]
    label_inches = 0.1 + LINE_INCHES * max(label.count("\n") + 1 for label in labels)
    height = max(3.0, label_inches * len(shown))

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        places = _draw_points(axes, shown)
        _draw_bases(axes, rows)
        points = list(zip(places, (100 * row.accuracy for row in shown), strict=True))
        _draw_labels(axes, labels, points, gap=label_inches / height)
        _draw_legend(figure, shown)

    return [
        Drawing(
            "accuracy_against_rationales",
            "Accuracy against training rationales",
            "Accuracy of each arm with its 95 % interval over the number of rationales that it was trained on.",
            draw,
            (9.0, height + 1.4),
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
        axes.plot([place, place], [100 * row.low, 100 * row.high], color=colour, linewidth=2)
        axes.plot(
            place,
            100 * row.accuracy,
            marker="D" if row.is_baseline else "o",
            markersize=8,
            markeredgewidth=2,
            color=colour,
            markerfacecolor=colour if filled else "white",
        )
        if len(row.seeds) > 1:
            axes.plot([place] * len(row.seeds), [100 * accuracy for accuracy in row.seed_accuracies], "_", markersize=10, color="black", zorder=3)
    axes.set(xlabel="training rationales (arms with nearly the same number are side by side)", ylabel="accuracy, %")
    axes.set(title="Accuracy on the test questions", xscale="log" if wide else "linear")
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


def _draw_bases(axes: Any, rows: Sequence[ArmRow]) -> None:
    for row in (row for row in rows if row.answers and not row.arm):
        axes.axhline(100 * row.accuracy, color=COLOURS["grey"], linewidth=1, linestyle="--", zorder=0)
        text = f" {row.label}: {row.accuracy:.1%}"
        axes.text(0, 100 * row.accuracy, text, transform=axes.get_yaxis_transform(), va="bottom", fontsize=9, color=COLOURS["grey"])


def _draw_labels(axes: Any, labels: Sequence[str], points: Sequence[tuple[float, float]], gap: float) -> None:
    """Write the labels right of the axes in the order of the points, at least `gap` (a share of the height) apart, each with a line to its point."""
    low, high = axes.get_ylim()
    order = sorted(range(len(points)), key=lambda index: points[index][1])
    heights = apart([(points[index][1] - low) / (high - low) for index in order], gap)
    for index, height in zip(order, heights, strict=True):
        axes.annotate(
            labels[index],
            xy=points[index],
            xytext=(1.03, height),
            textcoords="axes fraction",
            va="center",
            fontsize=9,
            arrowprops={"arrowstyle": "-", "color": COLOURS["grey"], "linewidth": 0.7, "alpha": 0.7, "shrinkB": 5, "relpos": (0, 0.5)},
        )


def apart(heights: Sequence[float], gap: float) -> list[float]:
    """Rising `heights`, moved as little as possible so that they are `gap` apart within [0, 1]; evenly spaced if there is not enough room.

    Method: isotonic regression of the heights less the gaps below them.
    """
    from scipy.optimize import isotonic_regression

    room = 1 - gap * (len(heights) - 1)
    if room < 0:
        return [index / (len(heights) - 1) for index in range(len(heights))]
    below = isotonic_regression([height - gap * index for index, height in enumerate(heights)]).x.clip(0.0, room)
    return [float(height) + gap * index for index, height in enumerate(below)]


def _draw_legend(figure: Any, rows: Sequence[ArmRow]) -> None:
    from matplotlib.lines import Line2D

    orange, blue = COLOURS["orange"], COLOURS["blue"]
    point: dict[str, Any] = {"markersize": 8, "markeredgewidth": 2, "linewidth": 2}
    handles = [
        Line2D([], [], color=orange, marker="D", label="baseline", **point),
        Line2D([], [], color=blue, marker="o", label="differs from it", **point),
        Line2D([], [], color=blue, marker="o", markerfacecolor="white", label="within noise", **point),
    ]
    if any(len(row.seeds) > 1 for row in rows):
        handles.append(Line2D([], [], color="black", marker="_", markersize=10, linestyle="none", label="one seed"))
    over = "seeds and questions" if any(len(row.seeds) > 1 for row in rows) else "questions"
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=9, title=f"bar: 95 % interval over {over}", title_fontsize=9)
