"""Intervals over seeds and questions against statsmodels' analysis of variance, a bootstrap in plain loops, and simulated tables of known truth."""

from __future__ import annotations

import random
import statistics as standard
from math import sqrt

import numpy as np
import pytest
from sample_records import prediction
from scipy.stats import norm, t

from cotexp.methods import crossed
from cotexp.methods.comparison import compare_answers, compare_seeds, difference_over_seeds
from cotexp.methods.statistics import Interval, bootstrap_interval
from cotexp.records import Prediction

UNIT = Interval(0.0, 1.0)


def table_of(generator: np.random.Generator, seeds: float, *, num_seeds: int = 3, num_questions: int = 150, questions: float = 1.5) -> np.ndarray:
    """Right or wrong: a normal effect of each seed, one of each question, and one of each answer, right if their sum is above -0.5."""
    shape = num_seeds, num_questions
    effects = generator.normal(0, seeds, (num_seeds, 1)) + generator.normal(0, questions, (1, num_questions)) + generator.normal(size=shape)
    return (effects > -0.5).astype(float)


def over_questions(table: np.ndarray) -> Interval:
    return bootstrap_interval(table.mean(axis=0).tolist(), num_resamples=1000, bounds=UNIT)


def interval_of(table: np.ndarray, **settings: int) -> Interval:
    return crossed.interval([table], over_questions(table), UNIT, **settings)


def by_anova(table: np.ndarray) -> crossed.Spread:
    """Standard error and degrees of freedom from the mean squares that statsmodels finds, the formula of Satterthwaite written out."""
    import pandas as pd
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    num_seeds, num_questions = table.shape
    rows = [{"seed": s, "question": q, "share": table[s, q]} for s in range(num_seeds) for q in range(num_questions)]
    squares = anova_lm(ols("share ~ C(seed) + C(question)", data=pd.DataFrame(rows)).fit())["mean_sq"]
    of_seeds, of_questions, rest = (squares[name] / table.size for name in ("C(seed)", "C(question)", "Residual"))
    variance = of_seeds + of_questions - rest
    free = num_seeds - 1, num_questions - 1, (num_seeds - 1) * (num_questions - 1)
    return crossed.Spread(sqrt(variance), variance**2 / sum(each**2 / n for each, n in zip((of_seeds, of_questions, rest), free, strict=True)))


@pytest.mark.parametrize("num_seeds", [2, 3, 5])
def test_error_and_degrees_of_freedom_are_those_of_an_analysis_of_variance(num_seeds: int) -> None:
    table = table_of(np.random.default_rng(num_seeds), 0.6, num_seeds=num_seeds, num_questions=40)
    assert crossed.spread([table]) == pytest.approx(by_anova(table), rel=1e-9)


def test_the_interval_is_that_of_a_bootstrap_in_plain_loops() -> None:
    """Seeds and questions drawn one by one; spread and tails corrected from statsmodels' mean squares. Room for two Monte Carlo errors."""
    table = table_of(np.random.default_rng(2), 1.5, num_seeds=6, num_questions=40)
    num_seeds, num_questions = table.shape
    draw = random.Random(0)
    means = []
    for _ in range(4000):
        seeds, questions = draw.choices(range(num_seeds), k=num_seeds), draw.choices(range(num_questions), k=num_questions)
        means.append(sum(table[s, q] for s in seeds for q in questions) / table.size)
    error, degrees = by_anova(table)
    centre, wider = table.mean(), t.ppf(0.975, degrees) / norm.ppf(0.975) * error / standard.pstdev(means)
    expected = [centre + wider * (end - centre) for end in np.quantile(means, [0.025, 0.975])]
    expected = [max(0, expected[0]), min(1, expected[1])]
    assert interval_of(table) == pytest.approx(expected, abs=0.15 * error * wider)


@pytest.mark.slow
@pytest.mark.parametrize(("num_seeds", "seeds"), [(3, 0.0), (3, 0.15), (2, 0.3), (5, 0.4)])
def test_about_one_in_twenty_intervals_over_seeds_and_questions_misses_the_truth(num_seeds: int, seeds: float) -> None:
    """200 tables each, of another training and another benchmark. At least 88 % hold the truth; those over questions alone miss it far more often."""
    generator = np.random.default_rng(7)
    truth = norm.cdf(0.5 / sqrt(1 + seeds**2 + 1.5**2))
    held = alone = 0
    for _ in range(200):
        table = table_of(generator, seeds, num_seeds=num_seeds)
        found, narrow = interval_of(table, num_resamples=1000), over_questions(table)
        held += found.low <= truth <= found.high
        alone += narrow.low <= truth <= narrow.high
    assert held / 200 >= 0.88
    assert (alone / 200 < 0.85) == (seeds >= 0.3)


@pytest.mark.slow
def test_few_differences_over_seeds_miss_the_truth_and_as_few_p_values_are_small() -> None:
    """80 pairs of arms of three seeds without a true difference; each seed moves an arm, and the same questions are hard for both."""
    generator = np.random.default_rng(3)
    missed = small = 0
    for _ in range(80):
        hard = generator.normal(0, 1.5, (1, 150))
        arms = [(generator.normal(0, 0.3, (3, 1)) + hard + generator.normal(size=(3, 150)) > -0.5).astype(float) for _ in range(2)]
        found = difference_over_seeds(*arms, paired=True)
        missed += not found.low <= 0 <= found.high
        small += found.p_value < 0.05
    assert missed / 80 <= 0.15
    assert small / 80 <= 0.15


