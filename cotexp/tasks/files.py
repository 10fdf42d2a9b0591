"""Questions from the user's own JSON Lines files."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import orjson

from cotexp.records import Question
from cotexp.sections import ConfigError, suggestion
from cotexp.settings import FileTask
from cotexp.tasks.answers import number_of


def load_sets(task: FileTask) -> dict[str, list[Question]]:
    """The three splits; without a validation file its questions are the last ones of the training file.

    Raises: ConfigError naming setting, file, line and field.
    """
    train = read_questions(task, "train", task.train)
    test = read_questions(task, "test", task.test)[: task.num_test]
    if task.validation is None:
        if len(train) <= task.num_validation:
            raise ConfigError(
                f"task.num_validation must leave training questions over: {task.train} has {len(train)}, {task.num_validation} are to be held "
                "back; lower task.num_validation or give task.validation=FILE"
            )
        train, validation = train[: -task.num_validation], train[-task.num_validation :]
    else:
        validation = read_questions(task, "validation", task.validation)[: task.num_validation]
    train = train[: task.num_train]
    texts = {split: {each.text for each in own} for split, own in (("train", train), ("validation", validation), ("test", test))}
    for one, other in (("test", "train"), ("test", "validation"), ("validation", "train")):
        if overlap := texts[one] & texts[other]:
            raise ConfigError(f"task.{one} shares {len(overlap)} questions with task.{other}; remove them from one of the files")
    return {"train": train, "validation": validation, "test": test}


def read_questions(task: FileTask, split: str, path: str) -> list[Question]:
    """The different questions of one file, in order."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"task.{split} must name a readable file; got {path!r} ({error.strerror})") from None
    questions: dict[str, Question] = {}
    for number, line in enumerate(content.splitlines(), 1):
        if line.strip():
            question = _question(task, line, f"task.{split}: {path}, line {number}")
            questions.setdefault(question.id, question)
    if not questions:
        raise ConfigError(f"task.{split} must hold at least one question; {path} is empty")
    return list(questions.values())


def _question(task: FileTask, line: bytes, place: str) -> Question:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"{place} is not valid JSON ({error}); correct the line") from None
    if not isinstance(row, dict):
        raise ConfigError(f"{place} must be a JSON object; got {type(row).__name__}")
    text = _field(row, task.question_field, "question_field", place)
    answer = _field(row, task.answer_field, "answer_field", place)
    if number_of(answer) is None:
        raise ConfigError(f"{place}: field {task.answer_field!r} must hold one number; got {answer!r}")
    digest = hashlib.sha256(f"{text}\n{answer}".encode()).hexdigest()[:16]
    return Question(id=f"{task.name}-{digest}", text=text, answer=answer, task=task.name)


def _field(row: dict[str, Any], name: str, setting: str, place: str) -> str:
    if row.get(name) is None or not str(row[name]).strip():
        raise ConfigError(
            f"{place}: field {name!r} is missing or empty{suggestion(name, list(row))}; fields here: {', '.join(row)}; see task.{setting}"
        )
    return str(row[name]).strip()
