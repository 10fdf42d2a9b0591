"""Lines of ledger files: reads complete lines, recognises rows, and warns once about anything else."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from cotexp.store.stored_files import Row

log = logging.getLogger(__name__)

WARNED: set[str] = set()
"""Warnings that this process has logged."""


def is_row(value: Any) -> bool:
    """Whether a JSON value is a row of a ledger: an object with an id and the time when it was written."""
    written = value.get("written") if isinstance(value, dict) else None
    return isinstance(written, int | float) and isinstance(value.get("id"), str)


def result_of(row: Row) -> Row:
    """The part of a row that is equal in any two processes that compute it."""
    return {name: value for name, value in row.items() if name not in ("written", "seconds", "usage")}


def warn_once(message: str) -> None:
    """Log a warning about a file, but only once, because a process often reads a file several times."""
    if message not in WARNED:
        WARNED.add(message)
        log.warning("%s", message)


def end_torn_line(path: Path) -> None:
    """End a line that a torn write left open, so that the next row is not lost with it."""
    with path.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")


def complete_lines(path: Path) -> list[Any]:
    """The values of the complete lines of a JSON Lines file; None for a line that is not JSON."""
    return [value for value, _ in lines_from(path, 0)]


def lines_from(path: Path, offset: int) -> Iterator[tuple[Any, int]]:
    """(value, offset of the next line) of each complete line of a JSON Lines file from byte `offset` on. Holds one line in memory.

    A line that is not JSON gives None: a torn write may precede a later append. A last line without a line break is left for the next read,
    because it may still be being written.
    """
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            try:
                value = orjson.loads(line)
            except orjson.JSONDecodeError:
                value = None
            yield value, offset
