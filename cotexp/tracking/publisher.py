"""Decides what a tracker gets of a run and when: curves and metrics as soon as they are known, all other results when the run is finished.

A step of a curve is sent once. A finished run is published once, and again if its tags, its baseline or its results have changed.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cotexp.report import run_figures
from cotexp.settings.evaluation import BASE
from cotexp.store.stored_files import Damaged, read_json, write_json
from cotexp.tracking import ablation, tables
from cotexp.tracking.lineage import lineage
from cotexp.tracking.tracked_run import PHASES, Status, TrackedRun, TrackerRun

CHARTED = re.compile(r"eval/[a-z]+/(accuracy|num_tokens|num_cot_tokens|compression_ratio)|delta/(accuracy|num_tokens)")
"""Metrics of whole runs that trackers draw, besides curves."""


@dataclass(slots=True)
class Publisher:
    """Sends a run to its tracker. `sent` has the steps of each phase that the tracker has, `waiting_rows` rows of the curve to send later."""

    tracked: TrackedRun
    run: TrackerRun
    sent: dict[str, set[float]] | None = None
    waiting_rows: list[Mapping[str, float]] = field(default_factory=list)
    publication: tuple[Path, dict[str, Any]] | None = None

    def summarise(self, metrics: Mapping[str, float | str]) -> None:
        """Send metrics at once, so that a run that dies has them."""
        self._begin()
        self.run.summarise(self._shown(metrics))

    def on_curve(self, row: Mapping[str, float]) -> None:
        """Send a row of the training curve. If the tracker lacks earlier rows, the row waits for them or for the end."""
        sent = self._begin()
        if self.waiting_rows or (not any(sent.values()) and row["step"] > 1):
            self.waiting_rows.append(row)
        else:
            self._log_curve([row])

    def publish(self, folder: Path, metrics: Mapping[str, float]) -> None:
        """Send a finished run, or the changes since it was published: tags of another sweep, or a baseline that has finished meanwhile."""
        path = folder / self.run.record
        before: dict[str, Any] = {}
        with contextlib.suppress(Damaged):  # it is published again
            before = read_json(path)
        baseline = ablation.find_baseline(folder, self.tracked.settings.baseline)
        against = BASE if baseline == folder else baseline.name if baseline else None
        tags = sorted({*before.get("tags", []), *self.run.tags})
        now: dict[str, Any] = {
            "metrics_modified": (folder / "metrics.json").stat().st_mtime_ns,
            "tags": tags,
            "baseline": against,
        }
        if self.run.address:
            now["address"] = self.run.address
        is_asked_for = self.run.is_asked_for
        if now == before and not is_asked_for:
            return
        self._begin(folder)
        shown = self._shown({**metrics, **(ablation.deltas(folder, baseline) | {"delta/baseline": against} if baseline else {})})
        self.run.summarise(shown)
        self.run.tag(tags)
        is_new = any(before.get(name) != now.get(name) for name in ("metrics_modified", "address"))
        if self.run.is_empty or is_asked_for or is_new:
            self.run.chart({name: value for name, value in shown.items() if CHARTED.fullmatch(name) and not isinstance(value, str)})
            self._log_results(folder)
        self.publication = (path, now)

    def flush(self) -> None:
        """Send what the tracker's own class has kept back."""
        if self.sent is not None:
            self.run.flush()

    def finish(self, status: Status) -> None:
        """End the tracker's run, and record it as published once the tracker has all data. Raises: TimeoutError if the upload takes too long."""
        if self.sent is not None:
            self._log_curve(self.waiting_rows)
            self.run.finish(status, self.publication[0].parent if self.publication else None)
        if self.publication is not None:
            write_json(*self.publication)

    def _shown(self, metrics: Mapping[str, float | str]) -> dict[str, float | str]:
        """The metrics without a second name for the same number: with one task, `eval/MODE/TASK/accuracy` is `eval/MODE/accuracy`."""
        if len(self.tracked.settings.evaluation.tasks) > 1:
            return dict(metrics)
        own = f"/{self.tracked.settings.evaluation.tasks[0]}/"
        return {
            name: value for name, value in metrics.items() if not name.startswith("eval/") or name.replace(own, "/", 1) not in metrics.keys() - {name}
        }

    def _begin(self, folder: Path | None = None) -> dict[str, set[float]]:
        """The steps that were sent. The first call starts the tracker's run."""
        if self.sent is None:
            self.sent = {phase: set() for phase in PHASES} | self.run.begin(folder)
        return self.sent

    def _log_curve(self, rows: Iterable[Mapping[str, float]]) -> None:
        """Send the rows of the training curve that the tracker lacks."""
        for row in rows:
            phase = "validation" if "validation/loss" in row else "train"
            losses = {name: value for name, value in row.items() if name.startswith(f"{phase}/")}
            rate = {"train/learning_rate": row["learning_rate"]} if "learning_rate" in row else {}
            self._log(phase, row["step"], rate | losses)

    def _log(self, phase: str, step: float, metrics: Mapping[str, float]) -> None:
        sent = self._begin()[phase]
        if step not in sent:
            self.run.log(phase, step, metrics)
            sent.add(step)

    def _log_results(self, folder: Path) -> None:
        self._log_curve(run_figures.curve(folder))
        self.waiting_rows.clear()
        for row in tables.round_curve(folder):
            axis = PHASES["rounds"]
            self._log("rounds", row[axis], {name: value for name, value in row.items() if name != axis})
        for name, (columns, rows) in (("rounds", (tables.ROUNDS, tables.rounds(folder))), ("predictions", tables.predictions(folder))):
            if rows:
                self.run.log_table(name, columns, rows)
        for path in sorted((folder / "figures").glob("*.png")):
            self.run.log_figure(path)
        self.run.declare(folder, lineage(folder))
