"""Rows of the user's files, joined to the questions of a task: those of recorded rationales and of recorded rounds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from cotexp.records import Question
from cotexp.settings.base import ConfigError, shortened
from cotexp.tasks import hub
from cotexp.tasks.options_field import options_of
from cotexp.tasks.rows import Row, read_rows

NAMES_OF_OPTIONS = ("options", "choices")
Options = tuple[str, ...] | None
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

    A question is known by this project's id, or that of one of its texts, or else by its text, and by its options if several questions share that.
    """

    section: str
    settings: Recording
    paths: list[Path]
    texts: dict[str, tuple[str, Options]]
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
        return cls(section, settings, paths, _texts(rows, settings), _Ids.of(questions))

    def rows(self) -> Iterator[Joined]:
        """The rows of all files in their order. Raises: ConfigError for the first row that cannot be read."""
        for path in self.paths:
            for row in read_rows(path, f"{self.section}.files: {path}"):
                yield Joined(row, hub.author_of(path), self._questions(row))

    def none_found(self, task: str, num_unmatched: int) -> ConfigError:
        """The error when no row belongs to a question."""
        return ConfigError(
            f"{self.section}.files: none of the {num_unmatched} rows in {', '.join(map(str, self.paths))} belongs to a question of {task}; check the "
            f"files, {self.section}.question_field, {self.section}.id_field and {self.section}.questions_file; of questions with one text and other "
            f"options a row must name the id, or its own {' or '.join(NAMES_OF_OPTIONS)}"
        )

    def _questions(self, row: Row) -> list[str]:
        settings, ids = self.settings, self.ids
        if self.texts:
            name = str(row.value(settings.id_field))
            if name not in self.texts:
                raise row.refusal(settings.id_field, f"must be an id of {self.section}.questions_file; got {name!r}")
            return ids.with_text(*self.texts[name])
        if row.get(settings.id_field) is not None:
            name = ids.of_text(str(row.value(settings.id_field)))
            if name in ids.known or row.get(settings.question_field) is None:
                return [name] if name in ids.known else []
        return ids.with_text(row.text(settings.question_field), _options(row))


def _texts(rows: Iterable[Row], settings: Recording) -> dict[str, tuple[str, Options]]:
    """Id -> (question, options). Raises: ConfigError if an id has two of them."""
    texts: dict[str, tuple[str, Options]] = {}
    places: dict[str, str] = {}
    for row in rows:
        name, found = str(row.value(settings.id_field)), (row.text(settings.question_field), _options(row))
        if texts.setdefault(name, found) != found:
            raise row.refusal(settings.id_field, f"must not repeat with another question; got {shortened(name)} as in {places[name]}")
        places.setdefault(name, row.place)
    return texts


def _options(row: Row) -> Options:
    """The options of a row that has them under a usual name."""
    name = next((each for each in NAMES_OF_OPTIONS if row.get(each) is not None), None)
    try:
        return None if name is None else _plain_options(options_of(row, name))
    except ConfigError:
        return None


def _plain_options(options: Mapping[str, str]) -> Options:
    return tuple(_plain(each) for each in options.values())


@dataclass(frozen=True, slots=True)
class _Ids:
    """Ids of the questions; by text and options; and the texts that differ in no more than spelling."""

    known: frozenset[str]
    by_text: dict[str, dict[Options, list[str]]]
    by_spelling: dict[str, set[str]]

    @classmethod
    def of(cls, questions: Iterable[Question]) -> _Ids:
        ids = cls(frozenset(each.id for each in questions), {}, {})
        for each in questions:
            text = _plain(each.text)
            ids.by_text.setdefault(text, {}).setdefault(_plain_options(each.options), []).append(each.id)
            ids.by_spelling.setdefault(_unspelled(text), set()).add(text)
        return ids

    def with_text(self, text: str, options: Options) -> list[str]:
        """The questions with this text, or with the only one that differs from it in no more than spelling. If their options, or the order of these,
        differ, those with the given ones: a rationale names a letter.
        """
        found = self.by_text.get(_plain(text))
        if found is None:
            texts = self.by_spelling.get(_unspelled(_plain(text)), set())
            found = self.by_text[next(iter(texts))] if len(texts) == 1 else {}
        return next(iter(found.values())) if len(found) == 1 else found.get(options, [])

    def of_text(self, name: str) -> str:
        """The id of the question, if this is the id of one of its texts."""
        match = OF_TEXT.search(name)
        return name[: match.start()] if match and name not in self.known and match.end() == len(name) else name


def _plain(text: str) -> str:
    """The text without case and with single spaces."""
    return " ".join(text.casefold().split())


_SIGNS = str.maketrans("−–—’‘", "---''")
_SPELLING = re.compile(r"""["“”„«»?…$#]|\*\*|[.,:;](?!\d)|(?<=[^\W\d_]{2})'|(?<=[^\W\d_]{2})-(?=[^\W\d_]{2})|(?<!\d)\s|\s(?!\d)""")
"""How a question may be spelled otherwise: white space, quotation marks, marks of Markdown, punctuation outside numbers, hyphens and apostrophes of
words. The signs of a formula, its brackets and the points of its numbers are none of these: they make another question."""


def _unspelled(plain_text: str) -> str:
    return _SPELLING.sub("", plain_text.translate(_SIGNS))


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
