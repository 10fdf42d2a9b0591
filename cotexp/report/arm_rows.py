"""Numbers of an experiment's arms: accuracy over seeds and questions, paired difference to a baseline, and the best arms."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from types import MappingProxyType
from typing import NamedTuple

from cotexp.methods.comparison import ComparedTask, compare_seeds, holm
from cotexp.methods.crossed import BySeed, accuracy_interval
from cotexp.methods.statistics import Interval, Spread, accuracy_metrics, counted_once, mean, mean_and_deviation, shares_correct
from cotexp.methods.token_differences import TokenCount, token_difference
from cotexp.records import Prediction
from cotexp.report.arms import Arm
from cotexp.report.document import Gap

BASE = "base (not fine-tuned)"
BASELINE = "baseline"
NO_BASELINE = "no baseline with its settings"
SEVERAL_BASELINES = "several baselines"
OWN_BASE = "base"
"""Baseline by which every arm is compared with the model that it was fine-tuned from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmRow:
    """One arm, or the model before fine-tuning (no arm, no seeds), or an arm without a finished run (no answers).

    `answers` are those of each seed; a question that several tasks ask is in them once, `num_repeated` counts the others, and `accuracy_of` is the
    accuracy of each task over all of its questions. `accuracy` is the mean over seeds and questions in [0, 1], `low` and `high` its 95 % interval
    over both (over questions alone if there is one seed), `over_seeds` holds the mean and standard deviation of the accuracies. `against` is None for
    the baseline and if no answers can be paired; `uncompared` gives the reason. `baseline` is the label of the arm that it is compared with, if any.
    `p_holm` is the p-value corrected for the number of comparisons with the same baseline.
    """

    label: str
    mode: str
    arm: Arm | None = None
    answers: BySeed = field(default_factory=dict, repr=False)
    metrics: dict[str, float] = field(default_factory=dict, repr=False)
    accuracy: float = 0.0
    low: float = 0.0
    high: float = 1.0
    num_tokens: float = 0.0
    num_cot_tokens: float = 0.0
    num_questions: int = 0
    num_repeated: int = 0
    accuracy_of: dict[str, float] = field(default_factory=dict)
    over_seeds: Spread | None = None
    seed_accuracies: list[float] = field(default_factory=list)
    against: ComparedTask | None = None
    p_holm: float | None = None
    uncompared: str = ""
    baseline: str = ""
    num_unpaired: int = 0
    gaps: tuple[Gap, ...] = ()

    @property
    def seeds(self) -> list[int]:
        return self.arm.seeds if self.arm else []

    @property
    def is_baseline(self) -> bool:
        return self.uncompared == BASELINE

    @property
    def is_trained(self) -> bool:
        """Whether every run of the arm fine-tuned a model."""
        return bool(self.answers) and self.arm is not None and self.arm.is_trained

    @property
    def num_rationales(self) -> float | None:
        """Mean number of training rationales."""
        kept = self.metric("selection/num_kept")
        return kept.mean if kept else None

    @property
    def is_selected(self) -> bool:
        """Whether the arm trained on some of its rationales only."""
        return self.arm is not None and (self.arm.runs[0].settings.get("selection") or {"name": "all"})["name"] != "all"

    @property
    def within_noise(self) -> bool:
        """Whether the difference to the baseline may be chance: the interval holds 0, or the corrected p is at least 0.05."""
        return self.against is not None and (self.against.within_noise or (self.p_holm or 0.0) >= 0.05)

    @property
    def worse(self) -> bool:
        """Whether the arm is less accurate than the baseline beyond noise."""
        return self.against is not None and not self.within_noise and self.against.paired.difference < 0

    @property
    def run_metrics(self) -> list[Mapping[str, float]]:
        """The metrics of each run of the row."""
        return [run.metrics for run in self.arm.runs] if self.arm else [self.metrics]

    @property
    def times(self) -> list[dict[str, float]]:
        """The latencies that each run of the row measured in its mode."""
        start = f"eval/{self.mode}/"
        return [
            {name.removeprefix(start): value for name, value in metrics.items() if name.startswith(f"{start}latency_")}
            for metrics in self.run_metrics
        ]

    def metric(self, name: str) -> Spread | None:
        """A number of metrics.json. Names without a slash, such as latency_seconds_batch1, belong to the row's mode; a base model has only these."""
        in_mode = f"eval/{self.mode}/{name}"
        if self.arm is not None:
            return self.arm.metric(name if "/" in name else in_mode)
        return Spread(self.metrics[in_mode], math.nan) if in_mode in self.metrics else None


