"""Test accuracy and answer length of a fine-tuned model, forecast from its compressed training set before anything is fine-tuned.

Source: MACC (EMNLP 2025, arXiv 2509.22144) for the idea and for compression ratio and perplexity as features; second-hand: the other
features except the share of full chains, Bayesian ridge and a random forest, five folds and an 80/20 split.
Differs from MACC, which does not say whether its folds are grouped: no fold here tests on a compressed training set that
equals or nearly equals one that it was fitted on. Axes: N runs, F features.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

from cotexp.methods.folds import Fold
from cotexp.methods.statistics import Interval, bootstrap_interval, mean

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

FEATURES = {
    "compression_ratio": "compression ratio",
    "log_perplexity": "log perplexity",
    "num_tokens_original": "tokens of a full chain",
    "correct_ratio": "share of correct chains as written",
    "compressor_accuracy": "answers that the compressor kept",
    "num_rounds": "rounds",
    "full_ratio": "share of full chains",
}
"""Name -> title for readers. Perplexity is that of the compressed chains under the target before fine-tuning, given the question. The share of
correct chains is that of their writer: the target's training accuracy in MACC, a teacher's where one writes."""

NUM_TREES = 100
COVERAGES = (0.5, 0.8, 0.95)


def features_of(metrics: Mapping[str, float], full_ratio: float) -> dict[str, float]:
    """The features of one compressed training set. Raises: KeyError with the name of a missing metric."""
    return {
        "compression_ratio": metrics["compression/compression_ratio"],
        "log_perplexity": math.log(metrics["compression/perplexity"]),
        "num_tokens_original": metrics["compression/num_tokens_original_mean"],
        "correct_ratio": metrics["rationales/num_correct"] / metrics["rationales/num_written"],
        "compressor_accuracy": metrics["compression/answer_kept_ratio"],
        "num_rounds": metrics["compression/num_kept_round_mean"],
        "full_ratio": full_ratio,
    }


# --- methods -------------------------------------------------------------------------------------------------------------


class Predicted(NamedTuple):
    """Means and standard deviations, one per run."""

    means_N: Array
    deviations_N: Array


def _mean(fit_NF: Array, truths_N: Array, asked_NF: Array) -> Predicted:
    import numpy as np

    deviation = float(np.std(truths_N, ddof=1)) if len(truths_N) > 1 else 0.0
    return Predicted(np.full(len(asked_NF), truths_N.mean()), np.full(len(asked_NF), deviation))


def _ridge(fit_NF: Array, truths_N: Array, asked_NF: Array) -> Predicted:
    from sklearn.linear_model import BayesianRidge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), BayesianRidge()).fit(fit_NF, truths_N)
    return Predicted(*model.predict(asked_NF, return_std=True))


def _ratio_alone(fit_NF: Array, truths_N: Array, asked_NF: Array) -> Predicted:
    column = [list(FEATURES).index("compression_ratio")]
    return _ridge(fit_NF[:, column], truths_N, asked_NF[:, column])


def _forest(fit_NF: Array, truths_N: Array, asked_NF: Array) -> Predicted:
    """The deviation combines the spread of the trees with their error on out-of-bag runs."""
    import numpy as np
    from sklearn.ensemble import RandomForestRegressor

    if len(truths_N) < 2:
        return _mean(fit_NF, truths_N, asked_NF)
    forest = RandomForestRegressor(n_estimators=NUM_TREES, oob_score=True, random_state=0).fit(fit_NF, truths_N)
    missed = float(np.mean((forest.oob_prediction_ - truths_N) ** 2))
    trees = np.stack([each.predict(asked_NF) for each in forest.estimators_])
    return Predicted(trees.mean(axis=0), np.sqrt(trees.var(axis=0) + missed))


METHODS: dict[str, Callable[[Array, Array, Array], Predicted]] = {
    "mean": _mean,
    "compression ratio alone": _ratio_alone,
    "Bayesian ridge": _ridge,
    "random forest": _forest,
}
TRIVIAL = ("mean", "compression ratio alone")


# --- forecasts and their skill ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Forecast:
    """The forecast for one run, given by its index, and the measured value; None if it is not measured yet."""

    run: int
    mean: float
    deviation: float
    truth: float | None = None

    def interval(self, coverage: float = 0.95, *, high: float = math.inf) -> Interval:
        """The interval that contains the truth with this probability, within 0 and `high`."""
        half = NormalDist().inv_cdf((1 + coverage) / 2) * self.deviation
        return Interval(max(0.0, self.mean - half), min(high, self.mean + half))


def predict(
    method: str, fit: Sequence[Sequence[float]], truths: Sequence[float], asked: Sequence[Sequence[float]], *, most: float = math.inf
) -> list[Forecast]:
    """Forecasts for the features `asked` by a method that is fitted on the features `fit` and `truths` of finished runs.

    The forecasts of every method are limited to 0 and `most`, so that impossible values count against no method.
    """
    import numpy as np

    found = METHODS[method](np.asarray(fit, dtype=float), np.asarray(truths, dtype=float), np.asarray(asked, dtype=float))
    return [Forecast(run, min(most, max(0.0, float(mean))), float(deviation)) for run, (mean, deviation) in enumerate(zip(*found, strict=True))]


def cross_validate(
    method: str, features: Sequence[Sequence[float]], truths: Sequence[float], folds: Sequence[Fold], *, most: float = math.inf
) -> list[Forecast]:
    """Each run of each fold, forecast by a method that saw only the fold's other runs."""
    found = []
    for fit, test in folds:
        predicted = predict(method, [features[i] for i in fit], [truths[i] for i in fit], [features[i] for i in test], most=most)
        found += [Forecast(run, each.mean, each.deviation, truths[run]) for run, each in zip(test, predicted, strict=True)]
    return found


