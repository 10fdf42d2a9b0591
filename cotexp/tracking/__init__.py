"""Weights & Biases: a projection of what lies in outputs/. The only room that imports wandb.

One W&B run per experiment run, its id the run key. Everything goes to a thread of its own, so that neither an import nor a disk nor a
lost network holds the experiment up; whatever happens to tracking, the experiment goes on.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cotexp.settings import Settings, WandbTracking
from cotexp.tracking import environment
from cotexp.tracking.wandb_run import Point, WandbRun

log = logging.getLogger(__name__)

MARGIN_SECONDS = 5.0
"""What ending W&B may take beyond its own limit before it is left alone."""


@contextlib.contextmanager
def tracker(settings: Settings, run_key: str, *, overrides: Sequence[str] = (), options: Mapping[str, str | None] | None = None) -> Iterator[Tracker]:
    """The tracker of one run, made by these words of a command line; W&B's run, if one was begun, is closed however the block ends.

    `options` names the option of each slot, and the sweep that the run is a point of.
    """
    one = Tracker(Point(settings, run_key, list(overrides), dict(options or {})))
    failed = True
    try:
        yield one
        failed = False
    finally:
        one.finish(failed=failed)


@dataclass(slots=True)
class Tracker:
    """Hands what it is told to a thread that talks to W&B; its methods return at once. The thread begins with the first of them."""

    point: Point
    broken: bool = False
    failed: bool = False
    run: WandbRun | None = None
    thread: threading.Thread | None = None
    tasks: queue.SimpleQueue[Callable[[WandbRun], None] | None] = field(default_factory=queue.SimpleQueue)

    def on_metrics(self, metrics: Mapping[str, float]) -> None:
        """Metrics as they become known: a run that dies later shows them too."""
        found = dict(metrics)
        self._hand_over(lambda run: run.summarise(found))

    def on_curve(self, row: dict[str, float], num_steps: int) -> None:
        """One row of the training curve as it is made."""
        self._hand_over(lambda run: run.on_curve(row))

    def publish(self, folder: Path, metrics: Mapping[str, float]) -> None:
        """Everything of the finished run in `folder` that W&B does not have yet."""
        found = dict(metrics)
        self._hand_over(lambda run: run.publish(folder, found))

    def finish(self, *, failed: bool) -> None:
        """Close W&B's run; what it cannot take in time stays on disk."""
        if self.thread is None:
            return
        self.failed = failed
        self.tasks.put(None)
        self.thread.join(self.point.settings.tracking.finish_seconds + MARGIN_SECONDS)
        if self.thread.is_alive():
            log.warning("W&B did not end in time and is left behind; what it has lies in %s", self.point.folder)

    def _hand_over(self, task: Callable[[WandbRun], None]) -> None:
        if not isinstance(self.point.settings.tracking, WandbTracking) or environment.is_disabled():
            return
        if self.thread is None:
            self.thread = threading.Thread(target=self._work, name="tracking", daemon=True)
            self.thread.start()
        self.tasks.put(task)

    def _work(self) -> None:
        self.run = run = WandbRun(self.point)
        while (task := self.tasks.get()) is not None:
            if not self.broken:
                self._unharmed(task, run)
        self._unharmed(lambda each: each.finish(failed=self.failed), run)

    def _unharmed(self, task: Callable[[WandbRun], None], run: WandbRun) -> None:
        """Tracking that breaks is told once and given up; the experiment goes on."""
        try:
            task(run)
        except Exception as error:  # noqa: BLE001 - whatever breaks in tracking must not break the experiment
            if not self.broken:
                log.warning("W&B tracking stopped: %s: %s", type(error).__name__, error)
            self.broken = True
