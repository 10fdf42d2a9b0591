"""Paired comparisons: two sets of answers on the same questions. A difference is always second minus first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from cotexp.methods import crossed
from cotexp.methods.crossed import BySeed
from cotexp.methods.statistics import Interval, bootstrap_interval, mean, shares_correct
from cotexp.records import Prediction

if TYPE_CHECKING:
    from cotexp.methods.crossed import Table

COMPARED_MODES = (("truncate", "base"), ("full", "base"), ("compress", "base"), ("compress", "full"))
"""(mode, the mode with which it is compared)."""
POOLED = "all tasks"
"""Label of the row over every task."""


class McNemar(NamedTuple):
    """The numbers of pairs in which only one side is correct, and the exact two-sided p-value."""

    only_first: int
    only_second: int
    p_value: float


class PairedDifference(NamedTuple):
    """Second minus first accuracy in [-1, 1] with its interval; `only_first` and `only_second` count the questions on which
    one side was better.
    """

    difference: float
    low: float
    high: float
    p_value: float
    only_first: int
    only_second: int
    num_questions: int


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> McNemar:
    """McNemar's exact test: a two-sided binomial test on the discordant pairs; p = 1 without such pairs.

    Raises: ValueError if the sequences differ in length.
    """
    from scipy.stats import binomtest

    pairs = list(zip(first, second, strict=True))
    only_first = sum(ours and not theirs for ours, theirs in pairs)
    only_second = sum(theirs and not ours for ours, theirs in pairs)
    discordant = only_first + only_second
    return McNemar(only_first, only_second, float(binomtest(only_first, discordant).pvalue) if discordant else 1.0)


def sign_flip_p_value(differences: Sequence[float], *, seed: int = 0, num_resamples: int = 100_000) -> float:
    """Two-sided p-value for a mean difference of zero: the share of random sign changes with a sum at least as far from zero.

    A Monte Carlo estimate that includes the observed signs, so it is at least 1 / (num_resamples + 1).
    """
    import numpy as np

    # Signs of equal magnitudes are summed at once: their number of plus signs is binomial.
    signed = np.asarray(differences, dtype=float)
    magnitudes, counts = np.unique(np.abs(signed[signed != 0]), return_counts=True)
    generator = np.random.default_rng(seed)
    sums = np.zeros(num_resamples)
    for magnitude, count in zip(magnitudes, counts, strict=True):
        sums += magnitude * (2 * generator.binomial(count, 0.5, size=num_resamples) - count)
    as_far = np.count_nonzero(np.abs(sums) >= abs(signed.sum()) - 1e-9)
    return float((as_far + 1) / (num_resamples + 1))


def paired_difference(first: Sequence[float], second: Sequence[float], *, num_resamples: int = 10_000) -> PairedDifference:
    """Difference of mean accuracy on the same questions, with a 95 % bootstrap interval over questions.

    `first` and `second` hold each question's share of correct samples. The p-value is McNemar's exact one if all shares are 0 or 1,
    otherwise that of a paired sign-flip permutation test. Swapping the two negates the difference and mirrors the interval exactly.
    Raises: ValueError without questions, or when the sequences differ in length.
    """
    # Rounded so that 1/3 - 0 and 1 - 2/3 are one value.
    differences = [round(float(theirs) - float(ours), 12) for ours, theirs in zip(first, second, strict=True)]
    bounds = Interval(-1.0, 1.0)
    mirrored = [-each for each in differences]
    forward, backward = (bootstrap_interval(each, num_resamples=num_resamples, bounds=bounds) for each in (differences, mirrored))
    if all(each in (0, 1) for each in (*first, *second)):
        p_value = mcnemar([each == 1 for each in first], [each == 1 for each in second]).p_value
    else:
        p_value = sign_flip_p_value(differences)
    difference = mean(second) - mean(first)
    return PairedDifference(
        difference=difference,
        low=min(difference, (forward.low - backward.high) / 2),
        high=max(difference, (forward.high - backward.low) / 2),
        p_value=p_value,
        only_first=sum(each < 0 for each in differences),
        only_second=sum(each > 0 for each in differences),
        num_questions=len(differences),
    )


def difference_over_seeds(first: Table, second: Table, *, paired: bool) -> PairedDifference:
    """Difference of mean accuracy of two tables (seeds, questions) on the same questions, with a 95 % interval over seeds and questions.

    If `paired`, row i of both is the same seed, or one of the two has one row, of a model that was not fine-tuned; otherwise the seeds of the two are
    independent. If seeds differ by more than their answers make
    them differ, p is that of Student's t over seeds and questions; otherwise interval and p are those of `paired_difference`.
    Swapping the two negates the difference and mirrors the interval exactly.
    """
    found = paired_difference(first.mean(axis=0).tolist(), second.mean(axis=0).tolist())
    tables, swapped = as_sum(first, second, paired=paired), as_sum(second, first, paired=paired)
    p_value = crossed.p_value(tables)
    if p_value is None:
        return found
    low, high = found.low, found.high
    forward = crossed.interval(tables, Interval(low, high), Interval(-1.0, 1.0))
    backward = crossed.interval(swapped, Interval(-high, -low), Interval(-1.0, 1.0))
    return found._replace(low=(forward.low - backward.high) / 2, high=(forward.high - backward.low) / 2, p_value=p_value)


def as_sum(first: Table, second: Table, *, paired: bool) -> list[Table]:
    """Tables of independent seeds, the means of which add up to that of second minus first."""
    return [second - first] if paired else [second, -first]


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number: with these, one or more false rejections at level 0.05 have a probability of at most 0.05.

    Source: S. Holm (1979), A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6, 65-70.
    """
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def mode_comparisons(predictions: Mapping[str, Sequence[Prediction]]) -> dict[str, float]:
    """Paired differences between the modes of one run, under names such as eval/compress/delta_accuracy_vs_base(_low, _high, _p_value).

    `_num_questions` counts the questions that both modes answered; a pair of modes without common questions is left out.
    """
    metrics: dict[str, float] = {}
    for mode, other in COMPARED_MODES:
        if mode in predictions and other in predictions:
            ours, theirs = shares_correct(predictions[mode]), shares_correct(predictions[other])
            if common := [each for each in ours if each in theirs]:
                found = paired_difference([theirs[each] for each in common], [ours[each] for each in common])
                name = f"eval/{mode}/delta_accuracy_vs_{other}"
                metrics |= {name: found.difference, f"{name}_low": found.low, f"{name}_high": found.high}
                metrics |= {f"{name}_p_value": found.p_value, f"{name}_num_questions": found.num_questions}
    return metrics


