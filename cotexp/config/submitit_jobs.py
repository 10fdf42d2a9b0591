"""Hydra's launchers of submitit, with three differences.

A refusal of sbatch is one line that names the setting. Slurm's queue says which jobs live, so no accounting is needed. A job that ends without a
result, because somebody cancelled it or its node died, is a failed point and does not end the sweep.
"""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus
from hydra_plugins.hydra_submitit_launcher.submitit_launcher import LocalLauncher, SlurmLauncher

from cotexp import signals
from cotexp.config import plugins, slurm
from cotexp.config.grids import expand_sweep
from cotexp.jobs.status import Status, read_status
from cotexp.settings.base import RunFailed
from cotexp.store.stored_files import STATUS, Damaged

log = logging.getLogger(__name__)

LOOK_SECONDS = 10
"""Time between two looks at Slurm's queue."""
FILE_SECONDS = 15
"""Time that a shared disk may take to show the result of a job that has ended."""


class Slurm(SlurmLauncher):  # type: ignore[misc]
    """Points as jobs of a Slurm array."""

    kind = "slurm"

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        return launch(self, job_overrides, initial_job_idx)

    def __call__(self, *arguments: Any) -> JobReturn:
        """The point, in its job. submitit would ignore a signal that comes before the point begins."""
        with signals.handled():
            return super().__call__(*arguments)  # type: ignore[no-any-return]


class Local(LocalLauncher):  # type: ignore[misc]
    """Points as processes on this machine."""

    kind = "local"
    launch = Slurm.launch

    def __call__(self, *arguments: Any) -> JobReturn:
        with signals.handled():
            return super().__call__(*arguments)  # type: ignore[no-any-return]


def register() -> None:
    """Use these launchers in place of the plugin's own; names and settings stay the same."""
    for theirs, ours in ((SlurmLauncher, Slurm), (LocalLauncher, Local)):
        plugins.replace(plugins.name_of(theirs), ours)


