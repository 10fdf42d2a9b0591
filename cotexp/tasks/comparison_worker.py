"""Compares formulas: a keeper process forks one child after another, and each child has a limit of processor time.

The keeper imports math-verify once, and its child makes the comparisons. A kernel timer (`ITIMER_PROF`) ends a child that exceeds its limit;
it does not advance while other programs use the processor. The keeper then forks the next child within milliseconds.
math-verify's own time-out is an alarm of wall time. It does not work outside the main thread, and cannot end a long step in C.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

CACHED_FORMULAS = 20_000
MEMORY_BYTES = 4 << 30
"""Address space of a child in bytes. A formula such as 9**9**9**9 must not use up the machine's memory."""
READY = "ready"
RAN_OUT = "ran out"
_OUT_OF_MEMORY = 3
_RAN_OUT_BY = (signal.SIGPROF, signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT)
"""Signals that end a child whose comparison used too much time or stack. The same comparison would end it again."""


class Comparison(NamedTuple):
    """Whether `text` equals `gold`. With `whole_text`, math-verify extracts the answer from a text; otherwise both are formulas that we compare."""

    gold: str
    text: str
    whole_text: bool


def command(descriptor: int, seconds: float) -> list[str]:
    """The command line of a keeper that communicates over the inherited connection `descriptor`."""
    root = str(Path(__file__).resolve().parents[2])
    code = f"import sys; sys.path.insert(0, {root!r}); from cotexp.tasks.comparison_worker import serve; serve({descriptor}, {seconds!r})"
    return [sys.executable, "-P", "-c", code]


def serve(descriptor: int, seconds: float) -> None:
    """Answer lists of comparisons, one verdict at a time, until the other side closes the connection.

    If a comparison ends the child, the keeper sends `RAN_OUT` in place of a verdict and forks another child. After any other end of the
    child the keeper ends too, because a part of a message may be lost.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the judge decides
    connection = Connection(descriptor)
    _prepare()
    connection.send(READY)
    while True:
        child = os.fork()
        if child == 0:
            os._exit(_work(connection, seconds))
        _, status = os.waitpid(child, 0)
        ran_out = os.WIFSIGNALED(status) and os.WTERMSIG(status) in _RAN_OUT_BY
        if not ran_out and not (os.WIFEXITED(status) and os.WEXITSTATUS(status) == _OUT_OF_MEMORY):
            return
        connection.send(RAN_OUT)


def _prepare() -> None:
    """Import and use the libraries once, outside the time of a comparison."""
    from math_verify import parser

    logging.disable(logging.CRITICAL)
    for name in ("parse_latex_cached", "parse_expr_cached"):  # pure functions, of which the library caches 20 results; answers recur far more often
        if uncached := getattr(getattr(parser, name, None), "__wrapped__", None):
            setattr(parser, name, functools.lru_cache(maxsize=CACHED_FORMULAS)(uncached))
    _parse_fast_first()
    for gold, text in (
        ("\\frac{\\sqrt{3}}{2}x", "so $\\boxed{\\frac12\\sqrt{3}x}$"),
        ("(1,2)", "$\\{1,2\\}$"),
        ("x<3", "$(-\\infty,3)$"),
        ("5", "5.0"),
    ):
        for whole_text in (True, False):
            verdict_of(Comparison(gold, text.strip("so $"), whole_text))


class _FastFirst:
    """A parser of the library that reads a formula in ANTLR's fast mode, and again in its full mode if the fast one finds an error.

    Source: ANTLR's PredictionMode: the fast mode, SLL, gives the same parse tree as the full one, or a syntax error.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make

    def math(self) -> Any:
        from antlr4.atn.PredictionMode import PredictionMode

        fast = self.make()
        fast._interp.predictionMode = PredictionMode.SLL
        try:
            return fast.math()
        except Exception:  # noqa: BLE001 - the library raises it at a syntax error
            return self.make().math()


def _parse_fast_first() -> None:
    """Let the library read formulas with `_FastFirst`: most of its time goes into ANTLR's full mode."""
    from latex2sympy2_extended import latex2sympy2

    reader = latex2sympy2._Latex2Sympy
    make = reader.create_parser
    reader.create_parser = lambda self, formula: _FastFirst(lambda: make(self, formula))


def _work(connection: Connection, seconds: float) -> int:
    """Run in the child. Returns the exit code: 0 if the other side closed the connection."""
    import resource

    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        while True:
            for comparison in connection.recv():
                signal.setitimer(signal.ITIMER_PROF, seconds)
                verdict = verdict_of(Comparison(*comparison))
                signal.setitimer(signal.ITIMER_PROF, 0)
                connection.send(verdict)
    except (EOFError, OSError):
        return 0
    except MemoryError:
        return _OUT_OF_MEMORY


def verdict_of(comparison: Comparison) -> bool:
    """The verdict. Formulas that a library cannot compare are not equal."""
    from cotexp.tasks.equality import formulas_equal

    judge = _library_verdict if comparison.whole_text else formulas_equal
    try:
        return judge(comparison.gold, comparison.text)
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception:  # noqa: BLE001 - a bug in a library, or a formula that is nested too deeply for it
        return False


def _library_verdict(gold: str, text: str) -> bool:
    from math_verify import parse

    answer = parse(text, parsing_timeout=None)
    try:
        return _equal(gold, tuple(answer))
    except TypeError:  # a matrix cannot be looked up in a cache
        return _equal.__wrapped__(gold, tuple(answer))


@functools.lru_cache(maxsize=CACHED_FORMULAS)
def _parsed(formula: str) -> list[Any]:
    from math_verify import parse

    parsed: list[Any] = parse(f"${formula}$", parsing_timeout=None)
    return parsed


@functools.lru_cache(maxsize=CACHED_FORMULAS, typed=True)
def _equal(gold: str, answer: tuple[Any, ...]) -> bool:
    """Whether math-verify finds the formulas equal. `answer` is a formula and its string, since math-verify may separate what sympy calls equal."""
    from math_verify import verify

    return bool(verify(_parsed(gold), list(answer), timeout_seconds=None))
