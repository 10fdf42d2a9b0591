"""Questions of a task, split into train, validation and test; and the kinds of tasks, including those of installed packages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cotexp.extensions import Registry
from cotexp.records import AnswerType, Question
from cotexp.settings.base import ConfigError
from cotexp.tasks.benchmark_task import BenchmarkTask
from cotexp.tasks.custom import CustomTask
from cotexp.tasks.gsm_symbolic import GsmSymbolicTask
from cotexp.tasks.prompts import Prompt, prompt_of
from cotexp.tasks.sources import data_folders
from cotexp.tasks.stories import StoriesTask
from cotexp.tasks.task import GeneratedTask, QuestionSets, Task

__all__ = [
    "BenchmarkTask", "CustomTask", "GeneratedTask", "GsmSymbolicTask", "Prompt", "QuestionSets", "StoriesTask", "Task",
    "answer_type_of", "data_folders", "load_questions", "prompt_for", "prompt_of",
]  # fmt: skip

KINDS = Registry(
    "cotexp.tasks",
    Task,  # type: ignore[type-abstract]  # only its subclasses are instantiated
    {
        "stories": "cotexp.tasks.stories:StoriesTask",
        "gsm_symbolic": "cotexp.tasks.gsm_symbolic:GsmSymbolicTask",
        "benchmark": "cotexp.tasks.benchmark_task:BenchmarkTask",
        "custom": "cotexp.tasks.custom:CustomTask",
    },
)
"""Kind -> settings class, for the tasks of this project and those that packages add as entry points `cotexp.tasks`."""


def load_questions(task: Task, folders: Sequence[Path] = ()) -> QuestionSets:
    """All questions that `task` requests. `folders` are the data folders of benchmarks; downloads go to the last one.

    Raises: ConfigError if a file is missing, malformed or empty, if there are too few questions, or if one belongs to another task.
    """
    _check_prompt(task)
    sets = task.questions(folders)
    if foreign := [question for split in (sets.train, sets.validation, sets.test) for question in split if question.task != task.name]:
        raise ConfigError(
            f"task={task.name}: {type(task).__name__} must give only questions of this task; {foreign[0].id} belongs to {foreign[0].task!r}"
        )
    return sets


def answer_type_of(task: Task) -> AnswerType:
    """How this task's answers are read and compared.

    Raises: ConfigError if there is no such benchmark.
    """
    return task.graded_as()


def prompt_for(task: Task, question: Question) -> str:
    """The prompt of a question, without worked examples."""
    return Prompt(task.prompt)(question)


def _check_prompt(task: Task) -> None:
    """Raises: ConfigError if the prompt lacks the options of a multiple-choice task, or shows options that the task does not have."""
    shown, needed = "{options}" in task.prompt, task.graded_as() == "choice"
    if needed and not shown:
        raise ConfigError(f"task.prompt must contain {{options}}, because {task.name} is multiple choice; got {task.prompt!r}")
    if shown and not needed:
        raise ConfigError(f"task.prompt must not contain {{options}}, because {task.name} is not multiple choice; got {task.prompt!r}")
