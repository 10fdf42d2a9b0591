"""Rows of the user's files, joined to the questions of a task: those of recorded rationales and of recorded rounds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from cotexp.records import Question
from cotexp.settings.base import ConfigError
from cotexp.tasks import hub
from cotexp.tasks.rows import Row, read_rows

OF_TEXT = re.compile(r"/\d+(/thinking)?")
"""What follows the id of a question in that of one of its texts."""


class Recording(Protocol):
    """The settings that name files and the fields of their rows."""

    files: list[str]
    question_field: str
    id_field: str
    questions_file: str | None


class Joined(NamedTuple):
    """A row, whom its texts are by unless it says so, and the ids of its questions: several if these share a text, none if it has none here."""

    row: Row
    author: str
    questions: list[str]


@dataclass(frozen=True, slots=True)
class JoinedFiles:
    """The files of a setting such as teacher.files, and the questions of a task by id and text.

    A question is known by this project's id, or that of one of its texts, or else by its text, of which letters and digits alone count.
    """

    section: str
    settings: Recording
    paths: list[Path]
    texts: dict[str, str]
    ids: _Ids

    @classmethod
    def of(cls, section: str, settings: Recording, task: str, questions: Iterable[Question], folders: Sequence[Path]) -> JoinedFiles:
        """The files that exist. `folders` are data folders in which relative names are looked up too.

        Raises: ConfigError if a file is missing, or all are the file of the questions.
        """
        id_file = settings.questions_file and _files([settings.questions_file], f"{section}.questions_file", task, folders)[0]
        found_files = {path.resolve(): path for path in reversed(_files(settings.files, f"{section}.files", task, folders))}
        paths = [path for resolved, path in reversed(found_files.items()) if not id_file or resolved != id_file.resolve()]
        if not paths:
            raise ConfigError(f"{section}.files must name files besides {section}.questions_file; got {', '.join(settings.files)}")
        rows = read_rows(id_file, f"{section}.questions_file: {id_file}") if id_file else ()
        texts = {str(row.value(settings.id_field)): row.text(settings.question_field) for row in rows}
        return cls(section, settings, paths, texts, _Ids.of(questions))

    def rows(self) -> Iterator[Joined]:
        """The rows of all files in their order. Raises: ConfigError for the first row that cannot be read."""
        for path in self.paths:
            for row in read_rows(path, f"{self.section}.files: {path}"):
                yield Joined(row, hub.author_of(path), self._questions(row))

    def none_found(self, task: str, num_unmatched: int) -> ConfigError:
        """The error when no row belongs to a question."""
        return ConfigError(
            f"{self.section}.files: none of the {num_unmatched} rows in {', '.join(map(str, self.paths))} belongs to a question of {task}; check the "
            f"files, {self.section}.question_field, {self.section}.id_field and {self.section}.questions_file"
        )

    def _questions(self, row: Row) -> list[str]:
        settings, ids = self.settings, self.ids
        if self.texts:
            name = str(row.value(settings.id_field))
            if name not in self.texts:
                raise row.refusal(settings.id_field, f"must be an id of {self.section}.questions_file; got {name!r}")
            return ids.by_text.get(_bare(self.texts[name]), [])
        if row.get(settings.id_field) is not None:
            name = ids.of_text(str(row.value(settings.id_field)))
            if name in ids.known or row.get(settings.question_field) is None:
                return [name] if name in ids.known else []
        return ids.by_text.get(_bare(row.text(settings.question_field)), [])


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

    def of_text(self, name: str) -> str:
        """The id of the question, if this is the id of one of its texts."""
        match = OF_TEXT.search(name)
        return name[: match.start()] if match and name not in self.known and match.end() == len(name) else name


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