def test_a_baseline_of_one_other_seed_is_taken_to_vary_as_the_seeds_of_the_arm() -> None:
    """200 arms of five seeds beside a baseline of one, without a true difference. A baseline taken as fixed has a small p in three of ten."""
    generator = np.random.default_rng(0)
    small = fixed = 0
    for _ in range(200):
        hard = generator.normal(0, 1.5, (1, 300))
        one, five = ((generator.normal(0, 0.4, (n, 1)) + hard + generator.normal(size=(n, 300)) > -0.5).astype(float) for n in (1, 5))
        small += (crossed.p_value([five, -one]) or 1) < 0.05
        fixed += (crossed.p_value([five - one]) or 1) < 0.05
    assert small / 200 <= 0.12
    assert fixed / 200 >= 0.25


def test_a_model_that_was_not_fine_tuned_has_no_seeds_that_vary() -> None:
    arm = {seed: answers(labels) for seed, labels in enumerate(("111100", "111111", "100000"))}
    base = answers("110000")
    against_base, against_seed = compare_seeds({None: base}, arm).rows[0].paired, compare_seeds({7: base}, arm).rows[0].paired
    assert against_base.difference == against_seed.difference
    assert against_base.p_value < against_seed.p_value
    assert against_base.high - against_base.low < against_seed.high - against_seed.low


def test_seeds_that_all_answer_alike_leave_the_interval_over_questions() -> None:
    alike = np.array([[1.0, 0.0, 1.0, 1.0]] * 3)
    assert crossed.spread([alike]) is None
    assert interval_of(alike) == over_questions(alike)
    assert crossed.p_value([alike]) is None
    one = table_of(np.random.default_rng(0), 1.0, num_seeds=1)
    assert interval_of(one) == over_questions(one)


def test_the_interval_is_never_narrower_than_over_questions_alone_and_stays_within_its_bounds() -> None:
    generator = np.random.default_rng(5)
    for seeds in (0.1, 0.5, 3.0):
        table = table_of(generator, seeds, num_seeds=2, num_questions=30)
        found, alone = interval_of(table), over_questions(table)
        assert 0 <= found.low <= alone.low <= alone.high <= found.high <= 1


def test_the_order_of_questions_does_not_matter_and_swapping_arms_mirrors_the_interval() -> None:
    generator = np.random.default_rng(8)
    first, second = table_of(generator, 0.2), table_of(generator, 1.0)
    order = generator.permutation(first.shape[1])
    for paired in (True, False):
        found, swapped = difference_over_seeds(first, second, paired=paired), difference_over_seeds(second, first, paired=paired)
        assert (swapped.low, swapped.high, swapped.p_value) == pytest.approx((-found.high, -found.low, found.p_value), abs=1e-12)
        assert difference_over_seeds(first[:, order], second[:, order], paired=paired) == pytest.approx(found, abs=1e-12)


def test_seeds_that_move_both_arms_alike_cancel_only_if_they_are_paired() -> None:
    """Seed 0 is bad and seed 2 is good for both arms; the second arm is right on ten more questions in every seed."""
    rights = (20, 40, 60)
    first, second = (np.array([[1.0] * (right + more) + [0.0] * (100 - right - more) for right in rights]) for more in (0, 10))
    paired, apart = (difference_over_seeds(first, second, paired=each) for each in (True, False))
    assert paired.difference == apart.difference == pytest.approx(0.1)
    assert paired.low > 0
    assert apart.low < -0.2


# --- answers by seed ---------------------------------------------------------------------------------------------------------


def answers(labels: str) -> list[Prediction]:
    return [prediction(f"q{number}", correct=each == "1") for number, each in enumerate(labels)]


def test_arms_are_paired_on_the_seeds_that_both_have() -> None:
    first = {0: answers("1100"), 1: answers("1111")}
    second = {1: answers("1110"), 2: answers("0000")}
    assert compare_seeds(first, second) == compare_answers(answers("1111"), answers("1110"))
    none_shared = compare_seeds(first, {2: answers("1000"), 3: answers("0000")}).rows[0]
    assert (none_shared.accuracy_first, none_shared.accuracy_second) == (0.75, 0.125)


def test_a_question_that_one_seed_lacks_takes_no_part_and_is_named() -> None:
    found = compare_seeds({0: answers("110"), 1: answers("11")}, {0: answers("010"), 1: answers("011")})
    assert (found.only_first, found.only_second) == ([], ["q2"])
    assert found.rows[0].paired.num_questions == 2
    with pytest.raises(ValueError, match="needs the answers of every seed to each question"):
        crossed.accuracy_interval({0: answers("110"), 1: answers("11")}, UNIT)


def test_one_seed_has_the_interval_over_questions() -> None:
    assert crossed.accuracy_interval({4: answers("1100")}, Interval(0.1, 0.9)) == (0.1, 0.9)
