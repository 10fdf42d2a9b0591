"""Metrics against cases computed by hand, formulas written out, scipy and statsmodels."""

from __future__ import annotations

from math import exp, isnan, sqrt

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sample_records import compressed, prediction, rationale, score

from cotexp.methods.statistics import (
    Interval,
    accuracy_metrics,
    bootstrap_interval,
    compression_metrics,
    difficulty_metrics,
    mean,
    mean_and_deviation,
    perplexity,
    perplexity_interval,
    perplexity_metrics,
    ratio_metrics,
    share_interval,
    wilson,
)
from cotexp.records import Likelihood, Score

SHARES = st.lists(st.sampled_from([0.0, 0.25, 1 / 3, 0.5, 2 / 3, 1.0]), min_size=1, max_size=40)


def test_wilsons_interval_of_81_in_263_is_the_one_in_the_literature() -> None:
    """Source: R. G. Newcombe (1998), Statistics in Medicine 17, 857-872, table I: 0.2553 to 0.3662."""
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


@pytest.mark.parametrize(("successes", "total"), [(0, 20), (1, 29), (15, 148), (250, 500), (500, 500), (1, 1)])
def test_wilsons_interval_solves_its_quadratic(successes: int, total: int) -> None:
    z, p = 1.959963984540054, successes / total
    middle, spread = p + z**2 / (2 * total), z * sqrt(p * (1 - p) / total + z**2 / (4 * total**2))
    expected = ((middle - spread) / (1 + z**2 / total), (middle + spread) / (1 + z**2 / total))
    assert wilson(successes, total) == pytest.approx(expected, abs=1e-9)


@given(successes=st.integers(0, 60), more=st.integers(1, 60), confidence=st.sampled_from([0.8, 0.95, 0.99]))
@settings(max_examples=50)
def test_wilsons_interval_is_that_of_statsmodels_and_holds_the_proportion(successes: int, more: int, confidence: float) -> None:
    from statsmodels.stats.proportion import proportion_confint

    total = successes + more
    interval = wilson(successes, total, confidence)
    assert interval == pytest.approx(proportion_confint(successes, total, 1 - confidence, method="wilson"), abs=1e-9)
    assert interval.low <= successes / total <= interval.high


