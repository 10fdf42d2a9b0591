"""One W&B run.

Online, a resumed run continues under its id. Offline, W&B cannot continue its files, so every attempt has its own folder. The attempt that
publishes the finished run logs all of its data and removes the folders of earlier attempts.
A sweep agent of W&B chooses the id itself. A run that was published before is logged again under the id that the agent waits for.
"""

from __future__ import annotations

import http.client
import logging
import netrc
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cotexp.config import sweep_agents
from cotexp.models.identity import gpu_names
from cotexp.settings.tracking import WandbTracking
from cotexp.tracking import environment
from cotexp.tracking.lineage import Artifact
from cotexp.tracking.tracked_run import PHASES, Status, TrackedRun

log = logging.getLogger(__name__)

INIT_SECONDS = 30.0
PROBE_SECONDS = 5.0

unreachable: set[str] = set()
"""Servers that did not answer this process. The next points of a sweep do not ask them again."""


@dataclass(slots=True)
class WandbRun:
    """A W&B run. Its phases have axes of their own, because W&B's own step counter is shared by all of them."""

    tracked: TrackedRun
    run: Any = None
    title: str = "W&B"
    record: str = "published.json"
    address: str = ""
    """Not recorded: a run that was published to one W&B server is not sent to another by itself."""

    @property
    def tracking(self) -> WandbTracking:
        tracking: WandbTracking = self.tracked.settings.tracking
        return tracking

    @property
    def folder(self) -> Path:
        """The folder of W&B's files."""
        return environment.folder(self.tracked.settings.paths.outputs)

    @property
    def tags(self) -> list[str]:
        return list(dict.fromkeys([*self.tracking.tags, *environment.tags(), *self.tracked.sweeps]))

    @property
    def is_asked_for(self) -> bool:
        return sweep_agents.is_asked_for()  # wandb then takes the agent's id in place of ours

    @property
    def is_empty(self) -> bool:
        return bool(self.run.offline)

    def begin(self, folder: Path | None) -> dict[str, set[float]]:
        """Start the W&B run. Without a key or a network, its files stay on disk for `wandb sync`."""
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # its usage reports would wait for the network at exit
        import wandb

        environment.warn_of_ignored()
        mode = environment.mode(self.tracking, has_api_key=has_api_key())
        if mode == "online" and not is_reachable():
            log.warning("W&B (%s) cannot be reached; this run is kept on disk for `wandb sync`", address())
            mode = "offline"
        self.run = self._init(wandb, mode)
        for phase, axis in PHASES.items():
            self.run.define_metric(axis, hidden=True)
            self.run.define_metric(f"{phase}/*", step_metric=axis)
        if not self.run.resumed:
            return {}
        last = {phase: self.run.summary.get(axis) for phase, axis in PHASES.items()}
        return {phase: set(range(int(step) + 1)) for phase, step in last.items() if step is not None}

    def summarise(self, metrics: Mapping[str, float | str]) -> None:
        self.run.summary.update(dict(metrics))

    def chart(self, metrics: Mapping[str, float]) -> None:
        """W&B draws what is logged, and not what is in the summary alone."""
        self.run.log(dict(metrics))

    def log(self, phase: str, step: float, metrics: Mapping[str, float]) -> None:
        self.run.log({PHASES[phase]: step, **metrics})

    def tag(self, tags: Sequence[str]) -> None:
        self.run.tags = tags

    def log_table(self, name: str, columns: Sequence[str], rows: list[list[Any]]) -> None:
        import wandb

        self.run.log({f"tables/{name}": wandb.Table(columns=list(columns), data=rows)})

    def log_figure(self, path: Path) -> None:
        import wandb

        self.run.log({f"figures/{path.stem}": wandb.Image(str(path))})

    def declare(self, folder: Path, artifacts: Sequence[Artifact]) -> None:
        for artifact in artifacts:
            self._declare(artifact)

    def flush(self) -> None:
        """W&B's own process sends all data."""

    def finish(self, status: Status, published: Path | None) -> None:
        self.run.finish(exit_code=0 if status == "finished" else 1)
        if published and self.run.offline:
            self._remove_earlier_folders()

    def leftover(self) -> str:
        return f"its files are in {self.folder}"

    def _init(self, wandb: Any, mode: str) -> Any:
        self.folder.mkdir(parents=True, exist_ok=True)
        ours = {
            "project": self.tracking.project,
            "entity": self.tracking.entity,
            "id": self.tracked.run_key,
            "name": self.tracked.name,
            "group": self.tracked.group,
            "job_type": self.tracking.job_type or self.tracked.job_type,
            "tags": self.tags,
            "notes": self.tracking.notes or None,
            "dir": str(self.folder.parent),
            "config": self.tracked.config,
            "reinit": "create_new",
        }
        options = environment.options(self.tracking, ours)
        quiet = wandb.Settings(
            **environment.recorded(self.tracking, has_gpu=bool(gpu_names())),
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

    def _declare(self, declared: Artifact) -> None:
        """Declare an artifact as input or output of the W&B run. Its files are referenced with checksums, or uploaded if the settings ask for it."""
        import wandb

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
        for run_folder in self.folder.glob(f"offline-run-*-{self.tracked.run_key}"):
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