@dataclass(frozen=True, slots=True)
class Skill:
    """Quality of forecasts. `r2` and `rank_correlation` (Spearman's) are None if they are not defined.

    Calibration: `covered` is the share of truths inside the intervals for 50, 80 and 95 %; `residual` is the root mean square of
    errors over predicted deviations, 1 where these are right, above where they are too small, None where one of them is 0.
    """

    num_forecasts: int
    r2: float | None
    mae: float
    rank_correlation: float | None
    covered: dict[float, float]
    residual: float | None


def skill_of(forecasts: Sequence[Forecast]) -> Skill:
    """The skill of forecasts whose truths are known."""
    truths = [each.truth for each in forecasts if each.truth is not None]
    assert len(truths) == len(forecasts) > 0
    errors = [each.mean - truth for each, truth in zip(forecasts, truths, strict=True)]
    centre = mean(truths)
    total = math.fsum((each - centre) ** 2 for each in truths)
    normal = NormalDist()
    inside = {each: normal.inv_cdf((1 + each) / 2) for each in COVERAGES}
    standardised = [abs(error) / max(each.deviation, 1e-12) for error, each in zip(errors, forecasts, strict=True)]
    return Skill(
        num_forecasts=len(forecasts),
        r2=1 - math.fsum(each * each for each in errors) / total if total else None,
        mae=mean([abs(each) for each in errors]),
        rank_correlation=_rank_correlation([each.mean for each in forecasts], truths),
        covered={coverage: mean([each <= most for each in standardised]) for coverage, most in inside.items()},
        residual=math.sqrt(mean([each * each for each in standardised])) if all(each.deviation > 0 for each in forecasts) else None,
    )


def _rank_correlation(forecasts: Sequence[float], truths: Sequence[float]) -> float | None:
    if len(set(forecasts)) < 2 or len(set(truths)) < 2:
        return None
    from scipy.stats import spearmanr

    return float(spearmanr(forecasts, truths).statistic)


class Advantage(NamedTuple):
    """The amount by which the error of `method` is smaller than that of the best `trivial` baseline: mean over groups, 95 % bootstrap interval."""

    method: str
    trivial: str
    less: float
    low: float
    high: float

    @property
    def is_real(self) -> bool:
        return self.low > 0 or self.high < 0


def advantage(forecasts: Mapping[str, Sequence[Forecast]], groups: Sequence[str]) -> Advantage:
    """The advantage of the method with the smallest error over the trivial baseline with the smallest error; every group has the same weight."""
    errors = {method: _errors_by_group(predicted, groups) for method, predicted in forecasts.items()}
    method, trivial = best_of([each for each in forecasts if each not in TRIVIAL], forecasts), best_of(TRIVIAL, forecasts)
    less = [errors[trivial][group] - errors[method][group] for group in sorted(set(groups))]
    return Advantage(method, trivial, mean(less), *bootstrap_interval(less))


def best_of(methods: Sequence[str], forecasts: Mapping[str, Sequence[Forecast]]) -> str:
    """The method with the smallest mean absolute error."""
    return min(methods, key=lambda each: skill_of(forecasts[each]).mae)


def _errors_by_group(forecasts: Sequence[Forecast], groups: Sequence[str]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for each in forecasts:
        assert each.truth is not None
        found.setdefault(groups[each.run], []).append(abs(each.mean - each.truth))
    return {group: mean(errors) for group, errors in found.items()}


class Effect(NamedTuple):
    """Change of the forecast of Bayesian ridge for one more standard deviation of a feature, and the deviation of that change."""

    change: float
    deviation: float


def effects(features: Sequence[Sequence[float]], truths: Sequence[float]) -> list[Effect | None]:
    """The effect of every feature, fitted on all runs; None for a feature that is the same in all of them."""
    import numpy as np
    from sklearn.linear_model import BayesianRidge
    from sklearn.preprocessing import StandardScaler

    model = BayesianRidge().fit(StandardScaler().fit_transform(np.asarray(features, dtype=float)), np.asarray(truths, dtype=float))
    varied = [len(set(column)) > 1 for column in zip(*features, strict=True)]
    found = zip(model.coef_, np.sqrt(np.diag(model.sigma_)), strict=True)
    return [Effect(float(change), float(deviation)) if differs else None for differs, (change, deviation) in zip(varied, found, strict=True)]


def outside(features: Sequence[Sequence[float]], asked: Sequence[float]) -> list[str]:
    """Names of the features in which `asked` is beyond every finished run, so that a forecast extrapolates."""
    columns = zip(FEATURES, zip(*features, strict=True), asked, strict=True)
    return [name for name, column, value in columns if not min(column) - 1e-9 <= value <= max(column) + 1e-9]
