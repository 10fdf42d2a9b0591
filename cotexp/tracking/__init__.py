"""Publishes runs to Weights & Biases from the files in outputs/. No other package imports wandb.

Each run of an experiment is one W&B run, whose id is the run key. Tracking has its own thread, so that no import, slow disk or lost network
delays the experiment. Errors of tracking never end the experiment.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cotexp.settings.root import Settings
from cotexp.settings.tracking import WandbTracking
from cotexp.tracking import environment
from cotexp.tracking.wandb_run import TrackedRun, WandbRun

log = logging.getLogger(__name__)

MARGIN_SECONDS = 5.0
"""Seconds to wait for W&B beyond its own limit."""


@contextlib.contextmanager
def tracker(settings: Settings, run_key: str, *, overrides: Sequence[str] = (), options: Mapping[str, str | None] | None = None) -> Iterator[Tracker]:
    """The tracker of one run with these overrides. At the end of the block, also after an error, a W&B run that has begun is closed.

    `options` are the options of the slots, and the sweep of the run.
    """
    run_tracker = Tracker(TrackedRun(settings, run_key, list(overrides), dict(options or {})))
    failed = True
    try:
        yield run_tracker
        failed = False
    finally:
        run_tracker.finish(failed=failed)


@dataclass(slots=True)
class Tracker:
    """Passes its calls to a thread that talks to W&B, and returns at once. The first call starts the thread."""

    tracked: TrackedRun
    broken: bool = False
    failed: bool = False
    run: WandbRun | None = None
    thread: threading.Thread | None = None
    tasks: queue.SimpleQueue[Callable[[WandbRun], None] | None] = field(default_factory=queue.SimpleQueue)

    def on_metrics(self, metrics: Mapping[str, float]) -> None:
        """Log metrics as soon as they are known, so that a run that dies later has them."""
        copied = dict(metrics)
        self._submit(lambda run: run.summarise(copied))

    def on_curve(self, row: dict[str, float], num_steps: int) -> None:
        """Log one row of the training curve."""
        self._submit(lambda run: run.on_curve(row))

    def publish(self, folder: Path, metrics: Mapping[str, float]) -> None:
        """Log all data of the finished run in `folder` that W&B lacks."""
        copied = dict(metrics)
        self._submit(lambda run: run.publish(folder, copied))

    def finish(self, *, failed: bool) -> None:
        """Close the W&B run. Data that is not uploaded in time stays on disk."""
        if self.thread is None:
            return
        self.failed = failed
        self.tasks.put(None)
        self.thread.join(self.tracked.settings.tracking.finish_seconds + MARGIN_SECONDS)
        if self.thread.is_alive():
            log.warning("W&B did not finish in time; its files are in %s", self.tracked.folder)

    def _submit(self, task: Callable[[WandbRun], None]) -> None:
        if not isinstance(self.tracked.settings.tracking, WandbTracking) or environment.is_disabled():
            return
        if self.thread is None:
            self.thread = threading.Thread(target=self._work, name="tracking", daemon=True)
            self.thread.start()
        self.tasks.put(task)

    def _work(self) -> None:
        self.run = run = WandbRun(self.tracked)
        while (task := self.tasks.get()) is not None:
            if not self.broken:
                self._run_safely(task, run)
        self._run_safely(lambda wandb_run: wandb_run.finish(failed=self.failed), run)

    def _run_safely(self, task: Callable[[WandbRun], None], run: WandbRun) -> None:
        """Run a task of tracking. After an error, tracking is disabled with one warning."""
        try:
            task(run)
        except Exception as error:  # noqa: BLE001 - no error of tracking may end the experiment
            if not self.broken:
                log.warning("W&B tracking stopped: %s: %s", type(error).__name__, error)
            self.broken = True