# --- two runs ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedTask:
    """One row: a task, or all tasks pooled, on the questions that both runs answered."""

    task: str
    accuracy_first: float
    accuracy_second: float
    paired: PairedDifference

    @property
    def within_noise(self) -> bool:
        """Whether the difference may be chance: the interval holds 0, or p is at least 0.05."""
        return self.paired.low <= 0 <= self.paired.high or self.paired.p_value >= 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class RunComparison:
    """Rows by task, the pooled row last if there are several tasks, and the ids of questions that could not be paired.

    `other_gold`: questions that both answered, graded against different gold answers. `one_sample`: one answer per question on both sides.
    """

    rows: list[ComparedTask]
    only_first: list[str]
    only_second: list[str]
    other_gold: list[str]
    one_sample: bool


def compare_answers(first: Sequence[Prediction], second: Sequence[Prediction]) -> RunComparison:
    """Paired comparison of two runs under the strict rule, on the questions that both answered with the same gold answer.

    In the pooled row every question has the same weight, and one that several tasks ask counts once, as the first of them asks it. There are no
    rows without common questions.
    """
    return compare_seeds({None: first}, {None: second})


def compare_seeds(first: BySeed, second: BySeed) -> RunComparison:
    """As `compare_answers`, for runs of several seeds: pairs are the same questions and, if the two share seeds, the same seeds.

    A question is compared if every seed of both sides answered it.
    """
    ours, theirs, paired = sides(first, second)
    asked, others = (questions_of(side) for side in (ours, theirs))
    gold = {each.question_id: each.gold for side in theirs for each in side}
    other_gold = {each.question_id for side in ours for each in side if each.gold != gold.get(each.question_id, each.gold)}
    groups: dict[str, list[str]] = {}
    for question in asked.all:
        if question in asked.of_every_seed and question in others.of_every_seed and question not in other_gold:
            groups.setdefault(asked.all[question], []).append(question)
    pooled = {POOLED: without_repeated(groups, ours)} if len(groups) > 1 else {}
    groups = dict(sorted(groups.items())) | pooled
    return RunComparison(
        rows=[_compared(task, questions, ours, theirs, paired=paired) for task, questions in groups.items()],
        only_first=[each for each in asked.all if each not in others.of_every_seed],
        only_second=[each for each in others.all if each not in asked.of_every_seed],
        other_gold=sorted(other_gold),
        one_sample=all(len(side) == 1 and len(side[0]) == len(of.all) for side, of in ((ours, asked), (theirs, others))),
    )


class Sides(NamedTuple):
    """Answers of the seeds of both sides; if they are `paired`, these are the same seeds, or one side was not fine-tuned and has none."""

    first: list[Sequence[Prediction]]
    second: list[Sequence[Prediction]]
    paired: bool


def sides(first: BySeed, second: BySeed) -> Sides:
    """The seeds that both have, or all of both if they share none."""
    shared = [seed for seed in first if seed in second]
    ours, theirs = ([side[seed] for seed in shared or side] for side in (first, second))
    return Sides(ours, theirs, bool(shared) or None in first or None in second)


def without_repeated(groups: Mapping[str, Sequence[str]], answers: Sequence[Sequence[Prediction]]) -> list[str]:
    """The questions of these groups, one per task, without those whose text an earlier group holds."""
    text_of = {each.question_id: each.same_as or each.question_id for of_seed in answers for each in of_seed}
    kept: list[str] = []
    seen: set[str] = set()
    for questions in groups.values():
        kept += [each for each in questions if text_of[each] not in seen]
        seen.update(text_of[each] for each in questions)
    return kept


class Asked(NamedTuple):
    """Question -> task of all questions that a side answered, and those that every seed of it answered."""

    all: dict[str, str]
    of_every_seed: set[str]


def questions_of(side: Sequence[Sequence[Prediction]]) -> Asked:
    every = set.intersection(*({each.question_id for each in answers} for answers in side)) if side else set()
    return Asked({each.question_id: each.task for answers in side for each in answers}, every)


def _compared(
    task: str, questions: Sequence[str], first: Sequence[Sequence[Prediction]], second: Sequence[Sequence[Prediction]], *, paired: bool
) -> ComparedTask:
    ours, theirs = (crossed.share_table(side, questions) for side in (first, second))
    assert ours is not None
    assert theirs is not None
    found = difference_over_seeds(ours, theirs, paired=paired)
    return ComparedTask(task=task, accuracy_first=float(ours.mean()), accuracy_second=float(theirs.mean()), paired=found)
