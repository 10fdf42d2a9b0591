"""Ledgers: folders of append-only JSON Lines files, one per writer. A row is one unit of work and has a unique "id"."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from cotexp import signals
from cotexp.store.claims import ChunkSize, Claims
from cotexp.store.ledger_files import end_torn_line, is_row, lines_from, result_of, warn_once
from cotexp.store.specs import Spec
from cotexp.store.stored_files import Damaged, Row, read_json, write_json

log = logging.getLogger(__name__)

SYNC_SECONDS = 1.0
"""Rows are flushed at once, and synced to the disk at most this much later. A power cut can lose the rows in between."""
CHECK_SECONDS = 0.05
"""Between two looks at whether this process still owns what it writes. A lease is far longer, so no row is written long after one was lost."""


@dataclass(slots=True)
class Ledger:
    """The rows of one stage under one key."""

    folder: Path
    spec: Spec
    writer: str
    watch: Callable[[], None] = lambda: None
    offsets: dict[str, int] = field(default_factory=dict)
    num_duplicates: int = 0
    """Duplicate rows that the last `read` ignored. A second process wrote them after the claim of the first one had expired."""

    def read(self, wanted: Container[str] | None = None) -> dict[str, Row]:
        """All complete rows by id, without a torn last line; with `wanted` only those rows are kept in memory.

        Of two rows with the same id the earlier one counts: the first within a file, or the one with the earlier time in two files. Rows with
        different results cause a warning, because the clocks of two hosts may differ. Raises: Damaged if a file cannot be read.
        """
        self.offsets.clear()
        self.num_duplicates = 0
        rows: dict[str, Row] = {}
        files: dict[str, Path] = {}
        conflicts: list[str] = []
        for path, row in self._new_rows():
            name = row["id"]
            if wanted is not None and name not in wanted:
                continue
            if name not in rows:
                rows[name], files[name] = row, path
                continue
            self.num_duplicates += 1
            if result_of(row) != result_of(rows[name]):
                conflicts.append(name)
            if path != files[name] and row["written"] < rows[name]["written"]:
                rows[name], files[name] = row, path
        if conflicts:
            first = conflicts[0]
            warn_once(
                f"{self.folder}: {len(set(conflicts))} rows are stored twice with different results, such as {first!r}; the one with the earlier "
                f"time counts ({files[first].name}), but the clock of its host may be wrong; figures made before the second row was written may "
                "differ; remove the line that should not count"
            )
        return rows

    def _new_rows(self) -> Iterator[tuple[Path, Row]]:
        """(file, row) of every row appended by any process since the last call. Lines that are not rows are skipped with a warning."""
        for path in sorted(self.folder.glob("rows-*.jsonl")):
            offset = self.offsets.get(path.name, 0)
            try:
                if path.stat().st_size <= offset:
                    continue
                num_invalid = 0
                for value, end in lines_from(path, offset):
                    self.offsets[path.name] = end
                    if is_row(value):
                        yield path, value
                    else:
                        num_invalid += 1
            except FileNotFoundError:
                continue
            except OSError as error:
                raise Damaged(path, f"cannot be read ({error.strerror})") from None
            if num_invalid:
                warn_once(f"{path}: {num_invalid} lines are torn or not rows and are ignored; their rows are computed again when needed")

    def fill(
        self,
        ids: Sequence[str],
        compute: Callable[[list[str], Callable[[Row], None]], None],
        *,
        chunk_size: ChunkSize,
        on_row: Callable[[Row], None] = lambda row: None,
        on_missing: Callable[[int], None] = lambda num_missing: None,
    ) -> dict[str, Row]:
        """The rows of `ids`. `compute(chunk_of_ids, emit)` computes the missing ones, in the order of `ids`; `on_missing` gets their number first.

        `compute` calls `emit(row)` for each row as soon as it is known; the row is stored when `emit` returns. An id without a row has failed
        and is not tried again in this call. Raises: Damaged if a file cannot be read; Stopped on a signal.
        """
        rows = self.read(frozenset(ids))
        if missing := OrderedDict.fromkeys(name for name in ids if name not in rows):  # a dict would pass all that were removed, at each chunk
            on_missing(len(missing))
            self._describe()
            self._compute(rows, missing, compute, chunk_size, on_row)
        return {name: rows[name] for name in ids if name in rows}

    def _compute(
        self,
        rows: dict[str, Row],
        missing: OrderedDict[str, None],
        compute: Callable[[list[str], Callable[[Row], None]], None],
        chunk_size: ChunkSize,
        on_row: Callable[[Row], None],
    ) -> None:
        """Compute the `missing` rows, or wait for those that others compute, and move them to `rows`."""
        claims, wanted = Claims(self.folder / "claims", self.writer), frozenset(missing)

        def add(row: Row) -> None:
            name = row["id"]
            if name in wanted and name not in rows:
                rows[name] = row
                missing.pop(name, None)
                on_row(row)

        def add_new_rows() -> None:
            for _, row in self._new_rows():
                add(row)

        with self._appender(claims, add_new_rows) as append:

            def emit(row: Row) -> None:
                if append(row, rows):
                    add(row)
                self.watch()

            while missing:
                signals.check()
                with claims.take(missing, most=chunk_size, refresh=add_new_rows) as taken:
                    if taken:
                        compute(taken, emit)
                        for name in taken:
                            missing.pop(name, None)
                self.watch()
                if not taken and missing:
                    claims.wait(f"{len(missing)} rows of {self.spec.stage} {self.folder.name}")

    def _describe(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "spec.json"
        try:
            read_json(path, "stage", "key")
        except Damaged as error:
            if path.exists():
                log.warning("%s: the file is written again", error)
            write_json(path, {"stage": self.spec.stage, "key": self.spec.key, **self.spec.description})

    @contextlib.contextmanager
    def _appender(self, claims: Claims, add_new_rows: Callable[[], None]) -> Iterator[Callable[[Row, Container[str]], bool]]:
        """A function that appends a row and returns True, or False if another process has written it meanwhile.

        An error or signal in the middle of it leaves no torn line: what the file has buffered is written when it is closed.
        """
        name = f"rows-{self.writer}.jsonl"
        end_torn_line(path := self.folder / name)
        with path.open("ab") as file:
            synced, checked, overlaps, position = time.monotonic(), 0.0, False, file.tell()

            def check_file() -> None:
                if not os.fstat(file.fileno()).st_nlink:
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))

            def append(row: Row, stored: Container[str]) -> bool:
                nonlocal synced, checked, overlaps, position
                now = time.monotonic()
                if now - checked > CHECK_SECONDS:
                    checked = now
                    check_file()
                    if overlaps := claims.may_overlap():
                        add_new_rows()
                if overlaps and row["id"] in stored:
                    log.warning("%s: another process has already written row %r; its row counts", self.folder, row["id"])
                    return False
                line = orjson.dumps({**row, "written": time.time()}, option=orjson.OPT_APPEND_NEWLINE)
                file.write(line)
                file.flush()
                if now - synced > SYNC_SECONDS:
                    os.fsync(file.fileno())
                    synced = now
                if self.offsets.get(name) == position:  # what this process wrote need not be read
                    self.offsets[name] = position + len(line)
                position += len(line)
                return True

            yield append
            check_file()
            os.fsync(file.fileno())
