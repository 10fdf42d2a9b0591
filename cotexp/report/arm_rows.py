"""Numbers of an experiment's arms: accuracy over seeds and questions, paired difference to a baseline, and the best arms."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from cotexp.methods.comparison import ComparedTask, TokenCount, compare_answers, token_difference
from cotexp.methods.statistics import Spread, accuracy_metrics, mean, mean_and_deviation, shares_correct
from cotexp.records import Prediction
from cotexp.report.arms import Arm
from cotexp.report.document import Gap

BASE = "base (not fine-tuned)"
BASELINE = "baseline"
OWN_BASE = "base"
"""Baseline by which every arm is compared with the model that it was fine-tuned from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmRow:
    """One arm, or the model before fine-tuning (no arm, no seeds), or an arm without a finished run (no answers).

    `accuracy` is the mean over seeds and questions in [0, 1], `low` and `high` its 95 % interval over questions, `over_seeds` holds the
    mean and standard deviation of the accuracies. `against` is None for the baseline and if no answers can be paired; `uncompared` gives the reason.
    """

    label: str
    mode: str
    arm: Arm | None = None
    answers: list[Prediction] = field(default_factory=list, repr=False)
    metrics: dict[str, float] = field(default_factory=dict, repr=False)
    accuracy: float = 0.0
    low: float = 0.0
    high: float = 1.0
    num_tokens: float = 0.0
    num_cot_tokens: float = 0.0
    num_questions: int = 0
    accuracy_of: dict[str, float] = field(default_factory=dict)
    over_seeds: Spread | None = None
    seed_accuracies: list[float] = field(default_factory=list)
    against: ComparedTask | None = None
    uncompared: str = ""
    num_unpaired: int = 0
    gaps: tuple[Gap, ...] = ()

    @property
    def seeds(self) -> list[int]:
        return self.arm.seeds if self.arm else []

    @property
    def is_baseline(self) -> bool:
        return self.uncompared == BASELINE

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
    def worse(self) -> bool:
        """Whether the arm is less accurate than the baseline beyond noise."""
        return self.against is not None and not self.against.within_noise and self.against.paired.difference < 0

    def metric(self, name: str) -> Spread | None:
        """A number of metrics.json. Names without a slash, such as latency_seconds_batch1, belong to the row's mode; a base model has only these."""
        in_mode = f"eval/{self.mode}/{name}"
        if self.arm is not None:
            return self.arm.metric(name if "/" in name else in_mode)
        return Spread(self.metrics[in_mode], math.nan) if in_mode in self.metrics else None


def measure_arms(arms: Sequence[Arm], baseline: Arm | str | None) -> list[ArmRow]:
    """Models before fine-tuning first, then every arm, compared with the baseline. If `baseline` is None, each arm is compared with its own
    base model; a text is the reason why there is no baseline.

    Pairs are the same questions and, if the two share seeds, the same seeds.
    """
    bases: dict[tuple[str, ...], list[Arm]] = {}
    for arm in arms:
        if arm.runs[0].base_answers and arm.runs[0].mode != "base":
            bases.setdefault(arm.runs[0].base_keys, []).append(arm)
    return [*(_base_row(sharing, baseline, len(bases)) for sharing in bases.values()), *(_arm_row(arm, baseline) for arm in arms)]


def _base_row(arms: Sequence[Arm], baseline: Arm | str | None, num_bases: int) -> ArmRow:
    run = arms[0].runs[0]
    pair = PairedAnswers(baseline.answers(), run.base_answers) if isinstance(baseline, Arm) else PairedAnswers(reason=baseline or BASELINE)
    label = BASE if num_bases == 1 else f"{BASE} of {arms[0].label}"
    return replace(_measured(label, "base", run.base_answers, pair), metrics=run.metrics)


def _arm_row(arm: Arm, baseline: Arm | str | None) -> ArmRow:
    first = arm.runs[0]
    if baseline is None:
        pair = PairedAnswers(first.base_answers, arm.answers()) if first.base_answers else PairedAnswers(reason="its base model did not answer")
    elif isinstance(baseline, str) or arm is baseline:
        pair = PairedAnswers(reason=baseline if isinstance(baseline, str) else BASELINE)
    else:
        shared_seeds = sorted(set(arm.seeds) & set(baseline.seeds)) or None
        pair = PairedAnswers(baseline.answers(shared_seeds), arm.answers(shared_seeds))
    accuracies = [mean(list(shares_correct(run.answers).values())) for run in arm.runs]
    row = _measured(arm.label, first.mode, arm.answers(), pair)
    return replace(row, arm=arm, over_seeds=mean_and_deviation(accuracies), seed_accuracies=accuracies)


class PairedAnswers(NamedTuple):
    """The baseline's answers and those to compare with them, or the reason why there are none."""

    first: Sequence[Prediction] = ()
    second: Sequence[Prediction] = ()
    reason: str = ""


def _measured(label: str, mode: str, answers: Sequence[Prediction], pair: PairedAnswers) -> ArmRow:
    measured = accuracy_metrics(answers)
    compared = None if pair.reason else compare_answers(pair.first, pair.second)
    by_task: dict[str, list[Prediction]] = {}
    for answer in answers:
        by_task.setdefault(answer.task, []).append(answer)
    return ArmRow(
        label=label,
        mode=mode,
        answers=list(answers),
        accuracy=measured["accuracy"],
        low=measured["accuracy_low"],
        high=measured["accuracy_high"],
        num_tokens=measured["num_tokens"],
        num_cot_tokens=measured["num_cot_tokens"],
        num_questions=int(measured["num_questions"]),
        accuracy_of={task: mean(list(shares_correct(of_task).values())) for task, of_task in by_task.items()},
        against=compared.rows[-1] if compared and compared.rows else None,
        uncompared=pair.reason or "no common question",
        num_unpaired=len(compared.only_first) + len(compared.only_second) + len(compared.other_gold) if compared else 0,
    )


def most_accurate(rows: Sequence[ArmRow]) -> set[str]:
    """Labels of the most accurate row and of those that a paired test cannot distinguish from it; none if it can distinguish no row."""

    def alike(first: ArmRow, second: ArmRow) -> bool:
        compared = compare_answers(first.answers, second.answers).rows
        return not compared or compared[-1].within_noise

    return _best([row for row in rows if row.answers], lambda row: -row.accuracy, alike)


def shortest(rows: Sequence[ArmRow], length: TokenCount) -> set[str]:
    """Labels of the row with the fewest tokens and of those that a paired test cannot distinguish from it. Rows that are less accurate than the
    baseline beyond noise are excluded. None if the test can distinguish no row.
    """

    def alike(first: ArmRow, second: ArmRow) -> bool:
        interval = token_difference(first.answers, second.answers, length)
        return interval is None or interval.low <= 0 <= interval.high

    return _best([row for row in rows if row.answers and not row.worse], lambda row: getattr(row, length), alike)


def _best(rows: Sequence[ArmRow], loss: Callable[[ArmRow], float], alike: Callable[[ArmRow, ArmRow], bool]) -> set[str]:
    if len(rows) < 2:
        return set()
    first = min(rows, key=loss)
    best = {row.label for row in rows if row is first or alike(first, row)}
    return best if len(best) < len(rows) else set()
