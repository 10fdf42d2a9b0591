"""Weights & Biases: a projection of what lies in outputs/. The only module that imports wandb.

One W&B run per experiment run, its id the run key. It is started when the first curve row comes, or when a finished run is published;
whatever happens to it, the experiment goes on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import netrc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cotexp.jobs.store import read_json, write_json
from cotexp.report import examples, figures
from cotexp.settings import Settings, WandbTracking

log = logging.getLogger(__name__)

MAX_TABLE_ROWS = 200


@contextlib.contextmanager
def tracker(settings: Settings, run_key: str) -> Iterator[Tracker]:
    """The tracker of one run; W&B's run, if one was begun, is closed however the block ends."""
    one = Tracker(settings, run_key)
    failed = True
    try:
        yield one
        failed = False
    finally:
        one.finish(failed=failed)


@dataclasses.dataclass(slots=True)
class Tracker:
    settings: Settings
    run_key: str
    run: Any = None
    num_curve_rows: int = 0
    broken: bool = False

    @property
    def wanted(self) -> bool:
        return isinstance(self.settings.tracking, WandbTracking) and not self.broken

    def on_curve(self, row: dict[str, float], num_steps: int) -> None:
        """Log one row of the training curve as it is made."""
        if self.wanted:
            with self._unharmed():
                if self._begin():
                    self.run.log(row)
                    self.num_curve_rows += 1

    def publish(self, folder: Path, metrics: dict[str, float]) -> None:
        """Send everything of a finished run that is not there yet. A run that was published before is left alone."""
        mark = folder / "published.json"
        identity = {"metrics_modified": (folder / "metrics.json").stat().st_mtime_ns}
        if not self.wanted or (mark.is_file() and read_json(mark) == identity):
            return
        with self._unharmed():
            if not self._begin():
                return
            curve = figures.curve(folder)
            for row in curve[: len(curve) - self.num_curve_rows]:
                self.run.log(row)
            self.run.summary.update(metrics)
            self._log_rounds(folder)
            self._log_figures(folder)
            write_json(mark, identity)

    def finish(self, *, failed: bool) -> None:
        if self.run is not None:
            with self._unharmed():
                self.run.finish(exit_code=1 if failed else 0)

    def _begin(self) -> bool:
        """Start the W&B run; without a key or a network it is kept on disk for `wandb sync`."""
        if self.run is None:
            import wandb

            tracking = self.settings.tracking
            mode = tracking.mode if tracking.mode != "auto" else "online" if has_api_key() else "offline"
            with self._unharmed():
                self.run = self._init(wandb, mode)
                for prefix in ("train", "validation"):
                    self.run.define_metric(f"{prefix}/*", step_metric="step")
        return self.run is not None

    def _init(self, wandb: Any, mode: str) -> Any:
        outputs, tracking = Path(self.settings.paths.outputs), self.settings.tracking
        (outputs / "wandb").mkdir(parents=True, exist_ok=True)
        options = {
            "project": tracking.project,
            "entity": tracking.entity,
            "id": self.run_key,
            "name": f"{self.settings.name}-seed{self.settings.seed}",
            "group": self.settings.name,
            "job_type": "experiment",
            "tags": list(tracking.tags),
            "notes": tracking.notes or None,
            "dir": str(outputs),
            "config": dataclasses.asdict(self.settings),
        }
        quiet = wandb.Settings(silent=True, console="off", x_disable_stats=True, init_timeout=30)
        try:
            return wandb.init(mode=mode, resume="allow" if mode == "online" else None, settings=quiet, **options)
        except wandb.errors.Error as error:
            if mode == "offline":
                raise
            log.warning("W&B cannot be reached (%s); this run is kept on disk for `wandb sync`", error)
            return wandb.init(mode="offline", settings=quiet, **options)

    def _log_rounds(self, folder: Path) -> None:
        import wandb

        shown = examples.pick(folder, count=25)
        rows = [
            [each.question_id, number, each.num_tokens[number], text, number == each.kept_round, each.stop_reason]
            for each in shown
            for number, text in enumerate(each.texts)
        ][:MAX_TABLE_ROWS]
        if rows:
            self.run.log({"rounds": wandb.Table(columns=["question", "round", "num_tokens", "text", "kept", "stop_reason"], data=rows)})

    def _log_figures(self, folder: Path) -> None:
        import wandb

        for path in sorted((folder / "figures").glob("*.png")):
            self.run.log({f"figures/{path.stem}": wandb.Image(str(path))})

    @contextlib.contextmanager
    def _unharmed(self) -> Iterator[None]:
        """Tracking that breaks is reported once and given up; the run itself goes on."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever breaks in tracking must not break the run
            self.broken = True
            log.warning("W&B tracking stopped: %s: %s", type(error).__name__, error)


def has_api_key() -> bool:
    """Whether W&B would find a key without asking: in the environment or in the netrc file."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc().authenticators("api.wandb.ai") is not None
    except (OSError, netrc.NetrcParseError):
        return False
