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
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import orjson
import psutil
from filelock import FileLock

from cotexp import stopping
from cotexp.sections import RunFailed

LEASE_SECONDS = 45.0
"""A claim that was not renewed for so long is void, wherever its owner ran."""
POLL_SECONDS = 0.5
LOCK_SECONDS = 60.0
"""Longest wait for the lock of a folder of claims, which is held for milliseconds."""
SYNC_SECONDS = 1.0
"""Rows reach the operating system at once, and the disk at most so much later: what a power failure can cost."""

Row = dict[str, Any]
ChunkSize = int | Callable[[Sequence[str]], int]
"""How many rows are claimed and computed at once; a function says how many of the next ones."""


class StoreError(RunFailed):
    """The store cannot be used; the message names the place and the next step."""


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
        return (self.artifact_path(spec) / "manifest.json").is_file()

    def artifact(self, spec: Spec, build: Callable[[Path], None]) -> Path:
        """The folder of this artifact, built by `build(folder)` unless it exists.

        `build` gets the same unfinished folder again after a kill, so that it can go on from what lies there.
        """
        path = self.artifact_path(spec)
        partial = self.unfinished_path(spec)
        claims = Claims(path.with_name("claims"), self.writer)
        while not self.has_artifact(spec):
            stopping.check()
            with claims.take([spec.key]) as taken:
                if not taken:
                    time.sleep(POLL_SECONDS)
                    continue
                if self.has_artifact(spec):
                    break
                partial.mkdir(parents=True, exist_ok=True)
                build(partial)
                with stopping.at_safe_points():
                    _sync(partial)
                    write_json(partial / "manifest.json", {"stage": spec.stage, "key": spec.key, **spec.description, "libraries": libraries()})
                    partial.replace(path)
        return path