def launch(launcher: Any, points: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
    """Start a job per point and wait for all of them. Raises: RunFailed when Slurm refuses them."""
    log.info("%d points for %s, whose output is in %s", len(points), launcher.kind, Path(launcher.params["submitit_folder"]).parent)
    jobs = _submit(launcher, points, first)
    common = set.intersection(*map(set, points)) if len(points) > 1 else set()
    waiting = [_Point(launcher, list(point), [each for each in point if each not in common], job) for point, job in zip(points, jobs, strict=True)]
    look = _look_at_slurm() if launcher.kind == "slurm" else _look_at_processes(jobs)
    try:
        while any(each.result is None for each in waiting):
            states = look()
            for each in waiting:
                each.update(states)
            time.sleep(1)
    except signals.Stopped:
        living = [each.job.job_id for each in waiting if each.result is None]
        log.warning("%d jobs go on without this command: %s", len(living), " ".join(living))
        raise
    return [each.result for each in waiting if each.result is not None]


def _submit(launcher: Any, points: Sequence[Sequence[str]], first: int) -> list[Any]:
    """A job per point."""
    import submitit

    kind, own = launcher.kind, dict(launcher.params)
    folder, limit = own.pop("submitit_folder"), own.pop("max_num_timeout", None)
    launcher.sweep = uuid.uuid4().hex
    executor = submitit.AutoExecutor(folder=folder, cluster=kind, **({} if limit is None else {f"{kind}_max_num_timeout": limit}))
    if kind == "slurm":
        own["teardown"] = [f"# sweep {launcher.sweep}", *slurm.requeues_if_killed_at_its_start(limit)]
    shared = {"timeout_min", "cpus_per_task", "gpus_per_node", "tasks_per_node", "mem_gb", "nodes", "name", "stderr_to_stdout"}
    executor.update_parameters(**{name if name in shared else f"{kind}_{name}": value for name, value in own.items()})
    arguments = [
        (list(each), "hydra.sweep.dir", first + number, f"job_{first + number}", Singleton.get_state()) for number, each in enumerate(points)
    ]
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # submitit prints what the error says as well
            return list(executor.map_array(launcher, *zip(*arguments, strict=True)))
    except (submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError) as error:
        _remove_files_of(launcher.sweep, submitit.core.utils.JobPaths.get_first_id_independent_folder(folder))
        raise slurm.refusal(error, launcher.params, len(points)) from None


def _remove_files_of(sweep: str, folder: Path) -> None:
    """Remove what submitit wrote for a refused sweep; other sweeps may be writing beside it. The folder goes as well if nothing else is in it."""
    for path in (*folder.glob("*.pkl"), *folder.glob(".submission_file_*.sh")):
        with contextlib.suppress(FileNotFoundError):
            if sweep.encode() in path.read_bytes():
                path.unlink()
    with contextlib.suppress(OSError):
        folder.rmdir()


Look = Mapping[str, slurm.Queued] | None
"""Job -> its state; a job that is missing has ended long ago. None if nobody knows."""


def _look_at_processes(jobs: Sequence[Any]) -> Any:
    return lambda: {job.job_id: slurm.Queued(job.state, "None") for job in jobs}


def _look_at_slurm() -> Any:
    looked_at, found = float("-inf"), None

    def look() -> Look:
        nonlocal looked_at, found
        if time.monotonic() - looked_at >= LOOK_SECONDS:
            found, looked_at = slurm.queue(), time.monotonic()
        return found

    return look


@dataclass(slots=True)
class _Point:
    """A point of the sweep, the overrides that name it, and its job. `result` is None until it has ended; `state` is the last one known."""

    launcher: Any
    overrides: list[str]
    name: list[str]
    job: Any
    result: JobReturn | None = None
    state: str = ""
    reason: str = "None"
    ended_at: float | None = None

    def update(self, states: Look) -> None:
        """Take the result of the job if it has ended."""
        if self.result is not None:
            return
        if self.job.paths.result_pickle.exists():
            self.result = self._stored()
        elif states is not None:
            self._follow(states.get(self.job.job_id))

    def _follow(self, queued: slurm.Queued | None) -> None:
        if queued is not None:
            self.state = queued.state
            if queued.reason not in (*slurm.ORDINARY, self.reason) and not queued.has_ended:
                about = slurm.settings_of(queued.reason, self.launcher.params)
                _say_once("jobs wait, perhaps for ever: %s%s", queued.reason, f" ({', '.join(about)})" if about else "")
            self.reason = queued.reason
        if queued is not None and not queued.has_ended:
            self.ended_at = None
        elif self.ended_at is None:
            self.ended_at = time.monotonic()
        elif time.monotonic() - self.ended_at >= FILE_SECONDS:
            self.result = self._without_result()

    def _stored(self) -> JobReturn:
        """The result that the job has written."""
        from submitit.core.utils import pickle_load

        outcome, value = pickle_load(self.job.paths.result_pickle)
        if outcome == "success":
            return value  # type: ignore[no-any-return]
        return self._failed(f"{str(value).strip().splitlines()[-1]} (output: {self.job.paths.stderr})")

    def _without_result(self) -> JobReturn:
        """What is known of a job that ended without a word: by Slurm, and by the status of its run."""
        run = self._status()
        if run is not None and run.state == "finished":
            return JobReturn(overrides=self.overrides, status=JobStatus.COMPLETED)
        state = self.state if self.state not in ("", *slurm.LIVING) else _account(self.job.job_id)
        said = [f"job {self.job.job_id} ended as {state}" if state else f"job {self.job.job_id} is no longer in the queue"]
        if setting := {"TIMEOUT": "signal_delay_s", "OUT_OF_MEMORY": "mem_gb"}.get(state):
            said.append(f"raise hydra.launcher.{setting}={self.launcher.params.get(setting)}")
        if run is not None:
            said.append(f"its run is {run.state} in {run.stage or 'its beginning'}{f': {run.error}' if run.error else ''}")
        return self._failed(f"{'; '.join(said)}; everything stored is kept (output: {self.job.paths.stderr})")

    def _failed(self, why: str) -> JobReturn:
        log.error("the point %s failed: %s", " ".join(self.name), why)
        failed = JobReturn(overrides=self.overrides, status=JobStatus.FAILED)
        failed.return_value = RunFailed(why)
        return failed

    def _status(self) -> Status | None:
        """The status of this point's newest run."""
        config = self.launcher.hydra_context.config_loader.load_sweep_config(self.launcher.config, self.overrides)
        words, found = list(expand_sweep(self.overrides)), []
        for path in Path(config.paths.outputs).glob(f"runs/*/*/*/{STATUS}"):
            try:
                status = read_status(path.parent)
            except Damaged:
                continue
            if status is not None and status.overrides[-len(words) :] == words:
                found.append(status)
        return max(found, key=lambda each: each.started or 0.0, default=None)


def _account(job: str) -> str:
    """The state of a job that Slurm's queue has forgotten; empty if nobody knows."""
    states = slurm.accounts([job])
    if states is None:
        _say_once("this cluster keeps no accounts (sacct fails): how a job ended is read from the status of its run")
    return (states or {}).get(job, "")


@functools.cache
def _say_once(text: str, *words: str) -> None:
    log.warning(text, *words)
