"""The numbers of an experiment's arms: accuracy over seeds and questions, the paired difference to a baseline, and which are the best."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cotexp.methods.comparison import ComparedTask, compare_answers, token_difference
from cotexp.methods.statistics import Spread, accuracy_metrics, mean, mean_and_deviation, shares_correct
from cotexp.records import Prediction
from cotexp.report.arms import Arm
from cotexp.report.content import Gap

BASE = "base (not fine-tuned)"
OWN_BASE = "base"
"""As the name of a baseline: every arm is measured against the model that it was made of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmRow:
    """One arm, or the model before fine-tuning (no arm, no seeds), or an arm without a finished run (no answers).

    `accuracy` is the mean over seeds and questions in [0, 1], `low` and `high` its 95 % interval over questions, `over_seeds` holds the
    accuracies' mean and deviation. `against` is None for the baseline, and where no question can be paired.
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
    is_baseline: bool = False
    against: ComparedTask | None = None
    num_unpaired: int = 0
    gaps: tuple[Gap, ...] = ()

    @property
    def seeds(self) -> list[int]:
        return self.arm.seeds if self.arm else []

    @property
    def num_rationales(self) -> float | None:
        """Mean number of training rationales."""
        found = self.metric("selection/num_kept")
        return found.mean if found else None

    @property
    def is_selected(self) -> bool:
        """Whether the arm trained on some of its rationales only."""
        return self.arm is not None and (self.arm.runs[0].settings.get("selection") or {"name": "all"})["name"] != "all"

    @property
    def worse(self) -> bool:
        """Whether the arm is less accurate than the baseline beyond noise."""
        return self.against is not None and not self.against.within_noise and self.against.paired.difference < 0

    def metric(self, name: str) -> Spread | None:
        """A number of metrics.json; names without a slash belong to the row's mode, such as latency_seconds_batch1, the only ones of a base model."""
        own = f"eval/{self.mode}/{name}"
        if self.arm is not None:
            return self.arm.metric(name if "/" in name else own)
        return Spread(self.metrics[own], math.nan, 1) if own in self.metrics else None


def rows_of(arms: Sequence[Arm], baseline: Arm | None) -> list[ArmRow]:
    """Models before fine-tuning first, then every arm against the baseline, or without one against its own base model.

    Pairs are the same questions and, where the two share seeds, the same seeds.
    """
    bases: dict[tuple[str, ...], list[Arm]] = {}
    for each in arms:
        if each.runs[0].base_answers and each.runs[0].mode != "base":
            bases.setdefault(each.runs[0].base_keys, []).append(each)
    rows = []
    for own in bases.values():
        first = own[0].runs[0]
        rows.append(
            _measured(
                BASE if len(bases) == 1 else f"{BASE} of {own[0].label}",
                "base",
                first.base_answers,
                baseline=None if baseline is None else baseline.answers(),
                is_baseline=baseline is None,
                metrics=first.metrics,
            )
        )
    for arm in arms:
        run = arm.runs[0]
        if baseline is None:
            rows.append(_measured(arm.label, run.mode, arm.answers(), baseline=run.base_answers or None, arm=arm))
            continue
        common = sorted(set(arm.seeds) & set(baseline.seeds)) or None
        is_baseline = arm is baseline
        paired = arm.answers(common) if common else None
        rows.append(
            _measured(
                arm.label,
                run.mode,
                arm.answers(),
                baseline=None if is_baseline else baseline.answers(common),
                paired=paired,
                is_baseline=is_baseline,
                arm=arm,
            )
        )
    return rows


def _measured(
    label: str,
    mode: str,
    answers: Sequence[Prediction],
    *,
    baseline: Sequence[Prediction] | None,
    paired: Sequence[Prediction] | None = None,
    is_baseline: bool = False,
    arm: Arm | None = None,
    metrics: dict[str, float] | None = None,
) -> ArmRow:
    """`paired` are the answers that are compared with the baseline's, where those are not all."""
    own = accuracy_metrics(answers)
    compared = None if baseline is None else compare_answers(baseline, answers if paired is None else paired)
    by_task: dict[str, list[Prediction]] = {}
    for each in answers:
        by_task.setdefault(each.task, []).append(each)
    accuracies = [mean(list(shares_correct(each.answers).values())) for each in arm.runs] if arm else []
    return ArmRow(
        label=label,
        mode=mode,
        arm=arm,
        answers=list(answers),
        metrics=metrics or {},
        accuracy=own["accuracy"],
        low=own["accuracy_low"],
        high=own["accuracy_high"],
        num_tokens=own["num_tokens"],
        num_cot_tokens=own["num_cot_tokens"],
        num_questions=int(own["num_questions"]),
        accuracy_of={task: mean(list(shares_correct(each).values())) for task, each in by_task.items()},
        over_seeds=mean_and_deviation(accuracies) if arm else None,
        seed_accuracies=accuracies,
        is_baseline=is_baseline,
        against=compared.rows[-1] if compared and compared.rows else None,
        num_unpaired=len(compared.only_first) + len(compared.only_second) + len(compared.other_gold) if compared else 0,
    )


# --- the best ------------------------------------------------------------------------------------------------------------


def most_accurate(rows: Sequence[ArmRow]) -> set[str]:
    """Labels of the most accurate row and of those that a paired test cannot tell from it; none where it can tell none apart."""

    def alike(first: ArmRow, second: ArmRow) -> bool:
        compared = compare_answers(first.answers, second.answers).rows
        return not compared or compared[-1].within_noise

    return _best([each for each in rows if each.answers], lambda each: -each.accuracy, alike)


def shortest(rows: Sequence[ArmRow]) -> set[str]:
    """Labels of the row with the fewest tokens and of those that a paired test cannot tell from it, among rows that are not less accurate
    than the baseline beyond noise; none where it can tell none apart.
    """

    def alike(first: ArmRow, second: ArmRow) -> bool:
        interval = token_difference(first.answers, second.answers)
        return interval is None or interval.low <= 0 <= interval.high

    return _best([each for each in rows if each.answers and not each.worse], lambda each: each.num_tokens, alike)


def _best(rows: Sequence[ArmRow], loss: Callable[[ArmRow], float], alike: Callable[[ArmRow, ArmRow], bool]) -> set[str]:
    if len(rows) < 2:
        return set()
    first = min(rows, key=loss)
    best = {each.label for each in rows if each is first or alike(first, each)}
    return best if len(best) < len(rows) else set()