class ComparedArms(NamedTuple):
    """Arms and their baseline. None: each arm is compared with its own base model; a text is the reason why there is no baseline."""

    arms: Sequence[Arm]
    baseline: Arm | str | None


def measure_arms(groups: Sequence[ComparedArms]) -> list[ArmRow]:
    """Models before fine-tuning first, one row for each set of questions that they answered, then every arm, compared with the baseline of its group.

    A model before fine-tuning whose arms are in several groups is compared with no baseline. Pairs are the same questions and, if the two share
    seeds, the same seeds. The comparisons with one baseline are a family: their p-values are also corrected for their number.
    """
    bases: list[tuple[Arm, set[int]]] = []
    for number, group in enumerate(groups):
        for arm in (arm for arm in group.arms if arm.runs[0].mode != "base" and arm.runs[0].base_answers):
            known = next((numbers for other, numbers in bases if other.runs[0].base_answers == arm.runs[0].base_answers), None)
            if known is None:
                bases.append((arm, {number}))
            else:
                known.add(number)
    rows = [_base_row(arm, groups[min(numbers)].baseline if len(numbers) == 1 else SEVERAL_BASELINES, len(bases)) for arm, numbers in bases]
    return _corrected([*rows, *(_arm_row(arm, group.baseline) for group in groups for arm in group.arms)])


def _corrected(rows: Sequence[ArmRow]) -> list[ArmRow]:
    """The rows with p-values corrected for the number of comparisons with the same baseline, or with the same base model."""
    families: dict[tuple[str, ...], list[int]] = {}
    for index, row in enumerate(rows):
        if row.against:
            families.setdefault(row.arm.runs[0].base_keys if row.arm and not row.baseline else (row.baseline,), []).append(index)
    corrected = list(rows)
    for members in families.values():
        p_values = [row.against.paired.p_value for index in members if (row := rows[index]).against]
        for index, p_value in zip(members, holm(p_values), strict=True):
            corrected[index] = replace(rows[index], p_holm=p_value)
    return corrected


def _base_row(arm: Arm, baseline: Arm | str | None, num_bases: int) -> ArmRow:
    """The row of the base model of `arm`, the first of those whose base model gave these answers."""
    run = arm.runs[0]
    answers: BySeed = {None: run.base_answers}
    pair = PairedAnswers(baseline.answers, answers) if isinstance(baseline, Arm) else PairedAnswers(reason=baseline or BASELINE)
    label = BASE if num_bases == 1 else f"{BASE} of {arm.label}"
    return replace(_measured(label, "base", answers, pair), metrics=run.metrics, baseline=_label(baseline))


def _arm_row(arm: Arm, baseline: Arm | str | None) -> ArmRow:
    first = arm.runs[0]
    if baseline is None:
        has_base = bool(first.base_answers)
        pair = PairedAnswers({None: first.base_answers}, arm.answers) if has_base else PairedAnswers(reason="its base model did not answer")
    elif isinstance(baseline, str) or arm is baseline:
        pair = PairedAnswers(reason=baseline if isinstance(baseline, str) else BASELINE)
    else:
        pair = PairedAnswers(baseline.answers, arm.answers)
    accuracies = [mean(list(shares_correct(counted_once(run.answers)).values())) for run in arm.runs]
    row = _measured(arm.label, first.mode, arm.answers, pair)
    return replace(row, arm=arm, over_seeds=mean_and_deviation(accuracies), seed_accuracies=accuracies, baseline=_label(baseline))


