"""The table of an experiment's arms: accuracy over seeds and questions, and the paired difference to the baseline."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cotexp.methods.comparison import ComparedTask, compare_answers
from cotexp.methods.statistics import Spread, accuracy_metrics, mean, mean_and_deviation, shares_correct
from cotexp.records import Prediction
from cotexp.report.arms import Arm

BASE = "base (not fine-tuned)"
LAST_COLUMNS = ("answer tokens", "difference (95 % interval)", "p", "verdict")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmRow:
    """One arm, or the model before fine-tuning (no seeds, no rationales).

    `accuracy` is the mean over seeds and questions in [0, 1], `low` and `high` its 95 % interval over questions, `over_seeds` holds the
    accuracies' mean and deviation. `against` is None for the baseline, and where no question can be paired.
    """

    label: str
    seeds: list[int]
    num_rationales: float | None
    num_rationale_tokens: float | None
    accuracy: float
    low: float
    high: float
    over_seeds: Spread | None
    seed_accuracies: list[float]
    num_tokens: float
    num_questions: int
    accuracy_of: dict[str, float]
    against: ComparedTask | None
    num_unpaired: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmTable:
    """Rows with those of the model before fine-tuning first; tasks in order, only where there are several."""

    rows: list[ArmRow]
    tasks: list[str]
    baseline: str
    modes: list[str]


def make_table(arms: Sequence[Arm], baseline: Arm) -> ArmTable:
    """Every arm against the baseline, paired on the same questions and, where the two share seeds, on the same seeds."""
    bases: dict[tuple[str, ...], list[Arm]] = {}
    for each in arms:
        if each.runs[0].base_answers and each.runs[0].mode != "base":
            bases.setdefault(each.runs[0].base_keys, []).append(each)
    rows = []
    for own in bases.values():
        label = BASE if len(bases) == 1 else f"{BASE} of {own[0].label}"
        rows.append(_row(label, own[0].runs[0].base_answers, baseline.answers()))
    for arm in arms:
        common = sorted(set(arm.seeds) & set(baseline.seeds)) or None
        first, second = (baseline.answers(common), arm.answers(common)) if common else (baseline.answers(), arm.answers())
        rows.append(_row(arm.label, arm.answers(), None if arm is baseline else first, paired_answers=second, arm=arm))
    tasks = list(dict.fromkeys(answer.task for arm in arms for answer in arm.runs[0].answers))
    return ArmTable(
        rows=rows,
        tasks=tasks if len(tasks) > 1 else [],
        baseline=baseline.label,
        modes=list(dict.fromkeys(each.runs[0].mode for each in arms)),
    )


def _row(
    label: str,
    answers: Sequence[Prediction],
    baseline: Sequence[Prediction] | None,
    *,
    paired_answers: Sequence[Prediction] | None = None,
    arm: Arm | None = None,
) -> ArmRow:
    metrics = accuracy_metrics(answers)
    compared = None if baseline is None else compare_answers(baseline, answers if paired_answers is None else paired_answers)
    own: dict[str, list[Prediction]] = {}
    for each in answers:
        own.setdefault(each.task, []).append(each)
    accuracies = [mean(list(shares_correct(each.answers).values())) for each in arm.runs] if arm else []
    return ArmRow(
        label=label,
        seeds=arm.seeds if arm else [],
        num_rationales=arm.mean("selection/num_kept") if arm else None,
        num_rationale_tokens=arm.mean("selection/num_tokens") if arm else None,
        accuracy=metrics["accuracy"],
        low=metrics["accuracy_low"],
        high=metrics["accuracy_high"],
        over_seeds=mean_and_deviation(accuracies) if arm else None,
        seed_accuracies=accuracies,
        num_tokens=metrics["num_tokens"],
        num_questions=int(metrics["num_questions"]),
        accuracy_of={task: mean(list(shares_correct(each).values())) for task, each in own.items()},
        against=compared.rows[-1] if compared and compared.rows else None,
        num_unpaired=len(compared.only_first) + len(compared.only_second) + len(compared.other_gold) if compared else 0,
    )


# --- as texts ------------------------------------------------------------------------------------------------------------


def columns(table: ArmTable) -> list[str]:
    """Headings of `cells`, without the tasks."""
    spread = ["sd over seeds"] if _has_deviation(table) else []
    return ["arm", "seeds", "training rationales", "training tokens", "accuracy, % (95 % interval)", *spread, *LAST_COLUMNS]


def cells(row: ArmRow, table: ArmTable) -> list[str]:
    """The texts of a row, as `columns` says; accuracies, deviations and differences in points."""
    deviation = row.over_seeds.deviation if row.over_seeds else math.nan
    spread = ["" if math.isnan(deviation) else f"{100 * deviation:.1f}"] if _has_deviation(table) else []
    return [
        row.label,
        ", ".join(map(str, row.seeds)),
        "" if row.num_rationales is None else f"{row.num_rationales:,.0f}",
        "" if row.num_rationale_tokens is None else f"{row.num_rationale_tokens:,.0f}",
        f"{100 * row.accuracy:.1f} ({100 * row.low:.1f} to {100 * row.high:.1f})",
        *spread,
        f"{row.num_tokens:.1f}",
        *_difference(row, table),
    ]


def task_cells(row: ArmRow, table: ArmTable) -> list[str]:
    """Accuracy on each of `table.tasks`, in percent."""
    return [f"{100 * row.accuracy_of[task]:.1f}" if task in row.accuracy_of else "" for task in table.tasks]


def _has_deviation(table: ArmTable) -> bool:
    return any(len(each.seeds) > 1 for each in table.rows)


def _difference(row: ArmRow, table: ArmTable) -> list[str]:
    if row.against is None:
        return ["baseline" if row.label == table.baseline else "no common question", "", ""]
    paired = row.against.paired
    return [
        f"{100 * paired.difference:+.1f} ({100 * paired.low:+.1f} to {100 * paired.high:+.1f})",
        "< 0.0001" if paired.p_value < 0.0001 else f"{paired.p_value:.4f}",
        "noise" if row.against.within_noise else "real",
    ]


def markdown(table: ArmTable) -> list[str]:
    """The table in lines, with a column per task where there are several."""
    names = [*columns(table), *(f"{task}, %" for task in table.tasks)]
    body = [[*cells(each, table), *task_cells(each, table)] for each in table.rows]
    return ["| " + " | ".join(names) + " |", "|---|" + "---:|" * (len(names) - 1), *("| " + " | ".join(each) + " |" for each in body)]


def notes(table: ArmTable) -> Iterator[str]:
    """What a reader must know beside the table."""
    counts = sorted({each.num_questions for each in table.rows})
    questions = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    yield f"{questions} test questions, mode {', '.join(table.modes)}, strict grading; differences are to the baseline, {table.baseline}."
    several = any(len(each.seeds) > 1 for each in table.rows)
    if several:
        yield (
            "Accuracy is the mean over seeds and questions, its interval a bootstrap over questions (Wilson's for a single seed); what another "
            "training run would change is the sd over seeds, and no part of the intervals."
        )
    yield (
        "Differences are paired on the same questions"
        + (" and on the seeds that both arms have, every question with its share of correct answers" if several else "")
        + "; interval by bootstrap over questions, p by McNemar's exact test for one answer per question, else by a sign-flip permutation test."
    )
    yield 'Verdict: "noise" where the interval holds 0 or p is at least 0.05, else "real"; p-values are not corrected for the number of arms.'
    baseline = next(each for each in table.rows if each.label == table.baseline)
    for each in table.rows:
        if each.num_unpaired:
            yield f"{each.label}: {each.num_unpaired:,} questions are not in both arms with one gold answer, and take no part in the difference."
        if each.seeds and each.seeds != baseline.seeds:
            common = sorted(set(each.seeds) & set(baseline.seeds))
            which = f"on seeds {', '.join(map(str, common))} alone" if common else "over all seeds of both, since they share none"
            yield f"{each.label}: other seeds than the baseline; compared {which}."
