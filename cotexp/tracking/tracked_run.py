"""A run as trackers see it, and what a tracker must be able to do with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from cotexp.jobs import current_sweep
from cotexp.jobs.current_sweep import CurrentSweep
from cotexp.jobs.origin import origin_of
from cotexp.settings.root import Settings
from cotexp.tracking import ablation
from cotexp.tracking.lineage import Artifact
from cotexp.tracking.run_names import run_name

PHASES = {"train": "train/step", "validation": "validation/step", "rounds": "rounds/round"}
"""Phase -> x axis of its curves."""

Status = Literal["finished", "failed", "killed"]
"""How a process of a run ended. Killed: by the user or by the cluster."""


class Unreachable(Exception):
    """The tracker's server does not answer. The same call is made again later."""


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """A run: checked settings, key, its overrides, the option of each slot, and the sweep of which it is a point."""

    settings: Settings
    run_key: str
    overrides: list[str] = field(default_factory=list)
    options: dict[str, str | None] = field(default_factory=dict)
    sweep: CurrentSweep | None = field(default_factory=current_sweep.current)

    @property
    def name(self) -> str:
        """What varies, and the seed."""
        return run_name(self.settings, dataclasses.asdict(self.settings), self.options, self.overrides, self.sweep)

    @property
    def sweeps(self) -> list[str]:
        """The sweep of the run, if there is one: its name, or the id of an ad hoc one."""
        return [name] if (name := self.options.get("sweep") or self._ad_hoc) else []

    @property
    def group(self) -> str:
        """What runs are shown together: those of an ad hoc sweep, or of an experiment."""
        return self.settings.name if self.options.get("sweep") else self._ad_hoc or self.settings.name

    @property
    def _ad_hoc(self) -> str | None:
        return f"sweep-{self.sweep.id}" if self.sweep else None

    @property
    def folder(self) -> Path:
        """The folder of the run's results."""
        return Path(self.settings.paths.outputs) / "runs" / self.settings.name / self.run_key

    @property
    def job_type(self) -> str:
        return "train" if self.settings.trains else "evaluate"

    @property
    def config(self) -> dict[str, Any]:
        """All resolved settings, flat ones for comparisons of ablations, and command, version and commit of the run."""
        settings = dataclasses.asdict(self.settings) | {"origin": origin_of(self.folder)}
        return settings | ablation.flat_settings(settings, self.options, self.overrides)


class TrackerRun(Protocol):
    """One run at a tracker. Every call may be repeated. Raises: Unreachable, after which the call is made again."""

    title: str
    """The tracker's name for users."""
    record: str
    """The file in the run's folder that says what was published."""

    @property
    def address(self) -> str:
        """Where the run is published, without user name and password."""

    @property
    def tags(self) -> list[str]:
        """Tags of the settings and of the environment, and the sweep of the run."""

    @property
    def is_asked_for(self) -> bool:
        """Whether somebody waits for this run to be told again, although it was published before."""

    def begin(self, folder: Path | None) -> dict[str, set[float]]:
        """Start or continue the run, and return the steps of each phase that the tracker has. `folder` is the folder of a finished run."""

    @property
    def is_empty(self) -> bool:
        """Whether the run that `begin` started lacks the results of earlier attempts."""

    def summarise(self, metrics: Mapping[str, float | str]) -> None:
        """Show metrics as those of the whole run."""

    def chart(self, metrics: Mapping[str, float]) -> None:
        """Draw these metrics of the whole run as charts over runs."""

    def log(self, phase: str, step: float, metrics: Mapping[str, float]) -> None:
        """Add a point to each of some curves of a phase."""

    def tag(self, tags: Sequence[str]) -> None:
        """Give the run these tags."""

    def log_table(self, name: str, columns: Sequence[str], rows: list[list[Any]]) -> None: ...

    def log_figure(self, path: Path) -> None: ...

    def declare(self, folder: Path, artifacts: Sequence[Artifact]) -> None:
        """Name the inputs and outputs of the finished run in `folder`: by reference with checksums, with their files if the settings ask for it."""

    def flush(self) -> None:
        """Send what waits. Called when nothing else is to be done."""

    def finish(self, status: Status, published: Path | None) -> None:
        """End the run, which is that of the folder `published` if it is finished. Raises: TimeoutError if the upload takes too long."""

    def leftover(self) -> str:
        """What the user can do about data that was not sent."""
