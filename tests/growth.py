"""How the time of a function grows with the length of what it reads: a quotient, so that no machine is too slow for a test."""

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
SECONDS_OF_NOTHING = 0.001
"""Added to the shorter time, since a quotient of times near zero says nothing."""


def seconds(read: Callable[[Input], object], what: Input) -> float:
    """Seconds of processor time of this thread alone."""
    started = time.thread_time()
    read(what)
    return time.thread_time() - started


def growth(read: Callable[[Input], object], short: Input, long: Input) -> float:
    """How many times longer the long input takes: the least of some tries, since whatever else the machine does disturbs some of them alone."""
    least = float("inf")
    for _ in range(NUM_TRIES):
        least = min(least, seconds(read, long) / (seconds(read, short) + SECONDS_OF_NOTHING))
        if least < MOST_GROWTH:
            break
    return least


def is_linear(read: Callable[[Input], object], of_length: Callable[[int], Input], length: int) -> bool:
    """Whether the time grows with the length; one that grows with its square is found in each try, on any machine."""
    return growth(read, of_length(length // FACTOR), of_length(length)) < MOST_GROWTH


def repeated(unit: str, before: str = "", after: str = "") -> Callable[[int], str]:
    """Texts of a piece over and over, by their length."""
    return lambda length: before + unit * (length // len(unit)) + after
