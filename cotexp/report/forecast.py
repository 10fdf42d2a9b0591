"""Report of a forecast: errors of forecasts for unseen training sets, and the forecasts for candidates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cotexp.methods import forecasting
from cotexp.methods.folds import MIN_GROUPS, Groups, groups_of
from cotexp.methods.forecasting import COVERAGES, FEATURES, Effect, Forecast, Skill
from cotexp.report import forecast_figure
from cotexp.report.build import joined_name
from cotexp.report.document import Cell, Column, Report, Row, Table
from cotexp.report.forecast_data import ComparableRuns, Observation
from cotexp.report.forecast_validation import TRUTHS, Truth, Validated, validate
from cotexp.report.pareto import pareto_front


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """A configuration to forecast: the settings that set it apart, the command that fine-tunes it, its features."""

    label: str
    command: str
    features: list[float]


def make(names: Sequence[str], comparable: ComparableRuns, candidates: Sequence[Configuration] = (), refused: Sequence[str] = ()) -> Report:
    """The report on forecasts from these runs; `refused` has lines about candidates that cannot be forecast."""
    runs = comparable.runs
    groups = groups_of([run.compressor for run in runs], [run.training_set for run in runs])
    validated = [validate(truth, runs, groups) for truth in TRUTHS]
    tables = [*(_errors(errors) for errors in validated), _features(runs)]
    if candidates:
        tables.insert(0, _candidates(candidates, runs, validated, groups))
    return Report(
        name=f"{joined_name(names)}/forecast",
        title=f"{' and '.join(names)}: forecasts from the compressed training set",
        tables=tuple(tables),
        figures=(forecast_figure.against_truth(validated),),
        footnotes=tuple(_footnotes(runs, groups, validated)),
        left_out=(*comparable.left_out, *refused),
    )


GROUPED, BY_TARGET, RANDOM = "grouped", "other targets", "80/20 (leaks)"


def _errors(validated: Validated) -> Table:
    columns = (
        Column(name="num_forecasts", title="forecasts"),
        Column(name="r2", title="R²"),
        Column(name="mae", title=f"mean error, {validated.truth.unit}"),
        Column(name="rank_correlation", title="rank correlation"),
        *(Column(name=f"covered_{coverage:.0%}".rstrip("%"), title=f"in {coverage:.0%} interval") for coverage in COVERAGES),
        Column(name="residual", title="errors over deviation"),
    )
    schemes = {GROUPED: validated.grouped, BY_TARGET: validated.by_target, RANDOM: validated.random}
    rows = []
    for scheme, forecasts in schemes.items():
        skills = {method: forecasting.skill_of(predicted) for method, predicted in forecasts.items()}
        least = min((skill.mae for skill in skills.values()), default=None)
        for method, skill in skills.items():
            bold = scheme != RANDOM and skill.mae == least
            rows.append(Row(label=f"{scheme}: {method}", kind="arm", cells=_skill_cells(skill, validated.truth, bold=bold)))
    return Table(
        name=f"errors_{validated.truth.name}",
        title=f"{validated.truth.title}: errors of forecasts",
        columns=columns,
        rows=tuple(rows),
        row_title="from",
    )


def _skill_cells(skill: Skill, truth: Truth, *, bold: bool) -> tuple[Cell, ...]:
    return (
        Cell(text=f"{skill.num_forecasts}", value=skill.num_forecasts),
        _number(skill.r2, ".2f"),
        Cell(text=f"{skill.mae * truth.scale:.1f}", value=skill.mae * truth.scale, bold=bold),
        _number(skill.rank_correlation, ".2f"),
        *(Cell(text=f"{share:.0%}", value=share) for share in skill.covered.values()),
        _number(skill.residual, ".2f"),
    )


def _number(value: float | None, form: str) -> Cell:
    return Cell() if value is None else Cell(text=f"{value:{form}}", value=value)


def _features(runs: Sequence[Observation]) -> Table:
    columns = [list(values) for values in zip(*(run.features for run in runs), strict=True)]
    effects_of = {truth: forecasting.effects([run.features for run in runs], [getattr(run, truth.name) for run in runs]) for truth in TRUTHS}
    rows = [
        Row(
            label=title,
            kind="arm",
            cells=(
                Cell(text=f"{min(column):.4g}", value=min(column)),
                Cell(text=f"{max(column):.4g}", value=max(column)),
                *(_effect(effects[number], truth) for truth, effects in effects_of.items()),
            ),
        )
        for number, (title, column) in enumerate(zip(FEATURES.values(), columns, strict=True))
    ]
    changes = (Column(name=f"effect_{truth.name}", title=f"{truth.unit} per deviation") for truth in TRUTHS)
    return Table(
        name="features",
        title="Features: range over the runs, and the effect of one more standard deviation under Bayesian ridge",
        columns=(Column(name="least", title="least"), Column(name="most", title="most"), *changes),
        rows=tuple(rows),
        row_title="feature",
    )


def _effect(effect: Effect | None, truth: Truth) -> Cell:
    if effect is None:
        return Cell(text="constant")
    change, deviation = effect.change * truth.scale, effect.deviation * truth.scale
    return Cell(text=f"{change:+.1f} ± {deviation:.1f}", value=change, deviation=deviation)


def _candidates(candidates: Sequence[Configuration], runs: Sequence[Observation], validated: Sequence[Validated], groups: Groups) -> Table:
    features = [run.features for run in runs]
    features_of_candidates = [candidate.features for candidate in candidates]
    forecasts = {
        truth: forecasting.predict(
            errors.for_candidates, features, [getattr(run, truth.name) for run in runs], features_of_candidates, most=truth.most
        )
        for truth, errors in zip(TRUTHS, validated, strict=True)
    }
    accuracies, lengths = ([forecast.mean for forecast in forecasts[truth]] for truth in TRUTHS)
    points = list(zip(lengths, accuracies, strict=True))
    front = {points[index] for index in pareto_front(points)}
    beyond = [forecasting.outside(features, candidate.features) for candidate in candidates]
    order = sorted(range(len(candidates)), key=lambda index: (-accuracies[index], lengths[index], candidates[index].label))
    rows = tuple(
        Row(
            label=candidates[index].label,
            kind="arm",
            cells=(
                Cell(text=f"{rank}", value=rank),
                *(_interval(forecasts[truth][index], truth, bold=points[index] in front) for truth in TRUTHS),
                Cell(text=f"{len(beyond[index])} of {len(FEATURES)}" if beyond[index] else "none", value=len(beyond[index])),
            ),
        )
        for rank, index in enumerate(order, 1)
    )
    return Table(
        name="candidates",
        title="Compressed, not yet fine-tuned: the most accurate forecast first",
        columns=(
            Column(name="rank", title="rank"),
            Column(name="accuracy", title="accuracy, % (95 % interval)"),
            Column(name="num_tokens", title="tokens (95 % interval)"),
            Column(name="outside", title="features beyond all runs"),
        ),
        rows=rows,
        row_title="configuration",
        notes=tuple(_notes_on_candidates(candidates[order[0]], validated, groups)),
    )


def _interval(forecast: Forecast, truth: Truth, *, bold: bool) -> Cell:
    low, high = (bound * truth.scale for bound in forecast.interval(high=truth.most))
    value = forecast.mean * truth.scale
    return Cell(text=f"{value:.1f} ({low:.1f} to {high:.1f})", value=value, low=low, high=high, deviation=forecast.deviation * truth.scale, bold=bold)


def _notes_on_candidates(first: Configuration, validated: Sequence[Validated], groups: Groups) -> Iterator[str]:
    methods = " and ".join(f"{errors.truth.title.lower()} by {errors.for_candidates}" for errors in validated)
    yield f"Forecast: {methods}, fitted on all runs; intervals cover the model and the noise between the runs that it has seen."
    yield "Bold: no other candidate is forecast to be more accurate and shorter."
    if groups.num < MIN_GROUPS:
        yield f"Only {groups.num} groups of runs: a guess, not a claim."
    yield "A feature beyond all runs: the forecast extrapolates."
    yield f"Fine-tune the first: {first.command}"


def _footnotes(runs: Sequence[Observation], groups: Groups, validated: Sequence[Validated]) -> Iterator[str]:
    num_sets, targets = len({run.training_set for run in runs}), sorted({run.target for run in runs})
    near = "; sets that share nine tenths of the smaller one's chains are one group" if groups.kind != "compressor" else ""
    yield (
        f"{len(runs)} runs with {num_sets} different compressed training sets; folds are grouped by {groups.kind}: "
        f"{groups.num} groups, none of them split between folds{near}."
    )
    if groups.num < MIN_GROUPS:
        yield f"No claim: {groups.num} groups are too few to distinguish a good forecast from a lucky one; {MIN_GROUPS} are needed."
    else:
        yield from (claim(errors, groups) for errors in validated)
    yield (
        "80/20: random splits as in the paper (second-hand). Runs of one training set are on both sides, so these errors are too small "
        "and say nothing about a training set on which nothing was fine-tuned yet."
    )
    if len(targets) == 1:
        yield f"Leave-one-target-out: not possible, all runs fine-tune {targets[0]}."
    else:
        yield f"Leave-one-target-out: {', '.join(targets)} are each forecast from the runs of the others."
    yield (
        "Errors over deviation: root mean square of errors in units of the predicted deviation; above 1 intervals are too narrow. Perplexity is "
        "measured on the compressed chains under the target before fine-tuning, given the question. Correct chains as written are the target's, "
        "or those of the teacher that wrote them; the compressor's training accuracy is the share of kept chains that still lead to their answer."
    )


def claim(validated: Validated, groups: Groups) -> str:
    """One sentence: whether the better of the two methods has smaller errors than the better trivial baseline, over groups."""
    advantage = forecasting.advantage(validated.grouped, groups.names)
    scale, unit = validated.truth.scale, validated.truth.unit
    errors: Mapping[str, float] = {name: forecasting.skill_of(validated.grouped[name]).mae * scale for name in (advantage.method, advantage.trivial)}
    verdict = f"{'better' if advantage.less > 0 else 'worse'} beyond noise" if advantage.is_real else "within noise"
    return (
        f"{validated.truth.title}: {advantage.method} errs by {errors[advantage.method]:.1f} {unit}, the better trivial baseline "
        f"({advantage.trivial}) by {errors[advantage.trivial]:.1f}; a difference of {-advantage.less * scale:+.1f} {unit} "
        f"with every group counted once ({-advantage.high * scale:+.1f} to {-advantage.low * scale:+.1f} over {groups.num} groups): {verdict}."
    )
