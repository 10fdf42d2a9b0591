"""Paired comparisons against hand-computed cases, statsmodels and scipy."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from math import comb, sqrt

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sample_records import prediction

from cotexp.methods.comparison import compare_answers, holm, mcnemar, mode_comparisons, paired_difference, sign_flip_p_value
from cotexp.methods.statistics import wilson
from cotexp.records import Prediction

LABELS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)
SHARES = st.lists(st.tuples(*[st.sampled_from([0.0, 0.25, 1 / 3, 0.5, 2 / 3, 1.0])] * 2), min_size=1, max_size=40)


def answers(labels: str, *, prefix: str = "q", task: str = "stories") -> list[Prediction]:
    """One answer per character; 1 is correct."""
    return [prediction(f"{prefix}{number}", correct=each == "1", task=task) for number, each in enumerate(labels)]


# --- McNemar -------------------------------------------------------------------------------------------------------------


def test_mcnemar_counts_discordant_pairs_and_sums_the_binomial_tail() -> None:
    """Two against eight discordant pairs: p = 2 * (1 + 10 + 45) / 1024."""
    first = [True] * 2 + [False] * 8 + [True] * 5 + [False] * 3
    second = [False] * 2 + [True] * 8 + [True] * 5 + [False] * 3
    assert mcnemar(first, second) == pytest.approx((2, 8, 2 * sum(comb(10, each) for each in range(3)) / 2**10))


def test_mcnemar_without_discordant_pairs_is_certain_of_nothing() -> None:
    assert mcnemar([True, False], [True, False]) == (0, 0, 1.0)
    assert mcnemar([], []) == (0, 0, 1.0)


@given(LABELS)
@settings(max_examples=50)
def test_mcnemar_is_that_of_statsmodels(labels: list[tuple[bool, bool]]) -> None:
    from statsmodels.stats.contingency_tables import mcnemar as reference

    table = [[sum(each == (own, other) for each in labels) for other in (True, False)] for own in (True, False)]
    found = mcnemar(*zip(*labels, strict=True))
    assert (found.only_first, found.only_second) == (table[0][1], table[1][0])
    expected = reference(table, exact=True).pvalue if table[0][1] + table[1][0] else 1.0
    assert found.p_value == pytest.approx(expected, abs=1e-12)


def test_sequences_of_different_lengths_cannot_be_paired() -> None:
    with pytest.raises(ValueError, match="shorter"):
        mcnemar([True, True], [True])
    with pytest.raises(ValueError, match="shorter"):
        paired_difference([1, 1], [1])
    with pytest.raises(ValueError, match="at least one value"):
        paired_difference([], [])


# --- sign-flip permutation -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "differences",
    [[0.25, 0.5, -0.25, 0.75, 0.125, 0.25, 0.0, -0.5, 0.25, 0.5], [1.0, 1.0, 1.0, -1.0, 1.0, 1.0], [0.5], [0.25] * 9, [0.25, -0.25]],
)
def test_the_sign_flip_p_is_the_share_of_all_sign_patterns(differences: list[float]) -> None:
    """Every pattern of signs is written out; the tolerance is four standard errors of 100,000 draws."""
    observed = abs(sum(Fraction(each) for each in differences))
    patterns = [
        abs(sum(sign * Fraction(each) for sign, each in zip(signs, differences, strict=True))) for signs in product((1, -1), repeat=len(differences))
    ]
    exact = sum(each >= observed for each in patterns) / len(patterns)
    assert sign_flip_p_value(differences) == pytest.approx(exact, abs=4 * sqrt(exact * (1 - exact) / 100_000) + 2e-5)


def test_the_sign_flip_p_is_that_of_scipy() -> None:
    from scipy.stats import permutation_test

    generator = np.random.default_rng(3)
    first, second = generator.integers(0, 9, 60) / 8, np.clip(generator.integers(1, 11, 60) / 8, 0, 1)
    reference = permutation_test(
        (second, first), lambda a, b, axis: np.mean(a - b, axis=axis), permutation_type="samples", vectorized=True, n_resamples=20_000, rng=generator
    )
    found = paired_difference(list(first), list(second))
    assert 0.0005 < reference.pvalue < 0.9
    assert found.p_value == pytest.approx(reference.pvalue, abs=4 * sqrt(reference.pvalue / 20_000) + 2e-4)


def test_the_sign_flip_p_of_zeros_and_ones_is_mcnemars() -> None:
    first, second = [1.0] * 6 + [0.0] * 40, [0.0] * 6 + [1.0] * 17 + [0.0] * 23
    exact = mcnemar([each == 1 for each in first], [each == 1 for each in second]).p_value
    differences = [theirs - ours for ours, theirs in zip(first, second, strict=True)]
    assert sign_flip_p_value(differences) == pytest.approx(exact, abs=4 * sqrt(exact / 100_000))
    assert paired_difference(first, second).p_value == exact


def test_no_difference_and_the_smallest_p() -> None:
    assert sign_flip_p_value([0.0, 0.0]) == 1.0
    assert sign_flip_p_value([0.5] * 60) == 1 / 100_001


# --- paired difference ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("discordant", [(9, 15), (0, 6), (30, 31)])
def test_a_paired_interval_is_that_of_scipy_on_pairs(discordant: tuple[int, int]) -> None:
    from scipy.stats import bootstrap

    worse, better = discordant
    first = np.array([1.0] * worse + [0.0] * better + [1.0] * 40 + [0.0] * 20)
    second = np.array([0.0] * worse + [1.0] * better + [1.0] * 40 + [0.0] * 20)

    def difference(ours: np.ndarray, theirs: np.ndarray, axis: int) -> np.ndarray:
        return np.mean(theirs, axis=axis) - np.mean(ours, axis=axis)

    reference = bootstrap((first, second), difference, paired=True, n_resamples=20_000, method="percentile", rng=np.random.default_rng(2))
    found = paired_difference(list(first), list(second))
    assert (found.only_first, found.only_second, found.num_questions) == (worse, better, len(first))
    assert found.difference == pytest.approx((better - worse) / len(first))
    assert (found.low, found.high) == pytest.approx(tuple(reference.confidence_interval), abs=1.01 / len(first))


def test_a_paired_interval_is_near_the_normal_one_for_many_questions() -> None:
    first, second = [1.0] * 100 + [0.0] * 160 + [1.0] * 740, [0.0] * 100 + [1.0] * 160 + [1.0] * 740
    found = paired_difference(first, second)
    error = sqrt((0.26 - 0.06**2) / 1000)
    assert (found.low, found.high) == pytest.approx((0.06 - 1.96 * error, 0.06 + 1.96 * error), abs=0.0015)


@pytest.mark.slow
@given(st.one_of(SHARES, LABELS))
@example([(True, True)])
@example([(False, True)] * 3)
@example([(0.25, 0.5), (0.5, 0.25)])
@settings(max_examples=60)
def test_swapping_the_runs_negates_the_difference_and_mirrors_the_interval(pairs: list[tuple[float, float]]) -> None:
    first, second = ([float(each) for each in side] for side in zip(*pairs, strict=True))
    found, swapped = paired_difference(first, second), paired_difference(second, first)
    assert (swapped.difference, swapped.low, swapped.high) == pytest.approx((-found.difference, -found.high, -found.low), abs=1e-12)
    assert (swapped.only_first, swapped.only_second) == (found.only_second, found.only_first)
    assert swapped.p_value == found.p_value
    assert 0 < found.p_value <= 1
    assert -1 - 1e-12 <= found.low <= found.difference <= found.high <= 1 + 1e-12
    assert found == paired_difference(first, second) == paired_difference(first[::-1], second[::-1])


def test_equal_answers_leave_room_for_questions_not_seen() -> None:
    """Twenty questions without a difference: up to Wilson's limit of 0 among 20 could still differ, either way."""
    found = paired_difference([1.0] * 12 + [0.0] * 8, [1.0] * 12 + [0.0] * 8)
    limit = wilson(0, 20).high
    assert found == pytest.approx((0, -limit, limit, 1, 0, 0, 20), abs=1e-12)


