"""Validation of forecasts: accuracy and tokens of every run, forecast from runs with other training sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cotexp.methods import folds, forecasting
from cotexp.methods.folds import Fold, Groups
from cotexp.methods.forecasting import METHODS, Forecast
from cotexp.report.forecast_data import Observation


class Truth(NamedTuple):
    """A quantity to forecast: name, title, the unit in which it is shown, the factor to that unit, and its upper bound."""

    name: str
    title: str
    unit: str
    scale: float
    most: float


ACCURACY = Truth("accuracy", "Test accuracy", "points", 100, 1.0)
NUM_TOKENS = Truth("num_tokens", "Test tokens", "tokens", 1, float("inf"))
TRUTHS = (ACCURACY, NUM_TOKENS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Validated:
    """Forecasts of one quantity by every method: in grouped folds, in random splits, and for each target from the others (empty for one target)."""

    truth: Truth
    grouped: dict[str, list[Forecast]]
    random: dict[str, list[Forecast]]
    by_target: dict[str, list[Forecast]]

    @property
    def best(self) -> str:
        """The method with the smallest error in grouped folds, without the trivial baselines."""
        return forecasting.best_of([method for method in METHODS if method not in forecasting.TRIVIAL], self.grouped)

    @property
    def for_candidates(self) -> str:
        """The method with the smallest error, trivial baselines included."""
        return forecasting.best_of(list(METHODS), self.grouped)


def validate(truth: Truth, runs: Sequence[Observation], groups: Groups) -> Validated:
    """Every method's forecasts of one quantity."""
    features, truths = [run.features for run in runs], [getattr(run, truth.name) for run in runs]

    def by(folds: Sequence[Fold]) -> dict[str, list[Forecast]]:
        return {method: forecasting.cross_validate(method, features, truths, folds, most=truth.most) for method in METHODS} if folds else {}

    return Validated(
        truth=truth,
        grouped=by(folds.grouped_folds(groups.names)),
        random=by(folds.random_folds(len(runs))),
        by_target=by(folds.folds_by_target([run.target for run in runs])),
    )
