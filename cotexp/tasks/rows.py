"""Rows of a file with their places, so that every error names file, line and field.

A reader yields `Row`s lazily and knows nothing about questions. The methods of `Row` check the fields.
"""

from __future__ import annotations

import csv
import io
import json
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from cotexp.records import AnswerType, FinishReason
from cotexp.settings.base import ConfigError, suggestion
from cotexp.tasks import fields as named_fields
from cotexp.tasks.cells import LIST_OF_TEXTS, decoded_cell, exact_json
from cotexp.tasks.finish_reasons import finish_reason

READERS = (".jsonl", ".json", ".csv", ".parquet")
"""Endings of files that can be read; .json holds one array of objects, or JSON Lines."""

PLAIN = re.compile(r"0|-?[1-9][0-9]{0,14}")  # an integer in the form that is compared
LONGEST_CELL = 2**31 - 1
"""Characters of a cell; the csv module's 131,072 are fewer than a long chain of thought has."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row and its place, such as "gsm8k/train.jsonl, line 3". Names of fields may be paths: `cotexp.tasks.fields`."""

    fields: Mapping[str, Any]
    place: str
    is_csv: bool = False

    def text(self, name: str) -> str:
        """The field's text without outer white space.

        Raises: ConfigError if the field is missing, empty or not a text.
        """
        value = self.value(name)
        if not isinstance(value, str):
            raise self.refusal(name, f"must be a text; got {type(value).__name__}")
        if not value.strip():
            raise self.refusal(name, "must not be empty")
        return value.strip()

    def optional_text(self, name: str) -> str:
        """The field's text, or an empty one if the field is missing, null or empty."""
        value = self.get(name)
        if value is not None and not isinstance(value, str):
            raise self.refusal(name, f"must be a text; got {type(value).__name__}")
        return (value or "").strip()

    def texts(self, name: str) -> list[str]:
        """The field's text, or each text of a list, without outer white space.

        Raises: ConfigError if the field is missing or empty, or something in it is empty or not a text.
        """
        value = self.unpacked(name)
        if not isinstance(value, list):
            return [self.text(name)]
        if not value:
            raise self.refusal(name, "must not be empty")
        return [Row({name: each}, f"{self.place}, {number} of {len(value)}").text(name) for number, each in enumerate(value, 1)]

    def get(self, name: str) -> Any:
        """The value of the field, None if it is missing."""
        try:
            return named_fields.find(self.fields, name)
        except named_fields.NoField:
            return None

    def unpacked(self, name: str) -> Any:
        """The value of the field, None if it is missing. A cell of a CSV file may hold a list of texts, as JSON or as Python prints it.

        Raises: ConfigError if such a list cannot be read.
        """
        value = self.get(name)
        if not self.is_csv or not isinstance(value, str) or not LIST_OF_TEXTS.fullmatch(value):
            return value
        decoded = decoded_cell(value)
        if not isinstance(decoded, list) or not all(each is None or isinstance(each, str) for each in decoded):
            rule = "must be a text, or a list of texts with commas between them, as JSON or as Python prints it"
            raise self.refusal(name, f"{rule}; got {short(value)}; save the file as JSON Lines or Parquet")
        return decoded

    def mapping(self, name: str) -> Mapping[str, Any]:
        value = self.value(name)
        if not isinstance(value, Mapping):
            raise self.refusal(name, f"must be an object; got {type(value).__name__}")
        return value

    def value(self, name: str) -> Any:
        """The value of the field. Raises: ConfigError if it is missing or null."""
        try:
            value = named_fields.find(self.fields, name)
        except named_fields.NoField as error:
            near = suggestion(name.rpartition(".")[2], error.names)
            raise ConfigError(f"{self.place}: field '{name}' {error}{near}; fields here: {', '.join(error.names) or 'none'}") from None
        if value is None:
            raise self.refusal(name, "must not be null")
        return value

    def gold(self, name: str, answer_type: AnswerType, options: Mapping[str, str] | None = None, *, raw: Any = None) -> str:
        """The field's answer (or `raw` in its place) in the form that is compared. Raises: ConfigError if it is not of this type."""
        from cotexp.tasks.gold import read_gold  # importing the readers of answers takes a tenth of a second, and settings need none

        answer = self.value(name) if raw is None else raw
        if answer_type in ("integer", "decimal") and isinstance(answer, str | int) and PLAIN.fullmatch(str(answer)):
            return str(answer)  # as `read_gold` does, which takes half a millisecond
        try:
            return read_gold(answer, answer_type, options)
        except ValueError as error:
            raise self.refusal(name, f"{error}; got {short(answer)} (answer type {answer_type})") from None

    def finish_reason(self) -> FinishReason:
        """The finish reason of the row's text, by its field `finish_reason`. Raises: ConfigError if its value is unknown."""
        return self.finish_reasons("finish_reason", 1)[0]

    def finish_reasons(self, name: str, number: int) -> list[FinishReason]:
        """The finish reasons of `number` texts: one for each of them in a list, or one for all. Raises: ConfigError for other numbers and words."""
        value = self.unpacked(name)
        values = value if isinstance(value, list) else [value] * number
        if len(values) != number:
            raise self.refusal(name, f"must hold one finish reason for each of the row's {number} texts; got {len(values)}")
        try:
            return [finish_reason(each) for each in values]
        except ValueError as error:
            raise self.refusal(name, str(error)) from None

    def refusal(self, name: str, rule: str) -> ConfigError:
        return ConfigError(f"{self.place}: field '{name}' {rule}")


