"""Handling of signals: the first one stops a process without loss, a second one kills it.

The first SIGINT, SIGTERM, SIGUSR1 or SIGUSR2 raises Stopped in the main thread, so that claims are released and files are closed. Inside
`with at_safe_points():` it is only noted. `check()` raises it then, or the end of the block does. A second signal ends the process at once.
Ignored signals stay ignored. Handlers of submitit, which requeue the job, are called at the next safe point.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
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

    `number` is the noted signal, or 0. `depth` counts the open blocks of `at_safe_points`. `requeue_handlers` are submitit's handlers,
    which are called instead of raising Stopped.
    """

    number: int = 0
    noted_at: float = 0.0
    was_raised: bool = False
    depth: int = 0
    place: str = ""
    requeue_handlers: dict[int, Handler] = field(default_factory=dict)


_state = _State()


def noted() -> int:
    """The number of the signal that asked this process to end, or 0."""
    return _state.number


def check() -> None:
    """Raises: Stopped when a signal was noted."""
    number = _state.number
    if not number or threading.current_thread() is not threading.main_thread():
        return
    if number in _state.requeue_handlers:
        _state.number = 0
        _state.requeue_handlers[number](number, None)
    else:
        _state.was_raised = True
        raise Stopped(number)


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
def handled() -> Iterator[None]:
    """Let signals stop this block without loss. Restore the earlier handlers afterwards."""
    before = install()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if before:
            _state.number, _state.was_raised, _state.requeue_handlers = 0, False, {}


def install() -> dict[int, Any]:
    """Handle signals from now on, and return the replaced handlers. A second call, or one from another thread, changes nothing."""
    replaced: dict[int, Any] = {}
    if threading.current_thread() is not threading.main_thread():
        return replaced
    for number in SIGNALS:
        current = signal.getsignal(number)
        if current in (_on_signal, signal.SIG_IGN):
            continue
        if str(getattr(current, "__module__", "")).startswith("submitit."):
            if getattr(current, "__name__", "") == "bypass":
                continue
            assert callable(current)
            _state.requeue_handlers[number] = current
        replaced[number] = current
        signal.signal(number, _on_signal)
    return replaced


def _on_signal(number: int, frame: FrameType | None) -> None:
    now = time.monotonic()
    if not _state.number:
        _state.number, _state.noted_at = number, now
        if _state.depth and _state.place:
            _print(f"{signal.Signals(number).name} received: ends at {_state.place}; a second signal ends it at once")
    elif now - _state.noted_at > SAME_REQUEST_SECONDS and number not in _state.requeue_handlers:
        _print(f"ended at once by a second signal ({signal.Signals(number).name}); everything stored is kept")
        os._exit(128 + number)
    if not _state.depth and not _state.was_raised:
        check()


def _print(text: str) -> None:
    """Write directly to standard error: the signal may have interrupted a print."""
    with contextlib.suppress(OSError, ValueError):
        os.write(sys.stderr.fileno(), f"cotexp: {text}\n".encode())