def test_thirds_that_differ_in_their_last_bit_count_as_one_value() -> None:
    """1/3 - 0 and 1 - 2/3 are different floats; as two values they would give an interval without width."""
    found, limit = paired_difference([0, 2 / 3] * 5, [1 / 3, 1] * 5), wilson(0, 10).high
    assert (found.low, found.high) == pytest.approx((1 / 3 - limit * 4 / 3, 1 / 3 + limit * 2 / 3), abs=1e-9)


@pytest.mark.slow
def test_about_one_in_twenty_intervals_misses_the_truth() -> None:
    """400 pairs of runs whose true difference is 0.1, on 150 questions each; five standard errors of room."""
    generator = np.random.default_rng(11)
    missed = 0
    for _ in range(400):
        first, second = (generator.random((2, 150)) < np.array([[0.5], [0.6]])).astype(float)
        found = paired_difference(list(first), list(second), num_resamples=2000)
        missed += not found.low <= 0.1 <= found.high
    assert missed / 400 == pytest.approx(0.05, abs=5 * sqrt(0.05 * 0.95 / 400))


# --- modes and runs ------------------------------------------------------------------------------------------------------


def test_modes_are_compared_with_the_base_and_with_each_other() -> None:
    modes = {"base": answers("1100"), "full": answers("1110"), "compress": answers("0111")}
    metrics = mode_comparisons(modes)
    assert metrics["eval/full/delta_accuracy_vs_base"] == 0.25
    assert metrics["eval/compress/delta_accuracy_vs_base"] == 0.25
    assert metrics["eval/compress/delta_accuracy_vs_full"] == 0
    assert metrics["eval/compress/delta_accuracy_vs_base_p_value"] == 1.0
    assert metrics["eval/compress/delta_accuracy_vs_base_low"] <= 0.25 <= metrics["eval/compress/delta_accuracy_vs_base_high"]
    assert metrics["eval/full/delta_accuracy_vs_base_num_questions"] == 4
    assert len(metrics) == 15


