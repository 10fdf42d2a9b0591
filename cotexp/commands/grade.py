"""`cotexp grade`: grade a file of answers, or the stored answers of a run, under three rules. It needs no model."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import sys
from collections.abc import Callable, Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO, get_args

import orjson

from cotexp import durable, progress
from cotexp.commands.answer_rows import AnswerFields, read_answers, shown
from cotexp.methods.statistics import Interval, mean, share_interval, wilson
from cotexp.records import AnswerType, Grade, Prediction
from cotexp.settings.base import ConfigError, suggestion
from cotexp.tasks.benchmarks import BENCHMARKS
from cotexp.tasks.grading import Answered, grade_all
from cotexp.tasks.judge import TIMEOUT_SECONDS, Judge
from cotexp.visible import in_json

ANSWER_TYPES: dict[str, AnswerType] = {
    "stories": "integer",
    "gsm_symbolic": "decimal",
    **{name: benchmark.answer_type for name, benchmark in BENCHMARKS.items()},
}
RULES = ("strict", "lenient", "math_verify")


class Graded(NamedTuple):
    """A group of graded answers: name, grades, whether each answer was cut off, and which question it answers."""

    name: str
    grades: list[Grade]
    truncated: list[bool]
    questions: list[Hashable]


def grade_file(task: str, source: str, *, output: Path | None, fields: AnswerFields, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
    """Grade the answers of a file under the rules of a task, or of a type of answers. Labels are written to `output` or standard output as JSON
    Lines; the first rows as they are read, and the summary, to standard error.

    Raises: ConfigError with file, line and field, before anything is graded.
    """
    types: dict[str, AnswerType] = {**ANSWER_TYPES, **{each: each for each in get_args(AnswerType)}}
    if task not in types:
        raise ConfigError(f"--task must be one of {', '.join(types)}; got {task!r}{suggestion(task, list(types))}")
    _check_timeout(timeout_seconds)
    answers = read_answers(source, types[task], fields)
    print("\n".join(shown(answers)), file=sys.stderr)
    texts = [each.answered for each in answers]
    with _writer(output, otherwise=_print_line) as write, progress.bar(f"grades, {task}", len(texts)) as advance, Judge(timeout_seconds) as judge:

        def on_grade(grade: Grade) -> None:
            write(_line(answers[int(grade.id)].names, grade))
            advance()

        grades = grade_all(texts, judge=judge, on_grade=on_grade)
    questions: list[Hashable] = [(repr(each.names["id"]), each.answered.gold) for each in answers]  # one id with two gold answers names two questions
    print_summary([Graded(task, grades, [text.finish_reason == "length" for text in texts], questions)], sys.stderr)


def grade_run(run: Path, *, output: Path | None, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
    """Grade the stored answers of a run again, and print how many labels differ from the stored ones. The store is not changed.

    Raises: ConfigError for a wrong timeout or output; RunFailed if the answers cannot be read.
    """
    from cotexp.stages.grades import predictions_of_run

    _check_timeout(timeout_seconds)
    stored = [prediction for of_mode in predictions_of_run(run).values() for prediction in of_mode]
    groups, changed = [], 0
    with _writer(output, otherwise=lambda line: None) as write, progress.bar("grades", len(stored)) as advance, Judge(timeout_seconds) as judge:
        for (mode, task), group in itertools.groupby(stored, key=lambda prediction: (prediction.mode, prediction.task)):
            predictions = list(group)
            grades = grade_all([_stored(prediction) for prediction in predictions], judge=judge, on_grade=advance)
            for old, new in zip(predictions, grades, strict=True):
                write(_line({"mode": mode, "id": new.id}, new))
                changed += any(getattr(old, rule) != getattr(new, rule) for rule in RULES)
            truncated, questions = zip(*((each.finish_reason == "length", each.question_id) for each in predictions), strict=True)
            groups.append(Graded(f"{mode}, {task}", grades, [*truncated], [*questions]))
    print_summary(groups, sys.stdout)
    print(f"{changed} of {len(stored)} labels differ from the stored ones")


def _check_timeout(seconds: float) -> None:
    if not 0 < seconds < math.inf:
        raise ConfigError(f"--timeout must be a number of seconds of processor time above 0; got {seconds}")


def _stored(prediction: Prediction) -> Answered:
    return Answered(
        id=prediction.id,
        text=prediction.text,
        gold=prediction.gold,
        answer_type=prediction.answer_type,
        options=prediction.options,
        finish_reason=prediction.finish_reason,
    )


def _line(names: dict[str, Any], grade: Grade) -> bytes:
    labels = {rule: getattr(grade, rule) for rule in RULES}
    row = {**names, "extracted": grade.extracted, **labels, "timed_out": grade.timed_out}
    try:
        return orjson.dumps(row) + b"\n"
    except TypeError:  # an integer of more than 64 bits as id, or a Decimal of a Parquet file
        return json.dumps(row, ensure_ascii=False, separators=(",", ":"), default=str).encode() + b"\n"


# --- output --------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _writer(output: Path | None, *, otherwise: Callable[[bytes], object]) -> Iterator[Callable[[bytes], object]]:
    """A writer of lines to the file `output`, which appears when the block ends; without `output` the writer is `otherwise`."""
    if output is None:
        yield otherwise
        return
    if output.is_dir():
        raise ConfigError(f"--output must name a file that can be written; got {str(output)!r} (it is a folder)")
    partial = output.with_name(f".{output.name}.partial")
    try:
        file = partial.open("wb")
    except OSError as error:
        raise ConfigError(f"--output must name a file that can be written; got {str(output)!r} ({error.strerror})") from None
    try:
        with file:
            yield file.write
        durable.put(partial, output)
    finally:
        partial.unlink(missing_ok=True)


def _print_line(line: bytes) -> None:
    """Print a line. A reader such as `head` may close the pipe early; the summary is printed even then."""
    try:
        sys.stdout.write(in_json(line.decode()))
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_summary(groups: Sequence[Graded], file: TextIO) -> None:
    """Print accuracy under each rule, unparsable answers, and how many labels differ between rules."""
    for group in groups:
        print("\n".join(summary(group)), file=file)


def summary(group: Graded) -> Iterator[str]:
    """The summary of one group, line by line, without rules that do not apply."""
    num_answers, num_questions = len(group.grades), len(set(group.questions))
    to_questions = "" if num_questions == num_answers else f" to {num_questions} question{'s' * (num_questions > 1)}"
    yield f"{group.name}: {num_answers} answers{to_questions}; every one counts in the denominator"
    labels = {
        rule: [bool(getattr(grade, rule)) for grade in group.grades] for rule in RULES if None not in {getattr(grade, rule) for grade in group.grades}
    }
    for rule, of_rule in labels.items():
        share, (low, high) = _accuracy(of_rule, group.questions)
        over = " over questions" if to_questions else ""
        yield f"  {rule:<12} {share:7.2%}  (95 % interval{over} {low:.2%} to {high:.2%}; {sum(of_rule)} correct)"
    unparsable, timed_out = sum(grade.extracted is None for grade in group.grades), sum(grade.timed_out for grade in group.grades)
    yield f"  unparsable {unparsable}, truncated {sum(group.truncated)}, timed out {timed_out}"
    flips = [
        f"{one}/{other} {sum(ours != theirs for ours, theirs in zip(labels[one], labels[other], strict=True))}"
        for one, other in itertools.combinations(labels, 2)
    ]
    yield f"  labels that flip between rules: {', '.join(flips)}"


def _accuracy(correct: Sequence[bool], questions: Sequence[Hashable]) -> tuple[float, Interval]:
    """Mean over questions of the share of right answers, and its 95 % interval, as a run counts them: answers to one question are not independent."""
    of_question: dict[Hashable, list[bool]] = {}
    for question, is_correct in zip(questions, correct, strict=True):
        of_question.setdefault(question, []).append(is_correct)
    if len(of_question) == len(correct):
        return sum(correct) / len(correct), wilson(sum(correct), len(correct))
    shares = [sum(each) / len(each) for each in of_question.values()]
    return mean(shares), share_interval(shares)
