"""Ledgers: folders of append-only JSON Lines files, one per writer. A row is one unit of work and has a unique "id"."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from cotexp import signals
from cotexp.store.claims import ChunkSize, Claims
from cotexp.store.ledger_files import complete_lines, end_torn_line, is_row, result_of, warn_once
from cotexp.store.specs import Spec
from cotexp.store.stored_files import Damaged, Row, read_json, write_json

log = logging.getLogger(__name__)


SYNC_SECONDS = 1.0
"""Rows are flushed at once, and synced to the disk at most this much later. A power cut can lose the rows in between."""


@dataclass(slots=True)
class Ledger:
    """The rows of one stage under one key."""

    folder: Path
    spec: Spec
    writer: str
    watch: Callable[[], None] = lambda: None
    offsets: dict[Path, int] = field(default_factory=dict)
    num_duplicates: int = 0
    """Duplicate rows that the last `read` ignored. A second process wrote them after the claim of the first one had expired."""

    def read(self) -> dict[str, Row]:
        """All complete rows by id, without a torn last line.

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
            offset = self.offsets.get(path, 0)
            try:
                if path.stat().st_size <= offset:
                    continue
                lines, self.offsets[path] = complete_lines(path, offset)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise Damaged(path, f"cannot be read ({error.strerror})") from None
            rows = list(filter(is_row, lines))
            if num_invalid := len(lines) - len(rows):
                warn_once(f"{path}: {num_invalid} lines are torn or not rows and are ignored; their rows are computed again when needed")
            yield from ((path, row) for row in rows)

    def fill(
        self,
        ids: Sequence[str],
        compute: Callable[[list[str], Callable[[Row], None]], None],
        *,
        chunk_size: ChunkSize,
        on_row: Callable[[Row], None] = lambda row: None,
    ) -> dict[str, Row]:
        """The rows of `ids`. `compute(chunk_of_ids, emit)` computes the missing ones, in the order of `ids`.

        `compute` calls `emit(row)` for each row as soon as it is known; the row is stored when `emit` returns. An id without a row has failed
        and is not tried again in this call. Raises: Damaged if a file cannot be read; Stopped on a signal.
        """
        rows = self.read()
        if all(name in rows for name in ids):
            return {name: rows[name] for name in ids}
        self._describe()
        claims = Claims(self.folder / "claims", self.writer)
        tried: set[str] = set()
        with self._appender() as append:

            def emit(row: Row) -> None:
                if claims.may_overlap() and row["id"] in self._add_new_rows(rows, on_row):
                    log.warning("%s: another process has already written row %r; its row counts", self.folder, row["id"])
                    return
                append(row)
                rows[row["id"]] = row
                on_row(row)
                self.watch()

            while missing := [name for name in ids if name not in rows and name not in tried]:
                signals.check()
                with claims.take(missing, most=chunk_size, refresh=lambda: self._add_new_rows(rows, on_row)) as taken:
                    if taken:
                        compute(taken, emit)
                        tried.update(taken)
                self.watch()
                if not taken and (num_left := sum(name not in rows for name in missing)):
                    claims.wait(f"{num_left} rows of {self.spec.stage} {self.folder.name}")
        return {name: rows[name] for name in ids if name in rows}

    def _add_new_rows(self, rows: dict[str, Row], on_row: Callable[[Row], None]) -> Iterable[str]:
        """Add the rows that other processes have finished to `rows`, and return all ids that are known now."""
        for _, row in self._new_rows():
            if row["id"] not in rows:
                rows[row["id"]] = row
                on_row(row)
        return rows.keys()

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
    def _appender(self) -> Iterator[Callable[[Row], None]]:
        path = self.folder / f"rows-{self.writer}.jsonl"
        with path.open("ab+") as file:
            synced = time.monotonic()

            def append(row: Row) -> None:
                nonlocal synced
                if not os.fstat(file.fileno()).st_nlink:
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
                with signals.at_safe_points():
                    file.write(orjson.dumps({**row, "written": time.time()}) + b"\n")
                    file.flush()
                    if time.monotonic() - synced > SYNC_SECONDS:
                        os.fsync(file.fileno())
                        synced = time.monotonic()

            end_torn_line(file)
            yield append
            os.fsync(file.fileno())
