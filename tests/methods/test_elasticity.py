"""Where the length of answers turns as the budget in the prompt shrinks, and whether that is more than noise."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
from sample_records import prediction
from scipy.stats import t as student
from scipy.stats import ttest_ind

from cotexp.methods.elasticity import Elastic, QuestionCurve, curves_of, elastic, turn_of

BUDGETS = (10, 25, 50, 100)


def curve(*lengths: float | list[int], name: str = "q", cut: tuple[int, ...] = ()) -> QuestionCurve:
    """One question with a length, or a list of them, under each budget."""
    tokens = {budget: each if isinstance(each, list) else [each] for budget, each in zip(BUDGETS, lengths, strict=False)}
    return QuestionCurve(question_id=name, task="sums", tokens=tokens, cut=frozenset(cut))  # type: ignore[arg-type]


def noisy(means: tuple[float, ...], *, num_questions: int, seed: int, num_samples: int = 1) -> list[QuestionCurve]:
    """Questions of different lengths around the same curve."""
    generator = np.random.default_rng(seed)
    return [
        curve(*([round(max(1.0, generator.normal(mean + own, 12))) for _ in range(num_samples)] for mean in means), name=f"q{number}")
        for number, own in enumerate(generator.normal(0, 20, size=num_questions))
    ]


def counted(curves: list[QuestionCurve]) -> Elastic:
    return elastic(curves, [each.p_value() for each in curves])


def test_the_turn_of_a_question_is_the_budget_of_its_smallest_mean_and_its_rise_reaches_to_the_smallest_budget() -> None:
    one = curve([90, 70], [60, 64], [50, 52], [100, 90])
    assert (one.turn, one.rise, one.means) == (50, 29.0, [80.0, 62.0, 51.0, 95.0])


def test_equal_smallest_lengths_turn_nowhere() -> None:
    one = curve(40, 60, 40, 80)
    assert (one.turn, one.rise) == (10, 0.0)


def test_a_cut_answer_is_never_the_smallest_length() -> None:
    assert curve(64, 64, 64, 64, cut=(10, 50)).turn == 25
    everything_cut = curve(64, 64, 64, 64, cut=BUDGETS)
    assert everything_cut.turn is None
    assert not everything_cut.is_whole


def test_the_curve_of_a_question_needs_an_answer_under_every_budget() -> None:
    answers = {
        25: [prediction("a", num_tokens=7), prediction("b", num_tokens=9)],
        10: [prediction("a", num_tokens=8), prediction("a", sample=1, num_tokens=30, finish_reason="length"), prediction("c")],
    }
    (only,) = curves_of(answers)
    assert (only.question_id, only.tokens, only.cut) == ("a", {10: [8, 30], 25: [7]}, {10})
    assert curves_of({}) == []


def test_the_mean_turns_at_its_smallest_value() -> None:
    found = turn_of([curve(80 + each, 60 + each, 50 + each, 90 + each) for each in range(8)])
    assert found is not None
    assert (found.budget, found.tokens, found.rise, found.low, found.high, found.num_questions) == (50, 53.5, 30.0, 50, 50, 8)
    assert found.is_real


def test_the_p_value_is_the_share_of_all_flips_of_signs_with_as_large_a_rise() -> None:
    """Against all 2^6 flips, one by one: the largest of the mean rises counts."""
    curves = [
        curve(*lengths) for lengths in ((30, 20, 28, 33), (28, 25, 30, 31), (40, 42, 35, 50), (33, 20, 29, 36), (31, 30, 25, 20), (50, 45, 52, 49))
    ]
    rises = np.array([[each.means[0] - other for other in each.means[1:]] for each in curves])

    def largest(signs: tuple[int, ...]) -> float:
        flipped = rises * np.array(signs)[:, None]
        return float(flipped.mean(axis=0).max())

    flips = list(itertools.product((1, -1), repeat=6))
    exact = sum(largest(signs) >= largest(flips[0]) - 1e-12 for signs in flips) / len(flips)
    found = turn_of(curves)
    assert found is not None
    assert found.p_value == pytest.approx(exact, abs=0.015)
    assert 0.02 < exact < 0.5


def test_a_small_sure_rise_elsewhere_does_not_make_the_noisy_smallest_mean_a_turn() -> None:
    """Budget 50 is one token shorter than 10 for every question; 200 is shorter in the mean alone, by chance."""
    curves = [curve(100 + number, 99 + number, 97 + number + 40 * (-1) ** number) for number in range(20)]
    found = turn_of(curves)
    assert found is not None
    assert (found.budget, found.rise) == (BUDGETS[2], pytest.approx(3.0))
    assert found.p_value > 0.2
    assert not found.is_real


def test_equal_means_are_equal_whatever_their_rounding() -> None:
    """The same lengths in another order: thirds whose sums differ in the last bit."""
    lengths = (100, 101, 103, 107, 113, 131, 151)
    for shift in range(7):
        other = lengths[shift:] + lengths[:shift]
        curves = [curve([one, one + 1, one + 3], [two, two + 1, two + 3]) for one, two in zip(lengths, other, strict=True)]
        found = turn_of(curves)
        assert found is not None
        assert (found.budget, found.rise, found.p_value) == (BUDGETS[0], 0, 1)


def test_the_range_of_budgets_holds_at_least_95_in_100_resamples() -> None:
    """Many budgets without a difference: each has the smallest mean in about one resample of forty, and no one of them may be left out alone."""
    generator = np.random.default_rng(0)
    lengths = generator.integers(60, 140, size=(30, 40))
    curves = [QuestionCurve(question_id="q", task="sums", tokens=dict(enumerate(each.tolist())), cut=frozenset()) for each in lengths[:, :, None]]
    found = turn_of(curves)
    assert found is not None
    smallest = [int(lengths[generator.integers(0, 30, size=30)].mean(axis=0).argmin()) for _ in range(4000)]
    assert sum(found.low <= each <= found.high for each in smallest) / 4000 > 0.94


@pytest.mark.parametrize("means", [(50, 50, 50, 50), (40, 50, 60, 70), (50, 50, 80, 90)])
def test_noise_alone_rarely_makes_a_turn(means: tuple[float, ...]) -> None:
    """At most about 5 % of 30 sets of questions whose length never rises towards small budgets: 6 or more would happen once in 300 times."""
    found = [turn_of(noisy(means, num_questions=15, seed=seed)) for seed in range(30)]
    assert sum(each is not None and each.is_real for each in found) <= 5


def test_a_rise_beyond_noise_is_found_and_its_budget_has_an_interval() -> None:
    found = turn_of(noisy((90, 60, 58, 80), num_questions=25, seed=1))
    assert found is not None
    assert found.is_real
    assert found.budget in (25, 50)
    assert (found.low, found.high) == (25, 50)


def test_fewer_than_five_questions_show_no_turn_whatever_their_rise() -> None:
    four, five = ([curve(200, 50, 60, 70)] * number for number in (4, 5))
    for curves, is_real in ((four, False), (five, True)):
        found = turn_of(curves)
        assert found is not None
        assert found.is_real == is_real


def test_a_model_that_ignores_the_budget_has_no_turn_and_no_elastic_question() -> None:
    curves = [curve(50 + each, 50 + each, 50 + each, 50 + each) for each in range(9)]
    found = turn_of(curves)
    assert found is not None
    assert (found.budget, found.rise, found.p_value, found.is_real) == (10, 0.0, 1.0, False)
    assert counted(curves) == (9, 0, 0.0, None)


def test_no_curve_has_no_turn() -> None:
    assert turn_of([]) is None


def test_without_a_real_rise_most_questions_still_have_their_smallest_length_above_the_smallest_budget() -> None:
    """Three quarters of them at four budgets: the share by chance says so."""
    own = counted(noisy((50, 50, 50, 50), num_questions=200, seed=2))
    assert own.by_chance == pytest.approx(0.75, abs=0.03)
    assert own.num_rising / own.num_questions == pytest.approx(0.75, abs=0.08)


def test_repeated_samples_tell_questions_that_turn_from_noise() -> None:
    flat = counted(noisy((50, 50, 50, 50), num_questions=40, seed=3, num_samples=6))
    rising = counted(noisy((90, 50, 50, 70), num_questions=40, seed=3, num_samples=6))
    assert flat.num_beyond_noise is not None
    assert flat.num_beyond_noise <= 6
    assert rising.num_beyond_noise is not None
    assert rising.num_beyond_noise >= 35


def test_the_p_value_of_one_question_is_students_with_two_budgets_and_larger_with_more() -> None:
    """Dunnett's test with one budget against the smallest is Student's."""
    smallest, other = [90, 81, 95], [70, 84, 66]
    of_two = float(ttest_ind(other, smallest, alternative="less").pvalue)
    assert curve(smallest, other).p_value() == pytest.approx(of_two, abs=1e-4)
    corrected = curve(smallest, other, [99, 82, 90], [78, 90, 101]).p_value()
    assert corrected is not None
    assert 0 < of_two < corrected


def test_a_question_has_no_p_value_without_repeated_answers_and_none_of_them_rises_from_the_smallest_length() -> None:
    assert curve([9], [1]).p_value() is None
    assert curve([1, 2], [9, 8]).p_value() == 1.0
    assert curve([9, 9], [8, 8]).p_value() == 0.0


def test_equal_answers_under_one_budget_have_a_p_value_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = curve([5, 4], [3, 3]).p_value()
    assert found == pytest.approx(float(student.cdf(-1.5 / 0.5, df=2)), abs=1e-4)  # the pooled variance of 0.5 and 0 is 0.25
