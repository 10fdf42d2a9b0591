"""Handling of signals: the first one stops a process without loss, a second one kills it.

The first SIGINT, SIGTERM, SIGUSR1 or SIGUSR2 raises Stopped in the main thread, so that claims are released and files are closed. Inside
`with at_safe_points():` it is only noted. `check()` raises it then, or the end of the block does. A second signal ends the process at once.
Ignored signals stay ignored.

Slurm signals every process of a job, and repeats its signals. So in a job of submitit, and in workers, a second signal changes nothing. A stopped
job of submitit goes back into its queue once everything is closed, unless Slurm is ending it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)

SAME_REQUEST_SECONDS = 0.2
"""A terminal or a launcher often signals a process and its parent, which passes the signal on. So a repeat this soon is the same request."""

Handler = Callable[[int, FrameType | None], Any]


class Stopped(SystemExit):
    """A signal asks this process to end. It is no Exception. If nobody catches it, the exit status is 128 + `number`."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number, self.code = number, 128 + number

    def __str__(self) -> str:
        return f"stopped by {signal.Signals(self.number).name}"


@dataclass(slots=True)
class _State:
    """The signals that this process received. Only its main thread uses this.

    `number` is the noted signal, or 0. `depth` counts the open blocks of `at_safe_points`. `are_repeated`: a second signal changes nothing.
    """

    number: int = 0
    noted_at: float = 0.0
    was_raised: bool = False
    depth: int = 0
    place: str = ""
    are_repeated: bool = False


_state = _State()


def noted() -> int:
    """The number of the signal that asked this process to end, or 0."""
    return _state.number


def check() -> None:
    """Raises: Stopped when a signal was noted."""
    if _state.number and threading.current_thread() is threading.main_thread():
        _state.was_raised = True
        raise Stopped(_state.number)


@contextlib.contextmanager
def at_safe_points(place: str = "") -> Iterator[None]:
    """Note signals in this block; `check()` or the end of the block raises them. `place` tells the user when that is, if it can take long."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    outer, _state.place = _state.place, place or _state.place
    _state.depth += 1
    try:
        yield
    finally:
        _state.depth -= 1
        _state.place = outer
    if not _state.depth and not _state.was_raised:
        check()


@contextlib.contextmanager
def handled(*, are_repeated: bool = False) -> Iterator[None]:
    """Let signals stop this block without loss. Restore the earlier handlers afterwards.

    `are_repeated`: this process belongs to another one, which passes its signals on and ends it if need be.
    """
    before = install()
    submitits = {number: handler for number, handler in before.items() if str(getattr(handler, "__module__", "")).startswith("submitit.")}
    _state.are_repeated |= are_repeated or bool(submitits)
    try:
        yield
    except Stopped as stop:
        if submitits:
            _requeue(stop, submitits)
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if before:
            _state.number, _state.was_raised, _state.are_repeated = 0, False, False


def install() -> dict[int, Any]:
    """Handle signals from now on, and return the replaced handlers. A second call, or one from another thread, changes nothing."""
    replaced: dict[int, Any] = {}
    if threading.current_thread() is not threading.main_thread():
        return replaced
    for number in SIGNALS:
        current = signal.getsignal(number)
        if current not in (_on_signal, signal.SIG_IGN):
            replaced[number] = current
            signal.signal(number, _on_signal)
    return replaced


def _on_signal(number: int, frame: FrameType | None) -> None:
    now = time.monotonic()
    if not _state.number:
        _state.number, _state.noted_at = number, now
        if _state.depth and _state.place:
            hint = "" if _state.are_repeated else "; a second signal ends it at once"
            _print(f"{signal.Signals(number).name} received: ends at {_state.place}{hint}")
    elif now - _state.noted_at > SAME_REQUEST_SECONDS and not _state.are_repeated:
        _print(f"ended at once by a second signal ({signal.Signals(number).name}); everything stored is kept")
        os._exit(128 + number)
    if not _state.depth and not _state.was_raised:
        check()


def _print(text: str) -> None:
    """Write directly to standard error: the signal may have interrupted a print."""
    with contextlib.suppress(OSError, ValueError):
        os.write(sys.stderr.fileno(), f"cotexp: {text}\n".encode())


# --- jobs of submitit ------------------------------------------------------------------------------------------------------


GOING_ON = ("RUNNING", "SIGNALING", "CONFIGURING")
"""States in Slurm's queue of a job that nobody has ended. It is SIGNALING while a signal is on its way to it."""


def _requeue(stop: Stopped, submitits: dict[int, Any]) -> None:
    """Put this job back into its queue and end the process, unless somebody wants the job to end. `submitits` are submitit's handlers by signal.

    submitit requeues at one signal alone, and bypasses SIGTERM. Slurm can send any signal before it takes a node away from a job.
    If somebody cancels a job or requeues it, its state is none of GOING_ON when the signal arrives.
    """
    requeue = next(iter(submitits.values())).__self__.checkpoint_and_try_requeue
    if os.environ.get("SUBMITIT_EXECUTOR") == "slurm":
        is_wanted = stop.number != signal.SIGINT and _slurm_state() in GOING_ON
    else:
        is_wanted = submitits.get(stop.number) == requeue
    if not is_wanted:
        return
    try:
        requeue(stop.number, None)
    except (OSError, subprocess.SubprocessError) as error:
        _print(f"this job could not be put back into its queue ({error}); the same command again continues it")
    else:
        stop.code = 0  # The first task of a job requeues it and has ended above. Slurm may kill it as soon as another task fails.


def _slurm_state() -> str:
    """The state of this job in Slurm's queue, such as RUNNING; empty if Slurm does not answer."""
    command = ["squeue", "--noheader", "--format=%T", f"--jobs={os.environ.get('SLURM_JOB_ID', '')}"]
    problem: Exception | None = None
    for _ in range(5):
        try:
            return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.strip()
        except (OSError, subprocess.SubprocessError) as error:
            problem = error
            if getattr(error, "returncode", 0) >= 0:  # else a signal has killed it: Slurm sends each one to every process of a job
                break
    _print(f"Slurm does not say whether this job goes on ({problem})")
    return ""
