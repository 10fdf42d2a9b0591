"""Recorded rationales: rows of the user's files, joined to the questions of a task."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cotexp.records import Question
from cotexp.settings.base import ConfigError, setting
from cotexp.tasks import hub
from cotexp.tasks.rows import Row, read_rows
from cotexp.teachers.base import Recorded, Teacher, Written


@dataclass(slots=True, kw_only=True)
class RecordedTeacher(Teacher):
    """Rationales that were written before, by whomever, are read from files."""

    name: str = setting("recorded", "Name of the teacher.", choices=("recorded",))
    files: list[str] = setting(
        [],
        "Files with one or more rationales per row (JSON, JSON Lines, CSV or Parquet); * matches any name, {task} is replaced by the task's; "
        "relative to the current folder or to a data folder; or data sets of the hub, hub:OWNER/NAME/CONFIG/SPLIT.",
        keyed=False,
        is_path=True,
    )
    text_field: str = setting("text", "Field with the rationale, its final answer included, or with a list of them.", keyed=False)
    finish_reason_field: str = setting(
        "finish_reason", "Field with the finish reason, or a list of them; complete texts where a row lacks it.", keyed=False
    )
    question_field: str = setting("question", "Field with the text of the question.", keyed=False)
    id_field: str = setting("question_id", "Field with the id of the question: this project's, or the one in questions_file.", keyed=False)
    source_field: str = setting("source", "Field that names the author; the file's name where a row lacks it.", keyed=False)
    questions_file: str | None = setting(
        None,
        "File with id_field and question_field for files whose rows know only the id; {task} is replaced by the task's name.",
        keyed=False,
        is_path=True,
    )
    num_samples: int | None = setting(None, "Most rationales per question, in the order of files and rows; all by default.", low=1, keyed=False)

    def contradictions(self) -> Iterator[str]:
        if not self.files:
            yield "files must name at least one file; got []"

    def read(self, task: str, questions: Sequence[Question], folders: Sequence[Path]) -> Recorded:
        return read_recorded(self, task, questions, folders)


def read_recorded(teacher: RecordedTeacher, task: str, questions: Sequence[Question], folders: Sequence[Path]) -> Recorded:
    """The recorded rationales of `questions`, all of one task. `folders` are data folders in which relative names are looked up too.

    A question is known by this project's id, or else by its text, of which letters and digits alone count.

    Raises: ConfigError when a file is missing or malformed, or no row belongs to a question.
    """
    id_file = teacher.questions_file and _files([teacher.questions_file], "teacher.questions_file", task, folders)[0]
    found_files = {path.resolve(): path for path in reversed(_files(teacher.files, "teacher.files", task, folders))}
    paths = [path for resolved, path in reversed(found_files.items()) if not id_file or resolved != id_file.resolve()]
    if not paths:
        raise ConfigError(f"teacher.files must name files besides teacher.questions_file; got {', '.join(teacher.files)}")
    texts = _question_texts(teacher, id_file) if id_file else {}
    ids = _Ids.of(questions)
    found: dict[str, list[Written]] = {each.id: [] for each in questions}
    num_unmatched = 0
    for path in paths:
        for row in read_rows(path, f"teacher.files: {path}"):
            matches = _matches(teacher, row, texts, ids)
            written = list(_written(teacher, row, hub.author_of(path)))
            for each in matches:
                found[each] += written
            num_unmatched += not matches
    if not any(found.values()):
        raise ConfigError(
            f"teacher.files: none of the {num_unmatched} rows in {', '.join(map(str, paths))} belongs to a question of {task}; check the files, "
            "teacher.question_field, teacher.id_field and teacher.questions_file"
        )
    return Recorded({name: rows[: teacher.num_samples] for name, rows in found.items()}, num_unmatched)


@dataclass(frozen=True, slots=True)
class _Ids:
    """Ids of the questions, and those that share a text."""

    known: frozenset[str]
    by_text: dict[str, list[str]]

    @classmethod
    def of(cls, questions: Iterable[Question]) -> _Ids:
        by_text: dict[str, list[str]] = {}
        known = set()
        for each in questions:
            known.add(each.id)
            by_text.setdefault(_bare(each.text), []).append(each.id)
        return cls(frozenset(known), by_text)


def _written(teacher: RecordedTeacher, row: Row, author: str) -> Iterator[Written]:
    """Every rationale of a row."""
    try:
        texts = row.texts(teacher.text_field)
    except ConfigError as error:
        raise ConfigError(*(f"{problem}; see teacher.text_field" for problem in error.problems)) from None
    for text, reason in zip(texts, row.finish_reasons(teacher.finish_reason_field, len(texts)), strict=True):
        yield Written(text, row.optional_text(teacher.source_field) or author, reason)


def _matches(teacher: RecordedTeacher, row: Row, texts: dict[str, str], ids: _Ids) -> list[str]:
    if texts:
        name = str(row.value(teacher.id_field))
        if name not in texts:
            raise row.refusal(teacher.id_field, f"must be an id of teacher.questions_file; got {name!r}")
        return ids.by_text.get(_bare(texts[name]), [])
    if row.get(teacher.id_field) is not None:
        name = str(row.value(teacher.id_field))
        if name in ids.known or row.get(teacher.question_field) is None:
            return [name] if name in ids.known else []
    return ids.by_text.get(_bare(row.text(teacher.question_field)), [])


def _question_texts(teacher: RecordedTeacher, path: Path) -> dict[str, str]:
    rows = read_rows(path, f"teacher.questions_file: {path}")
    return {str(row.value(teacher.id_field)): row.text(teacher.question_field) for row in rows}


def _bare(text: str) -> str:
    return re.sub(r"[\W_]+", "", text.casefold())


def _files(patterns: Iterable[str], setting: str, task: str, folders: Sequence[Path]) -> list[Path]:
    return [path for pattern in patterns for path in _expanded(pattern.replace("{task}", task), setting, folders)]


def _expanded(pattern: str, setting: str, folders: Sequence[Path]) -> list[Path]:
    if hub.is_hub(pattern):
        return hub.files(pattern, setting)
    for folder in (Path(), *folders):
        try:
            found = sorted(each for each in _glob(folder, pattern) if each.is_file())
        except (ValueError, IndexError, NotImplementedError) as error:
            raise ConfigError(f"{setting} must hold names of files, in which * matches any name; got {pattern!r} ({error})") from None
        if found:
            return found
    where = ", ".join(["the current folder", *map(str, folders)])
    raise ConfigError(f"{setting} must name files that exist; found none for {pattern!r} in {where}; set paths.data or give the whole path")


def _glob(folder: Path, pattern: str) -> Iterator[Path]:
    path = folder / pattern
    anchor = Path(path.anchor) if path.is_absolute() else Path()
    yield from anchor.glob(str(path.relative_to(anchor)))
