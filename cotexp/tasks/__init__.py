"""Questions of a task, split into train, validation and test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from cotexp.records import AnswerType, Question
from cotexp.sections import ConfigError
from cotexp.task_settings import BenchmarkTask, CustomTask, GsmSymbolicTask, StoriesTask, Task
from cotexp.tasks import benchmarks, files, sources, stories, symbolic
from cotexp.tasks.draw import QuestionSets, draw
from cotexp.tasks.prompts import Prompt, prompt_of
from cotexp.tasks.sources import data_folders

__all__ = ["Prompt", "QuestionSets", "answer_type_of", "data_folders", "load_questions", "prompt_for", "prompt_of"]


def load_questions(task: Task, folders: Sequence[Path] = ()) -> QuestionSets:
    """All questions that `task` asks for. `folders` are the data folders of benchmarks, the last one takes downloads.

    Raises: ConfigError when a file is missing, malformed or empty, or there are too few questions.
    """
    _check_prompt(task)
    if isinstance(task, StoriesTask):
        difficulty = stories.Difficulty(task.min_operations, task.max_operations, task.max_value, task.max_operand)
        return _generated(task, lambda split, count: stories.generate(split, count=count, seed=task.seed, difficulty=difficulty))
    if isinstance(task, GsmSymbolicTask):
        return _generated(task, lambda split, count: symbolic.generate(split, count=count, seed=task.seed))
    if isinstance(task, CustomTask):
        return files.load_sets(task)
    assert isinstance(task, BenchmarkTask)
    return _benchmark(task, folders)


def answer_type_of(task: Task) -> AnswerType:
    """How this task's answers are read and compared.

    Raises: ConfigError when there is no such benchmark.
    """
    if isinstance(task, CustomTask):
        return cast(AnswerType, task.answer_type)
    if isinstance(task, BenchmarkTask):
        return sources.known_benchmark(task.name, "task.name").answer_type
    return "integer" if isinstance(task, StoriesTask) else "decimal"


def prompt_for(task: Task, question: Question) -> str:
    """The text that a model is asked to answer, without worked examples."""
    return Prompt(task.prompt)(question)


def _benchmark(task: BenchmarkTask, folders: Sequence[Path]) -> QuestionSets:
    benchmark = sources.known_benchmark(task.name, "task.name")
    places = sources.provide_files(task.name, benchmark, folders, task.revision)
    found = {split: benchmarks.read_split(task.name, benchmark, path, is_test=split == "test") for split, path in places.items()}
    questions = {split: each.questions for split, each in found.items()}
    sets = draw(task, train=questions.get("train", []), validation=questions.get("validation"), test=questions["test"])
    if num_unanswered := sum(each.num_unanswered for each in found.values()):
        sets.dropped["unanswered"] = num_unanswered
    for split, each in found.items():
        num_rows, official = len(each.questions) + each.num_unanswered, benchmark.splits[split].num_rows
        if num_rows != official:
            sets.incomplete[f"{task.name}/{split}"] = (num_rows, official)
    return sets


def _generated(task: StoriesTask | GsmSymbolicTask, generate: Callable[[str, int], list[Question]]) -> QuestionSets:
    """Worked examples are the first training questions; the following ones train."""
    assert task.num_train is not None
    assert task.num_test is not None
    num_shots = 0 if task.few_shot_file else task.few_shot
    train = generate("train", task.num_train + num_shots)
    return QuestionSets(
        train=train[num_shots:], validation=generate("validation", task.num_validation), test=generate("test", task.num_test), shots=train[:num_shots]
    )


def _check_prompt(task: Task) -> None:
    """Options must be shown where there are any, and cannot be where there are none."""
    shown, wanted = "{options}" in task.prompt, answer_type_of(task) == "choice"
    if wanted and not shown:
        raise ConfigError(f"task.prompt must contain {{options}}, since {task.name} is multiple choice; got {task.prompt!r}")
    if shown and not wanted:
        raise ConfigError(f"task.prompt must not contain {{options}}, since {task.name} is not multiple choice; got {task.prompt!r}")
