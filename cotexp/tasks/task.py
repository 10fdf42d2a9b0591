"""The base class of tasks: settings, questions, and how answers are graded.

A kind of task is one file with one class that extends `Task`, and a line in `cotexp.tasks.KINDS`, or an entry point of the group `cotexp.tasks`.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from cotexp.records import AnswerType, Question
from cotexp.settings.base import LARGEST_SEED, Section, bad_placeholders, setting

BOXED_PROMPT = "{question}\nLet's think step by step, and put the final answer in \\boxed{{}}."


@dataclass(frozen=True, slots=True)
class QuestionSets:
    """The drawn splits of a task.

    `shots` are the worked examples set aside for the prompt. `dropped` counts training and validation questions that were left out:
    "duplicates" are repetitions, "overlap" are also in the test split (or, for training questions, in the validation file), "unanswered"
    have no gold answer in the source. `incomplete`: "TASK/SPLIT" -> (rows, official rows), for files that differ in these.
    """

    train: list[Question]
    validation: list[Question]
    test: list[Question]
    shots: list[Question] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)
    incomplete: dict[str, tuple[int, int]] = field(default_factory=dict)

    def __getitem__(self, split: str) -> list[Question]:
        result: list[Question] = getattr(self, split)
        return result


@dataclass(slots=True, kw_only=True)
class Task(Section, ABC):
    """Settings that all tasks have in common."""

    is_generated: ClassVar[bool] = False
    """Whether a program generates the questions from `seed`. The tasks of a run whose questions come from files share one seed."""
    reads_data_folders: ClassVar[bool] = False
    """Whether its files are read from paths.data."""
    has_solutions_of_several_lengths: ClassVar[bool] = False
    """Whether the references of a question go from the longest to the shortest, as compression=reference needs."""

    name: str = setting("???", "Name of the task; ids of its questions begin with it.")
    train: list[str] | None = setting(None, "Tasks whose training questions are used, by name; only this task by default.")
    num_train: int | None = setting(None, "Most training questions of each task, drawn by `seed`; all by default.", low=1)
    num_validation: int = setting(
        64, "Questions of each task that choose the checkpoint: of its validation file, else held back from training.", low=1
    )
    num_test: int | None = setting(None, "Most test questions of each task, drawn by `seed`; all by default.", low=1)
    seed: int = setting(0, "Seed of the draw; a larger draw holds every question of a smaller one.", low=0, most=LARGEST_SEED)
    prompt: str = setting(
        BOXED_PROMPT, "Prompt shown to the model; {question} and {options} (for multiple choice) are replaced, other braces are doubled."
    )
    few_shot: int = setting(0, "Worked examples before each question, drawn from the training questions, which lose them.", low=0, high=64)
    few_shot_file: str | None = setting(
        None,
        "JSON Lines file with fields question and solution for the worked examples; its content is part of every key.",
        keyed=False,
        is_path=True,
    )

    def contradictions(self) -> Iterator[str]:
        yield from bad_placeholders(self.prompt, {"question", "options"}, {"question"})
        if self.train == []:
            yield "train must name at least one task; got []"
        if self.train and len(set(self.train)) < len(self.train):
            yield f"train must not repeat; got {self.train}"
        if self.few_shot_file and not self.few_shot:
            yield f"few_shot_file is read only with few_shot above 0; got {self.few_shot_file!r} with few_shot=0"

    @abstractmethod
    def graded_as(self) -> AnswerType:
        """How answers are read and compared. Raises: ConfigError if there is no task of this name."""

    @abstractmethod
    def questions(self, folders: Sequence[Path]) -> QuestionSets:
        """All questions that these settings request. `folders` are the data folders; downloads go to the last one.

        Raises: ConfigError if a file is missing, malformed or empty, or there are too few questions.
        """


MOST_GENERATED = 100_000
"""Most questions of a generator, which makes some thousands per second."""


@dataclass(slots=True, kw_only=True)
class GeneratedTask(Task):
    """Settings of a task whose questions a program generates."""

    is_generated: ClassVar[bool] = True

    num_train: int | None = setting(1200, "Training questions.", low=1, most=MOST_GENERATED)
    num_validation: int = setting(64, "Questions that choose the checkpoint.", low=1, most=MOST_GENERATED)
    num_test: int | None = setting(500, "Test questions.", low=1, most=MOST_GENERATED)
    seed: int = setting(0, "Seed of the generator; every seed keeps the splits disjoint.", low=0, most=LARGEST_SEED)

    def contradictions(self) -> Iterator[str]:
        yield from Task.contradictions(self)
        for name in ("num_train", "num_test"):
            if getattr(self, name) is None:
                yield f"{name} must be a number, because {self.name} generates its questions; got None"

    @abstractmethod
    def generate(self, split: str, count: int) -> list[Question]:
        """`count` different questions of "train", "validation" or "test"; the first n are the same whatever `count` is."""

    def questions(self, folders: Sequence[Path]) -> QuestionSets:
        """The generated splits. The first training questions are the worked examples."""
        assert self.num_train is not None
        assert self.num_test is not None
        num_shots = 0 if self.few_shot_file else self.few_shot
        train = self.generate("train", self.num_train + num_shots)
        validation, test = self.generate("validation", self.num_validation), self.generate("test", self.num_test)
        return QuestionSets(train=train[num_shots:], validation=validation, test=test, shots=train[:num_shots])


def split_of(text: str) -> str:
    """The split of a generated question, by the hash of its identity: a tenth is test, a tenth validation, the rest train."""
    bucket = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % 10
    return {0: "test", 1: "validation"}.get(bucket, "train")
