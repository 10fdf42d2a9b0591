"""The questions and prompts of a run, over all of its tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from cotexp.compressors.base import RecordedRounds
from cotexp.records import Question
from cotexp.settings.base import ConfigError
from cotexp.settings.root import Settings
from cotexp.stages.context import by_task
from cotexp.tasks import Prompt, QuestionSets, data_folders, load_questions, prompt_of
from cotexp.tasks.splits import without_duplicates, without_overlap
from cotexp.teachers.base import Recorded


def load(settings: Settings) -> tuple[QuestionSets, dict[str, Prompt]]:
    """Train and validation questions of the tasks to train on, test questions of the tasks to evaluate on, and each task's prompt.

    With evaluation.split=validation the validation questions stand in the place of the test ones, which nobody reads then.

    A question that any evaluated task tests is left out of training and validation and counted under "overlap", as is one of training that
    validates; of a question that two tasks train on, one is kept, the others count under "duplicates".

    Raises: ConfigError when questions cannot be had, or a task to train on has none.
    """
    train_names, test_names = settings.task.train, settings.evaluation.tasks
    folders = _data_folders(settings)
    loaded = {name: load_questions(task, folders) for name, task in settings.tasks.items()}
    for name in train_names:
        if not loaded[name].train:
            raise ConfigError(f"task.train must name tasks with training questions; {name} has none: add task.train=[ANOTHER_TASK]")
    prompts = {name: prompt_of(task, loaded[name].shots) for name, task in settings.tasks.items()}
    test = [each for name in test_names for each in loaded[name].test]
    dropped: Counter[str] = Counter()
    for name in train_names:
        dropped.update(loaded[name].dropped)
    train, validation = ([each for name in train_names for each in loaded[name][split]] for split in ("train", "validation"))
    validation, in_test = without_overlap(validation, test)
    train, in_others = without_overlap(train, test, validation)
    train, repeated = without_duplicates(train)
    dropped.update(overlap=in_test + in_others, duplicates=repeated)
    if not train:
        raise ConfigError(f"no question of {', '.join(train_names)} is left to train on: all are test or validation questions of an evaluated task")
    _check_references(settings, [*train, *validation])
    if settings.evaluation.split == "validation":
        test = [each for each in validation if each.task in test_names]
        if lacking := sorted(set(test_names) - {each.task for each in test}):
            raise ConfigError(
                f"evaluation.split=validation needs validation questions of {', '.join(lacking)}, which has none here; "
                "train on it too (task.train), raise task.num_validation, or leave it out of evaluation.tasks"
            )
    incomplete = {name: rows for each in loaded.values() for name, rows in each.incomplete.items() if name in _read(settings)}
    return QuestionSets(train=train, validation=validation, test=test, dropped=dict(dropped), incomplete=incomplete), prompts


def _data_folders(settings: Settings) -> list[Path]:
    data_is_read = any(each.reads_data_folders for each in settings.tasks.values())
    if data_is_read and settings.paths.data and not Path(settings.paths.data).is_dir():
        raise ConfigError(f"paths.data (or COTEXP_DATA) must be a folder with benchmark files; got {settings.paths.data!r}, which is none")
    return data_folders(settings.paths.data, settings.paths.outputs)


def _read(settings: Settings) -> set[str]:
    """ "TASK/SPLIT" of the files that the run takes questions from."""
    trained = {f"{task}/{split}" for task in settings.task.train for split in ("train", "validation")}
    return trained | {f"{task}/test" for task in settings.evaluation.tasks if settings.evaluation.split == "test"}


def _check_references(settings: Settings, questions: Iterable[Question]) -> None:
    if settings.teacher.needs_references and (lacking := sorted({each.task for each in questions if not each.references})):
        raise ConfigError(
            f"teacher={settings.teacher.name} needs a worked solution for every question to train on; {', '.join(lacking)} has questions without "
            "one; choose other tasks (task.train), or a teacher that writes (self, local, api) or reads files (recorded)"
        )


def recorded(settings: Settings, questions: Iterable[Question]) -> dict[str, Recorded]:
    """The rationales of `questions` that the teacher reads from files, task by task; none if it reads none.

    Raises: ConfigError when files are missing or malformed, or belong to no question of a task.
    """
    folders = data_folders(settings.paths.data, settings.paths.outputs)
    read = {task: settings.teacher.read(task, own, folders) for task, own in by_task(questions).items()}
    return {task: recorded for task, recorded in read.items() if recorded is not None}


def recorded_rounds(settings: Settings, questions: Iterable[Question]) -> dict[str, RecordedRounds]:
    """The rounds of the rationales of `questions` that the compressor reads from files, task by task; none if it reads none, or is not asked.

    Raises: ConfigError when files are missing or malformed, or belong to no question of a task.
    """
    if not settings.compression.asks_compressor:
        return {}
    folders = data_folders(settings.paths.data, settings.paths.outputs)
    read = {task: settings.compressor.read(task, own, folders) for task, own in by_task(questions).items()}
    return {task: recorded for task, recorded in read.items() if recorded is not None}
