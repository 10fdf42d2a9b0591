"""Differences of tokens per answer: their interval over questions, and over seeds and questions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from sample_records import prediction
from scipy.stats import t

from cotexp.methods.token_differences import token_difference
from cotexp.records import Prediction

NOISE = np.random.default_rng(3).integers(0, 9, size=(4, 12))


def answers(lengths: Sequence[int]) -> list[Prediction]:
    return [prediction(f"q{number}", num_tokens=int(length), num_cot_tokens=int(length)) for number, length in enumerate(lengths)]


def interval_of(parts: Sequence[np.ndarray]) -> tuple[float, float]:
    """95 % interval of a sum of means of tables (seeds, questions) by the mean squares of a two-way layout without replication."""
    num_questions = parts[0].shape[1]
    per_question = sum(part.mean(axis=0) for part in parts)
    variance = per_question.var(ddof=1) / num_questions
    uncertainty = variance**2 / (num_questions - 1)
    for part in parts:
        num_seeds = len(part)
        cells, free = part.size, num_seeds - 1
        of_seeds = num_questions * part.mean(axis=1).var(ddof=1)
        rest = ((part - part.mean(axis=1, keepdims=True) - part.mean(axis=0) + part.mean()) ** 2).sum() / (free * (num_questions - 1))
        assert of_seeds > rest
        variance += (of_seeds - rest) / cells
        uncertainty += (of_seeds / cells) ** 2 / free + (rest / cells) ** 2 / (free * (num_questions - 1))
    half = t.ppf(0.975, variance**2 / uncertainty) * np.sqrt(variance)
    return float(per_question.mean() - half), float(per_question.mean() + half)


def test_one_seed_has_students_interval_over_questions() -> None:
    first, second = 40 + NOISE[0], 42 + NOISE[1]
    differences = second - first
    half = t.ppf(0.975, 11) * differences.std(ddof=1) / np.sqrt(12)
    assert token_difference({None: answers(first)}, {None: answers(second)}) == pytest.approx((differences.mean() - half, differences.mean() + half))
    assert token_difference({0: answers([1])}, {0: answers([2])}) is None, "one question has no deviation"


def test_seeds_that_differ_count_beside_the_questions_if_they_are_paired_and_if_they_are_not() -> None:
    first, second = np.array([[40], [120]]) + NOISE[:2], np.array([[82], [81]]) + NOISE[2:]
    paired = token_difference({0: answers(first[0]), 1: answers(first[1])}, {0: answers(second[0]), 1: answers(second[1])})
    assert paired == pytest.approx(interval_of([second - first]))
    second = np.array([[82], [130]]) + NOISE[2:]
    apart = token_difference({0: answers(first[0]), 1: answers(first[1])}, {2: answers(second[0]), 3: answers(second[1])})
    assert apart == pytest.approx(interval_of([second, -first]))


def test_seeds_of_one_mean_have_the_interval_over_questions() -> None:
    first, second = np.array([40 + NOISE[0], 40 + np.roll(NOISE[0], 1)]), np.full((2, 12), 42)
    means = (second - first).mean(axis=0)
    half = t.ppf(0.975, 11) * means.std(ddof=1) / np.sqrt(12)
    found = token_difference({0: answers(first[0]), 1: answers(first[1])}, {0: answers(second[0]), 1: answers(second[1])})
    assert found == pytest.approx((means.mean() - half, means.mean() + half))
