"""Settings of the tasks: where questions come from, how many are taken, and how a model is asked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from cotexp.sections import LARGEST_SEED, Section, bad_placeholders, setting, shortened

ANSWER_TYPES = ("integer", "decimal", "latex", "choice", "boolean")

MOST_MADE = 100_000
"""Questions of a generator, which makes some thousands in a second."""

BOXED_PROMPT = "{question}\nLet's think step by step, and put the final answer in \\boxed{{}}."


@dataclass(slots=True, kw_only=True)
class Task(Section):
    """What all tasks have in common."""

    name: str = setting("???", "Name of the task; ids of its questions begin with it.")
    train: list[str] | None = setting(None, "Tasks whose training questions are used, by name; this task alone by default.")
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


@dataclass(slots=True, kw_only=True)
class StoriesTask(Task):
    """Procedural word problems with reference solutions (no download)."""

    name: str = setting("stories", "Name of the task.", choices=("stories",))
    num_train: int | None = setting(1200, "Training questions.", low=1, most=MOST_MADE)
    num_validation: int = setting(64, "Questions that choose the checkpoint.", low=1, most=MOST_MADE)
    num_test: int | None = setting(500, "Test questions.", low=1, most=MOST_MADE)
    min_operations: int = setting(2, "Fewest operations in a story.", low=1, high=8)
    max_operations: int = setting(4, "Most operations in a story.", low=1, high=8)
    max_value: int = setting(60, "Largest running total in a story.", low=10, high=99)
    max_operand: int = setting(9, "Largest number added or taken away.", low=2, high=50)
    seed: int = setting(0, "Seed of the generator; every seed keeps the splits disjoint.", low=0, most=LARGEST_SEED)

    def contradictions(self) -> Iterator[str]:
        yield from Task.contradictions(self)
        yield from _unlimited(self)
        if self.min_operations > self.max_operations:
            yield f"min_operations must not exceed max_operations ({self.max_operations}); got {self.min_operations}"


@dataclass(slots=True, kw_only=True)
class GsmSymbolicTask(Task):
    """GSM-Symbolic: grade-school problems from templates with new names and numbers (needs the extra `symbolic`)."""

    name: str = setting("gsm_symbolic", "Name of the task.", choices=("gsm_symbolic",))
    num_train: int | None = setting(1200, "Training questions.", low=1, most=MOST_MADE)
    num_validation: int = setting(64, "Questions that choose the checkpoint.", low=1, most=MOST_MADE)
    num_test: int | None = setting(500, "Test questions.", low=1, most=MOST_MADE)
    seed: int = setting(0, "Seed of the generator; every seed keeps the splits disjoint.", low=0, most=LARGEST_SEED)

    def contradictions(self) -> Iterator[str]:
        yield from Task.contradictions(self)
        yield from _unlimited(self)


@dataclass(slots=True, kw_only=True)
class BenchmarkTask(Task):
    """A published benchmark: from paths.data, else from the Hugging Face hub or `cotexp fetch`."""

    revision: str | None = setting(None, "Revision of the hub's copy; the newest by default, and its hash is recorded.", keyed=False)


@dataclass(slots=True, kw_only=True)
class CustomTask(Task):
    """Your own questions: JSON Lines, CSV or Parquet."""

    name: str = setting("custom", "Name of the task; ids of its questions begin with it.")
    file: str | None = setting(
        None,
        "File with the questions to train on (.jsonl, .csv, .parquet); its content is part of every key. None: the task is only evaluated.",
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
    answer_type: str = setting("decimal", "How answers are read and compared.", choices=ANSWER_TYPES)

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


def _unlimited(task: Task) -> Iterator[str]:
    """A generator has no "all": both counts must be given."""
    for name in ("num_train", "num_test"):
        if getattr(task, name) is None:
            yield f"{name} must be a number, since {task.name} makes its questions; got None"
