"""The rationales that each filter of a selection kept and dropped: as a table, as a line and as bars."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from cotexp.report.document import Table, text_table
from cotexp.report.style import COLOURS, Drawing, inches, is_narrow, legend_below, wrapped
from cotexp.selections import selection_of
from cotexp.selections.base import Label

Metrics = dict[str, float]

COLUMNS = ("filter of training rationales", "kept", "dropped", "kept of all written")


DROPPED = "selection/num_dropped_"
"""Prefix of the metric of the rationales that a filter dropped; the filter's name follows."""


class Step(NamedTuple):
    """One filter: the number of rationales that it kept and dropped. A filter that is `off` drops none."""

    name: str
    num_kept: int
    num_dropped: int
    off: bool = False


def steps(metrics: Metrics, settings: dict[str, Any]) -> list[Step]:
    """Every filter of a run in order, after the written rationales; empty if there was nothing to select, or the run lacks a number."""
    selection = settings.get("selection")
    stages = ["written", *(name.removeprefix(DROPPED) for name in metrics if name.startswith(DROPPED))]
    if not selection or any(f"selection/num_{stage}" not in metrics for stage in stages):
        return []
    limits = [f"{selection[limit]:,} {unit}" for limit, unit in (("max_rationales", "rationales"), ("max_tokens", "tokens")) if selection[limit]]
    labels = {
        "written": Label("written"),
        "usable": Label("usable: finished, with a stated answer"),
        **selection_of(settings).labels(settings),
        "kept": Label(f"budget: {' and '.join(limits)}", not limits),
    }
    named = {stage: labels.get(stage, Label(stage)) for stage in stages}
    filters = [
        Step(text.partition(":")[0] if off else text, int(metrics[f"selection/num_{stage}"]), int(metrics.get(f"{DROPPED}{stage}", 0)), off)
        for stage, (text, off) in named.items()
    ]
    return filters if filters[-1].num_kept < filters[0].num_kept or selection["name"] != "all" else []


def tables(metrics: Metrics, settings: dict[str, Any]) -> list[Table]:
    """The table of the filters with its notes; none if there was nothing to select."""
    filters = steps(metrics, settings)
    num_written = max(1, filters[0].num_kept) if filters else 1
    rows = [
        (step.name, f"{step.num_kept:,}", "" if not number else "off" if step.off else f"{step.num_dropped:,}", f"{step.num_kept / num_written:.0%}")
        for number, step in enumerate(filters)
    ]
    return [text_table("Selection", COLUMNS, rows, notes=notes(metrics, settings))] if filters else []


def line(metrics: Metrics, settings: dict[str, Any]) -> list[str]:
    """The filters in one line, for a terminal, and the notes; none if there was nothing to select."""
    filters = steps(metrics, settings)
    if not filters:
        return []
    parts = [
        f"{step.num_kept:,} {'after ' if number > 1 else ''}{step.name.partition(':')[0]}" for number, step in enumerate(filters) if not step.off
    ]
    return ["Training rationales: " + " → ".join(parts) + ".", *notes(metrics, settings)]


def notes(metrics: Metrics, settings: dict[str, Any]) -> Iterator[str]:
    """Questions without rationales, size of the training set, rows that belong to no question, and the file with the details."""
    yield (
        f"{metrics['selection/num_questions_without']:,.0f} of {metrics['selection/num_questions']:,.0f} training questions have none left; "
        f"{metrics['selection/num_kept']:,.0f} rationales are kept for training: {metrics['selection/num_tokens']:,.0f} tokens. "
        "Question by question: selection.jsonl."
    )
    if below := metrics.get("selection/num_questions_below_k"):
        yield (
            f"{below:,.0f} questions have fewer than {settings['selection']['k']} rationales, in spite of equal questions: those that this "
            "selection keeps first are similar to more of the others than those that chose the questions."
        )
    if "selection/auc_rd_plain" in metrics:
        shares = ", ".join(f"{kind} RD {metrics[f'selection/auc_rd_{kind}']:.1%}" for kind in ("plain", "masked", "hidden"))
        yield f"Pairs of a correct and a wrong rationale in which the correct one has the lower difficulty: {shares} (half is chance)."
    if unmatched := metrics.get("rationales/num_unmatched"):
        yield f"{unmatched:,.0f} recorded rows belong to no training or validation question, or not to one alone, and were not read."


WIDE = 9.0
"""Inches at a text of 10 points, in which two panels stand side by side."""
MOST_PANELS = 8
"""Arms that get a panel."""


def drawings(of_arm: Mapping[str, list[Step]]) -> Iterator[Drawing]:
    """What each filter kept and dropped, one panel per arm; no figure without arms."""
    if not of_arm:
        return
    shown = dict(list(of_arm.items())[:MOST_PANELS])
    yield Drawing(
        "selection",
        "What each filter kept and dropped",
        "How many training rationales each filter kept and dropped.",
        lambda figure: _panels(figure, shown),
        6.5 if len(shown) == 1 else 9.0,
    )


def _panels(figure: Any, of_arm: Mapping[str, list[Step]]) -> None:
    wide = 2 if len(of_arm) > 1 and figure.get_figwidth() >= inches(WIDE) else 1
    num_lines = -(-len(of_arm) // wide)
    most = max(sum(not step.off for step in filters) for filters in of_arm.values())
    figure.set_figheight(inches(num_lines * (0.9 + 0.42 * most)))
    panels = list(figure.subplots(num_lines, wide, squeeze=False).flat)
    for axes, (label, filters) in zip(panels, of_arm.items(), strict=False):
        draw(axes, filters)
        axes.set_title(wrapped(label, 0.5 * figure.get_figwidth() / wide, small=False), fontsize="medium")
    for axes in panels[len(of_arm) :]:
        axes.axis("off")
    legend_below(figure, figure.axes[0].get_legend_handles_labels()[0])


def draw(axes: Any, filters: list[Step]) -> None:
    """One bar per active filter: what it kept and what it dropped."""
    shown = [step for step in filters if not step.off]
    num_columns = axes.get_subplotspec().get_gridspec().ncols
    rows = range(len(shown))
    kept, dropped = [step.num_kept for step in shown], [step.num_dropped for step in shown]
    axes.barh(rows, kept, color=COLOURS["blue"], label="kept")
    axes.barh(rows, dropped, left=kept, color=COLOURS["orange"], alpha=0.55, hatch="///", edgecolor="white", linewidth=0, label="dropped here")
    for row, step in zip(rows, shown, strict=True):
        text = f" {step.num_kept:,}" + (f"  (−{step.num_dropped:,})" if step.num_dropped else "")
        axes.text(step.num_kept + step.num_dropped, row, text, va="center", fontsize="small")
    axes.set_yticks(list(rows), [wrapped(step.name, 0.36 * axes.figure.get_figwidth() / num_columns) for step in shown])
    axes.set(xlabel="training rationales", xlim=(0, (1.5 if is_narrow(axes.figure) else 1.25) * shown[0].num_kept))
    axes.locator_params(axis="x", nbins=4 if is_narrow(axes.figure) else 7)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