def test_only_modes_that_were_evaluated_on_common_questions_are_compared() -> None:
    assert mode_comparisons({"base": answers("10")}) == {}
    assert mode_comparisons({"base": answers("10"), "full": answers("10", prefix="other")}) == {}
    assert {name.split("/")[1] for name in mode_comparisons({"base": answers("10"), "compress": answers("11")})} == {"compress"}
    partly = mode_comparisons({"base": answers("10"), "full": answers("111")})
    assert partly["eval/full/delta_accuracy_vs_base"] == 0.5
    assert partly["eval/full/delta_accuracy_vs_base_num_questions"] == 2


def test_runs_are_paired_by_question_per_task_and_pooled() -> None:
    first = [*answers("1100", task="b", prefix="b"), *answers("10", task="a", prefix="a")]
    second = [*answers("01", task="a", prefix="a"), *answers("1111", task="b", prefix="b")][::-1]
    found = compare_answers(first, second)
    assert [each.task for each in found.rows] == ["a", "b", "all tasks"]
    assert [(each.accuracy_first, each.accuracy_second) for each in found.rows] == [(0.5, 0.5), (0.5, 1.0), (0.5, pytest.approx(5 / 6))]
    assert [(each.paired.only_first, each.paired.only_second, each.paired.num_questions) for each in found.rows] == [(1, 1, 2), (0, 2, 4), (1, 3, 6)]
    assert all(each.within_noise for each in found.rows)
    assert found.one_sample
    assert (found.only_first, found.only_second, found.other_gold) == ([], [], [])


def test_questions_without_a_partner_or_with_another_gold_answer_are_left_out_by_name() -> None:
    first = [prediction("a", correct=True), prediction("b", correct=True), prediction("c", correct=False), prediction("d", correct=True)]
    second = [prediction("b", correct=False), prediction("c", correct=False), prediction("d", correct=False, gold="8"), prediction("e", correct=True)]
    found = compare_answers(first, second)
    assert (found.only_first, found.only_second, found.other_gold) == (["a"], ["e"], ["d"])
    assert [(each.task, each.paired.num_questions, each.paired.difference) for each in found.rows] == [("stories", 2, -0.5)]
    assert compare_answers(first[:1], second).rows == []


def test_a_large_difference_is_beyond_noise() -> None:
    assert not compare_answers(answers("0" * 30), answers("1" * 20 + "0" * 10)).rows[0].within_noise


def test_several_samples_are_compared_by_their_shares() -> None:
    first = [prediction("a", correct=each, sample=number) for number, each in enumerate((True, False))] + [prediction("b", correct=False)]
    second = [prediction("a", correct=True), prediction("b", correct=False)]
    found = compare_answers(first, second)
    assert not found.one_sample
    assert (found.rows[0].accuracy_first, found.rows[0].accuracy_second) == (0.25, 0.5)
    assert found.rows[0].paired.only_second == 1


# --- several comparisons -----------------------------------------------------------------------------------------------------


def test_holm_multiplies_the_smallest_p_by_their_number_and_never_falls() -> None:
    """0.01 * 4; 0.02 * 3; then 0.03 * 2 = 0.06 again; and 0.04 * 1, which may not fall below 0.06."""
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.7, 0.9]) == [1.0, 1.0]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
@settings(max_examples=50)
def test_holm_is_that_of_statsmodels(p_values: list[float]) -> None:
    from statsmodels.stats.multitest import multipletests

    assert holm(p_values) == pytest.approx(list(multipletests(p_values, method="holm")[1]), abs=1e-12)
