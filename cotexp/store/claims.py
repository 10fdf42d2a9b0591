"""Claims: which process computes which rows, so that no two processes compute the same row.

A claim is a small file with a lease that its owner renews. It ends when the owner dies.
"""

from __future__ import annotations

import contextlib
import itertools
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
from cotexp.store.processes import file_system_time, identifies_process, is_remote, process_is_alive, this_process
from cotexp.store.stored_files import write_json

log = logging.getLogger(__name__)


LEASE_SECONDS = 45.0
"""A remote claim expires if it is not renewed for this long."""

POLL_SECONDS = 0.5

PATIENCE_SECONDS = 5.0
"""A wait for a process of this host is logged after this long, because devices of one run often wait for each other briefly."""

LOCK_SECONDS = 60.0
"""The longest wait for the lock of a claims folder. The lock is normally held for milliseconds."""


LARGEST_CHUNK = 10_000
"""Most ids that a function which decides how many are computed at once is shown."""

ChunkSize = int | Callable[[Sequence[str]], int]
"""How many rows to claim and compute at once: a number, or a function of the next free ids."""


@dataclass(slots=True)
class Claims:
    """The claims in a folder: one file per owner, read and written under a short file lock.

    Differs from a log of leases: each owner rewrites its own small file, so the folder does not grow. A claim ends with its process, so it is
    not synced to the disk.
    """

    folder: Path
    writer: str
    observed: dict[Path, tuple[bytes, float]] = field(default_factory=dict)
    """Claim file -> its content, and since when it has been unchanged (monotonic seconds of this process)."""
    other_claims: list[dict[str, Any]] = field(default_factory=list)
    """Claims of living processes that the last `take` found."""
    path: Path | None = None
    """The claim file of this process."""
    lease_was_lost: bool = False
    """Whether a remote claim was taken over by this process, or the reverse. The previous owner may still write rows."""
    waiting_since: float | None = None
    logged_at: float | None = None

    @contextlib.contextmanager
    def take(self, ids: Iterable[str], *, most: ChunkSize = 1, refresh: Callable[[], None] = lambda: None) -> Iterator[list[str]]:
        """Claim up to `most` of the `ids` that are not claimed by others; maybe none. `refresh()` may first take finished ones out of `ids`."""
        self.path = path = self.folder / f"{self.writer}-{threading.get_ident()}.json"
        self.folder.mkdir(parents=True, exist_ok=True)
        stop = threading.Event()
        renewer: threading.Thread | None = None
        try:  # from before the claim is written: a signal may stop this process there, and a notebook's kernel lives on
            with self._lock():
                claimed = self._claimed_by_others(path)
                refresh()
                free = (name for name in ids if name not in claimed)
                taken = list(itertools.islice(free, LARGEST_CHUNK if callable(most) else most))
                taken = taken[: most(taken)] if callable(most) else taken
                if taken:
                    self._write(path, taken)
            if taken:
                self.waiting_since = self.logged_at = None
                renewer = threading.Thread(target=self._renew, args=(path, taken, stop), daemon=True)
                renewer.start()
            yield taken
        finally:
            stop.set()
            if renewer is not None and renewer.ident is not None:
                renewer.join()
            path.unlink(missing_ok=True)

    def may_overlap(self) -> bool:
        """Whether another process may have computed rows claimed here, because either of the two was unreachable for longer than a lease."""
        return self.lease_was_lost or (self.path is not None and not self.path.exists())

    def wait(self, what: str) -> None:
        """Wait POLL_SECONDS for the process that has claimed `what`."""
        self._log_wait(what)
        time.sleep(POLL_SECONDS)

    def _log_wait(self, what: str) -> None:
        """Log from time to time which process this one waits for: a remote one at once, since its process cannot be checked."""
        now = time.monotonic()
        since = self.waiting_since = now if self.waiting_since is None else self.waiting_since
        claim = next(filter(is_remote, self.other_claims), self.other_claims[0] if self.other_claims else None)
        if claim is None:
            return
        is_due = now - since >= PATIENCE_SECONDS or is_remote(claim) if self.logged_at is None else now - self.logged_at >= progress.NOTE_SECONDS
        if is_due:
            self.logged_at = now
            takeover = f"; the claim is taken over if it is not renewed within {LEASE_SECONDS:.0f} s" if is_remote(claim) else ""
            log.info("waiting for %s, claimed by process %d on %s%s", what, claim["pid"], claim["host"], takeover)

    def _lock(self) -> FileLock:
        return FileLock(self.folder / "lock", timeout=LOCK_SECONDS)

    def _claimed_by_others(self, own_path: Path) -> set[str]:
        claimed: set[str] = set()
        self.other_claims = []
        now = file_system_time(self.folder / "clock")
        for path in self.folder.glob("*.json"):
            if path == own_path:
                continue
            try:
                content, age = path.read_bytes(), now - path.stat().st_mtime
                claim = parse_claim(content)
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as error:
                log.warning("%s is not a valid claim (%s) and is ignored; remove it if no process is working here", path, error)
                continue
            if self._is_alive(path, content, claim, age):
                claimed.update(claim["ids"])
                self.other_claims.append(claim)
            else:
                self.lease_was_lost |= is_remote(claim)
                path.unlink(missing_ok=True)
        return claimed

    def _is_alive(self, path: Path, content: bytes, claim: dict[str, Any], age: float) -> bool:
        """Whether a claim is in force. It is not if this process has seen it unchanged for a whole lease, whatever other clocks say."""
        previous, since = self.observed.get(path, (b"", 0.0))
        if previous != content:
            since = time.monotonic()
            self.observed[path] = (content, since)
        return claim_is_alive(claim, age=max(age, time.monotonic() - since))

    def _write(self, path: Path, ids: list[str]) -> None:
        now = time.time()
        write_json(path, {"ids": ids, **this_process(), "renewed": now, "expires": now + LEASE_SECONDS}, fsync=False)

    def _renew(self, path: Path, ids: list[str], stop: threading.Event) -> None:
        while not stop.wait(LEASE_SECONDS / 4):
            with contextlib.suppress(OSError), self._lock():
                if not path.exists():  # the lease expired, and others may have claimed some of the rows
                    self.lease_was_lost = True
                    claimed = self._claimed_by_others(path)
                    ids = [name for name in ids if name not in claimed]
                self._write(path, ids)


def parse_claim(content: bytes) -> dict[str, Any]:
    """The claim in the content of a file. Raises: ValueError."""
    claim = orjson.loads(content)
    if not identifies_process(claim) or not isinstance(claim.get("ids"), list) or not isinstance(claim.get("expires"), int | float):
        raise ValueError("it lacks rows, process or expiry")
    return dict(claim)


def claim_is_alive(claim: dict[str, Any], *, age: float = 0.0) -> bool:
    """Whether a claim that was renewed `age` seconds ago is in force.

    A claim of this host holds while its process lives, even suspended. A remote claim holds for LEASE_SECONDS after its renewal, whatever expiry
    it states, because the clock of its host may be wrong. Claims of earlier versions lack the time of renewal; they end at their expiry as well.
    """
    if not is_remote(claim):
        return process_is_alive(claim)
    return age < LEASE_SECONDS and ("renewed" in claim or claim["expires"] > time.time())
