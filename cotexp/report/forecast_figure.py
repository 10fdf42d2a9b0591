"""Figure of forecasts against measured values; each run is forecast from runs with other training sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cotexp.methods import forecasting
from cotexp.report.document import Figure
from cotexp.report.forecast_validation import Validated
from cotexp.report.style import COLOURS, Drawing, legend_under, panels, picture


def against_truth(validated: Sequence[Validated]) -> Figure:
    """A panel for accuracy and one for tokens: the better method with its 80 % intervals, the better trivial baseline in grey."""

    def draw(figure: Any) -> None:
        for axes, panel in zip(panels(figure, [1] * len(validated), height=3.6), validated, strict=True):
            _panel(axes, panel)

    return picture(
        Drawing(
            "forecast_against_truth",
            "Forecast against truth",
            "Accuracy and tokens of each fine-tuned model against the forecast without its compressed training set.",
            draw,
            8.0,
        )
    )


def _panel(axes: Any, validated: Validated) -> None:
    scale = validated.truth.scale
    trivial = forecasting.best_of(forecasting.TRIVIAL, validated.grouped)
    for method, colour, marker in ((trivial, COLOURS["grey"], "x"), (validated.best, COLOURS["blue"], "o")):
        forecasts = validated.grouped[method]
        truths, means = [scale * (one.truth or 0.0) for one in forecasts], [scale * one.mean for one in forecasts]
        bars = ", bars: 80 %" if method == validated.best else ""
        label = f"{method} (error {forecasting.skill_of(forecasts).mae * scale:.1f} {validated.truth.unit}{bars})"
        if method == validated.best:
            bounds = [one.interval(0.8, high=validated.truth.most) for one in forecasts]
            below = [max(0.0, mean - scale * low) for mean, (low, _) in zip(means, bounds, strict=True)]
            above = [max(0.0, scale * high - mean) for mean, (_, high) in zip(means, bounds, strict=True)]
            axes.errorbar(truths, means, yerr=[below, above], fmt=marker, color=colour, ecolor=colour, elinewidth=0.8, alpha=0.8, label=label)
        else:
            axes.plot(truths, means, marker, color=colour, alpha=0.8, label=label)
    ends = [min(*axes.get_xlim(), *axes.get_ylim()), max(*axes.get_xlim(), *axes.get_ylim())]
    axes.plot(ends, ends, color="black", linewidth=0.8, linestyle="--", zorder=0)
    name = validated.truth.title.lower()
    axes.set(xlabel=f"measured {name}, {_unit(validated)}", ylabel=f"forecast {name}, {_unit(validated)}")
    legend_under(axes)


def _unit(validated: Validated) -> str:
    return "%" if validated.truth.scale == 100 else validated.truth.unit
