"""Figure of token elasticity: length and accuracy of the answers over the budget in the prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cotexp.methods import elasticity
from cotexp.methods.elasticity import QuestionCurve
from cotexp.methods.statistics import accuracy_metrics, bootstrap_interval, mean
from cotexp.records import Prediction
from cotexp.report.style import COLOURS, LINES, Drawing, inches, legend_below, panels, plain_log_ticks

MOST_QUESTIONS = 100
"""Questions that are drawn one by one; more would be a surface."""
MARGIN = 1.2
"""Factor between the outermost values and the edge of a logarithmic axis, so that small differences do not fill it."""
CLOSEST = 1.25
"""Ratio of two budgets below which their ticks would touch."""


def drawing(answers: Mapping[int, Sequence[Prediction]], without: Sequence[Prediction], curves: Sequence[QuestionCurve]) -> Drawing:
    """`answers` by budget, ascending; `without` are those without a budget; `curves` of all questions, whole or not."""
    whole = [each for each in curves if each.is_whole]
    return Drawing(
        "token_elasticity",
        "Length and accuracy against the budget",
        f"Left: tokens of the answers over the budget that the prompt names, as a mean over {len(whole)} questions of which no answer was cut, with "
        "its 95 % interval and its smallest value, and of each question; on the dotted diagonal an answer would be as long as its budget. Right: "
        f"accuracy over all {len(curves)} questions with its 95 % interval.",
        lambda figure: _draw(figure, answers, without, curves, whole),
        7.5,
    )


def _draw(
    figure: Any,
    answers: Mapping[int, Sequence[Prediction]],
    without: Sequence[Prediction],
    curves: Sequence[QuestionCurve],
    whole: Sequence[QuestionCurve],
) -> None:
    length, accuracy = panels(figure, [3, 2], height=3.4)
    budgets = list(answers)
    _draw_lengths(length, budgets, without, curves, whole)
    _draw_accuracy(accuracy, answers, without)
    for axes in (length, accuracy):
        axes.set_xscale("log")
        axes.set_xlim(budgets[0] / MARGIN, budgets[-1] * MARGIN)
        shown = [each for number, each in enumerate(budgets) if number == 0 or each >= CLOSEST * budgets[number - 1]]
        axes.set_xticks(shown, [f"{each:,}" for each in shown])
        axes.set_xticks([], minor=True)
        axes.set(xlabel="budget in the prompt, tokens")
    legend_below(figure)


def _draw_lengths(
    axes: Any, budgets: Sequence[int], without: Sequence[Prediction], curves: Sequence[QuestionCurve], whole: Sequence[QuestionCurve]
) -> None:
    for number, each in enumerate(whole[:MOST_QUESTIONS]):
        axes.plot(
            budgets, each.means, color=COLOURS["grey"], linewidth=inches(0.8), alpha=0.35, zorder=1, label="one question" if number == 0 else None
        )
    if len(whole) < len(curves):
        bounds = [mean(column) for column in zip(*(each.means for each in curves), strict=True)]
        look = LINES[1]
        name = f"mean of all {len(curves)} questions, cut answers at the limit"
        axes.plot(budgets, bounds, color=look.colour, marker=look.marker, linestyle=look.style, markerfacecolor="white", label=name)
    if whole:
        _draw_mean(axes, budgets, whole)
    kept = {each.question_id for each in (whole or curves)}
    if unasked := [each.num_tokens for each in without if each.question_id in kept]:
        axes.axhline(mean(unasked), color="black", linewidth=inches(1.0), linestyle="-.", label="mean without a budget")
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    low, high = low / MARGIN, high * MARGIN
    axes.plot(
        [low, high], [low, high], color="black", linewidth=inches(1.0), linestyle=":", label="as long as the budget", scalex=False, scaley=False
    )
    axes.set_ylim(low, high)
    plain_log_ticks(axes.yaxis)
    axes.set(ylabel="tokens of the answer")


def _draw_mean(axes: Any, budgets: Sequence[int], whole: Sequence[QuestionCurve]) -> None:
    columns = list(zip(*(each.means for each in whole), strict=True))
    means, intervals = list(map(mean, columns)), list(map(bootstrap_interval, columns))
    look, turn = LINES[0], elasticity.turn_of(whole)
    errors = [
        [middle - each.low for middle, each in zip(means, intervals, strict=True)],
        [each.high - middle for middle, each in zip(means, intervals, strict=True)],
    ]
    name = f"mean of {len(whole)} whole questions, 95 % interval"
    axes.errorbar(
        budgets,
        means,
        yerr=errors,
        color=look.colour,
        marker=look.marker,
        linestyle=look.style,
        linewidth=inches(2.0),
        capsize=3,
        zorder=3,
        label=name,
    )
    assert turn is not None
    name = "turns here" if turn.is_real else "smallest mean, no turn beyond noise"
    face = COLOURS["red"] if turn.is_real else "white"
    look_of_turn = {"marker": "*", "markersize": inches(15.0), "markeredgecolor": "black", "markerfacecolor": face, "linestyle": "none"}
    axes.plot([turn.budget], [turn.tokens], zorder=4, label=name, **look_of_turn)


def _draw_accuracy(axes: Any, answers: Mapping[int, Sequence[Prediction]], without: Sequence[Prediction]) -> None:
    measured = [accuracy_metrics(own) for own in answers.values()]
    values = [100 * each["accuracy"] for each in measured]
    errors = [
        [100 * (each["accuracy"] - each["accuracy_low"]) for each in measured],
        [100 * (each["accuracy_high"] - each["accuracy"]) for each in measured],
    ]
    axes.errorbar(list(answers), values, yerr=errors, color=LINES[0].colour, marker=LINES[0].marker, linewidth=inches(2.0), capsize=3, clip_on=False)
    if without:
        axes.axhline(100 * accuracy_metrics(without)["accuracy"], color="black", linewidth=inches(1.0), linestyle="-.")
    axes.set(ylabel="accuracy, %, all questions", ylim=(0, 100))
