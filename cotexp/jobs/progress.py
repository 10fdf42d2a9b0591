"""Progress of long work: a bar with rate and time left on a terminal, a line at start and end in a log."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

log = logging.getLogger(__name__)


PAGE_WIDTH = 150


def page() -> Console:
    """Standard output; where it is no terminal and COLUMNS says nothing, a page wide enough for our tables."""
    return Console(width=None if Console().is_terminal or "COLUMNS" in os.environ else PAGE_WIDTH)


class Advance(Protocol):
    """Counts one more row; or sets `total` and `completed`."""

    def __call__(self, row: Any = None, *, total: int | None = None, completed: int | None = None) -> None: ...


@contextlib.contextmanager
def bar(what: str, total: int) -> Iterator[Advance]:
    """A progress bar that shows only when something is computed; everything cached advances nothing."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description:>18}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
    shown = Progress(*columns, console=console, disable=not console.is_terminal)
    task = shown.add_task(what, total=total or None, rate="")
    started, count = time.monotonic(), 0
    noted = started

    def advance(row: Any = None, *, total: int | None = None, completed: int | None = None) -> None:
        nonlocal count, noted
        if count == 0:
            shown.start()
        count += 1
        now = time.monotonic()
        shown.update(
            task, advance=None if completed is not None else 1, completed=completed, total=total, rate=f"{count / max(1e-9, now - started):.1f}/s"
        )
        if not console.is_terminal and now - noted > 30:
            noted = now
            log.info("%s: %s of %s, %.1f/s", what, completed or count, total or shown.tasks[0].total, count / (now - started))

    try:
        yield advance
    finally:
        shown.stop()
        if count:
            log.info("%s: %d computed in %.1f s", what, count, time.monotonic() - started)
