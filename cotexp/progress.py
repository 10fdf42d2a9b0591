"""Progress of long work: a bar with rate, cost and remaining time on a terminal or in a notebook; occasional lines in a log."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any, Protocol

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.text import Span, Text

from cotexp.notebook import CellProgress
from cotexp.visible import visible, visible_lines

log = logging.getLogger(__name__)


PAGE_WIDTH = 150
NOTE_SECONDS = 30.0
"""Interval between two progress lines of a log."""
WATCH_SECONDS = 5.0
"""Least interval between two calls of a watcher."""

Watcher = Callable[[str, int, int | None], None]
_watchers: list[Watcher] = []


@contextlib.contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Call `watcher(what, done, total)` from time to time with the progress of the work in this block."""
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


class Page(Console):
    """A console that escapes control characters in texts and does not turn `:name:` into an emoji."""

    def __init__(self, **options: Any) -> None:
        super().__init__(emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(visible_lines(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        return super().render(_escaped(renderable) if isinstance(renderable, Text) else renderable, options)


def _escaped(text: Text) -> Text:
    """The same text with control characters escaped and its styles in place."""
    if visible(text.plain, keep="\n\t") == text.plain:
        return text
    pieces = [visible(character, keep="\n\t") for character in text.plain]
    offsets = [0, *itertools.accumulate(map(len, pieces))]
    copy = text.blank_copy("".join(pieces))
    copy.spans = [Span(offsets[span.start], offsets[min(span.end, len(pieces))], span.style) for span in text.spans]
    return copy


def page() -> Page:
    """A console on standard output. It is PAGE_WIDTH columns wide unless it is a terminal or COLUMNS is set."""
    return Page(width=None if Console().is_terminal or "COLUMNS" in os.environ else PAGE_WIDTH)


class Advance(Protocol):
    """Counts one more row, or sets `total` and `completed`; with `total` alone nothing is counted."""

    def __call__(self, row: Any = None, *, total: int | None = None, completed: int | None = None) -> None: ...


@contextlib.contextmanager
def bar(what: str, total: int) -> Iterator[Advance]:
    """A progress bar that appears with the first computed row; cached rows do not count. The cost of a row in dollars is in its `usage`."""
    console = Console(stderr=True)
    texts = (TextColumn("{task.description:>18}"), TextColumn("{task.fields[rate]}{task.fields[spent]}"))
    columns = (texts[0], BarColumn(), MofNCompleteColumn(), texts[1], TimeRemainingColumn())
    shown = CellProgress(*columns) if console.is_jupyter else Progress(*columns, console=console, disable=not console.is_terminal)
    task = shown.add_task(what, total=total or None, rate="", spent="")
    started, count, reached, dollars = time.monotonic(), 0, 0, 0.0
    logged_at = watched_at = started

    def advance(row: Any = None, *, total: int | None = None, completed: int | None = None) -> None:
        nonlocal count, reached, dollars, logged_at, watched_at
        if total is not None and completed is None:
            shown.update(task, total=total)
            return
        if count == 0:
            shown.start()
        if completed is None or completed > reached:  # a step and the validation after it are one
            count, reached = count + 1, completed or 0
        dollars += _cost(row)
        now = time.monotonic()
        rate, spent = count / max(1e-9, now - started), f", {dollars:.2f} dollars" if dollars else ""
        shown.update(task, advance=None if completed is not None else 1, completed=completed, total=total, rate=_pace(rate), spent=spent)
        done, num_rows = completed or count, total or shown.tasks[0].total
        if now - watched_at > WATCH_SECONDS:
            watched_at = now
            for watcher in _watchers:
                watcher(what, done, int(num_rows) if num_rows else None)
        if not (console.is_terminal or console.is_jupyter) and now - logged_at > NOTE_SECONDS:
            logged_at = now
            left = f", {timedelta(seconds=round((num_rows - done) / rate))} left" if num_rows else ""
            log.info("%s: %s of %s, %s%s%s", what, done, int(num_rows) if num_rows else num_rows, _pace(rate), spent, left)

    try:
        yield advance
    finally:
        shown.stop()
        if count:
            spent = f" for {dollars:.4f} dollars" if dollars else ""
            log.info("%s: %d computed in %.1f s%s", what, count, time.monotonic() - started, spent)


def _pace(rate: float) -> str:
    """A rate in rows per second, or below 1 in seconds per row."""
    return f"{rate:.1f}/s" if rate >= 1 else f"{1 / rate:.1f} s each"


def _cost(row: Any) -> float:
    usage = row.get("usage") if isinstance(row, dict) else None
    return float(usage.get("cost", 0.0)) if usage else 0.0
