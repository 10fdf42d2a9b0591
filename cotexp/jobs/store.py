"""Nothing a model wrote is ever computed twice: ledgers of rows and artifacts of files, found by keys of their content.

A *ledger* is a folder of append-only JSON Lines, one file per writer; a row is one unit of work and carries a unique "id". An
*artifact* is a folder that appears whole or not at all. Both are claimed before they are computed, so that any number of
processes may work on one store: a claim is a small file that its owner keeps renewing, and it ends when the owner is dead.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from filelock import FileLock

from cotexp import durable, signals
from cotexp.jobs import progress
from cotexp.jobs.ledger_files import begin_on_a_fresh_line, complete_lines, is_row, say_once, says
from cotexp.jobs.processes import is_elsewhere, is_owner, now_at, owner, process_is_alive
from cotexp.jobs.stored_files import Damaged, Row, StoreError, read_json, write_json

log = logging.getLogger(__name__)

__all__ = [
    "LOCK_SECONDS",
    "POLL_SECONDS",
    "ChunkSize",
    "Claims",
    "Damaged",
    "Ledger",
    "Row",
    "Spec",
    "Store",
    "StoreError",
    "claim_is_alive",
    "is_elsewhere",
    "key_of",
    "libraries",
    "owner",
    "process_is_alive",
    "read_json",
    "write_json",
]

LEASE_SECONDS = 45.0
"""A claim that was not renewed for so long is void, wherever its owner ran."""
POLL_SECONDS = 0.5
PATIENCE_SECONDS = 5.0
"""A wait for another process of this host is said after so long; devices of one run often wait for each other for a moment."""
LOCK_SECONDS = 60.0
"""Longest wait for the lock of a folder of claims, which is held for milliseconds."""
SYNC_SECONDS = 1.0
"""Rows reach the operating system at once, and the disk at most so much later: what a power failure can cost."""

ChunkSize = int | Callable[[Sequence[str]], int]
"""How many rows are claimed and computed at once; a function says how many of the next ones."""


def key_of(description: dict[str, Any]) -> str:
    """Sixteen hex digits that stand for `description`, made of plain JSON values.

    Raises: TypeError for any other kind of value, which would not have one lasting spelling.
    """
    text = json.dumps(description, sort_keys=True, ensure_ascii=True, allow_nan=False, default=_refuse)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _refuse(value: object) -> None:
    raise TypeError(f"a key can hold plain JSON values only; got {type(value).__name__}: {value!r}")


@dataclass(frozen=True, slots=True)
class Spec:
    """Identity of a ledger or artifact: what can change its content, nothing else."""

    stage: str
    description: dict[str, Any]

    @property
    def key(self) -> str:
        return key_of({"stage": self.stage, **self.description})


@dataclass(slots=True)
class Store:
    """The folder OUTPUTS/store."""

    root: Path
    writer: str = field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}")
    watch: Callable[[], None] = lambda: None
    """Called after each new row and between two looks at what others do; raises when they cannot do it."""

    def ledger(self, spec: Spec) -> Ledger:
        return Ledger(folder=self.root / spec.stage / spec.key, spec=spec, writer=self.writer, watch=self.watch)

    def artifact_path(self, spec: Spec) -> Path:
        return self.root / spec.stage / spec.key

    def unfinished_path(self, spec: Spec) -> Path:
        """Where an artifact is built."""
        path = self.artifact_path(spec)
        return path.with_name(f"{path.name}.partial")

    def has_artifact(self, spec: Spec) -> bool:
        """Whether this artifact is there, whole. Raises: Damaged when there is a folder that does not say so."""
        path = self.artifact_path(spec)
        manifest = path / "manifest.json"
        if not os.path.lexists(path) or (path.is_dir() and not os.path.lexists(manifest) and not any(path.iterdir())):
            return False
        if read_json(manifest, "stage", "key")["key"] != spec.key:
            raise Damaged(manifest, f"belongs to another {spec.stage}")
        return True

    def artifact(self, spec: Spec, build: Callable[[Path], None]) -> Path:
        """The folder of this artifact, built by `build(folder)` unless it exists.

        `build` gets the same unfinished folder again after a kill, so that it can go on from what lies there.
        Raises: Damaged where its place is taken by a folder that does not say that it is whole; nothing is built then.
        """
        path = self.artifact_path(spec)
        partial = self.unfinished_path(spec)
        claims = Claims(path.with_name("claims"), self.writer)
        while not self.has_artifact(spec):
            signals.check()
            with claims.take([spec.key]) as taken:
                if not taken:
                    claims.say_waiting(f"{spec.stage} {spec.key}")
                    time.sleep(POLL_SECONDS)
                    continue
                if self.has_artifact(spec):
                    break
                partial.mkdir(parents=True, exist_ok=True)
                build(partial)
                with signals.at_safe_points():
                    write_json(partial / "manifest.json", {"stage": spec.stage, "key": spec.key, **spec.description, "libraries": libraries()})
                    durable.put(partial, path)
        return path


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
                    claims.say_waiting(f"{left} rows of {self.spec.stage} {self.folder.name}")
                    time.sleep(POLL_SECONDS)
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


# --- claims ------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Claims:
    """Who computes what: one file per owner, read and written under a short file lock.

    Differs from a log of leases: an owner rewrites its own small file, so nothing grows and nothing is left behind. A claim outlives no
    process, so it need not survive a power cut. `seen` holds claims of other hosts as they were and since when, by this process's clock.
    """

    folder: Path
    writer: str
    seen: dict[Path, tuple[bytes, float]] = field(default_factory=dict)
    holders: list[dict[str, Any]] = field(default_factory=list)
    """Whose claims kept rows from this process at its last look."""
    own: Path | None = None
    doubtful: bool = False
    """Whether a claim of another host was taken over here, or the own one there: what the other one still writes comes late."""
    waits_since: float | None = None
    said_at: float | None = None

    @contextlib.contextmanager
    def take(self, ids: Sequence[str], *, most: ChunkSize = 1, refresh: Callable[[], Iterable[str]] = lambda: ()) -> Iterator[list[str]]:
        """Claim up to `most` of `ids` that nobody else holds and that `refresh()` does not name as done; may be none."""
        self.own = own = self.folder / f"{self.writer}-{threading.get_ident()}.json"
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._lock():
            held = self._held_by_others(own)
            done = refresh()
            free = [each for each in ids if each not in held and each not in done]
            taken = free[: most(free) if callable(most) else most]
            if taken:
                self._write(own, taken)
        if not taken:
            yield []
            return
        self.waits_since = self.said_at = None
        stop = threading.Event()
        renewer = threading.Thread(target=self._renew, args=(own, taken, stop), daemon=True)
        renewer.start()
        try:
            yield taken
        finally:
            stop.set()
            renewer.join()
            own.unlink(missing_ok=True)

    def are_in_doubt(self) -> bool:
        """Whether another process may have computed what is claimed here: one of the two was out of reach for longer than a lease."""
        return self.doubtful or (self.own is not None and not self.own.exists())

    def say_waiting(self, what: str) -> None:
        """Say now and then for whom this process waits: at once for another host, whose processes cannot be looked at from here."""
        now = time.monotonic()
        since = self.waits_since = now if self.waits_since is None else self.waits_since
        holder = next((each for each in self.holders if is_elsewhere(each)), self.holders[0] if self.holders else None)
        if holder is None:
            return
        due = now - since >= PATIENCE_SECONDS or is_elsewhere(holder) if self.said_at is None else now - self.said_at >= progress.NOTE_SECONDS
        if due:
            self.said_at = now
            until = f"; unless that one renews its claim, it is taken over within {LEASE_SECONDS:.0f} s" if is_elsewhere(holder) else ""
            log.info("waiting for %s, which process %d on %s has claimed%s", what, holder["pid"], holder["host"], until)

    def _lock(self) -> FileLock:
        return FileLock(self.folder / "lock", timeout=LOCK_SECONDS)

    def _held_by_others(self, own: Path) -> set[str]:
        held: set[str] = set()
        self.holders = []
        now = now_at(self.folder / "clock")
        for path in self.folder.glob("*.json"):
            if path == own:
                continue
            try:
                content, age = path.read_bytes(), now - path.stat().st_mtime
                claim = claim_in(content)
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as error:
                log.warning("%s is no claim (%s) and holds nothing; remove it if no process works here", path, error)
                continue
            if self._is_alive(path, content, claim, age):
                held.update(claim["ids"])
                self.holders.append(claim)
            else:
                self.doubtful |= is_elsewhere(claim)
                path.unlink(missing_ok=True)
        return held

    def _is_alive(self, path: Path, content: bytes, claim: dict[str, Any], age: float) -> bool:
        """A lease that was not renewed while this process looked on for its whole length is over, whatever any clock says."""
        before, since = self.seen.get(path, (b"", 0.0))
        if before != content:
            since = time.monotonic()
            self.seen[path] = (content, since)
        watched = time.monotonic() - since
        return claim_is_alive(claim, age=max(age, watched))

    def _write(self, path: Path, ids: list[str]) -> None:
        now = time.time()
        write_json(path, {"ids": ids, **owner(), "renewed": now, "expires": now + LEASE_SECONDS}, lasting=False)

    def _renew(self, path: Path, ids: list[str], stop: threading.Event) -> None:
        while not stop.wait(LEASE_SECONDS / 4):
            with contextlib.suppress(OSError), self._lock():
                if not path.exists():  # it ran out meanwhile, and others may hold a part
                    self.doubtful = True
                    held = self._held_by_others(path)
                    ids = [each for each in ids if each not in held]
                self._write(path, ids)


def claim_in(content: bytes) -> dict[str, Any]:
    """The claim that a file holds. Raises: ValueError."""
    claim = orjson.loads(content)
    if not is_owner(claim) or not isinstance(claim.get("ids"), list) or not isinstance(claim.get("expires"), int | float):
        raise ValueError("it names no rows, process or time")
    return dict(claim)


def claim_is_alive(claim: dict[str, Any], *, age: float = 0.0) -> bool:
    """Whether the owner of a claim that was renewed `age` seconds ago can still be working.

    On this host its process lives, suspended or not. Elsewhere its lease runs, which is never trusted for longer than its length: the other
    host's clock may be wrong. Claims of earlier versions do not say when they were renewed, and end by that clock too.
    """
    if not is_elsewhere(claim):
        return process_is_alive(claim)
    return age < LEASE_SECONDS and ("renewed" in claim or claim["expires"] > time.time())


def libraries() -> dict[str, str]:
    """Versions of the libraries that shape a result."""
    import platform
    from importlib.metadata import version

    names = ("torch", "transformers", "peft", "pytorch-lightning", "tokenizers", "numpy")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}
