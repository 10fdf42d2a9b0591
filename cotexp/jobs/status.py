"""What became of a run, or is becoming of it: `status.json` in its folder, for people and for every command that lists runs."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cotexp import progress
from cotexp.settings.base import TrainingDiverged
from cotexp.settings.root import config_dir_words
from cotexp.store.processes import identifies_process, is_remote, process_is_alive, this_process
from cotexp.store.stored_files import STAGES, Damaged, read_json, write_json
from cotexp.store.stored_files import STATUS as FILE

log = logging.getLogger(__name__)

Metrics = dict[str, float]
FAILED = ("failed", "diverged", "killed")
STATES = ("running", "finished", *FAILED, "stopped")


@dataclass(slots=True, kw_only=True)
class Status:
    """`state` is running, finished, failed, diverged or stopped; read from a folder also killed: running once, its process is gone.

    `stage` is at work since `entered`, or the one it ended in. At the time `seen` it was at `what`, with `done` of `total` rows or steps, at `rate` a
    second. `stages` are all of this run, `expected` the seconds that some of them are expected to take (see `Course`), and `timed` the seconds and
    the computed rows of those that are over. Times are unix seconds. `overrides` are the words that make this run.
    """

    state: str
    error: str | None = None
    stage: str | None = None
    done: int | None = None
    total: int | None = None
    what: str | None = None
    rate: float | None = None
    seen: float | None = None
    entered: float | None = None
    started: float | None = None
    ended: float | None = None
    stages: list[str] = field(default_factory=list)
    expected: dict[str, float] = field(default_factory=dict)
    timed: dict[str, dict[str, float]] = field(default_factory=dict)
    owner: dict[str, Any] = field(default_factory=dict)
    overrides: list[str] = field(default_factory=list)

    @property
    def place(self) -> str:
        """Such as "2 of 8" for the second stage; empty where that is not known."""
        return f"{self.stages.index(self.stage) + 1} of {len(self.stages)}" if self.stage in self.stages else ""

    def seconds_left(self, now: float) -> float | None:
        """Seconds until this running run ends, from what was measured; None while a stage to come was never measured."""
        if self.stage not in self.stages or self.entered is None:
            return None
        later = self.stages[self.stages.index(self.stage) + 1 :]
        here = self._seconds_left_here(now)
        return None if here is None or any(each not in self.expected for each in later) else here + sum(self.expected[each] for each in later)

    def _seconds_left_here(self, now: float) -> float | None:
        """Seconds until the stage at work ends."""
        expected, measured = self.expected.get(self.stage or ""), None
        if self.rate and self.total and self.seen is not None:
            measured = max(0.0, (self.total - (self.done or 0)) / self.rate - (now - self.seen))
        if self.stage in ONE_BAR and measured is not None:
            return measured
        return None if expected is None else max(0.0, measured or 0.0, expected - (now - (self.entered or now)))


ONE_BAR = ("training",)
"""Stages that count from their beginning to their end. Others count round by round or mode by mode: what they count now is a part of them."""


@dataclass(frozen=True, slots=True)
class Course:
    """The stages of a run in order, and the seconds that each is expected to take: those that it took in the last run of this experiment that
    computed it, 0 if everything of it is stored. Of a stage that no such run has measured, nothing is expected.
    """

    stages: Sequence[str] = ()
    expected: Mapping[str, float] = field(default_factory=dict)


@contextlib.contextmanager
def recorded(folder: Path, overrides: Sequence[str], course: Course | None = None) -> Iterator[Callable[[str], None]]:
    """Keep the status of a run while the block computes it; yields a function that notes the stage at work."""
    status = Status(state="running", started=time.time(), owner=this_process(), overrides=[*config_dir_words(), *overrides])
    status.stages, status.expected = list(course.stages if course else ()), dict(course.expected if course else {})

    def write() -> None:
        write_json(folder / FILE, dataclasses.asdict(status))

    try:
        write()
        with progress.watched(functools.partial(_note, status, write), functools.partial(_place, status)):
            yield functools.partial(_enter, status, write)
        _leave(status)
        status.state = "finished"
    except TrainingDiverged as error:
        status.state, status.error = "diverged", str(error)
        raise
    except Exception as error:
        status.state, status.error = "failed", str(error) or type(error).__name__
        raise
    except BaseException as error:
        status.state, status.error = "stopped", str(error) or type(error).__name__
        raise
    finally:
        status.ended = time.time()
        try:
            write()
        except OSError as error:  # what ends the run is told anyway
            log.warning("the state of this run (%s) could not be written to %s: %s", status.state, folder / FILE, error.strerror)


def _enter(status: Status, write: Callable[[], None], stage: str) -> None:
    """Begin a stage."""
    _leave(status)
    status.stage, status.entered = stage, time.time()
    status.what = status.done = status.total = status.rate = status.seen = None
    write()


def _leave(status: Status) -> None:
    """Note how long the stage at work took."""
    if status.stage is not None and status.entered is not None:
        own = status.timed.setdefault(status.stage, {"seconds": 0.0, "rows": 0})
        own["seconds"] = round(own["seconds"] + time.time() - status.entered, 3)


def _note(status: Status, write: Callable[[], None], reached: progress.Reached) -> None:
    """Note how far the stage at work is."""
    status.what, status.done, status.total, status.rate, status.seen = reached.what, reached.done, reached.total, reached.rate, time.time()
    if reached.is_over and status.stage is not None:
        status.timed.setdefault(status.stage, {"seconds": 0.0, "rows": 0})["rows"] += reached.computed
    with contextlib.suppress(OSError):  # the work itself will say so
        write()


def _place(status: Status, reached: progress.Reached) -> progress.Place:
    """Where the work stands in the run."""
    now = time.time()
    current = dataclasses.replace(status, done=reached.done, total=reached.total, rate=reached.rate, seen=now)
    return progress.Place(f"stage {status.place}" if status.place else "", current.seconds_left(now))


def waiting(folder: Path) -> Callable[[], None]:
    """A function that says, the first time and then now and again, for whom a second process on the run in `folder` waits.

    Whoever holds the run checks models before its status names it: the name follows as soon as it is known.
    """
    said_at, was_named = float("-inf"), True

    def say() -> None:
        nonlocal said_at, was_named
        is_due = time.monotonic() - said_at >= progress.NOTE_SECONDS
        if was_named and not is_due:
            return
        try:
            found = read_status(folder)
        except Damaged:
            found = None
        is_named = found is not None and bool(found.owner) and found.state == "running"
        if not is_due and not is_named:
            return
        said_at, was_named = time.monotonic(), is_named
        if found is None or not is_named:  # it has not begun yet
            log.info("waiting for another process that works on this run: %s", folder)
            return
        rows = f", {found.done} of {found.total}" if found.total else ""
        since = time.strftime("%H:%M:%S", time.localtime(found.started))
        log.info(
            "waiting for process %d on %s, which has worked on this run since %s (now at %s%s): %s",
            *(found.owner["pid"], found.owner["host"], since, found.stage or "its start", rows, folder),
        )

    return say


def read_status(folder: Path) -> Status | None:
    """The status of the run in `folder`; None where no run was begun. On another host a running process counts as alive.

    Raises: Damaged.
    """
    path = folder / FILE
    if not os.path.lexists(path):
        return Status(state="finished") if (folder / STAGES).is_file() else None
    content = read_json(path, "state")
    status = Status(**{each.name: content[each.name] for each in dataclasses.fields(Status) if each.name in content})
    if not _is_sound(status):
        raise Damaged(path, "holds no state that a run can be in")
    if status.state == "running" and not is_remote(status.owner) and not process_is_alive(status.owner):
        status.state = "killed"
    return status


def _is_sound(status: Status) -> bool:
    texts = (status.state, status.error, status.stage, status.what)
    numbers = (status.done, status.total, status.rate, status.seen, status.entered, status.started, status.ended)
    of_kind = all(each is None or isinstance(each, str) for each in texts) and all(each is None or isinstance(each, int | float) for each in numbers)
    words = all(isinstance(each, list) and all(isinstance(word, str) for word in each) for each in (status.overrides, status.stages))
    is_owned = identifies_process(status.owner) or (status.owner == {} and status.state != "running")
    return of_kind and words and is_owned and status.state in STATES and _is_timed(status)


def _is_timed(status: Status) -> bool:
    """Whether the seconds of stages are numbers by stage."""
    if not all(isinstance(each, dict) for each in (status.expected, status.timed)):
        return False
    of_stages = [status.expected, *status.timed.values()]
    are_numbers = all(isinstance(each, dict) and all(isinstance(value, int | float) for value in each.values()) for each in of_stages)
    return are_numbers and all({"seconds", "rows"} <= each.keys() for each in status.timed.values())


@dataclass(slots=True)
class Clock:
    """Times the stages of one run, and says which is at work."""

    enter: Callable[[str], None]
    seconds: Metrics = field(default_factory=dict)

    @contextlib.contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        self.enter(stage)
        started = time.perf_counter()
        yield
        name = f"seconds/{stage}"
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - started, 3)
