"""What became of a run, or is becoming of it: `status.json` in its folder, for people and for every command that lists runs."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
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

    `stage` is at work, or the one it ended in, `done` of `total` rows or steps of it as of a few seconds ago. Times are unix seconds.
    `overrides` are the words that make this run.
    """

    state: str
    error: str | None = None
    stage: str | None = None
    done: int | None = None
    total: int | None = None
    started: float | None = None
    ended: float | None = None
    owner: dict[str, Any] = field(default_factory=dict)
    overrides: list[str] = field(default_factory=list)


@contextlib.contextmanager
def recorded(folder: Path, overrides: Sequence[str]) -> Iterator[Callable[[str], None]]:
    """Keep the status of a run while the block computes it; yields a function that notes the stage at work."""
    status = Status(state="running", started=time.time(), owner=this_process(), overrides=[*config_dir_words(), *overrides])

    def write() -> None:
        write_json(folder / FILE, dataclasses.asdict(status))

    def enter(stage: str) -> None:
        status.stage, status.done, status.total = stage, None, None
        write()

    def advance(what: str, done: int, total: int | None) -> None:
        status.done, status.total = done, total
        with contextlib.suppress(OSError):  # the work itself will say so
            write()

    write()
    try:
        with progress.watched(advance):
            yield enter
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
    texts, numbers = (status.state, status.error, status.stage), (status.done, status.total, status.started, status.ended)
    of_kind = all(each is None or isinstance(each, str) for each in texts) and all(each is None or isinstance(each, int | float) for each in numbers)
    words = isinstance(status.overrides, list) and all(isinstance(each, str) for each in status.overrides)
    return of_kind and words and status.state in STATES and (identifies_process(status.owner) or (status.owner == {} and status.state != "running"))


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
