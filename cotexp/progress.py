"""Progress of long work: a bar with rate, cost and time left, which gives way to one line at the end; in a log a line now and again."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any, NamedTuple, Protocol

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
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


class Reached(NamedTuple):
    """How far one piece of work is: `done` of `total`, `computed` of them by this process, at `rate` a second, which is None while only the rows of
    the first batch have come. `is_over`: no more will come.
    """

    what: str
    done: int
    total: int | None
    computed: int
    rate: float | None
    is_over: bool = False

    @property
    def seconds_left(self) -> float | None:
        return (self.total - self.done) / self.rate if self.total and self.rate else None


class Place(NamedTuple):
    """Where the work stands in the whole: such as "stage 2 of 8", and the seconds left of the whole, None if they are not known."""

    stage: str
    seconds_left: float | None


Watcher = Callable[[Reached], None]
_watchers: list[Watcher] = []
_places: list[Callable[[Reached], Place]] = []


@contextlib.contextmanager
def watched(watcher: Watcher, place: Callable[[Reached], Place] | None = None) -> Iterator[None]:
    """Call `watcher` from time to time with the progress of the work in this block, and at its end. `place` says where it stands in a run."""
    places = [place] if place else []
    _watchers.append(watcher)
    _places.extend(places)
    try:
        yield
    finally:
        _watchers.remove(watcher)
        for each in places:
            _places.remove(each)


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
    """A progress bar that appears with the first computed row; cached rows do not count. The cost of a row in dollars is in its `usage`.

    At the end one line says what was computed. On a terminal and in a notebook the bar is gone by then, so that nothing is said twice.
    """
    work = _Work(what, total)
    try:
        yield work.advance
    finally:
        work.close()


class _Work:
    """One piece of work: its bar, and what is told of it."""

    def __init__(self, what: str, total: int) -> None:
        console = Console(stderr=True)
        columns = (TextColumn("{task.description:>18}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[pace]}"))
        self.what, self.is_drawn = what, console.is_terminal or console.is_jupyter
        own = Progress(*columns, console=console, disable=not console.is_terminal, transient=True)
        self.bar = CellProgress(*columns) if console.is_jupyter else own
        self.task = self.bar.add_task(_titled(what, " "), total=total or None, pace="")
        self.started = self.first_at = self.logged_at = self.watched_at = time.monotonic()
        self.count, self.completed, self.dollars = 0, 0, 0.0

    def advance(self, row: Any = None, *, total: int | None = None, completed: int | None = None) -> None:
        if total is not None and completed is None:
            self.bar.update(self.task, total=total)
            return
        now = time.monotonic()
        if self.count == 0:
            self.bar.start()
            self.first_at = self.watched_at = now
        if completed is None or completed > self.completed:  # a step and the validation after it are one
            self.count, self.completed = self.count + 1, completed or 0
        self.dollars += _cost(row)
        self.bar.update(self.task, advance=None if completed is not None else 1, completed=completed, total=total)
        self._tell(self._reached(now), now)

    def _reached(self, now: float, *, is_over: bool = False) -> Reached:
        num_rows = self.bar.tasks[0].total
        is_known = now - self.first_at >= (self.first_at - self.started) / 2  # before, a model is loaded and the first batch at work
        rate = self.count / max(1e-9, now - self.started) if is_known and self.count > 1 else None
        return Reached(self.what, self.completed or self.count, int(num_rows) if num_rows else None, self.count, rate, is_over)

    def _tell(self, here: Reached, now: float) -> None:
        """Show the bar, and tell watchers and the log if it is time."""
        spent = f", {self.dollars:.2f} dollars" if self.dollars else ""
        if self.is_drawn:
            self.bar.update(self.task, pace=f"{_rate(here)}{spent}{_left(here)}".removeprefix(", "))
        if now - self.watched_at > WATCH_SECONDS:
            self.watched_at = now
            for watcher in _watchers:
                watcher(here)
        if not self.is_drawn and now - self.logged_at > NOTE_SECONDS:
            self.logged_at = now
            log.info("%s: %s of %s%s%s%s", _titled(self.what), here.done, here.total, _rate(here), spent, _left(here))

    def close(self) -> None:
        """End the bar, and say what was computed, if anything was."""
        self.bar.stop()
        if self.count:
            now = time.monotonic()
            for watcher in _watchers:
                watcher(self._reached(now, is_over=True))
            spent = f" for {self.dollars:.4f} dollars" if self.dollars else ""
            log.info("%s: %d computed in %.1f s%s", _titled(self.what), self.count, now - self.started, spent)


def _titled(what: str, between: str = ", ") -> str:
    """A piece of work, after its stage where it belongs to a run."""
    stages = [place(Reached(what, 0, None, 0, None)).stage for place in _places[-1:]]
    return between.join([*filter(None, stages), what])


def _rate(here: Reached) -> str:
    return f", {pace(here.rate)}" if here.rate else ""


def _left(here: Reached) -> str:
    """The time left of this work, and of the run that it belongs to; "?" where nothing measured says it."""
    shown = f", {_clock(here.seconds_left)} left" if here.seconds_left is not None else ""
    return shown + "".join(f", whole run {_clock(place(here).seconds_left)}" for place in _places[-1:])


def _clock(seconds: float | None) -> str:
    return "?" if seconds is None else str(timedelta(seconds=round(seconds)))


def pace(rate: float) -> str:
    """A rate in rows per second, or below 1 in seconds per row."""
    return f"{rate:.1f}/s" if rate >= 1 else f"{1 / rate:.1f} s each"


def _cost(row: Any) -> float:
    usage = row.get("usage") if isinstance(row, dict) else None
    return float(usage.get("cost", 0.0)) if usage else 0.0
