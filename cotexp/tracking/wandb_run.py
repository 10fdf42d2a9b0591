"""One W&B run. It begins with the first metrics and is published when the experiment's run is finished.

Online, a resumed run continues under its id. Offline, W&B cannot continue its files, so every attempt has its own folder. The attempt that
publishes the finished run logs all of its data and removes the folders of earlier attempts.
A sweep agent of W&B chooses the id itself. A run that was published before is logged again under the id that the agent waits for.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import logging
import netrc
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cotexp.config import sweep_agents
from cotexp.report import run_figures
from cotexp.settings.evaluation import BASE
from cotexp.settings.root import Settings
from cotexp.settings.tracking import WandbTracking
from cotexp.store.stored_files import Damaged, read_json, write_json
from cotexp.tracking import ablation, environment, tables
from cotexp.tracking.lineage import Artifact, lineage

log = logging.getLogger(__name__)

AXES = {"train": "train/step", "validation": "validation/step", "rounds": "rounds/round"}
"""Phase -> x axis of its curves. W&B's own step counter is shared by all phases."""
INIT_SECONDS = 30.0
PROBE_SECONDS = 5.0

unreachable: set[str] = set()
"""Servers that did not answer this process. The next points of a sweep do not ask them again."""


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """A run: checked settings, key, the overrides of run.py, and the option of each slot."""

    settings: Settings
    run_key: str
    overrides: list[str] = field(default_factory=list)
    options: dict[str, str | None] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The folder of W&B's files."""
        return environment.folder(self.settings.paths.outputs)

    @property
    def tags(self) -> list[str]:
        """Tags of the settings and of the environment, and the sweep of the run."""
        sweep = self.options.get("sweep")
        return list(dict.fromkeys([*self.settings.tracking.tags, *environment.tags(), *([sweep] if sweep else [])]))

    @property
    def job_type(self) -> str:
        return self.settings.tracking.job_type or ("train" if self.settings.trains else "evaluate")

    @property
    def config(self) -> dict[str, Any]:
        """All resolved settings, and flat ones for comparisons of ablations."""
        settings = dataclasses.asdict(self.settings)
        return settings | ablation.flat_settings(settings, self.options, self.overrides)


