"""Comparisons of formulas in processes with limited processor time, so that no formula costs more or ends the run.

Wall time decides nothing: on a busy machine a comparison takes longer and has the same verdict.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe, wait

from cotexp.tasks.comparison_worker import RAN_OUT, READY, Comparison, command

TIMEOUT_SECONDS = 2.0
"""Seconds of processor time for one comparison."""
BATCH_SIZE = 16
"""Comparisons that a worker receives at once; they take some hundredths of a second."""
NUM_RETRIES = 3
"""Retries of a comparison whose worker was killed from outside, such as by the kernel when another process used up the memory."""
MOST_DEATHS = 5
"""If this many workers in a row die before they are ready, none can start."""


@dataclass(slots=True)
class Judge:
    """Answers comparisons on all cores; use it as a context manager. Equal comparisons are made once. The first one starts the processes.

    `timeout_seconds`: seconds of processor time for one comparison.
    """

    timeout_seconds: float = TIMEOUT_SECONDS
    _workers: list[_Worker] = field(default_factory=list)
    _queue: deque[Comparison] = field(default_factory=deque)
    _verdicts: dict[Comparison, bool | None] = field(default_factory=dict)
    _known: set[Comparison] = field(default_factory=set)
    _losses: dict[Comparison, int] = field(default_factory=dict)
    _deaths: int = 0

    def ask(self, comparisons: Iterable[Comparison]) -> None:
        """Queue those `comparisons` that are new, and from time to time hand out what is queued."""
        for comparison in comparisons:
            if comparison not in self._known:
                self._known.add(comparison)
                self._queue.append(comparison)
                if len(self._known) % BATCH_SIZE == 0:
                    while self._receive_replies(0):
                        pass
                    self.send()

    def send(self) -> None:
        """Send queued comparisons to idle workers."""
        while self._queue and len(self._workers) < (os.cpu_count() or 1) and self._need_more():
            self._workers.append(_Worker.started(self.timeout_seconds))
        for worker in list(self._workers):
            if self._queue and worker.ready and not worker.pending:
                self._hand(worker)

    def _need_more(self) -> bool:
        """Whether all workers are busy, and more than a batch is queued for each one that is starting."""
        starting = sum(not worker.ready for worker in self._workers)
        return all(worker.pending or not worker.ready for worker in self._workers) and len(self._queue) > starting * BATCH_SIZE

    def verdict(self, comparison: Comparison) -> bool | None:
        """Wait for the verdict of a queued comparison; None if it ran out of processor time or memory.

        Raises: RuntimeError if no worker can start.
        """
        assert comparison in self._known, "a verdict must be asked for first"
        while comparison not in self._verdicts:
            self.send()
            if not self._workers:  # all workers were dead when comparisons were sent; `send` starts others
                continue
            self._receive_replies(None)
        return self._verdicts[comparison]

    def _receive_replies(self, seconds: float | None) -> bool:
        """Receive one reply of each worker that has one or will have one within `seconds`; None waits for one. False if there was none."""
        ready = wait([worker.connection for worker in self._workers], seconds)
        for connection in ready:
            self._receive(next(worker for worker in self._workers if worker.connection is connection))
        return bool(ready)

    def _hand(self, worker: _Worker) -> None:
        batch = [self._queue.popleft() for _ in range(min(BATCH_SIZE, max(1, len(self._queue) // len(self._workers)), len(self._queue)))]
        worker.pending.extend(batch)
        try:
            worker.connection.send([tuple(comparison) for comparison in batch])
        except OSError:
            self._replace(worker)

    def _receive(self, worker: _Worker) -> None:
        try:
            reply = worker.connection.recv()
        except (EOFError, OSError):
            self._replace(worker)
            return
        if reply == READY:
            worker.ready, self._deaths = True, 0
            return
        self._verdicts[worker.pending.popleft()] = None if reply == RAN_OUT else reply
        if reply == RAN_OUT and worker.pending:  # they were lost with the child
            self._queue.extendleft(reversed(worker.pending))
            worker.pending.clear()

    def _replace(self, worker: _Worker) -> None:
        """Queue the comparisons of a dead worker again; the one that it was making, only NUM_RETRIES times."""
        self._workers.remove(worker)
        worker.stop()
        if not worker.ready:
            self._deaths += 1
            if self._deaths >= MOST_DEATHS:
                raise RuntimeError(f"the processes that compare formulas cannot start (exit code {worker.process.returncode})")
        if worker.pending:
            first = worker.pending[0]
            self._losses[first] = self._losses.get(first, 0) + 1
            if self._losses[first] > NUM_RETRIES:
                self._verdicts[worker.pending.popleft()] = None
        self._queue.extendleft(reversed(worker.pending))

    def __enter__(self) -> Judge:
        return self

    def __exit__(self, *raised: object) -> None:
        for worker in self._workers:
            worker.stop()
        self._workers.clear()


@dataclass(slots=True, eq=False)
class _Worker:
    """A keeper process, our end of its connection, and the comparisons sent to it, in order."""

    process: subprocess.Popen[bytes]
    connection: Connection
    ready: bool = False
    pending: deque[Comparison] = field(default_factory=deque)

    @classmethod
    def started(cls, seconds: float) -> _Worker:
        ours, theirs = Pipe()
        with theirs:
            process = subprocess.Popen(
                command(theirs.fileno(), seconds), pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True
            )
        return cls(process, ours)

    def stop(self) -> None:
        """End the keeper and its child at once; they have their own process group."""
        self.connection.close()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
