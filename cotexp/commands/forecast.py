"""`cotexp forecast`: forecasts of accuracy and length before fine-tuning, from finished runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from cotexp import extras, flow, progress
from cotexp.commands.declared_reports import grid
from cotexp.commands.report import publish, target_of
from cotexp.invocation import run_command
from cotexp.jobs.pipeline import make_context
from cotexp.jobs.stored_training_sets import Lookup
from cotexp.methods import forecasting
from cotexp.report import forecast, forecast_data
from cotexp.report.arms import labels
from cotexp.report.expected_runs import GridPoint, expected_of, place_of
from cotexp.report.finished_runs import identity_of, listed, name_of
from cotexp.report.forecast import Configuration
from cotexp.report.forecast_data import Observation
from cotexp.report.papers import USUAL
from cotexp.settings.base import RunFailed
from cotexp.settings.root import Settings

TRAINED = "already fine-tuned"
TRAINED_WITH_ANOTHER_SEED = "already fine-tuned with another seed"


def forecast_experiments(
    names: Sequence[str],
    *,
    outputs: Path,
    candidates: Sequence[str] = (),
    formats: Sequence[str] = ("md",),
    folder: Path | None = None,
    paper: str = USUAL,
) -> None:
    """Print and write how well finished runs predict each other, and rank the points of `candidates` that are not fine-tuned yet.

    `candidates` are arguments of `cotexp run -m`; one without "=" is the name of a sweep.
    Raises: ConfigError for an unknown name or bad overrides, or too few runs.
    """
    extras.check("forecast", "cotexp forecast")
    target = folder or target_of(names, outputs, "forecast")
    points = grid(tuple(name if "=" in name else f"sweep={name}" for name in candidates)) if candidates else []
    comparable = forecast_data.find(list(dict.fromkeys(names)), outputs)
    configurations, refused = look_up(points, outputs, comparable.runs)
    report = forecast.make(list(dict.fromkeys(names)), comparable, configurations, refused)
    publish(report, formats, target, paper)


def look_up(points: Sequence[GridPoint], outputs: Path, runs: Sequence[Observation]) -> tuple[list[Configuration], list[str]]:
    """The configurations of points that are compressed and not fine-tuned with any seed, and lines about the other points by reason.

    A point is also refused if it would be trained or measured under other conditions than the `runs` to learn from, or if its outcome is theirs.
    """
    lookup, found = Lookup(), dict[str, list[tuple[int, Configuration]]]()
    reasons: dict[str, list[tuple[str, int]]] = {}
    with progress.bar("candidates", len(points)) as advance:
        for point, label in zip(points, _labels(points), strict=True):
            settings = dataclasses.replace(point.settings, paths=dataclasses.replace(point.settings.paths, outputs=str(outputs)))
            try:
                features = _features(settings, lookup, runs)
                command = run_command([*point.overrides, *place_of(outputs)])
                found.setdefault(label, []).append((settings.seed, Configuration(label=label, command=command, features=features)))
            except RunFailed as error:
                reasons.setdefault(str(error), []).append((label, settings.seed))
            advance()
    for label in dict.fromkeys(label for label, _ in reasons.get(TRAINED, ())):
        if others := found.pop(label, None):
            reasons.setdefault(TRAINED_WITH_ANOTHER_SEED, []).extend((label, seed) for seed, _ in others)
    lines = [f"candidates {listed([f'{label}, seed={seed}' for label, seed in left])}: {reason}" for reason, left in reasons.items()]
    return [of_seeds[0][1] for of_seeds in found.values()], lines


def _features(settings: Settings, lookup: Lookup, runs: Sequence[Observation]) -> list[float]:
    """The features of a candidate. Raises: RunFailed with the reason if it cannot be forecast or needs no forecast."""
    candidate, of_run = lookup.candidate(settings), dataclasses.asdict(settings)
    if candidate.is_trained:
        raise RunFailed(TRAINED)
    if difference := forecast_data.unlike(forecast_data.conditions_of(of_run, candidate.answers), runs[0].conditions):
        raise RunFailed(f"not comparable with the runs: {difference}")
    features = list(forecasting.features_of(candidate.metrics, settings.mixture.full_ratio).values())
    identity = identity_of(of_run, forecast_data.MODE)
    if any(identity == run.identity for run in runs):
        raise RunFailed(TRAINED_WITH_ANOTHER_SEED)
    ratio = list(forecasting.FEATURES).index("compression_ratio")
    alike = [run for run in runs if run.features[ratio] == features[ratio] and forecast_data.trains_alike(identity, run.identity)]
    if alike:  # equal chains have equal ratios, so that few candidates are read twice
        chains = _training_set(settings)
        if twins := [run.folder for run in alike if run.training_set == chains]:
            same = f"{name_of(twins[0], Path(settings.paths.outputs))}/{twins[0].name}"
            raise RunFailed(f"already fine-tuned on the same compressed chains by {same}")
    return features


def _training_set(settings: Settings) -> frozenset[str]:
    context = make_context(settings, plan=True)
    with flow.looking(context):
        made = flow.training_set(context, flow.Walk())
    return forecast_data.training_set_of((each.rationale_id, each.text) for each in made.kept)


def _labels(points: Sequence[GridPoint]) -> list[str]:
    """The label of each point, without its seed."""
    expected = [run for point in points for run in expected_of([point], forecast_data.MODE)]
    distinct = list({tuple(sorted(run.identity.items())): run for run in expected}.values())
    label_of = {tuple(sorted(run.identity.items())): label for run, label in zip(distinct, labels(distinct), strict=True)}
    return [label_of[tuple(sorted(run.identity.items()))] for run in expected]
