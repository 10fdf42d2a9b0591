"""Forecasts on made-up runs whose law is known; groups, folds and scores by hand."""

from __future__ import annotations

import math
import random

import pytest

from cotexp.methods.folds import folds_by_target, grouped_folds, groups_of, random_folds, shared_sets
from cotexp.methods.forecasting import (
    FEATURES,
    METHODS,
    Forecast,
    advantage,
    cross_validate,
    effects,
    features_of,
    outside,
    predict,
    skill_of,
)

RATIO, PERPLEXITY = list(FEATURES).index("compression_ratio"), list(FEATURES).index("log_perplexity")


def made_up_runs(num_groups: int, runs_each: int, noise: float) -> tuple[list[list[float]], list[float], list[str]]:
    """Features, accuracies and groups: accuracy = 0.2 + 0.8 ratio - 0.05 log perplexity, with noise; features are those of the group."""
    draw = random.Random(0)
    features, truths, groups = [], [], []
    for group in range(num_groups):
        own = [draw.uniform(0.2, 0.9), draw.uniform(0, 4), 82.0, 1.0, draw.uniform(0.9, 1), draw.uniform(1, 8), 0.0]
        for run in range(runs_each):
            features.append([*own[:-1], (0.25, 0.75)[run % 2]])
            truths.append(0.2 + 0.8 * own[RATIO] - 0.05 * own[PERPLEXITY] + draw.gauss(0, noise))
            groups.append(f"set {group}")
    return features, truths, groups


@pytest.mark.slow
def test_a_planted_linear_law_is_recovered_on_groups_never_seen() -> None:
    features, truths, groups = made_up_runs(12, 3, noise=0.01)
    forecasts = {each: cross_validate(each, features, truths, grouped_folds(groups)) for each in METHODS}
    ridge, ratio, mean = (skill_of(forecasts[each]) for each in ("Bayesian ridge", "compression ratio alone", "mean"))
    assert ridge.r2 is not None
    assert ridge.r2 > 0.98
    assert ridge.mae < 0.015 < 0.03 < ratio.mae < mean.mae
    assert ridge.rank_correlation is not None
    assert ridge.rank_correlation > 0.95
    assert ridge.covered[0.95] > 0.85
    assert 0.6 < ridge.residual < 1.5, "predicted deviations are of the size of the noise"
    found = advantage(forecasts, groups)
    assert (found.method, found.trivial, found.is_real) == ("Bayesian ridge", "compression ratio alone", True)
    assert 0.01 < found.low < found.less < found.high


def test_the_change_per_feature_is_the_planted_one_and_a_constant_feature_has_none() -> None:
    features, truths, _ = made_up_runs(40, 2, noise=0.005)
    found = dict(zip(FEATURES, effects(features, truths), strict=True))
    spread = {name: math.sqrt(sum((each - sum(own) / len(own)) ** 2 for each in own) / len(own)) for name, own in columns(features).items()}
    for name, slope in (("compression_ratio", 0.8), ("log_perplexity", -0.05), ("num_rounds", 0.0), ("full_ratio", 0.0)):
        effect = found[name]
        assert effect is not None
        assert effect.change == pytest.approx(slope * spread[name], abs=4 * effect.deviation)
        assert effect.deviation < 0.002
    assert found["num_tokens_original"] is found["correct_ratio"] is None


def columns(features: list[list[float]]) -> dict[str, tuple[float, ...]]:
    return dict(zip(FEATURES, zip(*features, strict=True), strict=True))


@pytest.mark.slow
def test_a_feature_that_only_names_the_group_has_no_skill_in_grouped_folds_and_much_in_random_splits() -> None:
    """Accuracies are drawn group by group at random: nothing can be learnt of a group from others."""
    draw = random.Random(1)
    groups = [f"set {number // 4}" for number in range(40)]
    accuracy_of = {each: draw.random() for each in groups}
    number_of = {each: float(index) for index, each in enumerate(dict.fromkeys(groups))}
    features = [[number_of[each]] + [0.0] * (len(FEATURES) - 1) for each in groups]
    truths = [accuracy_of[each] + draw.gauss(0, 0.01) for each in groups]
    honest = skill_of(cross_validate("random forest", features, truths, grouped_folds(groups)))
    leaking = skill_of(cross_validate("random forest", features, truths, random_folds(len(groups))))
    assert honest.r2 is not None
    assert leaking.r2 is not None
    assert honest.r2 < 0.2
    assert leaking.r2 > 0.95
    forecasts = {each: cross_validate(each, features, truths, grouped_folds(groups)) for each in METHODS}
    assert not advantage(forecasts, groups).low > 0