def _label(baseline: Arm | str | None) -> str:
    return baseline.label if isinstance(baseline, Arm) else ""


class PairedAnswers(NamedTuple):
    """The baseline's answers and those to compare with them, or the reason why there are none."""

    first: BySeed = MappingProxyType({})
    second: BySeed = MappingProxyType({})
    reason: str = ""


def _measured(label: str, mode: str, by_seed: BySeed, pair: PairedAnswers) -> ArmRow:
    of_tasks = list(chain.from_iterable(by_seed.values()))
    counted = {seed: counted_once(answers) for seed, answers in by_seed.items()}
    measured = accuracy_metrics(list(chain.from_iterable(counted.values())))
    low, high = accuracy_interval(counted, Interval(measured["accuracy_low"], measured["accuracy_high"]))
    compared = None if pair.reason else compare_seeds(pair.first, pair.second)
    by_task: dict[str, list[Prediction]] = {}
    for answer in of_tasks:
        by_task.setdefault(answer.task, []).append(answer)
    return ArmRow(
        label=label,
        mode=mode,
        answers=counted,
        accuracy=measured["accuracy"],
        low=low,
        high=high,
        num_tokens=measured["num_tokens"],
        num_cot_tokens=measured["num_cot_tokens"],
        num_questions=int(measured["num_questions"]),
        num_repeated=len({answer.question_id for answer in of_tasks if answer.same_as}),
        accuracy_of={task: mean(list(shares_correct(of_task).values())) for task, of_task in by_task.items()},
        against=compared.rows[-1] if compared and compared.rows else None,
        uncompared=pair.reason or "no common question",
        num_unpaired=len({*compared.only_first, *compared.only_second, *compared.other_gold}) if compared else 0,
    )


def most_accurate(rows: Sequence[ArmRow]) -> set[str]:
    """Labels of the most accurate fine-tuned arm and of those that a paired test cannot distinguish from it, among the arms of the same questions;
    none if it can distinguish none.
    """

    def alike(first: ArmRow, second: ArmRow) -> bool:
        compared = compare_seeds(first.answers, second.answers).rows
        return bool(compared) and compared[-1].within_noise

    return _best([row for row in rows if row.is_trained], lambda row: -row.accuracy, alike)


def shortest(rows: Sequence[ArmRow], length: TokenCount) -> set[str]:
    """Labels of the fine-tuned arm with the fewest tokens and of those that a paired test cannot distinguish from it, among the arms of the same
    questions. Arms that are less accurate than the baseline beyond noise are excluded. None if the test can distinguish none.
    """

    def alike(first: ArmRow, second: ArmRow) -> bool:
        interval = token_difference(first.answers, second.answers, length)
        return interval is not None and interval.low <= 0 <= interval.high

    return _best([row for row in rows if row.is_trained and not row.worse], lambda row: getattr(row, length), alike)


def _best(rows: Sequence[ArmRow], loss: Callable[[ArmRow], float], alike: Callable[[ArmRow, ArmRow], bool]) -> set[str]:
    """The best of each set of questions: numbers of other questions are no better or worse."""
    of_questions: dict[frozenset[str], list[ArmRow]] = {}
    for row in rows:
        of_questions.setdefault(asked_of(row.answers), []).append(row)
    found = set[str]()
    for members in of_questions.values():
        first = min(members, key=loss)
        best = {row.label for row in members if row is first or alike(first, row)}
        found |= best if len(best) < len(members) else set()
    return found


def asked_of(answers: BySeed) -> frozenset[str]:
    """The questions that these are answers to, each once."""
    return frozenset(answer.question_id for of_seed in answers.values() for answer in of_seed)
