"""`cotexp forecast`: forecasts of accuracy and length before fine-tuning, from finished runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from cotexp import extras, progress
from cotexp.commands.declared_reports import grid
from cotexp.commands.report import publish, target_of
from cotexp.invocation import run_command
from cotexp.jobs.stored_training_sets import Lookup
from cotexp.methods import forecasting
from cotexp.report import forecast, forecast_data
from cotexp.report.arms import labels
from cotexp.report.expected_runs import GridPoint, expected_of, place_of
from cotexp.report.finished_runs import Flat, listed
from cotexp.report.forecast import Configuration
from cotexp.report.papers import USUAL
from cotexp.settings.base import RunFailed


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
    configurations, refused = look_up(points, outputs, comparable.runs[0].conditions)
    report = forecast.make(list(dict.fromkeys(names)), comparable, configurations, refused)
    publish(report, formats, target, paper)


def look_up(points: Sequence[GridPoint], outputs: Path, conditions: Flat) -> tuple[list[Configuration], list[str]]:
    """The configurations of points that are compressed and not fine-tuned, and lines about the other points by reason. Seeds do not count.

    A point is also refused if it would be trained or measured under other conditions than the runs to learn from.
    """
    lookup, configurations = Lookup(), dict[str, Configuration]()
    reasons: dict[str, list[str]] = {}
    with progress.bar("candidates", len(points)) as advance:
        for point, label in zip(points, _labels(points), strict=True):
            settings = dataclasses.replace(point.settings, paths=dataclasses.replace(point.settings.paths, outputs=str(outputs)))
            try:
                candidate = lookup.candidate(settings)
                if candidate.is_trained:
                    raise RunFailed("already fine-tuned")
                if difference := forecast_data.unlike(forecast_data.conditions_of(dataclasses.asdict(settings), candidate.answers), conditions):
                    raise RunFailed(f"not comparable with the runs: {difference}")
                features = forecasting.features_of(candidate.metrics, settings.mixture.full_ratio)
                command = run_command([*point.overrides, *place_of(outputs)])
                configurations.setdefault(label, Configuration(label=label, command=command, features=list(features.values())))
            except RunFailed as error:
                reasons.setdefault(str(error), []).append(f"{label}, seed={settings.seed}")
            advance()
    return list(configurations.values()), [f"candidates {listed(names_of_points)}: {reason}" for reason, names_of_points in reasons.items()]


def _labels(points: Sequence[GridPoint]) -> list[str]:
    """The label of each point, without its seed."""
    expected = [run for point in points for run in expected_of([point], forecast_data.MODE)]
    distinct = list({tuple(sorted(run.identity.items())): run for run in expected}.values())
    label_of = {tuple(sorted(run.identity.items())): label for run, label in zip(distinct, labels(distinct), strict=True)}
    return [label_of[tuple(sorted(run.identity.items()))] for run in expected]
