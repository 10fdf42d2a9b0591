"""The lines of a ledger's files: which of them are whole, which are rows, and what is said of the others."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from cotexp.store.stored_files import Row

log = logging.getLogger(__name__)

SAID: set[str] = set()
"""Lines that this process has said already."""


def is_row(value: Any) -> bool:
    written = value.get("written") if isinstance(value, dict) else None
    return isinstance(written, int | float) and isinstance(value.get("id"), str)


def says(row: Row) -> Row:
    """What two processes that did the same work should agree on."""
    return {name: value for name, value in row.items() if name not in ("written", "seconds", "usage")}


def say_once(line: str) -> None:
    """Warn of what lies in a file, which is often read several times by one process."""
    if line not in SAID:
        SAID.add(line)
        log.warning("%s", line)


def begin_on_a_fresh_line(file: BinaryIO) -> None:
    """After a torn line, a row that follows on it would be lost with it."""
    if file.tell():
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            file.write(b"\n")


def complete_lines(path: Path, offset: int = 0) -> tuple[list[Any], int]:
    """The values in the whole lines of a JSON Lines file from byte `offset`, and where the next reader goes on; None for a line of no JSON.

    An unterminated tail may still be being written and is left for later; a torn line may stand before a later append.
    """
    with path.open("rb") as file:
        file.seek(offset)
        content = file.read()
    end = content.rfind(b"\n") + 1
    rows = []
    for line in content[:end].split(b"\n")[:-1]:
        try:
            rows.append(orjson.loads(line))
        except orjson.JSONDecodeError:
            rows.append(None)
    return rows, offset + end
