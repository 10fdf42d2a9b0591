"""Second minus first of two runs, or of two arms, on the same questions: tokens per answer, and all that a tracker gets of two runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from cotexp.methods import crossed
from cotexp.methods.comparison import as_sum, compare_answers, questions_of, sides, sign_flip_p_value, without_repeated
from cotexp.methods.crossed import BySeed
from cotexp.methods.statistics import Interval, mean, mean_and_deviation
from cotexp.records import Prediction

if TYPE_CHECKING:
    from cotexp.methods.crossed import Table

TokenCount = Literal["num_tokens", "num_cot_tokens"]


def token_difference(first: BySeed, second: BySeed, length: TokenCount = "num_tokens") -> Interval | None:
    """95 % interval (Student's t) of second minus first tokens per answer, on the questions that all seeds of both answered; None for fewer than two.

    It is over seeds and questions, or over questions alone if seeds differ by no more than their answers make them differ. Pairs are those of
    `compare_seeds`; a question that several tasks ask counts once.
    """
    from scipy.stats import t

    tables = _token_tables(first, second, length)
    differences = _of_questions(tables)
    if len(differences) < 2:
        return None
    over_questions = mean_and_deviation(differences)
    alone = crossed.Spread(over_questions.deviation / math.sqrt(len(differences)), len(differences) - 1)
    error, degrees = crossed.spread(tables) or alone
    half = float(t.ppf(0.975, degrees)) * error
    return Interval(over_questions.mean - half, over_questions.mean + half)


def _token_tables(first: BySeed, second: BySeed, length: TokenCount) -> list[Table]:
    """Tables (seeds, common questions) of mean tokens per answer, the means of which add up to second minus first."""
    ours, theirs, paired = sides(first, second)
    groups: dict[str, list[str]] = {}
    asked, others = questions_of(ours), questions_of(theirs)
    for question, task in asked.all.items():
        if question in asked.of_every_seed and question in others.of_every_seed:
            groups.setdefault(task, []).append(question)
    counted = without_repeated(groups, ours)
    tables = [crossed.table_of([_mean_tokens(answers, length) for answers in side], counted) for side in (ours, theirs)]
    return as_sum(*tables, paired=paired)


def _mean_tokens(answers: Sequence[Prediction], length: TokenCount) -> dict[str, float]:
    lengths: dict[str, list[int]] = {}
    for answer in answers:
        lengths.setdefault(answer.question_id, []).append(getattr(answer, length))
    return {question: mean(of_question) for question, of_question in lengths.items()}


def _of_questions(tables: Sequence[Table]) -> list[float]:
    """The sum of the tables' means of each question."""
    differences: list[float] = sum(table.mean(axis=0) for table in tables).tolist()
    return differences


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
        differences = _of_questions(_token_tables({None: first}, {None: second}, name))
        metrics |= {name: mean(differences), f"{name}_p_value": sign_flip_p_value(differences)}
        if interval := token_difference({None: first}, {None: second}, name):
            metrics |= {f"{name}_low": interval.low, f"{name}_high": interval.high}
    return metrics
