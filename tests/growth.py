"""How the time of a function grows with the length of what it reads: quotients, so that no machine is too slow for a test."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Input = TypeVar("Input")

FACTOR = 4
"""How much longer the long input is than the short one."""
MOST_GROWTH = 2.5 * FACTOR
"""Between a time that grows with the length (4) and one that grows with its square (16)."""
NUM_TRIES = 5
LITTLE = 50
"""A time of so many loops (each about a hundredth of a second) is little, however it grows."""


def seconds(read: Callable[[Input], object], what: Input) -> float:
    """Seconds of processor time of this thread alone."""
    started = time.thread_time()
    read(what)
    return time.thread_time() - started


def loop(num_steps: int) -> None:
    """What this machine's own speed is measured by."""
    for _ in range(num_steps):
        pass


def is_linear(read: Callable[[Input], object], of_length: Callable[[int], Input], length: int) -> bool:
    """Whether the time is little, or grows with the length, in one of some tries, since whatever else the machine does disturbs some of them alone.
    A time that matters and grows with the square is found in each try, on any machine.
    """
    short, long = of_length(length // FACTOR), of_length(length)
    for _ in range(NUM_TRIES):
        took = seconds(read, long)
        if took < LITTLE * seconds(loop, 1_000_000) or took < MOST_GROWTH * seconds(read, short):
            return True
    return False


def repeated(unit: str, before: str = "", after: str = "") -> Callable[[int], str]:
    """Texts of a piece over and over, by their length."""
    return lambda length: before + unit * (length // len(unit)) + after
