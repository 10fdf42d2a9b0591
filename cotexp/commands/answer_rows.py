"""Rows of a file as answers to grade, by the names of their fields: `cotexp.tasks.fields` says what a name may be."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from cotexp.records import AnswerType
from cotexp.settings.base import ConfigError
from cotexp.tasks import hub
from cotexp.tasks.custom import GoldReader
from cotexp.tasks.grading import Answered
from cotexp.tasks.options_field import options_of
from cotexp.tasks.rows import Row, read_rows

LABELLED_OPTION = re.compile(r"\(?([A-Za-z0-9])(?:[).:]\s*(.*))?", re.DOTALL)
NUM_SHOWN = 3
MOST_SHOWN = 200
"""Characters of a text that is shown."""


@dataclass(frozen=True, slots=True)
class AnswerFields:
    """Names of fields; those of `text` and `options` are None for the usual ones. `gold_file` has the gold answers, and options, of the ids."""

    id: str = "id"
    gold: str = "gold"
    text: str | None = None
    options: str | None = None
    finish_reason: str = "finish_reason"
    gold_file: Path | None = None


class ReadAnswer(NamedTuple):
    """An answer, what its label's row begins with, and its place in the file."""

    answered: Answered
    names: dict[str, Any]
    place: str


def read_answers(source: str, answer_type: AnswerType, fields: AnswerFields) -> list[ReadAnswer]:
    """Every answer of a file or a data set of the hub. A field that is named by --text-field may hold a list: several answers of one row.

    Raises: ConfigError naming file, line and field of the first row that cannot be read, or for an empty file.
    """
    rows = list(hub.read_source(source, "grade") if hub.is_hub(source) else read_rows(Path(source), source))
    if not rows:
        raise ConfigError(f"{source} must hold at least one row; it is empty")
    golds = _golds(fields)
    rows, filters = _of_one_filter(rows, fields)
    if filters:
        print(f"cotexp: {source} repeats its answers for each of the filters {', '.join(filters)}; they are graded once", file=sys.stderr)
    reader = GoldReader(fields.gold, answer_type, fields.options)
    found: list[ReadAnswer] = []
    for row in rows:
        found += _of_row(row, _gold_row(row, fields, golds), answer_type, fields, reader, len(found))
    return found


def _of_one_filter(rows: list[Row], fields: AnswerFields) -> tuple[list[Row], list[str]]:
    """(rows without those that repeat an id and its texts under another `filter`, as logs of lm-evaluation-harness do; the names of the filters)."""
    first: dict[tuple[str, str], Any] = {}
    kept = []
    for row in rows:
        name = row.get("filter")
        if name is None or first.setdefault((repr(row.get(fields.id)), repr(row.get(fields.text or "text"))), name) == name:
            kept.append(row)
    names = sorted({str(row.get("filter")) for row in rows}) if len(kept) < len(rows) else []
    return kept, names


def shown(answers: list[ReadAnswer]) -> Iterator[str]:
    """The first answers as they are read, a line for each. Characters that control a terminal are escaped."""
    for answered, names, place in answers[:NUM_SHOWN]:
        text = answered.text if len(answered.text) <= MOST_SHOWN else f"{answered.text[: MOST_SHOWN // 2]} ... {answered.text[-MOST_SHOWN // 2 :]}"
        ended = ", cut off" if answered.finish_reason == "length" else ""
        yield f"{place}: id {names['id']!r}, gold answer {answered.gold!r}, text {text!r}{ended}"


def _golds(fields: AnswerFields) -> dict[str, Row] | None:
    """Id -> its row of the file of gold answers. Raises: ConfigError if two rows have one id."""
    if fields.gold_file is None:
        return None
    golds: dict[str, Row] = {}
    for row in read_rows(fields.gold_file, f"--gold-file {fields.gold_file}"):
        name = str(row.value(fields.id))
        if name in golds:
            raise row.refusal(fields.id, f"must not repeat; got {name!r} as in {golds[name].place}")
        golds[name] = row
    return golds


def _gold_row(row: Row, fields: AnswerFields, golds: Mapping[str, Row] | None) -> Row:
    """The row with the gold answer of an answer's row: itself, or that of its id."""
    if golds is None:
        return row
    name = str(_named(row, fields.id, "--id-field"))
    if name not in golds:
        raise row.refusal(fields.id, f"must be an id of --gold-file {fields.gold_file}; got {name!r}")
    return golds[name]


def _of_row(row: Row, gold_row: Row, answer_type: AnswerType, fields: AnswerFields, reader: GoldReader, num_before: int) -> Iterator[ReadAnswer]:
    names = {"id": _named(row, fields.id, "--id-field")}
    texts, is_list = _texts(row, fields)
    options = _options(gold_row, fields) if answer_type == "choice" else {}
    _named(gold_row, fields.gold, "--gold-field")
    gold = reader.read(gold_row) if fields.options else gold_row.gold(fields.gold, answer_type, options)
    for number, (text, reason) in enumerate(zip(texts, row.finish_reasons(fields.finish_reason, len(texts)), strict=True)):
        answered = Answered(id=str(num_before + number), text=text, gold=gold, answer_type=answer_type, options=options, finish_reason=reason)
        yield ReadAnswer(answered, names | ({"sample": number} if is_list else {}), row.place)


def _texts(row: Row, fields: AnswerFields) -> tuple[list[str], bool]:
    """The texts of a row, which may be empty, and whether they are a list, in which null is an empty text: a server's whose reasoning was cut off."""
    name = fields.text or "text"
    value = _named(row, name, "--text-field")
    value = row.unpacked(name) if fields.text else value
    texts = value if fields.text and isinstance(value, list) else [value]
    if wrong := [each for each in texts if each is not None and not isinstance(each, str)]:
        raise row.refusal(name, f"must be a text{' or a list of texts' * bool(fields.text)}; got {wrong[0]!r}")
    return [each or "" for each in texts], texts is value


def _named(row: Row, name: str, option: str) -> Any:
    """The value of a field. Raises: ConfigError with the option that names another one."""
    try:
        return row.value(name)
    except ConfigError as error:
        raise ConfigError(*(f"{problem}; another field is named by {option}" for problem in error.problems)) from None


def _options(row: Row, fields: AnswerFields) -> dict[str, str]:
    """Letter -> text: of a field that is named as a task reads it, else a list of letters, of texts such as "A) dog", or an object.

    Raises: ConfigError for anything else.
    """
    if fields.options:
        return options_of(row, fields.options)
    raw = _named(row, "options", "--options-field")
    if isinstance(raw, dict) and raw:
        if not all(letter.strip() and isinstance(text, str) for letter, text in raw.items()):
            raise row.refusal("options", f"must be an object of letter and text; got {raw!r}")
        pairs = [(letter.strip(), text) for letter, text in raw.items()]
    elif not isinstance(raw, list) or not raw or not all(isinstance(label, str) for label in raw):
        raise row.refusal("options", f"must be a list of letters; got {raw!r}")
    else:
        matches = [LABELLED_OPTION.fullmatch(label.strip()) for label in raw]
        if None in matches:
            raise row.refusal(
                "options", f"must be letters, or texts such as 'A) dog'; got {raw!r}; a list of plain texts is named by --options-field"
            )
        pairs = [(match[1], match[2] or "") for match in matches if match]
    if len({letter.upper() for letter, _ in pairs}) < len(pairs):
        raise row.refusal("options", f"must not repeat; got {raw!r}")
    return dict(pairs)
