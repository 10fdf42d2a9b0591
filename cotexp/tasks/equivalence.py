"""math-verify in worker processes that can be killed: no formula costs more than its time-out, or takes the run down with it.

math-verify's own time-out is an alarm signal, which does not work outside a main thread and cannot end a long step in C.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import multiprocessing
import os
from collections.abc import Iterable
from concurrent import futures
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pebble import ProcessFuture, ProcessPool

TIMEOUT_SECONDS = 2.0
CACHED_FORMULAS = 20_000
LOCK_SECONDS = 10
"""How long the others wait for a worker that died with the pool's lock in its hand."""
MEMORY_BYTES = 4 << 30
"""A worker's address space; a formula such as 9**9**9**9 must not take the machine's memory."""


class Comparison(NamedTuple):
    """A question to math-verify: does `text` equal `gold`? `whole_text`: it finds the answer in a text itself; else `text` is a formula."""

    gold: str
    text: str
    whole_text: bool


@dataclass(slots=True)
class Judge:
    """Answers comparisons on all cores; use it as a context. Equal ones are made once; no process is started before the first."""

    timeout_seconds: float = TIMEOUT_SECONDS
    _pool: ProcessPool | None = None
    _asked: dict[Comparison, _Place] = field(default_factory=dict)

    def ask(self, comparisons: Iterable[Comparison]) -> None:
        """Begin to work on `comparisons` of one text: one worker makes them, so that it parses a formula once."""
        new = list(dict.fromkeys(each for each in comparisons if each not in self._asked))
        if new:
            pool = self._started()
            future = pool.schedule(_verdicts, args=(new,), timeout=self.timeout_seconds)
            self._asked |= {each: _Place(pool, future, number, len(new)) for number, each in enumerate(new)}

    def verdict(self, comparison: Comparison) -> bool | None:
        """Wait for the verdict of a comparison that was asked for; None when it took too long or broke its worker.

        Where a worker was lost over several comparisons, formulas are made again by themselves, since the whole text is the likely culprit. So
        is one whose whole pool was lost: a worker that dies without work, as by the kernel's memory killer, takes the pool with it.
        """
        place = self._asked[comparison]
        found = _wait(place)
        if found is None and ((place.num_together > 1 and not comparison.whole_text) or not place.pool.active):
            pool = self._started()
            future = pool.schedule(_verdicts, args=([comparison],), timeout=self.timeout_seconds)
            self._asked[comparison] = place = _Place(pool, future, 0, 1)
            found = _wait(place)
        return None if found is None else found[place.number]

    def _started(self) -> ProcessPool:
        if self._pool is not None and not self._pool.active:
            self.__exit__()
            self._pool = None
        if self._pool is None:
            from pebble import ProcessPool

            self._pool = ProcessPool(max_workers=os.cpu_count() or 1, initializer=_prepare, context=multiprocessing.get_context("spawn"))
        return self._pool

    def __enter__(self) -> Judge:
        return self

    def __exit__(self, *raised: object) -> None:
        if self._pool is not None:
            self._pool.stop()  # type: ignore[no-untyped-call]
            self._pool.join()


class _Place(NamedTuple):
    """Where a verdict will stand: in the list that `future` of a pool gives, of `num_together` comparisons made by one worker."""

    pool: ProcessPool
    future: ProcessFuture[list[bool]]
    number: int
    num_together: int


def _wait(place: _Place) -> list[bool] | None:
    while not futures.wait([place.future], timeout=0.5).done:
        if not place.pool.active:  # it forgets what it had not begun
            return None
    try:
        found: list[bool] = place.future.result()
    except Exception:  # noqa: BLE001 - too slow, out of memory, a crash in C or a bug of the library: no verdict in any case
        return None
    return found


# --- in a worker process -------------------------------------------------------------------------------------------------


def _prepare() -> None:
    """Runs once in every worker: its imports must not count against the first time-out."""
    import resource

    import pebble
    from math_verify import parser

    pebble.CONSTS.channel_lock_timeout = LOCK_SECONDS
    logging.disable(logging.CRITICAL)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    for name in ("parse_latex_cached", "parse_expr_cached"):  # pure functions that the library caches for 20 formulas; answers recur far more often
        if own := getattr(getattr(parser, name, None), "__wrapped__", None):
            setattr(parser, name, functools.lru_cache(maxsize=CACHED_FORMULAS)(own))


def _verdicts(comparisons: list[Comparison]) -> list[bool]:
    from math_verify import parse

    found = []
    for gold, text, whole_text in comparisons:
        answer = parse(text, parsing_timeout=None) if whole_text else _parsed(text)
        try:
            found.append(_equal(gold, tuple(answer)))
        except TypeError:  # a matrix cannot be looked up in a cache
            found.append(_equal.__wrapped__(gold, tuple(answer)))
    return found


@functools.lru_cache(maxsize=CACHED_FORMULAS)
def _parsed(formula: str) -> list[Any]:
    from math_verify import parse

    found: list[Any] = parse(f"${formula}$", parsing_timeout=None)
    return found


@functools.lru_cache(maxsize=CACHED_FORMULAS, typed=True)
def _equal(gold: str, answer: tuple[Any, ...]) -> bool:
    from math_verify import verify

    return bool(verify(_parsed(gold), list(answer), timeout_seconds=None))
