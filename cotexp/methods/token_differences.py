"""Second minus first of two runs, or of two arms, on the same questions: tokens per answer, and all that a tracker gets of two runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from cotexp.methods.comparison import compare_answers, sign_flip_p_value, without_repeated
from cotexp.methods.statistics import Interval, mean, mean_and_deviation
from cotexp.records import Prediction

TokenCount = Literal["num_tokens", "num_cot_tokens"]


def token_difference(first: Sequence[Prediction], second: Sequence[Prediction], length: TokenCount = "num_tokens") -> Interval | None:
    """95 % interval (Student's t over questions) of second minus first tokens per answer, on common questions; None for fewer than two.

    A question that several tasks ask counts once.
    """
    from scipy.stats import t

    differences = _token_differences(first, second, length)
    if len(differences) < 2:
        return None
    spread = mean_and_deviation(differences)
    half = float(t.ppf(0.975, len(differences) - 1)) * spread.deviation / math.sqrt(len(differences))
    return Interval(spread.mean - half, spread.mean + half)


def _token_differences(first: Sequence[Prediction], second: Sequence[Prediction], length: TokenCount) -> list[float]:
    """Second minus first of each common question's mean tokens; a question that several tasks ask counts once."""
    lengths: tuple[dict[str, list[int]], ...] = ({}, {})
    for by_question, answers in zip(lengths, (first, second), strict=True):
        for answer in answers:
            by_question.setdefault(answer.question_id, []).append(getattr(answer, length))
    ours, theirs = lengths
    groups: dict[str, dict[str, None]] = {}
    for answer in first:
        if answer.question_id in theirs:
            groups.setdefault(answer.task, {})[answer.question_id] = None
    counted = without_repeated({task: list(questions) for task, questions in groups.items()}, [first])
    return [mean(theirs[question]) - mean(ours[question]) for question in counted]


def paired_metrics(first: Sequence[Prediction], second: Sequence[Prediction]) -> dict[str, float]:
    """Second minus first on the questions that both answered: accuracy, num_tokens and num_cot_tokens, each with `_low`, `_high` and `_p_value`.

    Lengths are also compared question by question: the interval by Student's t, p by a sign-flip permutation test. Empty without a common question.
    """
    found = compare_answers(first, second)
    if not found.rows:
        return {}
    paired = found.rows[-1].paired
    metrics: dict[str, float] = {"accuracy": paired.difference, "accuracy_low": paired.low, "accuracy_high": paired.high}
    metrics |= {"accuracy_p_value": paired.p_value, "num_questions": paired.num_questions}
    lengths: tuple[TokenCount, ...] = ("num_tokens", "num_cot_tokens")
    for name in lengths:
        differences = _token_differences(first, second, name)
        metrics |= {name: mean(differences), f"{name}_p_value": sign_flip_p_value(differences)}
        if interval := token_difference(first, second, name):
            metrics |= {f"{name}_low": interval.low, f"{name}_high": interval.high}
    return metrics
