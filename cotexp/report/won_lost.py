"""Questions that each arm wins and loses against the baseline, over several seeds by their mean, and the difference in accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cotexp.report.arm_rows import ArmRow
from cotexp.report.side_labels import name_rows, row_height
from cotexp.report.style import COLOURS, Drawing, inches, is_narrow, legend_below, whole_numbers

ROOM = 0.7
"""Inches at a text of 10 points for the names of the axes."""


def drawings(rows: Sequence[ArmRow]) -> list[Drawing]:
    """One figure if a row was compared with a baseline."""
    shown = [row for row in rows if row.against]
    if not shown:
        return []
    baselines = [row.label for row in rows if row.is_baseline]
    of_budget = "that which shares the arm's other settings" if any(row.baseline for row in rows) else "each arm's base model"
    against = baselines[0] if len(baselines) == 1 else of_budget
    return [
        Drawing(
            "won_and_lost",
            "Questions won and lost",
            f"For each arm the questions on which it is better and those on which it is worse than the baseline ({against}), and the difference in "
            "accuracy with its 95 % interval.",
            lambda figure: _draw(figure, shown),
            7.5,
        )
    ]


def _draw(figure: Any, rows: Sequence[ArmRow]) -> None:
    labels = [row.label for row in rows]
    figure.set_figheight(inches(ROOM + len(rows) * row_height(figure, labels, 0.36)))
    counts, differences = figure.subplots(1, 2, sharey=True, gridspec_kw={"width_ratios": (3, 2)})
    _draw_counts(counts, rows)
    _draw_differences(differences, rows)
    key = name_rows(counts, labels)
    counts.set_ylim(len(rows) - 0.4, -0.6)
    legend_below(figure, [*key, *_legend(rows)])


def _draw_counts(axes: Any, rows: Sequence[ArmRow]) -> None:
    paired = [row.against.paired for row in rows if row.against]
    places = range(len(paired))
    largest = max(1, *(max(each.only_first, each.only_second) for each in paired))
    axes.barh(places, [each.only_second for each in paired], 0.6, color=COLOURS["blue"])
    axes.barh(places, [-each.only_first for each in paired], 0.6, color="white", edgecolor=COLOURS["red"], hatch="////")
    for place, each in zip(places, paired, strict=True):
        axes.text(each.only_second + 0.02 * largest, place, str(each.only_second), va="center", ha="left", fontsize="small")
        axes.text(-each.only_first - 0.02 * largest, place, str(each.only_first), va="center", ha="right", fontsize="small")
    axes.axvline(0, color="black", linewidth=inches(1.0))
    axes.set_xlim(-1.3 * largest, 1.3 * largest)
    whole_numbers(axes.xaxis, 4 if is_narrow(axes.figure) else None)
    axes.xaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
    questions = sorted({each.num_questions for each in paired})
    of = f"{questions[0]:,}" if len(questions) == 1 else f"{questions[0]:,} to {questions[-1]:,}"
    axes.set(xlabel=f"questions lost | won (of {of})")
    axes.grid(axis="y", visible=False)


def _draw_differences(axes: Any, rows: Sequence[ArmRow]) -> None:
    axes.axvline(0, color=COLOURS["grey"], linewidth=inches(1.0), linestyle="--", zorder=0)
    for place, row in enumerate(rows):
        if row.against:
            value, low, high = (100 * share for share in (row.against.paired.difference, row.against.paired.low, row.against.paired.high))
            face = "white" if row.within_noise else "black"
            axes.plot([low, high], [place, place], color="black")
            axes.plot(value, place, "o", color="black", markerfacecolor=face)
    axes.locator_params(axis="x", nbins=4 if is_narrow(axes.figure) else 7)
    axes.set(xlabel="difference in accuracy, points")


def _legend(rows: Sequence[ArmRow]) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    several = any(len(row.seeds) > 1 for row in rows)
    better, worse = (f" (their mean over seeds is {word})" if several else "" for word in ("higher", "lower"))
    over = "seeds and questions" if several else "questions"
    return [
        Patch(facecolor="white", edgecolor=COLOURS["red"], hatch="////", label=f"lost{worse}"),
        Patch(facecolor=COLOURS["blue"], label=f"won{better}"),
        Line2D([], [], color="black", marker="o", label=f"beyond noise (bar: 95 % interval over {over})"),
        Line2D([], [], color="black", marker="o", markerfacecolor="white", label="within noise"),
    ]