@pytest.mark.parametrize(("total", "points"), [(1319, 2.7), (500, 4.4), (30, 17.9)])
def test_half_widths_at_50_percent_are_those_of_the_methods_page(total: int, points: float) -> None:
    """METHODS section 4 gives the normal half-width; Wilson's differs from it on AIME24 alone (16.8)."""
    assert 100 * 1.959963984540054 * 0.5 / sqrt(total) == pytest.approx(points, abs=0.05)
    interval = wilson(total // 2, total)
    assert 100 * (interval.high - interval.low) / 2 == pytest.approx(points if total > 30 else 16.8, abs=0.06)


def test_wilsons_interval_without_observations_is_everything() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


def test_a_wider_confidence_gives_a_wider_interval() -> None:
    assert wilson(30, 60, 0.99).low < wilson(30, 60).low < wilson(30, 60).high < wilson(30, 60, 0.99).high


def test_accuracy_counts_every_question_in_the_denominator() -> None:
    metrics = accuracy_metrics(
        [
            prediction("a", correct=True, num_cot_tokens=10),
            prediction("b", correct=True, num_cot_tokens=20),
            prediction("c", num_cot_tokens=30),
            prediction("d", num_cot_tokens=60, extracted=None, finish_reason="length"),
            prediction("e", num_cot_tokens=80, extracted=None),
        ]
    )
    assert metrics["accuracy"] == 2 / 5
    assert (metrics["num_questions"], metrics["num_unparsable"], metrics["num_truncated"]) == (5, 2, 1)
    assert (metrics["num_cot_tokens"], metrics["num_tokens"]) == (40, 46)
    assert (metrics["accuracy_low"], metrics["accuracy_high"]) == wilson(2, 5)


def test_the_three_rules_and_their_flips_are_counted_apart() -> None:
    metrics = accuracy_metrics(
        [
            prediction("a", correct=True, math_verify=True),
            prediction("b", correct=False, lenient=True, math_verify=True),
            prediction("c", correct=True, lenient=True, math_verify=False, timed_out=True),
            prediction("d", correct=False, lenient=True, math_verify=False),
        ]
    )
    assert (metrics["accuracy"], metrics["accuracy_lenient"], metrics["accuracy_math_verify"]) == (0.5, 1.0, 0.5)
    assert (metrics["num_flips_lenient"], metrics["num_flips_math_verify"], metrics["num_timed_out"]) == (2, 2, 1)


def test_math_verify_is_reported_only_where_it_applies() -> None:
    mixed = accuracy_metrics([prediction("a", correct=True, math_verify=False), prediction("b")])
    assert "accuracy_math_verify" not in mixed
    assert mixed["num_flips_math_verify"] == 1
    assert not [name for name in accuracy_metrics([prediction("a")]) if "math_verify" in name]


def test_avg_at_k_is_the_mean_share_and_every_question_counts_the_same() -> None:
    labels = {"a": [True, True, True, False], "b": [False, False, False, True], "c": [True, True]}
    answers = [prediction(question, correct=each, sample=number) for question, own in labels.items() for number, each in enumerate(own)]
    metrics = accuracy_metrics(answers)
    assert metrics["accuracy"] == pytest.approx((3 / 4 + 1 / 4 + 1) / 3)
    assert (metrics["num_questions"], metrics["num_samples"]) == (3, pytest.approx(10 / 3))
    assert (metrics["accuracy_low"], metrics["accuracy_high"]) == share_interval([0.75, 0.25, 1.0])


def test_repeated_samples_do_not_narrow_the_interval() -> None:
    """Four copies of the same answers hold no more questions than one."""
    labels = [number % 3 == 0 for number in range(60)]
    one = accuracy_metrics([prediction(str(number), correct=each) for number, each in enumerate(labels)])
    four = accuracy_metrics([prediction(str(number), correct=each, sample=sample) for number, each in enumerate(labels) for sample in range(4)])
    assert four["accuracy"] == one["accuracy"]
    assert four["accuracy_high"] - four["accuracy_low"] == pytest.approx(one["accuracy_high"] - one["accuracy_low"], rel=0.06)


@pytest.mark.parametrize("correct", [False, True])
def test_all_equal_samples_have_wilsons_interval_on_the_number_of_questions(correct: bool) -> None:
    metrics = accuracy_metrics([prediction(str(number), correct=correct, sample=sample) for number in range(30) for sample in range(8)])
    assert (metrics["accuracy_low"], metrics["accuracy_high"]) == pytest.approx(wilson(30 * correct, 30), abs=1e-12)


def test_an_accuracy_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one prediction"):
        accuracy_metrics([])


@given(SHARES)
@example([0.0])
@example([1 / 3] * 7)
@settings(max_examples=60)
def test_a_bootstrap_interval_holds_its_mean_and_is_the_same_each_time_in_any_order(shares: list[float]) -> None:
    interval = share_interval(shares)
    assert -1e-12 <= interval.low <= mean(shares) + 1e-12
    assert mean(shares) - 1e-12 <= interval.high <= 1 + 1e-12
    assert interval == share_interval(shares) == share_interval(shares[::-1])


@pytest.mark.slow
@pytest.mark.parametrize(
    "values",
    [
        [1.0] * 12 + [0.0] * 28,
        [0.0, 0.25, 0.25, 0.5, 0.75, 1.0, 1.0, 0.5, 0.125, 0.0] * 3,
        list(np.random.default_rng(5).normal(3, 2, 400)),
        [-1.0] * 9 + [0.0] * 80 + [1.0] * 15,
    ],
)
def test_a_bootstrap_interval_is_that_of_scipy(values: list[float]) -> None:
    """Two Monte Carlo draws of 40,000: their ends differ by less than a twentieth of a standard error, or by one step of the values."""
    from scipy.stats import bootstrap

    theirs = bootstrap((values,), np.mean, n_resamples=40_000, method="percentile", rng=np.random.default_rng(1)).confidence_interval
    ours = bootstrap_interval(values, num_resamples=40_000)
    step = min(np.diff(np.unique(values))) / len(values)
    assert ours == pytest.approx(tuple(theirs), abs=max(0.05 * np.std(values) / sqrt(len(values)), step) + 1e-12)


def test_a_bootstrap_interval_of_zeros_and_ones_has_the_quantiles_of_a_binomial() -> None:
    from scipy.stats import binom

    interval = bootstrap_interval([1.0] * 30 + [0.0] * 70, num_resamples=200_000)
    assert interval == pytest.approx((binom.ppf(0.025, 100, 0.3) / 100, binom.ppf(0.975, 100, 0.3) / 100), abs=1e-9)


def test_more_confidence_widens_a_bootstrap_interval() -> None:
    values = [0.0, 0.5, 1.0, 1.0, 0.25] * 6
    wide, narrow = bootstrap_interval(values, confidence=0.99), bootstrap_interval(values, confidence=0.8)
    assert wide.low < narrow.low < mean(values) < narrow.high < wide.high


def test_equal_values_have_no_width_unless_their_range_is_known() -> None:
    assert bootstrap_interval([2.5] * 8) == (2.5, 2.5)
    unseen = wilson(0, 8).high
    assert bootstrap_interval([0.5] * 8, bounds=Interval(0, 1)) == pytest.approx((0.5 - unseen / 2, 0.5 + unseen / 2))
    with pytest.raises(ValueError, match="at least one value"):
        bootstrap_interval([])


def test_mean_and_deviation_over_seeds() -> None:
    """2, 4, 9: mean 5, squared deviations 9 + 1 + 16 = 26, divided by two."""
    assert mean_and_deviation([2, 4, 9]) == pytest.approx((5, sqrt(13)))
    alone = mean_and_deviation([0.7])
    assert (alone.mean, isnan(alone.deviation)) == (0.7, True)
    with pytest.raises(ValueError, match="at least one value"):
        mean_and_deviation([])


@given(st.lists(st.floats(0, 1), min_size=2, max_size=12))
def test_mean_and_deviation_are_those_of_numpy(values: list[float]) -> None:
    assert mean_and_deviation(values) == pytest.approx((np.mean(values), np.std(values, ddof=1)), abs=1e-12)


@given(st.floats(1e-3, 1e3), st.integers(2, 12))
def test_seeds_that_agree_have_their_value_and_no_deviation(value: float, num_seeds: int) -> None:
    """Not the 1e-16 of rounding, which a table would show as a spread."""
    assert mean_and_deviation([value] * num_seeds) == (value, 0)


def test_the_compression_ratio_is_a_ratio_of_means_and_the_other_a_mean_of_ratios() -> None:
    base = [prediction("a", num_cot_tokens=100), prediction("b", num_cot_tokens=20), prediction("unasked", num_cot_tokens=999)]
    short = [prediction("b", num_cot_tokens=20), prediction("a", num_cot_tokens=40)]
    metrics = ratio_metrics(short, base)
    assert metrics["compression_ratio"] == pytest.approx(60 / 120)
    assert metrics["compression_ratio_per_sample"] == pytest.approx((20 / 20 + 40 / 100) / 2)


def test_an_empty_chain_of_the_base_model_has_no_ratio_of_its_own() -> None:
    base = [prediction("a", num_cot_tokens=0), prediction("b", num_cot_tokens=40)]
    metrics = ratio_metrics([prediction("a", num_cot_tokens=10), prediction("b", num_cot_tokens=10)], base)
    assert metrics["compression_ratio"] == pytest.approx(20 / 40)
    assert metrics["compression_ratio_per_sample"] == pytest.approx(10 / 40)


def test_a_ratio_is_over_the_answers_that_have_a_partner() -> None:
    base = [prediction("a", num_cot_tokens=100), prediction("b", num_cot_tokens=50)]
    short = [prediction("a", num_cot_tokens=40, sample=0), prediction("a", num_cot_tokens=900, sample=1), prediction("c", num_cot_tokens=900)]
    assert ratio_metrics(short, base) == {"num_ratio_pairs": 1, "compression_ratio": 0.4, "compression_ratio_per_sample": 0.4}
    paired = [prediction("a", num_cot_tokens=60, sample=1), prediction("a", num_cot_tokens=100, sample=0)]
    assert ratio_metrics(short[:2], paired)["compression_ratio"] == pytest.approx(940 / 160)


def test_there_is_no_ratio_without_pairs_or_without_tokens() -> None:
    assert ratio_metrics([prediction("a")], [prediction("b")]) == {"num_ratio_pairs": 0}
    assert ratio_metrics([prediction("a")], [prediction("a", num_cot_tokens=0)]) == {"num_ratio_pairs": 1}


def test_every_stop_reason_is_counted_once() -> None:
    kept = [
        compressed(stop_reason="rebound", num_tokens=10, num_tokens_original=100, kept_round=1, num_rounds_run=2),
        compressed(stop_reason="rebound", num_tokens=20, num_tokens_original=100, kept_round=2, num_rounds_run=3),
        compressed(stop_reason="limit", num_tokens=30, num_tokens_original=50, kept_round=10, num_rounds_run=10),
        compressed(stop_reason="fixed_point", num_tokens=15, num_tokens_original=20, kept_round=4, num_rounds_run=5),
        compressed(stop_reason="failed", num_tokens=5, num_tokens_original=5, kept_round=0, num_rounds_run=1),
        compressed(stop_reason="answer_lost", num_tokens=10, num_tokens_original=10, kept_round=0, num_rounds_run=1),
        compressed(stop_reason="patience", num_tokens=10, num_tokens_original=15, kept_round=1, num_rounds_run=6),
    ]
    metrics = compression_metrics(kept, num_dropped=2)
    counts = {name: metrics[name] for name in ("num_rebounds", "num_limits", "num_fixed_points", "num_failed", "num_other_stops")}
    assert counts == {"num_rebounds": 2, "num_limits": 1, "num_fixed_points": 1, "num_failed": 3, "num_other_stops": 2}
    assert sum(counts.values()) == metrics["num_rationales"] + metrics["num_dropped"] == 9
    assert "num_unrecorded" not in metrics
    unrecorded = compression_metrics(kept, num_dropped=5, num_unrecorded=3)
    assert (unrecorded["num_failed"], unrecorded["num_dropped"], unrecorded["num_unrecorded"]) == (3, 5, 3), (
        "one failed and is kept, two are left out"
    )
    assert metrics["compression_ratio"] == pytest.approx(100 / 300)
    assert metrics["num_rounds_mean"] == pytest.approx(28 / 7)
    assert metrics["num_kept_round_mean"] == pytest.approx(18 / 7)


def test_pruned_chains_are_counted_by_the_ratio_they_were_pruned_to() -> None:
    kept = [
        compressed(stop_reason=reason, num_tokens=tokens, num_tokens_original=10, num_rounds_run=0, ratio=ratio)
        for reason, tokens, ratio in (("none", 5, 0.5), ("protected", 7, 0.5), ("none", 9, 0.9))
    ]
    metrics = compression_metrics(kept, num_dropped=0)
    assert metrics["compression_ratio_at_0.5"] == pytest.approx(12 / 20)
    assert metrics["compression_ratio_at_0.9"] == pytest.approx(9 / 10)
    assert metrics["num_protected"] == 1
    assert "num_protected" not in compression_metrics(
        [compressed(stop_reason="limit", num_tokens=1, num_tokens_original=2, kept_round=1, num_rounds_run=1)], num_dropped=0
    )


def test_a_mean_of_nothing_is_zero() -> None:
    assert mean([]) == 0
    assert mean([1, 2, 6]) == 3


def test_the_share_of_pairs_in_which_the_correct_rationale_is_easier() -> None:
    def scored(name: str, nll: float) -> Score:
        return score(name, num_answer_tokens=2, answer_nll_plain=nll, answer_nll_masked=-nll, answer_nll_hidden=1.0)

    rationales = [rationale(id=name, correct=name in "ab") for name in ("a", "b", "c", "unscored")]
    scores = {name: scored(name, nll) for name, nll in {"a": 1.0, "b": 3.0, "c": 2.0}.items()}
    assert difficulty_metrics(rationales, scores) == {"auc_rd_plain": 0.5, "auc_rd_masked": 0.5, "auc_rd_hidden": 0.5}
    scores["b"] = scored("b", 1.5)
    assert difficulty_metrics(rationales, scores) == {"auc_rd_plain": 1.0, "auc_rd_masked": 0.0, "auc_rd_hidden": 0.5}
    assert difficulty_metrics(rationales[:2], scores) == {}


# --- perplexities --------------------------------------------------------------------------------------------------------


def likelihood(num_tokens: int, nll: float | None) -> Likelihood:
    return Likelihood(num_tokens=num_tokens, nll=nll)


def test_a_perplexity_is_of_all_tokens_together_not_a_mean_over_texts() -> None:
    """exp((3 + 1) / (1 + 7)) = exp(0.5); a text that could not be read counts with neither."""
    texts = [likelihood(1, 3.0), likelihood(7, 1.0), likelihood(100, None), None]
    assert perplexity(texts) == pytest.approx(exp(0.5))
    assert perplexity([likelihood(0, 0.0)]) is None
    assert perplexity([likelihood(1, 1e9)]) == pytest.approx(exp(700)), "a number, not an overflow"


def test_the_interval_of_a_perplexity_is_that_of_resampled_texts_and_does_not_depend_on_their_order() -> None:
    """Against scipy's percentile bootstrap of a ratio of sums, with other random numbers."""
    from scipy.stats import bootstrap

    draw = np.random.default_rng(1)
    counts, nats = draw.integers(1, 9, size=60), draw.exponential(2.0, size=60)
    texts = [likelihood(int(count), float(nll)) for count, nll in zip(counts, nats, strict=True)]
    found = perplexity_interval([*texts, likelihood(3, None)])
    assert found
    assert found == perplexity_interval(texts[::-1])
    assert found.low < perplexity(texts) < found.high
    slow = bootstrap((nats, counts), lambda x, y, axis: np.exp(x.sum(axis) / y.sum(axis)), paired=True, method="percentile", rng=2)
    assert found == pytest.approx(slow.confidence_interval, rel=0.03)
    with pytest.raises(ValueError, match="at least one token"):
        perplexity_interval([likelihood(0, 0.0)])


def test_a_perplexity_of_few_texts_has_no_interval() -> None:
    """Resamples of one text are all equal: an interval without width would say that the perplexity is known exactly."""
    texts = [likelihood(3, nll) for nll in (1.0, 2.0, 3.0, 4.0, 5.0)]
    assert perplexity_interval(texts[:1]) is None
    assert perplexity_interval([*texts[:4], likelihood(3, None)]) is None
    assert perplexity_interval(texts) is not None


def test_perplexities_of_rounds_are_of_the_chains_that_have_them() -> None:
    first = [likelihood(10, 1.0), likelihood(5, 5.0), likelihood(2, 4.0)]
    second = [likelihood(10, 2.0), None]
    found = perplexity_metrics([first[2], likelihood(10, None)], [first, second])
    assert found == {
        "perplexity": pytest.approx(exp(2)),
        "original_perplexity": pytest.approx(exp(3 / 20)),
        "perplexity_round_1": pytest.approx(exp(1)),
        "perplexity_round_2": pytest.approx(exp(2)),
        "num_perplexity_chains": 2,
        "num_beyond_context": 1,
    }
