"""Signals end a process where nothing is lost: the first one in order, a second one at once.

The first of SIGINT, SIGTERM, SIGUSR1 and SIGUSR2 raises Stopped in the main thread, so that claims are released and files are closed. Inside
`with at_safe_points():` it is only noted, and raised by `check()` or at the end of the block. A second one ends the process on the spot.
Signals that were ignored stay so. What submitit does with its own (it requeues the job) is left to it, at the next safe point.
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

SAME_WISH_SECONDS = 0.2
"""A terminal or a launcher often signals a process and its parent, which passes it on: what comes so soon after the first is no second wish."""

Handler = Callable[[int, FrameType | None], Any]


class Stopped(SystemExit):
    """A signal asks this process to end. It is no Exception, and leaves the status 128 + `number` where nobody catches it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number, self.code = number, 128 + number

    def __str__(self) -> str:
        return f"stopped by {signal.Signals(self.number).name}"


@dataclass(slots=True)
class _State:
    """What this process knows of signals; only its main thread touches it.

    `number` is the signal that was noted, 0 without one; `depth` counts the blocks that hold it back; `earlier` are handlers of submitit,
    which are called in place of raising Stopped.
    """

    number: int = 0
    noted_at: float = 0.0
    was_raised: bool = False
    depth: int = 0
    place: str = ""
    earlier: dict[int, Handler] = field(default_factory=dict)


_state = _State()


def noted() -> int:
    """The number of the signal that asked this process to end, 0 without one."""
    return _state.number


def check() -> None:
    """Raises: Stopped when a signal was noted."""
    number = _state.number
    if not number or threading.current_thread() is not threading.main_thread():
        return
    if number in _state.earlier:
        _state.number = 0
        _state.earlier[number](number, None)
    else:
        _state.was_raised = True
        raise Stopped(number)


@contextlib.contextmanager
def at_safe_points(place: str = "") -> Iterator[None]:
    """Hold signals back: they are noted in this block, and raised by `check()` or at its end. `place` says when, where that takes long."""
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
    """Signals end this block in order; the handlers that were there before are there again after it."""
    before = install()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if before:
            _state.number, _state.was_raised, _state.earlier = 0, False, {}


def install() -> dict[int, Any]:
    """Handle signals from now on; returns the handlers that were replaced. Does nothing twice, nor outside of the main thread."""
    replaced: dict[int, Any] = {}
    if threading.current_thread() is not threading.main_thread():
        return replaced
    for number in SIGNALS:
        there = signal.getsignal(number)
        if there in (_on_signal, signal.SIG_IGN):
            continue
        if str(getattr(there, "__module__", "")).startswith("submitit."):
            if getattr(there, "__name__", "") == "bypass":
                continue
            assert callable(there)
            _state.earlier[number] = there
        replaced[number] = there
        signal.signal(number, _on_signal)
    return replaced


def _on_signal(number: int, frame: FrameType | None) -> None:
    now = time.monotonic()
    if not _state.number:
        _state.number, _state.noted_at = number, now
        if _state.depth and _state.place:
            _say(f"{signal.Signals(number).name} received: ends at {_state.place}; a second signal ends it at once")
    elif now - _state.noted_at > SAME_WISH_SECONDS and number not in _state.earlier:
        _say(f"ended at once by a second signal ({signal.Signals(number).name}); everything stored is kept")
        os._exit(128 + number)
    if not _state.depth and not _state.was_raised:
        check()


def _say(text: str) -> None:
    """Straight to standard error: a handler may have interrupted a print."""
    with contextlib.suppress(OSError, ValueError):
        os.write(sys.stderr.fileno(), f"cotexp: {text}\n".encode())