# --- groups and folds ----------------------------------------------------------------------------------------------------


def chains(*numbers: int) -> frozenset[str]:
    return frozenset(map(str, numbers))


def test_equal_and_nearly_equal_training_sets_are_one_group() -> None:
    ten = chains(*range(10))
    nine_of_ten, eight_of_ten = chains(*range(9), 90), chains(*range(8), 80, 81)
    assert shared_sets([ten, eight_of_ten, ten]) == ["set 0", "set 1", "set 0"]
    assert len(set(shared_sets([ten, nine_of_ten]))) == 1
    assert len(set(shared_sets([ten, chains(0, 1, 2)]))) == 1, "all of the smaller one is in the larger"
    linked = chains(*range(1, 9), 90, 91)
    assert len(ten & linked) == 8
    assert len(set(shared_sets([ten, linked, nine_of_ten]))) == 1, "each is nearly equal to the one between them"


def test_five_compressors_are_the_groups_and_fewer_are_not() -> None:
    sets = [chains(number) for number in range(6)]
    assert groups_of(list("abcdea"), sets) == ("compressor", list("abcdea"))
    shared = [*sets[:5], sets[1]]
    assert groups_of(list("abcdef"), shared) == ("compressor", list("abcdeb")), "f wrote the set of b"
    assert groups_of(list("abcdefb"), [*shared[:5], sets[0], sets[1]]) == ("compressor", list("abcdeab"))
    assert len(set(groups_of(list("abcdefa"), [*sets[:5], sets[1], sets[1]]).names)) == 4, "a and f wrote the set of b"
    kind, names = groups_of(list("abcdaa"), sets)
    assert kind == "compressed training set"
    assert len(set(names)) == 6


def test_folds_keep_groups_whole_and_ask_for_every_run_once() -> None:
    groups = [f"set {number % 7}" for number in range(30)]
    folds = grouped_folds(groups)
    assert len(folds) == 5
    assert sorted(run for _, test in folds for run in test) == list(range(30))
    for fit, test in folds:
        assert {groups[each] for each in fit}.isdisjoint(groups[each] for each in test)
        assert sorted(fit + test) == list(range(30))
    assert len(grouped_folds(["a", "b", "b"])) == 2, "as many folds as groups where there are fewer than five"
    assert all(len(test) == 6 for _, test in random_folds(30))


def test_a_target_is_forecast_from_the_others_and_never_from_itself() -> None:
    assert folds_by_target(["small", "large", "small"]) == [([0, 2], [1]), ([1], [0, 2])]
    assert folds_by_target(["small", "small"]) == []


# --- scores --------------------------------------------------------------------------------------------------------------


def test_skill_is_what_a_hand_computes() -> None:
    """Errors 1, 0, -2 on truths 1, 2, 6 (mean 3, squares around it 14): R2 = 1 - 5 / 14. Over deviations of 1 they are 1, 0, 2."""
    found = skill_of([Forecast(0, 2.0, 1.0, 1.0), Forecast(1, 2.0, 1.0, 2.0), Forecast(2, 4.0, 1.0, 6.0)])
    assert found.r2 == pytest.approx(1 - 5 / 14)
    assert found.mae == pytest.approx(1.0)
    assert found.residual == pytest.approx(math.sqrt(5 / 3))
    assert found.covered == {0.5: pytest.approx(1 / 3), 0.8: pytest.approx(2 / 3), 0.95: pytest.approx(2 / 3)}
    assert found.rank_correlation == pytest.approx(math.sqrt(3) / 2), "ranks 1.5, 1.5, 3 against 1, 2, 3"


