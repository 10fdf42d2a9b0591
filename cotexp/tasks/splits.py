"""Draws questions from a split.

The order depends only on the seed and the questions' ids, so a larger draw contains every question of a smaller one.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from cotexp.records import AnswerType, Question
from cotexp.settings.base import ConfigError
from cotexp.tasks.task import QuestionSets, Task


def make_question(
    task: str, *, text: str, answer: str, answer_type: AnswerType, options: Mapping[str, str] | None = None, references: Iterable[str] = ()
) -> Question:
    """A question whose id is the task's name and a hash of its content: text, answer, options and worked solutions."""
    options, kept = dict(options or {}), [reference for reference in references if reference]
    digest = hashlib.sha256("\n".join((text, answer, *options.values(), *kept)).encode()).hexdigest()[:16]
    return Question(id=f"{task}-{digest}", text=text, answer=answer, task=task, answer_type=answer_type, options=options, references=kept)


def normal_text(question: Question) -> str:
    """Text and options without case and with single spaces; the order of the options does not matter."""
    return normal_form(question.text, question.options)


def normal_form(text: str, options: Mapping[str, str]) -> str:
    """`normal_text` of a question with this text and these options."""
    parts = (text, *sorted(options.values()))
    return "\n".join(" ".join(part.casefold().split()) for part in parts)


def in_order(questions: Iterable[Question], seed: int) -> list[Question]:
    """The questions in the order of a draw."""
    return sorted(questions, key=lambda question: hashlib.sha256(f"{seed}/{question.id}".encode()).digest())


def without_duplicates(questions: Iterable[Question]) -> tuple[list[Question], int]:
    """The questions without repetitions of text, options and answer, and the number of questions left out."""
    questions = list(questions)
    kept: dict[tuple[str, str], Question] = {}
    for question in questions:
        kept.setdefault((normal_text(question), question.options.get(question.answer, question.answer)), question)
    return list(kept.values()), len(questions) - len(kept)


def without_overlap(questions: Iterable[Question], *others: Iterable[Question]) -> tuple[list[Question], int]:
    """The questions whose text is in none of the other lists, and the number of questions left out."""
    questions = list(questions)
    blocked = {normal_text(question) for other in others for question in other}
    kept = [question for question in questions if normal_text(question) not in blocked]
    return kept, len(questions) - len(kept)


def repeated(texts: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Id of each question whose text an earlier task holds -> id of the first one with that text; `texts`: task -> question id -> normal text."""
    first: dict[str, str] = {}
    found: dict[str, str] = {}
    for own in texts.values():
        found |= {question: first[text] for question, text in own.items() if text in first}
        for question, text in own.items():
            first.setdefault(text, question)
    return found


def with_unique_ids(questions: Iterable[Question]) -> list[Question]:
    """All questions in their order; the second one with the same id gets the suffix "-2", the third "-3"."""
    seen: Counter[str] = Counter()
    result = []
    for question in questions:
        seen[question.id] += 1
        result.append(question if seen[question.id] == 1 else dataclasses.replace(question, id=f"{question.id}-{seen[question.id]}"))
    return result


def draw(task: Task, *, train: Sequence[Question], validation: Sequence[Question] | None, test: Sequence[Question]) -> QuestionSets:
    """The splits that `task` requests; `validation` is None if the source has no such split.

    Test questions are never dropped. A count larger than its split takes the whole split, because tasks of different sizes share counts. A task
    without training questions has no validation questions either.

    Raises: ConfigError if too few questions are left for training, or too few have a worked solution for the prompt.
    """
    unique, num_duplicates = without_duplicates(train)
    held, more_duplicates = without_duplicates(validation or [])
    held, held_overlap = without_overlap(held, test)
    unique, overlap = without_overlap(unique, test, validation or [])
    order = in_order(unique, task.seed)
    shots = _shots(task, order)
    shown = {shot.id for shot in shots}
    order = [question for question in order if question.id not in shown]
    if not train:
        chosen: list[Question] = []
    elif validation is not None:
        chosen = in_order(held, task.seed)[: task.num_validation]
    else:
        chosen = _held_back(task, order)
        order = order[len(chosen) :]
    dropped = {"duplicates": num_duplicates + more_duplicates, "overlap": overlap + held_overlap}
    named = with_unique_ids(test)
    return QuestionSets(
        train=order[: task.num_train],
        validation=chosen,
        test=named if task.num_test is None else in_order(named, task.seed)[: task.num_test],
        shots=shots,
        dropped={name: count for name, count in dropped.items() if count},
    )


def _shots(task: Task, order: Sequence[Question]) -> list[Question]:
    """The worked examples of the prompt: the first questions of the training order that have a solution."""
    if not task.few_shot or task.few_shot_file:
        return []
    solved = [question for question in order if question.references]
    if len(solved) < task.few_shot:
        raise ConfigError(
            f"task.few_shot must be at most {len(solved)}, the training questions of {task.name} that have a worked solution; got {task.few_shot}; "
            "give task.few_shot_file=FILE with worked examples"
        )
    return solved[: task.few_shot]


def _held_back(task: Task, order: Sequence[Question]) -> list[Question]:
    if len(order) <= task.num_validation:
        raise ConfigError(
            f"task.num_validation must leave training questions: {task.name} has {len(order)}, and {task.num_validation} would be held back; "
            "lower task.num_validation"
        )
    return list(order[: task.num_validation])
