"""Questions from the user's own files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

from cotexp.records import AnswerType, Question
from cotexp.settings.base import ConfigError, setting, shortened
from cotexp.tasks.closings import with_closing
from cotexp.tasks.hub import read_source
from cotexp.tasks.options import label_and_text
from cotexp.tasks.options_field import labels_of, options_of
from cotexp.tasks.rows import Row
from cotexp.tasks.splits import draw, in_order, make_question, without_duplicates
from cotexp.tasks.task import QuestionSets, Task

TEST_PART = 5
"""Without a test file, one question in this many is a test question."""


@dataclass(slots=True, kw_only=True)
class CustomTask(Task):
    """Your own questions: JSON, JSON Lines, CSV or Parquet, or hub:OWNER/NAME. Fields may be paths such as doc.question."""

    name: str = setting("custom", "Name of the task; ids of its questions begin with it.")
    file: str | None = setting(
        None,
        "File with the questions to train on (.jsonl, .json, .csv, .parquet), or a data set of the Hugging Face hub, hub:OWNER/NAME/CONFIG/SPLIT; "
        "its content is part of every key. None: the task is only evaluated.",
        keyed=False,
        is_path=True,
    )
    validation_file: str | None = setting(
        None, "File with the validation questions; without one they are held back from training.", keyed=False, is_path=True
    )
    test_file: str | None = setting(
        None, "File with the test questions; without one a fifth of `file`, or num_test of it.", keyed=False, is_path=True
    )
    question_field: str = setting("question", "Field that holds the question.")
    answer_field: str = setting("answer", "Field that holds the gold answer.")
    options_field: str | None = setting(None, "Field that holds the options of multiple choice: a list, or an object of letter and text.")
    solution_field: str | None = setting(None, "Field that holds a worked solution, if there is one.")
    answer_type: str = setting("decimal", "How answers are read and compared.", choices=get_args(AnswerType))

    def contradictions(self) -> Iterator[str]:
        yield from Task.contradictions(self)
        if not re.fullmatch(r"\w[\w.-]{0,99}", self.name):
            rule = "one word of at most 100 letters, digits, '_', '-' and '.'"
            yield f"name must be {rule}, which becomes part of the names of metrics; got {shortened(self.name)}"
        if self.file is None and self.test_file is None:
            yield "file must name your questions (or test_file, for a task that is only evaluated); add task.file=QUESTIONS.jsonl"
        if self.answer_type == "choice" and self.options_field is None:
            yield "options_field must be given with answer_type=choice; got None"
        if self.answer_type != "choice" and self.options_field is not None:
            yield f"options_field is read only with answer_type=choice; got {self.options_field!r} with answer_type={self.answer_type}"
        if self.answer_type == "choice" and "{options}" not in self.prompt:
            yield f"prompt must contain {{options}} with answer_type=choice; got {self.prompt!r}"

    def graded_as(self) -> AnswerType:
        return cast(AnswerType, self.answer_type)

    def questions(self, folders: Sequence[Path]) -> QuestionSets:
        return load_sets(self)


def load_sets(task: CustomTask) -> QuestionSets:
    """The drawn splits. Without a test file, the first questions in the order of the draw are the test split (a fifth, or num_test).

    Raises: ConfigError naming setting, file, line and field.
    """
    questions = read_questions(task, "file", task.file) if task.file else []
    validation = read_questions(task, "validation_file", task.validation_file) if task.validation_file else None
    if task.test_file:
        return draw(task, train=questions, validation=validation, test=read_questions(task, "test_file", task.test_file))
    unique, num_duplicates = without_duplicates(questions)
    order = in_order(unique, task.seed)
    num_test = task.num_test or len(order) // TEST_PART
    if not 0 < num_test < len(order):
        raise ConfigError(
            f"task.num_test must leave test and training questions: {task.file} has {len(order)} different questions, {num_test} of which would be "
            "the test split; give task.test_file=FILE or another task.num_test"
        )
    sets = draw(task, train=order[num_test:], validation=validation, test=order[:num_test])
    if num_duplicates:
        sets.dropped["duplicates"] = sets.dropped.get("duplicates", 0) + num_duplicates
    return sets


def read_questions(task: CustomTask, setting: str, path: str) -> list[Question]:
    """The questions of one file, in order, including duplicates.

    Raises: ConfigError naming setting, file, line and field of the first row that cannot be read, or for an empty file.
    """
    usual = setting.removesuffix("file").rstrip("_") or "train"
    golds = GoldReader(task.answer_field, task.graded_as(), task.options_field)
    questions = [_question(task, golds, row) for row in read_source(path, f"task.{setting}", split=usual)]
    if not questions:
        raise ConfigError(f"task.{setting} must hold at least one question; {path} is empty")
    return questions


def _question(task: CustomTask, golds: GoldReader, row: Row) -> Question:
    from cotexp.tasks.answers import split_solution  # as in Row.gold

    answer_type = task.graded_as()
    text = _text(row, task.question_field, "question_field")
    if task.options_field:
        _there(row, task.options_field, "options_field")
    options = options_of(row, task.options_field) if task.options_field else {}
    _there(row, task.answer_field, "answer_field")
    answer = golds.read(row)
    solution = row.optional_text(task.solution_field) if task.solution_field else ""
    if solution and not split_solution(solution, answer_type, options)[1]:
        solution = with_closing(solution, answer, answer_type, options)
    return make_question(task.name, text=text, answer=answer, answer_type=answer_type, options=options, references=[solution] if solution else [])


def _text(row: Row, name: str, setting: str) -> str:
    _there(row, name, setting)
    return row.text(name)


def _there(row: Row, name: str, setting: str) -> None:
    try:
        value = row.value(name)
    except ConfigError as error:
        raise ConfigError(*(f"{problem}; see task.{setting}" for problem in error.problems)) from None
    if isinstance(value, str) and not value.strip():
        raise row.refusal(name, f"must not be empty; see task.{setting}")


def gold_of(row: Row, answer_field: str, answer_type: AnswerType, options_field: str | None) -> str:
    """The gold answer in the form that is compared: of multiple choice the letter of a label, a number or a text.

    Raises: ConfigError if the field does not hold one.
    """
    options = options_of(row, options_field) if options_field else {}
    if options_field:
        _not_from_zero(row, answer_field, options_field)
    return (_letter_of_label(row, answer_field, options_field, options) if options_field else None) or row.gold(answer_field, answer_type, options)


@dataclass(slots=True)
class GoldReader:
    """Reads the gold answers of one file. A number as the answer of multiple choice counts options in all of its rows, or is a text in all."""

    answer_field: str
    answer_type: AnswerType
    options_field: str | None
    counts: str = ""
    is_text: tuple[Row, str] | None = None

    def read(self, row: Row) -> str:
        """As `gold_of`. Raises: ConfigError once two rows have shown that numbers count in one and are a text in the other."""
        gold = gold_of(row, self.answer_field, self.answer_type, self.options_field)
        answer = str(row.value(self.answer_field)).strip("().: ")
        if self.options_field and answer.isdecimal() and answer not in labels_of(row, self.options_field):
            self._note(row, answer, gold, options_of(row, self.options_field))
        return gold

    def _note(self, row: Row, answer: str, gold: str, options: Mapping[str, str]) -> None:
        from cotexp.tasks.gold import letter_of_number  # as in Row.gold
        from cotexp.tasks.option_texts import letter_of_text

        counted = letter_of_number(answer, options)
        if letter_of_text(answer, options) is None:
            self.counts = self.counts or row.place
        elif counted not in (None, gold):
            self.is_text = self.is_text or (row, f"must be a letter: {answer} may count options ({counted}) or be the text of one ({gold})")
        if self.counts and self.is_text:
            raise self.is_text[0].refusal(self.answer_field, f"{self.is_text[1]}; that of {self.counts} can only count")


def _not_from_zero(row: Row, answer_field: str, options_field: str) -> None:
    """Raises: ConfigError for an answer 0 that is not an option's label or text: the 1, 2, ... of other rows would then mean the wrong options."""
    answer = str(row.value(answer_field)).strip()
    known = [*labels_of(row, options_field), *options_of(row, options_field).values()]
    if answer in ("0", "0.0") and not {"0", "0.0"} & {text.strip() for text in known}:
        raise row.refusal(
            answer_field,
            "must count options from 1; got 0: if a file counts them from 0, every number would mean the option before the correct one; "
            "write letters (0 -> A, 1 -> B), or options as an object of label and text with the labels 0, 1, ...",
        )


def _letter_of_label(row: Row, answer_field: str, options_field: str, options: Mapping[str, str]) -> str | None:
    """The letter of an answer that is a label in the row's object of options, such as "2" in {"1": ..., "2": ...}, or label and text."""
    labels = [label.strip().casefold() for label in labels_of(row, options_field)]
    answer = str(row.value(answer_field)).strip()
    if answer.casefold() in labels:
        return list(options)[labels.index(answer.casefold())]
    label, text = label_and_text(answer)
    return label if label and options.get(label) == text else None
