"""Claims: which process computes which rows, so that no two compute the same.

A claim is a small file that its owner keeps renewing; it ends when the owner is dead.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from filelock import FileLock

from cotexp import progress
from cotexp.store.processes import is_elsewhere, is_owner, now_at, owner, process_is_alive
from cotexp.store.stored_files import write_json

log = logging.getLogger(__name__)


LEASE_SECONDS = 45.0
"""A claim that was not renewed for so long is void, wherever its owner ran."""

POLL_SECONDS = 0.5

PATIENCE_SECONDS = 5.0
"""A wait for another process of this host is said after so long; devices of one run often wait for each other for a moment."""

LOCK_SECONDS = 60.0
"""Longest wait for the lock of a folder of claims, which is held for milliseconds."""


ChunkSize = int | Callable[[Sequence[str]], int]
"""How many rows are claimed and computed at once; a function says how many of the next ones."""


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

    def wait(self, what: str) -> None:
        """Wait a moment for whoever holds `what`."""
        self._say_waiting(what)
        time.sleep(POLL_SECONDS)

    def _say_waiting(self, what: str) -> None:
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
