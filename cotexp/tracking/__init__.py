"""Publishes runs to a tracker, W&B or MLflow, from the files in outputs/. No other package imports wandb or mlflow.

Each run of an experiment is one run of the tracker, found by the run key. Tracking has its own thread, so that no import, slow disk or lost
network delays the experiment. Errors of tracking never end the experiment.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cotexp import credentials, extras
from cotexp.settings.base import ConfigError
from cotexp.settings.root import Settings
from cotexp.settings.tracking import MlflowTracking, WandbTracking
from cotexp.tracking import environment, mlflow_server
from cotexp.tracking.mlflow_run import MlflowRun
from cotexp.tracking.publisher import Publisher
from cotexp.tracking.tracked_run import Status, TrackedRun, TrackerRun, Unreachable
from cotexp.tracking.wandb_run import WandbRun

log = logging.getLogger(__name__)

MARGIN_SECONDS = 5.0
"""Seconds to wait for a tracker beyond its own limit."""
RETRY_SECONDS = 15.0
"""Seconds until a server that did not answer is asked again."""

Task = Callable[[Publisher], None]


def check(settings: Settings, overrides: Sequence[str] = ()) -> None:
    """Check that the chosen tracker can be used. W&B, which is the default, may be missing unless these overrides ask for it: a warning says so.

    Raises: ConfigError that names the missing package or address.
    """
    if isinstance(settings.tracking, MlflowTracking):
        mlflow_server.check(settings.tracking)
    if (
        isinstance(settings.tracking, WandbTracking)
        and not environment.is_disabled()
        and (problem := extras.missing("wandb", "tracking=wandb", only="wandb"))
    ):
        if any(each.startswith(("tracking=", "tracking.")) for each in overrides):
            raise ConfigError(f"{problem}, or take tracking=none")
        _say_once(f"{problem}; this run is not tracked, which tracking=none says without a warning")


@functools.cache
def _say_once(text: str) -> None:
    log.warning("%s", text)


@contextlib.contextmanager
def tracker(settings: Settings, run_key: str, *, overrides: Sequence[str] = (), options: Mapping[str, str | None] | None = None) -> Iterator[Tracker]:
    """The tracker of one run with these overrides. At the end of the block, also after an error, the tracker's run is closed if it has begun.

    `options` are the options of the slots, and the sweep of the run.
    """
    run_tracker = Tracker(TrackedRun(settings, run_key, list(overrides), dict(options or {})))
    status: Status = "failed"
    try:
        yield run_tracker
        status = "finished"
    except (KeyboardInterrupt, SystemExit):
        status = "killed"
        raise
    finally:
        run_tracker.finish(status)


def _run_of(tracked: TrackedRun) -> TrackerRun | None:
    """The tracker's run of the settings; None if nothing is to be tracked."""
    if isinstance(tracked.settings.tracking, MlflowTracking):
        return MlflowRun(tracked)
    if isinstance(tracked.settings.tracking, WandbTracking) and not environment.is_disabled() and not extras.missing("wandb", "", only="wandb"):
        return WandbRun(tracked)
    return None


@dataclass(slots=True)
class Tracker:
    """Passes its calls to a thread that talks to the tracker, and returns at once. The first call starts the thread.

    `broken`: nothing more is sent. `is_lost`: because the server did not answer at the end of the run.
    """

    tracked: TrackedRun
    broken: bool = False
    is_lost: bool = False
    has_warned: bool = False
    status: Status = "failed"
    publisher: Publisher | None = None
    thread: threading.Thread | None = None
    tasks: queue.SimpleQueue[Task | None] = field(default_factory=queue.SimpleQueue)
    ending: threading.Event = field(default_factory=threading.Event)

    def on_metrics(self, metrics: Mapping[str, float]) -> None:
        """Log metrics as soon as they are known, so that a run that dies later has them."""
        copied = dict(metrics)
        self._submit(lambda publisher: publisher.summarise(copied))

    def on_curve(self, row: dict[str, float], num_steps: int) -> None:
        """Log one row of the training curve."""
        self._submit(lambda publisher: publisher.on_curve(row))

    def publish(self, folder: Path, metrics: Mapping[str, float]) -> None:
        """Log all data of the finished run in `folder` that the tracker lacks."""
        copied = dict(metrics)
        self._submit(lambda publisher: publisher.publish(folder, copied))

    def finish(self, status: Status) -> None:
        """Close the tracker's run. Data that cannot be sent in time stays on disk."""
        if self.thread is None or self.publisher is None:
            return
        self.status = status
        self.tasks.put(None)
        self.ending.set()
        self.thread.join(self.tracked.settings.tracking.finish_seconds + MARGIN_SECONDS)
        if self.thread.is_alive():
            log.warning("%s did not finish in time; %s", self.publisher.run.title, self.publisher.run.leftover())

    def _submit(self, task: Task) -> None:
        if self.thread is None:
            run = _run_of(self.tracked)
            if run is None:
                return
            self.publisher = Publisher(self.tracked, run)
            self.thread = threading.Thread(target=self._work, args=(self.publisher,), name="tracking", daemon=True)
            self.thread.start()
        self.tasks.put(task)

    def _work(self, publisher: Publisher) -> None:
        while (task := self.tasks.get()) is not None:
            if not self.broken:
                self._run_safely(task, publisher)
            if not self.broken and self.tasks.empty():
                self._run_safely(Publisher.flush, publisher)
        self._run_safely(lambda each: each.finish(self.status), publisher)

    def _run_safely(self, task: Task, publisher: Publisher) -> None:
        """Run a task of tracking, again and again while the server does not answer. After any other error, tracking is disabled with one warning."""
        while not self.is_lost:
            is_last = self.ending.is_set()
            try:
                task(publisher)
                return
            except Unreachable as error:
                self._wait(publisher.run, error, is_last=is_last)
            except Exception as error:  # noqa: BLE001 - no error of tracking may end the experiment
                if not self.broken:
                    log.warning("%s tracking stopped: %s", publisher.run.title, credentials.without_user(f"{type(error).__name__}: {error}"))
                self.broken = True
                return

    def _wait(self, run: TrackerRun, error: Unreachable, *, is_last: bool) -> None:
        """Wait until the server is to be asked again. At the end of the run nothing waits for it."""
        if is_last:
            log.warning("%s (%s) cannot be reached; %s", run.title, run.address, run.leftover())
            self.broken = self.is_lost = True
            return
        if not self.has_warned:
            told = credentials.without_user(f"{run.title} ({run.address}) cannot be reached: {error}")
            log.warning("%s; the run goes on, and its tracker tries again every %.0f s", told, RETRY_SECONDS)
        self.has_warned = True
        self.ending.wait(RETRY_SECONDS)
