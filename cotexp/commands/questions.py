"""`cotexp questions`: the questions of a task, and whether its gold answers can be graded."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast, get_args

from rich.console import Console
from rich.text import Text

from cotexp.config import command_line
from cotexp.config.overrides import parse
from cotexp.config.spelling import as_typed
from cotexp.progress import page
from cotexp.records import AnswerType, Question
from cotexp.report import incomplete, terminal
from cotexp.report.document import Table, text_table
from cotexp.settings.base import ConfigError, quoted
from cotexp.settings.root import Settings
from cotexp.tasks import QuestionSets, Task, answer_type_of, data_folders, load_questions, prompt_of
from cotexp.tasks.closings import closing
from cotexp.tasks.contamination import overlap as overlap_of
from cotexp.tasks.custom import gold_of
from cotexp.tasks.detect import Detected, detect
from cotexp.tasks.grading import Answered, grade_all
from cotexp.tasks.options_field import options_of
from cotexp.tasks.rows import Row

SPLITS = ("train", "validation", "test")
OF_CHOICES = "aqua"
"""Task whose prompt asks for the letter of an option."""
NUM_DETECTED = 3
PLAIN = re.compile(r"(hub:)?[A-Za-z0-9_./-][A-Za-z0-9_./@+-]*")
"""Values that Hydra reads without quotes."""
MOST_SHOWN = 400
"""Characters of a field that are printed."""
NUM_CHECKED = 1000
"""Questions of each split whose gold answers are graded for a detected file, since grading hundreds of thousands takes many minutes."""
THOUGHTS = ("reasoning", "reasoning_content")
NUM_SHOWN = 5
"""Most overlapping test questions that are printed."""


def print_questions(overrides: list[str], *, overlap: int | None, examples: int) -> None:
    """Print each task that the settings name: rows per split, what was dropped, and `examples` prompts with their gold answers.

    `overlap` is the length in words of the runs to look for in both train and test, None for no search. No experiment's settings apply
    unless one is named, so that whole splits are shown. Raises: ConfigError for wrong settings or missing files.
    """
    console = page()
    experiment = [] if any(override.startswith("experiment=") for override in overrides) else ["experiment=none"]
    for settings in command_line.check_command_line([*experiment, *overrides], multirun=True):
        folders = data_folders(settings.paths.data, settings.paths.outputs)
        for task in settings.tasks.values():
            show_task(console, task, folders, overlap=overlap, examples=examples)
        if overlap is not None and len(settings.tasks) > 1:
            show_overlap_between(console, settings, folders, overlap)


def print_detected(source: str, overrides: list[str]) -> dict[str, list[str]]:
    """Print the settings that read a file or a data set of the hub, as questions and as recorded rationales, and three rows as they are then seen.
    Return these settings.

    `overrides` are added to them, and replace what was found. Raises: ConfigError if nothing in the file looks like a question, nor like
    rationales with ids, or the settings do not read all of it.
    """
    console = page()
    parsed = [each for each in parse(as_typed(overrides)) if not each.is_sweep_override() and each.value() is not None]
    given = {each.key_or_group: str(each.value()) for each in parsed}
    found = detect(source, given)
    if found.task.get("task.answer_type") == "choice":
        [known] = command_line.check_command_line(["experiment=none", f"task={OF_CHOICES}"], multirun=False)
        found.task["task.prompt"] = known.task.prompt
    typed = {
        name: [*(f"{setting}={value}" for setting, value in _typed(settings).items() if setting not in given), *_without(overrides, others)]
        for name, settings, others in (("questions", found.task, "teacher"), ("rationales", found.teacher, "task"))
        if settings
    }
    for name, words in typed.items():
        console.print(Text(f"{name}: {shlex.join(words)}", style="bold"), soft_wrap=True)
    for note in _notes(found, given):
        console.print(Text(note, style="yellow"), soft_wrap=True)
    fields = {_role(setting): name for setting, name in {**found.task, **found.teacher}.items() if setting.endswith("_field")}
    fields = fields or {str(name): str(name) for name in found.rows[0].fields}
    for row in found.rows[:NUM_DETECTED]:
        console.print(Text(f"\n{row.place.removeprefix('--detect: ')}", style="bold"))
        for role, name in fields.items():
            console.print(Text(f"{role}: {_shown(row.get(name))}"), soft_wrap=True)
        if gold := _gold(found.task, row):
            console.print(Text(f"gold answer: {gold}"), soft_wrap=True)
    if found.teacher:
        console.print(Text(f"\n{_counts(found)}", style="bold"))
    if "questions" in typed:
        [settings] = command_line.check_command_line(["experiment=none", *typed["questions"]], multirun=False)
        show_task(console, settings.task, data_folders(settings.paths.data, settings.paths.outputs), overlap=None, examples=0, most=NUM_CHECKED)
    return typed


def _counts(found: Detected) -> str:
    """Rationales and rows, and rationales that are there before. Raises: ConfigError for the first row that cannot be read."""
    texts = []
    known_by = found.teacher.get("teacher.question_field") or found.teacher["teacher.id_field"]
    for row in found.rows:
        own = row.texts(found.teacher["teacher.text_field"])
        row.finish_reasons(found.teacher.get("teacher.finish_reason_field", "finish_reason"), len(own))
        texts += [(str(row.value(known_by)), each) for each in own]
    num_repeated = len(texts) - len(set(texts))
    return f"rationales: {len(texts)}; rows: {len(found.rows)}" + (
        f"; {num_repeated} rationales repeat another of their question" * bool(num_repeated)
    )


def _without(overrides: Sequence[str], section: str) -> list[str]:
    return [each for each in overrides if not each.startswith((f"{section}.", f"{section}="))]


def _notes(found: Detected, given: Mapping[str, str]) -> Iterator[str]:
    """What is still to be named, and reasoning that is not read."""
    text_field = found.teacher.get("teacher.text_field", "reasoning")
    if "reasoning" not in text_field and (num_rows := sum(_thoughts_of(row.fields) for row in found.rows)):
        left_out = f"{num_rows} of {len(found.rows)} rows have reasoning in a field of its own, which teacher.text_field={text_field} leaves out"
        yield f"{left_out}; of one answer per row join both: <think>{{FIELD OF REASONING}}</think>{{FIELD OF TEXT}}"
    here = ", ".join(map(str, found.rows[0].fields))
    if found.teacher and not {"teacher.question_field", "teacher.questions_file"} & {*found.teacher, *given}:
        name = found.teacher["teacher.id_field"]
        yield (
            f"no field looks like a question; unless {name!r} is an id of this project, name the file with {name!r} and the questions by "
            f"teacher.questions_file=FILE, and its field by teacher.question_field=FIELD; fields here: {here}"
        )
    elif not found.task:
        yield (
            "no field holds answers that can be graded; name it by task.answer_field=FIELD (letters of options also need task.options_field=FIELD); "
            f"fields here: {here}"
        )


def _thoughts_of(value: Any) -> bool:
    """Whether a text of reasoning is somewhere in these fields."""
    if isinstance(value, list):
        return any(map(_thoughts_of, value))
    if not isinstance(value, Mapping):
        return False
    return any(bool(isinstance(each, str) and each.strip()) if name in THOUGHTS else _thoughts_of(each) for name, each in value.items())


def _role(setting: str) -> str:
    """What a field is for: "question" for task.question_field."""
    return setting.partition(".")[2].removesuffix("_field")


def _gold(settings: Mapping[str, str], row: Row) -> str:
    """The answer as it is compared, with the text of an option; empty if the row cannot be read."""
    kind, field = settings.get("task.answer_type"), settings.get("task.options_field")
    if kind not in get_args(AnswerType):
        return ""
    try:
        options = options_of(row, field) if field else {}
        gold = gold_of(row, settings["task.answer_field"], cast(AnswerType, kind), field)
    except ConfigError:
        return ""
    return f"{gold}) {options[gold]}" if gold in options else gold


def _typed(settings: dict[str, str]) -> dict[str, str]:
    """The values as they are typed on a command line."""
    return {name: f"[{_word(value[1:-1])}]" if name == "teacher.files" else _word(value) for name, value in settings.items()}


def _word(value: str) -> str:
    return value if PLAIN.fullmatch(value) else quoted(value)


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]} ..."


def show_task(console: Console, task: Task, folders: Sequence[Path], *, overlap: int | None, examples: int, most: int | None = None) -> None:
    """Print one task; the gold answers of at most `most` questions of each split are graded."""
    sets = load_questions(task, folders)
    terminal.show(summary(task, sets, most), console)
    for name, rows in sets.incomplete.items():
        console.print(Text(incomplete.line(name, *rows), style="yellow"))
    prompt = prompt_of(task, sets.shots)
    for question in (sets.train or sets.test)[:examples]:
        console.print(Text(f"\n{question.id}", style="bold"))
        console.print(Text(prompt(question)))
        console.print(Text(f"gold: {question.answer}", style="green"))
        if question.references:
            console.print(Text(f"worked solution: {question.references[0]}", style="dim"))
    if overlap is not None:
        show_overlap(console, f"{task.name}: train and test", sets.train, sets.test, overlap)


def summary(task: Task, sets: QuestionSets, most: int | None = None) -> Table:
    """Rows per split, with the number of gold answers that grade as correct when a text states them, of the first `most` questions."""
    dropped = ", ".join(f"{count} {reason}" for reason, count in sets.dropped.items()) or "none"
    rows = []
    for split in SPLITS:
        num_correct, num_checked = self_check(sets[split][:most])
        of_checked = "" if num_checked == len(sets[split]) else f" of the {num_checked} checked"
        rows.append((split, str(len(sets[split])), f"{num_correct}{of_checked}", str(sum(bool(question.references) for question in sets[split]))))
    headings = ("split", "questions", "gold answers graded correct", "with worked solutions")
    return text_table(f"{task.name}: {answer_type_of(task)} answers; left out: {dropped}", headings, rows)


def self_check(questions: Sequence[Question]) -> tuple[int, int]:
    """(gold answers that grade as correct under the strict rule when a text states them, all questions)."""
    grades = grade_all([_answered(question) for question in questions], whole_text=False)
    return sum(grade.strict for grade in grades), len(questions)


def _answered(question: Question) -> Answered:
    text = closing(question.answer, question.answer_type) or f"The answer is $\\boxed{{{question.answer}}}$."
    return Answered(id=question.id, text=text, gold=question.answer, answer_type=question.answer_type, options=question.options)


def show_overlap(console: Console, title: str, train: Sequence[Question], test: Sequence[Question], num_words: int) -> None:
    """Print how many test questions share a run of words with a training question, and the most similar ones."""
    result = overlap_of(train, test, num_words)
    console.print(
        f"{title}: {len(result.rows)} of {len(test)} test questions share {num_words} words in a row with a training question; "
        f"{result.num_exact} are exact duplicates",
        markup=False,
    )
    for row in sorted(result.rows, key=lambda row: -row.found_ratio)[:NUM_SHOWN]:
        console.print(Text(f"  {row.found_ratio:.0%} of {row.question.id}: {row.question.text[:100]}", style="dim"))


def show_overlap_between(console: Console, settings: Settings, folders: Sequence[Path], num_words: int) -> None:
    """Print the overlap of every task for training with every other task for evaluation."""
    train_names, test_names = settings.task.train, settings.evaluation.tasks
    loaded = {name: load_questions(task, folders) for name, task in settings.tasks.items()}
    for train in train_names:
        for test in (name for name in test_names if name != train):
            show_overlap(console, f"{train} (train) and {test} (test)", loaded[train].train, loaded[test].test, num_words)
