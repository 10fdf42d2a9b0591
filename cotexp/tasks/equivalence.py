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
BATCH_SIZE = 16
"""Comparisons that a worker is handed at once; they take some hundredths of a second."""
CACHED_FORMULAS = 20_000
NUM_RETRIES = 3
"""How often a comparison is made again after its worker died."""
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
    _waiting: dict[Comparison, None] = field(default_factory=dict)
    _asked: dict[Comparison, _Batch] = field(default_factory=dict)

    def ask(self, comparisons: Iterable[Comparison]) -> None:
        """Begin to work on `comparisons`. Those of one text go to one worker, which parses a formula once."""
        self._waiting.update(dict.fromkeys(each for each in comparisons if each not in self._asked))
        if len(self._waiting) >= BATCH_SIZE:
            self.send()

    def send(self) -> None:
        """Hand out what still waits for a batch to fill."""
        if self._waiting:
            self._schedule(list(self._waiting), self.timeout_seconds / min(2, len(self._waiting)))
            self._waiting = {}

    def verdict(self, comparison: Comparison) -> bool | None:
        """Wait for the verdict of a comparison that was asked for; None when it took too long or broke its worker.

        A batch that took half the time-out is made again one by one, so that only the culprit goes without. So is one whose worker died or
        whose whole pool was lost, a few times: the kernel's memory killer may end a worker, and with it the pool, for another's fault.
        """
        if comparison in self._waiting:
            self.send()
        batch = self._asked[comparison]
        found = _wait(batch)
        for _ in range(NUM_RETRIES):
            if found is None and _deserves_another_try(batch):
                for each in batch.comparisons:
                    self._schedule([each], self.timeout_seconds)
                batch = self._asked[comparison]
                found = _wait(batch)
        return None if found is None else found[batch.comparisons.index(comparison)]

    def _schedule(self, comparisons: list[Comparison], timeout_seconds: float) -> None:
        pool = self._started()
        batch = _Batch(pool, pool.schedule(_verdicts, args=(comparisons,), timeout=timeout_seconds), comparisons)
        self._asked |= dict.fromkeys(comparisons, batch)

    def _started(self) -> ProcessPool:
        if self._pool is not None and not self._pool.active:
            self.__exit__()
            self._pool = None
        if self._pool is None:
            from pebble import ProcessPool

            if multiprocessing.get_start_method() not in multiprocessing.get_all_start_methods():
                multiprocessing.set_start_method("spawn", force=True)  # joblib's workers have one of their own, which no spawned process knows
            self._pool = ProcessPool(max_workers=os.cpu_count() or 1, initializer=_prepare, context=multiprocessing.get_context("spawn"))
        return self._pool

    def __enter__(self) -> Judge:
        return self

    def __exit__(self, *raised: object) -> None:
        if self._pool is not None:
            self._pool.stop()  # type: ignore[no-untyped-call]
            self._pool.join()


class _Batch(NamedTuple):
    """Comparisons that one worker makes, and the list of their verdicts that `future` will give."""

    pool: ProcessPool
    future: ProcessFuture[list[bool]]
    comparisons: list[Comparison]


def _wait(batch: _Batch) -> list[bool] | None:
    while not batch.future.done() and not futures.wait([batch.future], timeout=0.5).done:
        if not batch.pool.active:  # it forgets what it had not begun
            return None
    try:
        found: list[bool] = batch.future.result()
    except Exception:  # noqa: BLE001 - too slow, out of memory, a crash in C or a bug of the library: no verdict in any case
        return None
    return found


def _deserves_another_try(batch: _Batch) -> bool:
    """Whether a batch without verdicts may get them: unless its one comparison itself took too long or raised an error."""
    from pebble import ProcessExpired

    return len(batch.comparisons) > 1 or not batch.pool.active or isinstance(batch.future.exception(), ProcessExpired)


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
    """`answer` is a formula and the string that it was parsed from: formulas that sympy calls equal may still be told apart by math-verify."""
    from math_verify import verify

    return bool(verify(_parsed(gold), list(answer), timeout_seconds=None))
