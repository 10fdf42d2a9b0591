"""Accuracy of an experiment's arms against the number of training rationales."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from cotexp.report import side_labels
from cotexp.report.arm_rows import ArmRow
from cotexp.report.style import COLOURS, Drawing

NEAR = 0.05
"""Share of the axis. Points closer than this are drawn side by side at this distance."""
TICK_DISTANCE = 0.12
"""Share of the axis. If no two numbers of rationales are closer than this, they are the ticks of the axis."""


def drawings(rows: Sequence[ArmRow]) -> list[Drawing]:
    """Arms that trained on rationales as points and models before fine-tuning as lines; no figure if all arms trained on one number of rationales."""
    shown = [row for row in rows if row.answers and row.num_rationales]
    if len({row.num_rationales for row in shown}) < 2 and not any(row.is_selected for row in shown):
        return []
    labels = side_labels.Labels([f"{row.label}: {row.accuracy:.1%}" for row in shown])
    height = max(3.0, labels.inches)

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        places = _draw_points(axes, shown)
        _draw_bases(axes, rows)
        labels.draw(axes, list(zip(places, (100 * row.accuracy for row in shown), strict=True)), height)
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
