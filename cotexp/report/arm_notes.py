"""The notes below a table of arms: what a reader needs to interpret it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from cotexp.report import costs, incomplete
from cotexp.report.arm_rows import ArmRow
from cotexp.report.finished_runs import listed

ONCE = "Over all tasks, a question that several of them ask counts once, as the first of them asks it; the accuracy of a task is over all of its own."


def notes(rows: Sequence[ArmRow]) -> Iterator[str]:
    """The notes; those of columns of costs: `costs.notes`."""
    measured = [row for row in rows if row.answers]
    if not measured:
        return
    yield _sample(rows, measured)
    yield from dict.fromkeys(line for row in measured for metrics in row.run_metrics for line in incomplete.lines(metrics))
    if any(row.num_repeated for row in measured):
        yield ONCE
    yield from _seeds(measured)
    if any(row.against for row in rows):
        yield from _tests(rows)
    yield (
        "Bold, among fine-tuned arms: the best accuracy and those that a paired test cannot distinguish from it; the same for tokens, among those "
        "that are not less accurate than the baseline beyond noise. Nothing is bold if the test distinguishes no arm."
    )
    yield from _unequal(measured)
    yield from costs.equality(rows)


def caption(rows: Sequence[ArmRow], *, columns: Collection[str], has_bold: bool) -> str:
    """What the caption of a table with these columns must say: sample and baseline, what the intervals hold, and the marks that occur."""
    measured = [row for row in rows if row.answers]
    if not measured:
        return ""
    over = "seeds and questions" if any(len(row.seeds) > 1 for row in measured) else "questions (one seed)"
    sentences = [_sample(rows, measured, against="difference" in columns)]
    if not {"accuracy", "difference"}.isdisjoint(columns):
        sentences.append(f"In brackets: 95 % intervals over {over}.")
    if has_bold:
        sentences.append("Bold: the best fine-tuned arm and those that a paired test cannot distinguish from it.")
    if "difference" in columns and any(row.within_noise for row in rows):
        sentences.append("≈: within noise.")
    return " ".join(sentences)


def _sample(rows: Sequence[ArmRow], measured: Sequence[ArmRow], *, against: bool = True) -> str:
    """Questions and mode, and the baseline if differences are `against` it."""
    counts = sorted({row.num_questions for row in measured})
    questions = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    modes = dict.fromkeys(row.mode for row in measured if row.arm)
    compared = _compared(rows) if against else ""
    splits = {run.identity.get("evaluation.split", "test") for row in measured if row.arm for run in row.arm.runs} or {"test"}
    return f"{questions} {' or '.join(sorted(splits))} questions, mode {', '.join(modes)}, strict grading{compared}."


def _compared(rows: Sequence[ArmRow]) -> str:
    """The end of a sentence that names the baseline."""
    baselines = [row for row in rows if row.is_baseline]
    if len(baselines) == 1:
        return f"; differences are to the baseline, {baselines[0].label}"
    if any(row.baseline for row in rows) and baselines:
        return "; differences are to the baseline that shares each arm's other settings"
    return "; differences are to the model that each arm was fine-tuned from" if any(row.against for row in rows) else ""


def _seeds(rows: Sequence[ArmRow]) -> Iterator[str]:
    """What the intervals of accuracy hold, for arms of several seeds and of one."""
    arms = [row for row in rows if row.seeds and row.is_trained]
    if any(len(row.seeds) > 1 for row in arms):
        yield (
            "Accuracy is the mean over seeds and questions. Its interval holds the variance of both: a bootstrap that draws seeds and questions "
            "anew, its spread corrected for few seeds (Student's t with Satterthwaite's degrees of freedom)."
        )
    if alone := [row for row in arms if len(row.seeds) == 1]:
        which = "every arm" if len(alone) == len(arms) else listed([row.label for row in alone], "; ")
        yield (
            f"One seed: {which}. Without a second one, an interval holds the variance of the questions (Wilson's, for one answer per question), "
            "not what another training run would change."
        )


def _tests(rows: Sequence[ArmRow]) -> Iterator[str]:
    """How differences are tested, and the family of the corrected p-values."""
    several = any(len(row.seeds) > 1 for row in rows)
    yield (
        "Differences are paired on the same questions"
        + (" and on the seeds that both arms have; interval by bootstrap over both" if several else "; interval by bootstrap over questions")
        + ", p by McNemar's exact test for one answer per question, else by a sign-flip permutation test over questions"
        + (", or by Student's t over seeds and questions if the seeds differ by more than chance." if several else ".")
    )
    num_compared = sum(row.against is not None for row in rows)
    family = "with the same baseline" if sum(row.is_baseline for row in rows) != 1 else "with the baseline"
    corrected = f"; p (Holm): corrected for the number of comparisons {family} in this table ({num_compared} in all)" if num_compared > 1 else ""
    yield f"≈: within noise (the interval holds 0, or p{', so corrected,' if corrected else ''} is at least 0.05){corrected}."


def _unequal(rows: Sequence[ArmRow]) -> Iterator[str]:
    """A line for each arm that was compared on some of its questions or seeds."""
    by_label = {row.label: row for row in rows if row.arm}
    for row in rows:
        baseline = by_label.get(row.baseline)
        if row.num_unpaired:
            yield f"{row.label}: {row.num_unpaired:,} questions are not in both arms with the same gold answer; the difference excludes them."
        if baseline and row.is_trained and baseline.is_trained and row.seeds != baseline.seeds:
            common = sorted(set(row.seeds) & set(baseline.seeds))
            which = f"only on seeds {', '.join(map(str, common))}" if common else "over all seeds of both, since they share none"
            yield f"{row.label}: its seeds differ from the baseline's; compared {which}."