def _sync(folder: Path) -> None:
    """Bring the files of a folder to the disk, so that the manifest that declares them complete cannot get there first."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


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
        """All complete rows by id; of two rows with one id the earliest counts. A torn last line is left out."""
        self.offsets.clear()
        self.num_duplicates = 0
        rows: dict[str, Row] = {}
        for row in self._new_rows():
            self.num_duplicates += row["id"] in rows
            if row["id"] not in rows or row["written"] < rows[row["id"]]["written"]:
                rows[row["id"]] = row
        return rows

    def _new_rows(self) -> Iterator[Row]:
        """Rows that were appended, by anyone, since this was called last."""
        for path in sorted(self.folder.glob("rows-*.jsonl")):
            offset = self.offsets.get(path, 0)
            if path.stat().st_size > offset:
                lines, self.offsets[path] = complete_lines(path, offset)
                yield from lines

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
                append(row)
                rows[row["id"]] = row
                on_row(row)
                self.watch()

            while missing := [each for each in ids if each not in rows and each not in tried]:
                stopping.check()
                with claims.take(missing, most=chunk_size, refresh=lambda: self._take_in(rows, on_row)) as taken:
                    if taken:
                        compute(taken, emit)
                        tried.update(taken)
                self.watch()
                if not taken and any(each not in rows for each in missing):
                    time.sleep(POLL_SECONDS)
        return {each: rows[each] for each in ids if each in rows}

    def _take_in(self, rows: dict[str, Row], on_row: Callable[[Row], None]) -> Iterable[str]:
        """Add rows that others have finished meanwhile to `rows`; returns all ids that are known now."""
        for row in self._new_rows():
            if row["id"] not in rows:
                rows[row["id"]] = row
                on_row(row)
        return rows.keys()

    def _describe(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "spec.json"
        if not path.exists():
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
                with stopping.at_safe_points():
                    file.write(orjson.dumps({**row, "written": time.time()}) + b"\n")
                    file.flush()
                    if time.monotonic() - synced > SYNC_SECONDS:
                        os.fsync(file.fileno())
                        synced = time.monotonic()

            _begin_on_a_fresh_line(file)
            yield append
            os.fsync(file.fileno())


def _begin_on_a_fresh_line(file: BinaryIO) -> None:
    """After a torn line, a row that follows on it would be lost with it."""
    if file.tell():
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            file.write(b"\n")


def complete_lines(path: Path, offset: int = 0) -> tuple[list[Row], int]:
    """The whole records of a JSON Lines file from byte `offset`, and where the next reader goes on.

    An unterminated tail may still be being written and is left for later; a torn line before a later append is dropped.
    """
    with path.open("rb") as file:
        file.seek(offset)
        content = file.read()
    end = content.rfind(b"\n") + 1
    rows = []
    for line in content[:end].splitlines():
        with contextlib.suppress(orjson.JSONDecodeError):
            rows.append(orjson.loads(line))
    return rows, offset + end


# --- claims ------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Claims:
    """Who computes what: one file per owner, read and written under a short file lock.

    Differs from a log of leases: an owner rewrites its own small file, so nothing grows and nothing is left behind.
    """

    folder: Path
    writer: str

    @contextlib.contextmanager
    def take(self, ids: Sequence[str], *, most: ChunkSize = 1, refresh: Callable[[], Iterable[str]] = lambda: ()) -> Iterator[list[str]]:
        """Claim up to `most` of `ids` that nobody else holds and that `refresh()` does not name as done; may be none."""
        own = self.folder / f"{self.writer}-{threading.get_ident()}.json"
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
        stop = threading.Event()
        renewer = threading.Thread(target=self._renew, args=(own, taken, stop), daemon=True)
        renewer.start()
        try:
            yield taken
        finally:
            stop.set()
            renewer.join()
            own.unlink(missing_ok=True)

    def _lock(self) -> FileLock:
        return FileLock(self.folder / "lock", timeout=LOCK_SECONDS)

    def _held_by_others(self, own: Path) -> set[str]:
        held: set[str] = set()
        for path in self.folder.glob("*.json"):
            if path != own:
                try:
                    claim = orjson.loads(path.read_bytes())
                except (OSError, orjson.JSONDecodeError):
                    continue
                if claim_is_alive(claim):
                    held.update(claim["ids"])
                else:
                    path.unlink(missing_ok=True)
        return held

    def _write(self, path: Path, ids: list[str]) -> None:
        write_json(path, {"ids": ids, **owner(), "expires": time.time() + LEASE_SECONDS})

    def _renew(self, path: Path, ids: list[str], stop: threading.Event) -> None:
        while not stop.wait(LEASE_SECONDS / 4):
            with contextlib.suppress(OSError):
                self._write(path, ids)


def owner() -> dict[str, Any]:
    """Host, process id and start time: together they name one process for good."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": psutil.Process().create_time()}


def claim_is_alive(claim: dict[str, Any]) -> bool:
    """Whether the owner of a claim can still be working: on this host its process lives (suspended or not), elsewhere its lease runs."""
    return bool(claim["expires"] > time.time()) if is_elsewhere(claim) else process_is_alive(claim)


def is_elsewhere(owner: dict[str, Any]) -> bool:
    """Whether a process runs on another host, where nobody here can look."""
    return bool(owner["host"] != socket.gethostname())


def process_is_alive(owner: dict[str, Any]) -> bool:
    try:
        process = psutil.Process(owner["pid"])
        return abs(process.create_time() - owner["started"]) < 1.0 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


# --- files -------------------------------------------------------------------------------------------------------------


def write_json(path: Path, content: Any) -> None:
    """Write JSON so that readers see the old file or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    with stopping.at_safe_points():
        try:
            temporary.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY))
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise


def read_json(path: Path) -> Any:
    return orjson.loads(path.read_bytes())


def libraries() -> dict[str, str]:
    """Versions of the libraries that shape a result."""
    import platform
    from importlib.metadata import version

    names = ("torch", "transformers", "peft", "pytorch-lightning", "tokenizers", "numpy")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}