def test_what_is_not_defined_is_none() -> None:
    found = skill_of([Forecast(0, 0.5, 0.1, 1.0), Forecast(1, 0.5, 0.1, 1.0)])
    assert (found.r2, found.rank_correlation) == (None, None)


def test_an_interval_is_normal_and_stays_within_what_is_possible() -> None:
    low, high = Forecast(0, 0.5, 0.1).interval()
    assert (low, high) == (pytest.approx(0.5 - 0.196, abs=1e-4), pytest.approx(0.5 + 0.196, abs=1e-4))
    assert Forecast(0, 0.95, 0.1).interval(high=1.0).high == 1.0
    assert Forecast(0, 3.0, 9.0).interval().low == 0.0


def test_every_group_counts_once_in_an_advantage() -> None:
    """The baseline errs by 3 in one run of group a and by 1 in three runs of b, the method by 1 everywhere: (2 + 0) / 2 less."""

    def all_off_by(*errors: float) -> list[Forecast]:
        return [Forecast(run, error, 1.0, 0.0) for run, error in enumerate(errors)]

    forecasts = {
        "mean": all_off_by(9, 9, 9, 9),
        "compression ratio alone": all_off_by(3, 1, 1, 1),
        "Bayesian ridge": all_off_by(1, 1, 1, 1),
        "random forest": all_off_by(2, 2, 2, 2),
    }
    found = advantage(forecasts, ["a", "b", "b", "b"])
    assert (found.method, found.trivial, found.less) == ("Bayesian ridge", "compression ratio alone", 1.0)
    assert not found.is_real, "two groups, one of them without a difference"


@pytest.mark.parametrize("method", METHODS)
def test_one_run_and_equal_truths_are_forecast_without_a_warning(method: str) -> None:
    one = [0.5, 1.0, 80.0, 1.0, 1.0, 2.0, 0.5]
    for fit, truths in (([one], [0.7]), ([one, one, one], [0.7, 0.7, 0.7])):
        (found,) = predict(method, fit, truths, [one])
        assert found.mean == pytest.approx(0.7)
        assert math.isfinite(found.deviation)


def test_no_method_forecasts_what_cannot_be() -> None:
    fit = [[ratio, 1.0, 80.0, 1.0, 1.0, 2.0, 0.5] for ratio in (0.2, 0.3, 0.4)]
    asked = [[ratio, *fit[0][1:]] for ratio in (0.05, 0.9)]
    beyond = predict("compression ratio alone", fit, [0.1, 0.5, 0.9], asked)
    assert beyond[1].mean > 1
    assert [each.mean for each in predict("compression ratio alone", fit, [0.1, 0.5, 0.9], asked, most=1.0)] == [0.0, 1.0]


# --- features and candidates -----------------------------------------------------------------------------------------------


def test_features_are_read_from_a_runs_metrics() -> None:
    metrics = {
        "compression/compression_ratio": 0.4,
        "compression/perplexity": math.e**2,
        "compression/num_tokens_original_mean": 82.5,
        "compression/answer_kept_ratio": 0.9,
        "compression/num_kept_round_mean": 5.5,
        "rationales/num_correct": 30,
        "rationales/num_written": 40,
    }
    assert list(features_of(metrics, 0.25).values()) == pytest.approx([0.4, 2.0, 82.5, 0.75, 0.9, 5.5, 0.25])
    assert list(features_of(metrics, 0.25)) == list(FEATURES)
    assert FEATURES["correct_ratio"] == "share of correct chains as written", "a teacher may have written them"
    del metrics["compression/perplexity"]
    with pytest.raises(KeyError, match="compression/perplexity"):
        features_of(metrics, 0.25)


def test_a_candidate_beyond_all_runs_is_named_by_the_features_that_are() -> None:
    runs = [[0.3, 1.0, 80.0, 1.0, 1.0, 2.0, 0.5], [0.6, 2.0, 80.0, 1.0, 1.0, 8.0, 0.5]]
    assert outside(runs, [0.6, 1.5, 80.0, 1.0, 1.0, 2.0, 0.5]) == []
    assert outside(runs, [0.7, 1.5, 80.0, 1.0, 1.0, 2.0, 0.25]) == ["compression_ratio", "full_ratio"]
