"""Questions of a task, split into train, validation and test."""

from __future__ import annotations

from dataclasses import dataclass

from cotexp.records import Question
from cotexp.settings import FileTask, StoriesTask
from cotexp.tasks import files, stories


@dataclass(frozen=True, slots=True)
class QuestionSets:
    train: list[Question]
    validation: list[Question]
    test: list[Question]

    def __getitem__(self, split: str) -> list[Question]:
        result: list[Question] = getattr(self, split)
        return result


def load_questions(task: StoriesTask | FileTask) -> QuestionSets:
    """All questions of a task.

    Raises: ConfigError when a file is missing, malformed or empty, or the difficulty leaves too few questions.
    """
    if isinstance(task, FileTask):
        return QuestionSets(**files.load_sets(task))
    difficulty = stories.Difficulty(task.min_operations, task.max_operations, task.max_value, task.max_operand)
    counts = {"train": task.num_train, "validation": task.num_validation, "test": task.num_test}
    return QuestionSets(**{split: stories.generate(split, count=n, seed=task.seed, difficulty=difficulty) for split, n in counts.items()})


def prompt_for(task: StoriesTask | FileTask, question: Question) -> str:
    """The text that a model is asked to answer."""
    return task.prompt.format(question=question.text)
