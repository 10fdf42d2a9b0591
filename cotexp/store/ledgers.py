"""Ledgers: folders of append-only JSON Lines, one file per writer. A row is one unit of work and carries a unique "id"."""

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
from cotexp.store.ledger_files import begin_on_a_fresh_line, complete_lines, is_row, say_once, says
from cotexp.store.specs import Spec
from cotexp.store.stored_files import Damaged, Row, read_json, write_json

log = logging.getLogger(__name__)


SYNC_SECONDS = 1.0
"""Rows reach the operating system at once, and the disk at most so much later: what a power failure can cost."""


@dataclass(slots=True)
class Ledger:
    """Rows of one stage under one key."""

    folder: Path
    spec: Spec
    writer: str
    watch: Callable[[], None] = lambda: None
    offsets: dict[Path, int] = field(default_factory=dict)
    num_duplicates: int = 0
    """Rows that were read and do not count: two processes wrote them, since the claim of the first had run out."""

    def read(self) -> dict[str, Row]:
        """All complete rows by id. A torn last line is left out.

        Of two rows with one id the earlier counts: the upper one of a file, by their times in two files. Clocks of two hosts may differ, so
        that rows which say different things are told.
        """
        self.offsets.clear()
        self.num_duplicates = 0
        rows: dict[str, Row] = {}
        places: dict[str, Path] = {}
        contradicted: list[str] = []
        for path, row in self._new_rows():
            name = row["id"]
            if name not in rows:
                rows[name], places[name] = row, path
                continue
            self.num_duplicates += 1
            if says(row) != says(rows[name]):
                contradicted.append(name)
            if path != places[name] and row["written"] < rows[name]["written"]:
                rows[name], places[name] = row, path
        if contradicted:
            first = contradicted[0]
            say_once(
                f"{self.folder}: {len(set(contradicted))} rows stand there twice and say different things, such as {first!r}; the one with the "
                f"earlier time counts ({places[first].name}), which another host's clock may have set: figures made before the other came may "
                "differ; remove the line that should not count"
            )
        return rows

    def _new_rows(self) -> Iterator[tuple[Path, Row]]:
        """(file, row) of what was appended, by anyone, since this was called last. Lines that are no rows are told and left out."""
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
            rows = [each for each in lines if is_row(each)]
            if num_others := len(lines) - len(rows):
                say_once(f"{path}: {num_others} of its lines are torn or no rows and are left out; what they stood for is made again when needed")
            yield from ((path, each) for each in rows)

    def fill(
        self,
        ids: Sequence[str],
        compute: Callable[[list[str], Callable[[Row], None]], None],
        *,
        chunk_size: ChunkSize,
        on_row: Callable[[Row], None] = lambda row: None,
    ) -> dict[str, Row]:
        """The rows of `ids`. Missing ones are computed by `compute(chunk_of_ids, emit)`, in the order of `ids`.

        `compute` calls `emit(row)` once per row as it becomes known; the row is on disk when `emit` returns. An id for which it
        emits nothing counts as failed and is not asked for again in this call.
        """
        rows = self.read()
        if all(each in rows for each in ids):
            return {each: rows[each] for each in ids}
        self._describe()
        claims = Claims(self.folder / "claims", self.writer)
        tried: set[str] = set()
        with self._appender() as append:

            def emit(row: Row) -> None:
                if claims.are_in_doubt() and row["id"] in self._take_in(rows, on_row):
                    log.warning("%s: row %r was written by another process meanwhile, which counts", self.folder, row["id"])
                    return
                append(row)
                rows[row["id"]] = row
                on_row(row)
                self.watch()

            while missing := [each for each in ids if each not in rows and each not in tried]:
                signals.check()
                with claims.take(missing, most=chunk_size, refresh=lambda: self._take_in(rows, on_row)) as taken:
                    if taken:
                        compute(taken, emit)
                        tried.update(taken)
                self.watch()
                if not taken and (left := sum(each not in rows for each in missing)):
                    claims.wait(f"{left} rows of {self.spec.stage} {self.folder.name}")
        return {each: rows[each] for each in ids if each in rows}

    def _take_in(self, rows: dict[str, Row], on_row: Callable[[Row], None]) -> Iterable[str]:
        """Add rows that others have finished meanwhile to `rows`; returns all ids that are known now."""
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
                log.warning("%s: it is written anew", error)
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

            begin_on_a_fresh_line(file)
            yield append
            os.fsync(file.fileno())
