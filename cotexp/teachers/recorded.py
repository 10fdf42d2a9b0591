"""Recorded rationales: rows of the user's files, joined to the questions of a task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cotexp.records import Question
from cotexp.settings.base import ConfigError, setting
from cotexp.tasks.joined import JoinedFiles
from cotexp.tasks.rows import Row
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

    Raises: ConfigError when a file is missing or malformed, or no row belongs to a question.
    """
    files = JoinedFiles.of("teacher", teacher, task, questions, folders)
    found: dict[str, list[Written]] = {each.id: [] for each in questions}
    num_unmatched = 0
    for row, author, matches in files.rows():
        written = list(_written(teacher, row, author))
        for each in matches:
            found[each] += written
        num_unmatched += not matches
    if not any(found.values()):
        raise files.none_found(task, num_unmatched)
    return Recorded({name: rows[: teacher.num_samples] for name, rows in found.items()}, num_unmatched)


def _written(teacher: RecordedTeacher, row: Row, author: str) -> Iterator[Written]:
    """Every rationale of a row."""
    try:
        texts = row.texts(teacher.text_field)
    except ConfigError as error:
        raise ConfigError(*(f"{problem}; see teacher.text_field" for problem in error.problems)) from None
    for text, reason in zip(texts, row.finish_reasons(teacher.finish_reason_field, len(texts)), strict=True):
        yield Written(text, row.optional_text(teacher.source_field) or author, reason)
