"""Questions from the user's own files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from cotexp.records import AnswerType, Question
from cotexp.sections import ConfigError, suggestion
from cotexp.task_settings import CustomTask
from cotexp.tasks.answers import split_solution
from cotexp.tasks.benchmarks import with_closing
from cotexp.tasks.draw import QuestionSets, draw, in_order, make_question, without_duplicates
from cotexp.tasks.rows import Row, label_and_text, labels_of, options_of, read_rows

TEST_PART = 5
"""Without a test file every fifth question is a test question."""


def load_sets(task: CustomTask) -> QuestionSets:
    """The drawn splits. Without a test file, the first questions of the draw's order are the test split (a fifth, or num_test).

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
            f"task.num_test must leave test and training questions: {task.file} has {len(order)} different questions, {num_test} of them would be "
            "the test split; give task.test_file=FILE or another task.num_test"
        )
    sets = draw(task, train=order[num_test:], validation=validation, test=order[:num_test])
    if num_duplicates:
        sets.dropped["duplicates"] = sets.dropped.get("duplicates", 0) + num_duplicates
    return sets


def read_questions(task: CustomTask, setting: str, path: str) -> list[Question]:
    """The questions of one file, in order, duplicates included."""
    questions = [_question(task, row) for row in read_rows(Path(path), f"task.{setting}: {path}")]
    if not questions:
        raise ConfigError(f"task.{setting} must hold at least one question; {path} is empty")
    return questions


def _question(task: CustomTask, row: Row) -> Question:
    answer_type = cast(AnswerType, task.answer_type)
    text = _text(row, task.question_field, "question_field")
    if task.options_field:
        _there(row, task.options_field, "options_field")
    options = options_of(row, task.options_field) if task.options_field else {}
    _there(row, task.answer_field, "answer_field")
    if options:
        _not_from_zero(task, row)
    answer = _letter_of_label(task, row, options) or row.gold(task.answer_field, answer_type, options)
    solution = row.optional_text(task.solution_field) if task.solution_field else ""
    if solution and not split_solution(solution, answer_type, options)[1]:
        solution = with_closing(solution, answer, answer_type)
    return make_question(task.name, text=text, answer=answer, answer_type=answer_type, options=options, references=[solution] if solution else [])


def _text(row: Row, name: str, setting: str) -> str:
    _there(row, name, setting)
    return row.text(name)


def _there(row: Row, name: str, setting: str) -> None:
    value = row.fields.get(name)
    if value is None or (isinstance(value, str) and not value.strip()):
        here = list(row.fields)
        raise ConfigError(
            f"{row.place}: field '{name}' is missing or empty{'' if name in here else suggestion(name, here)}; "
            f"fields here: {', '.join(here)}; see task.{setting}"
        )


def _not_from_zero(task: CustomTask, row: Row) -> None:
    """Raises: ConfigError for an answer 0 that is no option's label or text: other rows' 1, 2, ... would then be read as the wrong options."""
    answer = str(row.fields[task.answer_field]).strip()
    known = [*labels_of(row, task.options_field), *options_of(row, task.options_field).values()] if task.options_field else []
    if answer in ("0", "0.0") and not {"0", "0.0"} & {each.strip() for each in known}:
        raise row.refusal(
            task.answer_field,
            "must count options from 1; got 0: where a file counts them from 0, every number names the option before the right one; "
            "write letters (0 -> A, 1 -> B), or options as an object of label and text with the labels 0, 1, ...",
        )


def _letter_of_label(task: CustomTask, row: Row, options: Mapping[str, str]) -> str | None:
    """The letter of an answer that is a label of the row's own object of options, such as "2" of {"1": ..., "2": ...}, or label and text."""
    if not task.options_field:
        return None
    labels = [each.strip().casefold() for each in labels_of(row, task.options_field)]
    answer = str(row.fields[task.answer_field]).strip()
    if answer.casefold() in labels:
        return list(options)[labels.index(answer.casefold())]
    label, text = label_and_text(answer)
    return label if label and options.get(label) == text else None
