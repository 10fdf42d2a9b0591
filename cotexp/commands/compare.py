"""`cotexp compare`: two finished runs on the questions that both answered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from cotexp.commands.export import find_run
from cotexp.methods.comparison import POOLED, ComparedTask, RunComparison, compare_answers, holm
from cotexp.records import Prediction
from cotexp.report import terminal
from cotexp.report.document import p_text, text_table
from cotexp.settings.base import ConfigError, RunFailed
from cotexp.settings.evaluation import MODES

MAX_NAMED_QUESTIONS = 5
P_COLUMN = 5


class Side(NamedTuple):
    """One of the two runs: its name in tables, and its answers in the compared mode."""

    name: str
    predictions: Sequence[Prediction]


def compare_runs(first: str, second: str, *, outputs: Path, mode: str | None) -> None:
    """Print the paired comparison of two finished runs, per task and pooled.

    A run is given by its folder, its key or its experiment. `mode` is one evaluated mode of both, or one for each, such as "full,compress";
    by default each run's last one.
    Raises: ConfigError for an unknown run or mode, the same answers twice, or runs without a common question.
    """
    folders = [find_run(name, outputs) for name in (first, second)]
    modes = _modes(mode)
    sides = [_side(folder, _answers(folder), requested) for folder, requested in zip(folders, modes, strict=True)]
    if folders[0].resolve() == folders[1].resolve() and sides[0].name == sides[1].name:
        raise ConfigError(f"compare: both are {sides[0].name}; name another run by its key, or two modes such as --mode full,compress")
    print_comparison(*sides)


def _answers(folder: Path) -> dict[str, list[Prediction]]:
    from cotexp.stages.grades import predictions_of_run

    try:
        return predictions_of_run(folder)
    except RunFailed as error:
        raise RunFailed(f"compare: {folder} cannot be compared: {error}") from None


def _modes(mode: str | None) -> list[str | None]:
    if mode is None:
        return [None, None]
    names = mode.split(",")
    if len(names) > 2:
        raise ConfigError(f"compare: --mode takes one mode for both runs, or one for each such as full,compress; got {mode!r}")
    return [names[0], names[-1]]


def _side(folder: Path, predictions: dict[str, list[Prediction]], requested: str | None) -> Side:
    """The answers of one mode under the name EXPERIMENT/KEY, MODE."""
    resolved = folder.resolve()
    run = f"{resolved.parent.name}/{resolved.name}"
    chosen = requested or next((mode for mode in reversed(MODES) if mode in predictions), None)
    if chosen not in predictions:
        raise ConfigError(f"compare: run {run} has no answers in mode {chosen!r}; it has {', '.join(predictions) or 'none'}")
    return Side(f"{run}, {chosen}", predictions[chosen])


def print_comparison(first: Side, second: Side) -> None:
    """Print the table of two sides, a verdict and notes. Raises: ConfigError if no question can be paired."""
    comparison = compare_answers(first.predictions, second.predictions)
    if not comparison.rows:
        raise ConfigError(_nothing_in_common(first, second, comparison))
    headings = ["task", "questions", "accuracy, first", "second", "difference, points (95 % interval)", "p", "only first right", "only second right"]
    if not comparison.one_sample:
        headings = [heading.replace("right", "better") for heading in headings]
    rows = [_cells(row) for row in comparison.rows]
    if comparison.rows[-1].task == POOLED:
        headings.insert(P_COLUMN + 1, "p (Holm)")
        corrected = holm([row.paired.p_value for row in comparison.rows[:-1]])
        for cells, text in zip(rows, [*map(p_text, corrected), ""], strict=True):
            cells.insert(P_COLUMN + 1, text)
    terminal.show(text_table(f"First: {first.name}\nSecond: {second.name}", headings, rows))
    for line in (verdict(comparison.rows[-1]), *(f"- {note}" for note in notes(comparison))):
        terminal.say(line)


def _nothing_in_common(first: Side, second: Side, comparison: RunComparison) -> str:
    tasks = [", ".join(sorted({prediction.task for prediction in side.predictions})) or "nothing" for side in (first, second)]
    if comparison.other_gold:
        return (
            f"compare: all {len(comparison.other_gold)} common questions of {first.name} and {second.name} have different gold answers; "
            "run both again with the same version of the questions"
        )
    return (
        f"compare: {first.name} and {second.name} answered no common question ({tasks[0]}; {tasks[1]}); "
        "compare runs of the same task with the same test questions (task.num_test, task.seed)"
    )


def _cells(row: ComparedTask) -> list[str]:
    paired = row.paired
    return [
        row.task,
        str(paired.num_questions),
        f"{row.accuracy_first:.1%}",
        f"{row.accuracy_second:.1%}",
        f"{100 * paired.difference:+.1f} ({100 * paired.low:+.1f} to {100 * paired.high:+.1f})",
        p_text(paired.p_value),
        str(paired.only_first),
        str(paired.only_second),
    ]


def verdict(row: ComparedTask) -> str:
    """One sentence: whether the difference of a row is beyond noise."""
    questions = f"{row.paired.num_questions} question{'' if row.paired.num_questions == 1 else 's'}"
    if row.within_noise:
        return f"Within noise: {questions} cannot distinguish the two (beyond noise means p < 0.05 and an interval without 0)."
    better = "second" if row.paired.difference > 0 else "first"
    return f"Beyond noise: the {better} run is better by {100 * abs(row.paired.difference):.1f} points on {questions}."


def notes(comparison: RunComparison) -> Iterator[str]:
    """What a reader needs to interpret the table, including everything left out."""
    if comparison.one_sample:
        yield "Strict grading; p by McNemar's exact test, interval by bootstrap over questions; difference = second minus first."
    else:
        yield (
            "Strict grading; several answers per question, each question counts with its share of correct ones; p by a paired sign-flip "
            "permutation test, interval by bootstrap over questions; difference = second minus first."
        )
    if comparison.rows[-1].task == POOLED:
        num_repeated = sum(row.paired.num_questions for row in comparison.rows[:-1]) - comparison.rows[-1].paired.num_questions
        once = f", and those that several tasks ask count once ({num_repeated} left out)" if num_repeated else ""
        yield f"In the row {POOLED!r} every question has the same weight{once}; p (Holm) of the single tasks is corrected for their number."
    yield "One seed on each side: the interval holds the variance of the questions, not what another training run would change."
    for questions, what in (
        (comparison.only_first, "answered by the first run only"),
        (comparison.only_second, "answered by the second run only"),
        (comparison.other_gold, "graded against different gold answers"),
    ):
        if questions:
            more = f" and {len(questions) - MAX_NAMED_QUESTIONS} more" if len(questions) > MAX_NAMED_QUESTIONS else ""
            yield f"Left out, {what}: {len(questions)} ({', '.join(questions[:MAX_NAMED_QUESTIONS])}{more})."