def short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:40]} ... {shown[-36:]}"


def read_rows(path: Path, name: str) -> Iterator[Row]:
    """The rows of a .jsonl, .json (one array or JSON Lines), .csv or .parquet file; blank lines are skipped. Errors show `name`.

    Raises: ConfigError naming the line when a line cannot be read.
    """
    ending = path.suffix.lower()
    if ending not in READERS:
        raise ConfigError(f"{name} must end in {', '.join(READERS)}; got {path.name!r}")
    content = _content(path, name)
    if ending == ".parquet":
        return _parquet_rows(content, name)
    return _csv_rows(content, name) if ending == ".csv" else _json_rows(content, name)


def _content(path: Path, name: str) -> bytes:
    """The bytes of a file. Raises: ConfigError if it is not a file or cannot be read. A pipe or device is not opened, as that may block forever."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise ConfigError(f"{name} must name a readable file; got {str(path)!r} (a pipe, socket or device)")
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{name} must name a readable file; got {str(path)!r} ({error.strerror})") from None


def _json_rows(content: bytes, name: str) -> Iterator[Row]:
    if content.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"[":
        yield from _json_array(content, name)
        return
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        place = f"{name}, line {number}"
        if not line.strip():
            continue
        _decoded(line, name, first_line=number)
        try:
            row = exact_json(line)
        except orjson.JSONDecodeError as error:
            raise ConfigError(f"{place} is not valid JSON ({error}); each line must be one JSON object, or the file one array of them") from None
        if not isinstance(row, dict):
            raise ConfigError(f"{place} must be a JSON object; got {type(row).__name__}")
        yield Row(row, place)


def _json_array(content: bytes, name: str) -> Iterator[Row]:
    """The objects of one array, which is the whole file."""
    _decoded(content, name)
    try:
        rows = exact_json(content.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"{name} is not valid JSON ({error}); it must be one array of objects, or one object per line") from None
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise ConfigError(f"{name}, row {number} must be a JSON object; got {type(row).__name__}")
        yield Row(row, f"{name}, row {number}")


def _decoded(content: bytes, name: str, *, first_line: int = 1) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = first_line + content.count(b"\n", 0, error.start)
        raise ConfigError(f"{name}, line {line} is not UTF-8 (byte 0x{content[error.start]:02x}); save the file as UTF-8") from None


def _csv_rows(content: bytes, name: str) -> Iterator[Row]:
    """Every cell is a text. A row's place is its first line in the file, even if its cells hold line breaks."""
    csv.field_size_limit(LONGEST_CELL)
    reader = csv.reader(io.StringIO(_decoded(content.removeprefix(b"\xef\xbb\xbf"), name), newline=""), strict=True)
    header: list[str] | None = None
    first = 1
    try:
        for cells in reader:
            if header is None and cells:
                header = _header(cells, f"{name}, line {first}")
            elif header is not None and cells:
                if len(cells) != len(header):
                    raise ConfigError(f"{name}, line {first} must have {len(header)} cells as the header; got {len(cells)}")
                yield Row(dict(zip(header, cells, strict=True)), f"{name}, line {first}", is_csv=True)
            first = reader.line_num + 1
    except csv.Error as error:
        raise ConfigError(f"{name}, line {first} is not valid CSV ({error})") from None


def _header(cells: list[str], place: str) -> list[str]:
    names = [cell.strip() for cell in cells]
    if len(set(names)) < len(names):
        raise ConfigError(f"{place}: the header must not repeat a name; got {', '.join(names)}")
    return names


def _parquet_rows(content: bytes, name: str) -> Iterator[Row]:
    try:
        from pyarrow import ArrowException, BufferReader, parquet
    except ImportError as error:
        raise ConfigError(f"{name} is a Parquet file, which needs pyarrow ({error}); pip install pyarrow, or save the file as .jsonl") from None
    try:
        rows = parquet.read_table(BufferReader(content)).to_pylist()
    except (ArrowException, OSError) as error:
        raise ConfigError(f"{name} is not a readable Parquet file ({str(error).splitlines()[0]})") from None
    for number, row in enumerate(rows, 1):
        yield Row(row, f"{name}, row {number}")


def json_line(row: Any) -> bytes:
    """A row as a line of JSON Lines, as this project writes it."""
    return json.dumps(row, ensure_ascii=False).encode() + b"\n"