@dataclass(slots=True)
class WandbRun:
    """A W&B run. `logged` holds the last logged step of each phase, `waiting_rows` rows of the curve to log later."""

    tracked: TrackedRun
    run: Any = None
    logged: dict[str, float] = field(default_factory=dict)
    waiting_rows: list[Mapping[str, float]] = field(default_factory=list)
    publication: tuple[Path, dict[str, Any]] | None = None

    @property
    def tracking(self) -> WandbTracking:
        tracking: WandbTracking = self.tracked.settings.tracking
        return tracking

    def summarise(self, metrics: Mapping[str, float | str]) -> None:
        """Write metrics to the summary at once, so that a run that dies keeps them."""
        self._begin()
        self.run.summary.update(dict(metrics))

    def on_curve(self, row: Mapping[str, float]) -> None:
        """Log a row of the training curve. If W&B lacks earlier rows, the row waits for them or for the end."""
        self._begin()
        if self.waiting_rows or (not self.logged and row["step"] > 1):
            self.waiting_rows.append(row)
        else:
            self._log_curve([row])

    def _log_curve(self, rows: Iterable[Mapping[str, float]]) -> None:
        """Log the rows of the training curve that W&B lacks."""
        for row in rows:
            phase = "validation" if "validation/loss" in row else "train"
            if row["step"] > self.logged.get(phase, 0):
                losses = {name: value for name, value in row.items() if name.startswith(f"{phase}/")}
                rate = {"train/learning_rate": row["learning_rate"]} if "learning_rate" in row else {}
                self.run.log({f"{phase}/step": row["step"], **rate, **losses})
                self.logged[phase] = row["step"]

    def publish(self, folder: Path, metrics: Mapping[str, float]) -> None:
        """Log a finished run, or the changes since it was published: tags of another sweep, or a baseline that has finished meanwhile."""
        path = folder / "published.json"
        before: dict[str, Any] = {}
        with contextlib.suppress(Damaged):  # it is published again
            before = read_json(path)
        baseline = ablation.find_baseline(folder, self.tracked.settings.baseline)
        against = BASE if baseline == folder else baseline.name if baseline else None
        now = {
            "metrics_modified": (folder / "metrics.json").stat().st_mtime_ns,
            "tags": sorted({*before.get("tags", []), *self.tracked.tags}),
            "baseline": against,
        }
        asked_for = sweep_agents.is_asked_for()  # wandb then takes the agent's id in place of ours
        if now == before and not asked_for:
            return
        self.summarise({**metrics, **(ablation.deltas(folder, baseline) | {"delta/baseline": against} if baseline else {})})
        self.run.tags = now["tags"]
        if self.run.offline or asked_for or before.get("metrics_modified") != now["metrics_modified"]:
            self._log_results(folder)
        self.publication = (path, now)

    def finish(self, *, failed: bool) -> None:
        """End the W&B run, and record it as published once W&B has all data. Raises: TimeoutError if the upload takes too long."""
        if self.run is not None:
            self._log_curve(self.waiting_rows)
            self.run.finish(exit_code=1 if failed else 0)
        if self.publication is not None:
            write_json(*self.publication)
            if self.run.offline:
                self._remove_earlier_folders()

    def _begin(self) -> None:
        """Start the W&B run. Without a key or a network, its files stay on disk for `wandb sync`."""
        if self.run is not None:
            return
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # its usage reports would wait for the network at exit
        import wandb

        environment.warn_of_ignored()
        mode = environment.mode(self.tracking, has_api_key=has_api_key())
        if mode == "online" and not is_reachable():
            log.warning("W&B (%s) cannot be reached; this run is kept on disk for `wandb sync`", address())
            mode = "offline"
        self.run = self._init(wandb, mode)
        for phase, axis in AXES.items():
            self.run.define_metric(axis, hidden=True)
            self.run.define_metric(f"{phase}/*", step_metric=axis)
        if self.run.resumed:
            self.logged = {phase: last for phase, axis in AXES.items() if (last := self.run.summary.get(axis)) is not None}

    def _init(self, wandb: Any, mode: str) -> Any:
        self.tracked.folder.mkdir(parents=True, exist_ok=True)
        ours = {
            "project": self.tracking.project,
            "entity": self.tracking.entity,
            "id": self.tracked.run_key,
            "name": f"{self.tracked.settings.name}-seed{self.tracked.settings.seed}",
            "group": self.tracked.settings.name,
            "job_type": self.tracked.job_type,
            "tags": self.tracked.tags,
            "notes": self.tracking.notes or None,
            "dir": str(self.tracked.folder.parent),
            "config": self.tracked.config,
            "reinit": "create_new",
        }
        options = environment.options(self.tracking, ours)
        quiet = wandb.Settings(
            **environment.quiet(),
            init_timeout=min(INIT_SECONDS, self.tracking.finish_seconds),
            finish_timeout=self.tracking.finish_seconds,
            finish_timeout_raises=True,
        )
        try:
            return wandb.init(mode=mode, resume="allow" if mode == "online" else None, settings=quiet, **options)
        except wandb.errors.Error as error:
            if mode == "offline":
                raise
            unreachable.add(address())
            log.warning("W&B refused this run (%s); it is kept on disk for `wandb sync`", error)
            wandb.teardown()  # W&B's process still holds the id
            return wandb.init(mode="offline", settings=quiet, **options)

    def _log_results(self, folder: Path) -> None:
        import wandb

        self._log_curve(run_figures.curve(folder))
        self.waiting_rows.clear()
        for row in tables.round_curve(folder):
            if row["rounds/round"] > self.logged.get("rounds", -1):
                self.run.log(row)
        for name, columns, rows in (
            ("rounds", tables.ROUNDS, tables.rounds(folder)),
            ("predictions", tables.PREDICTIONS, tables.predictions(folder)),
        ):
            if rows:
                self.run.log({f"tables/{name}": wandb.Table(columns=list(columns), data=rows)})
        for path in sorted((folder / "figures").glob("*.png")):
            self.run.log({f"figures/{path.stem}": wandb.Image(str(path))})
        for declared in lineage(folder):
            self._declare(wandb, declared)

    def _declare(self, wandb: Any, declared: Artifact) -> None:
        """Declare an artifact as input or output of the W&B run. Its files are referenced with checksums, or uploaded if the settings ask for it."""
        metadata = {"scope": declared.scope, "inputs": declared.inputs, "run": self.tracked.run_key}
        artifact = wandb.Artifact(declared.name, type=declared.kind, metadata=metadata)
        for name, path in declared.files.items():
            if declared.kind in self.tracking.upload:
                artifact.add_file(str(path), name=name, policy="immutable")
            else:
                artifact.add_reference(path.as_uri(), name=name)
        if not declared.is_input:
            self.run.log_artifact(artifact)
        elif not self.run.offline:
            self.run.use_artifact(artifact)
        else:  # `use_artifact` refuses offline runs; online it makes this call for a new artifact, and `wandb sync` reads the record
            self.run._log_artifact(artifact, is_user_created=True, use_after_commit=True)

    def _remove_earlier_folders(self) -> None:
        current = Path(self.run.dir).resolve().parent
        for run_folder in self.tracked.folder.glob(f"offline-run-*-{self.tracked.run_key}"):
            if run_folder.resolve() != current:
                shutil.rmtree(run_folder)


def address() -> str:
    """Address of the W&B server."""
    return os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")


def has_api_key() -> bool:
    """Whether W&B would find a key without a prompt: in the environment or in the netrc file."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(urlsplit(address()).hostname or "") is not None
    except (OSError, netrc.NetrcParseError):
        return False


def is_reachable() -> bool:
    """Whether the W&B server answers. This process does not ask a server again that did not answer."""
    if address() not in unreachable:
        try:
            urllib.request.urlopen(address(), timeout=PROBE_SECONDS).close()
        except urllib.error.HTTPError:
            return True
        except (OSError, ValueError, http.client.HTTPException):
            unreachable.add(address())
    return address() not in unreachable
