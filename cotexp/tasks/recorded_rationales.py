"""Recorded rationales: rows of the user's files, joined to the questions of a task."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import orjson

from cotexp.records import FinishReason, Question
from cotexp.settings.base import ConfigError
from cotexp.settings.teachers import RecordedTeacher
from cotexp.tasks.rows import Row, read_rows


class Written(NamedTuple):
    """One rationale of a file, its source, and how it ended: the row's `finish_reason`, "stop" if the row has none."""

    text: str
    source: str
    finish_reason: FinishReason = "stop"


@dataclass(frozen=True, slots=True)
class Recorded:
    """Question id -> its rationales in the order of files and rows. `num_unmatched` rows belong to none of the questions."""

    rationales: dict[str, list[Written]]
    num_unmatched: int

    @property
    def sha256(self) -> str:
        """Sixteen hex digits of a hash over all of it; a text that ended by itself counts as one without a reason."""
        rows = [
            [question_id, *each[: 2 + (each.finish_reason != "stop")]] for question_id, written in sorted(self.rationales.items()) for each in written
        ]
        return hashlib.sha256(orjson.dumps(rows)).hexdigest()[:16]


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
            written = Written(row.text(teacher.text_field), row.optional_text(teacher.source_field) or path.stem, row.finish_reason())
            for each in matches:
                found[each].append(written)
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


def _matches(teacher: RecordedTeacher, row: Row, texts: dict[str, str], ids: _Ids) -> list[str]:
    if texts:
        name = str(row.value(teacher.id_field))
        if name not in texts:
            raise row.refusal(teacher.id_field, f"must be an id of teacher.questions_file; got {name!r}")
        return ids.by_text.get(_bare(texts[name]), [])
    if teacher.id_field in row.fields:
        name = str(row.value(teacher.id_field))
        if name in ids.known or teacher.question_field not in row.fields:
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
