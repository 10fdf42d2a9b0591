"""Slurm's answers: which setting of the launcher sbatch refuses, and the states of jobs in its queue."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from cotexp import signals
from cotexp.settings.base import RunFailed

ABOUT: dict[str, tuple[str, ...]] = {
    r"memory": ("mem_gb", "mem_per_cpu", "mem_per_gpu"),
    r"account": ("account",),
    r"qos": ("qos",),
    r"time ?limit": ("timeout_min",),
    r"node ?(count|limit)": ("nodes",),
    r"cpu count|processors": ("cpus_per_task", "cpus_per_gpu"),
    r"gres|gpus?\b": ("gpus_per_node", "gres", "gpus_per_task", "cpus_per_gpu"),
    r"feature": ("constraint",),
    r"node name": ("exclude", "additional_parameters"),
    r"--[\w-]+ specification|unrecognized option": ("additional_parameters",),
    r"policy": ("qos", "account", "timeout_min", "mem_gb", "gpus_per_node"),
    r"PartitionConfig|constraints|node configuration": ("cpus_per_task", "mem_gb", "exclude", "constraint", "additional_parameters"),
    r"partition|group not permitted": ("partition",),
}
"""Words of Slurm's errors and reasons -> the settings of the launcher that they are about."""

ORDINARY = ("None", "Resources", "Priority", "BeginTime", "JobArrayTaskLimit", "Dependency", "Prolog", "Cleaning")
"""Reasons for which every job waits now and then. One that waits for another reason may wait for ever."""


def settings_of(text: str, values: Mapping[str, Any]) -> list[str]:
    """The settings that an error or a reason of Slurm is about, of those that are set, as words of the command line."""
    names = next((names for pattern, names in ABOUT.items() if re.search(pattern, text, re.IGNORECASE)), ())
    return [f"hydra.launcher.{name}={values[name]}" for name in names if values.get(name) not in (None, {}, [])]


def refusal(error: Exception, values: Mapping[str, Any], num_points: int) -> RunFailed:
    """The error of a sweep that sbatch has refused, with the settings to change. `values` are the settings of the launcher."""
    lines = [line.removeprefix("sbatch: ").removeprefix("error: ").strip() for line in str(error).splitlines()]
    kept = [line.removeprefix("Batch job submission failed: ") for line in lines if line and not line.startswith('Try "sbatch')]
    said = "; ".join(dict.fromkeys(kept)) or "nothing"
    if "job array" in said:
        return RunFailed(
            f"hydra.sweeper.max_batch_size must be at most the length of a job array on this cluster (scontrol show config | grep MaxArraySize); "
            f"the sweep has {num_points} points, and sbatch says: {said}"
        )
    if "controller" in said or "Socket timed out" in said:
        return RunFailed(f"hydra/launcher=submitit_slurm: Slurm's controller does not answer; sbatch says: {said}. Nothing runs; try again later")
    named = next((each for line in kept if (each := settings_of(line, values))), ["hydra.launcher.*"])
    return RunFailed(
        f"{' or '.join(named)}: sbatch refuses the sweep and says: {said}. Nothing runs; `sinfo -o '%P %l %D %c %m %G %f'` lists what each "
        "partition offers, and `sacctmgr show associations user=$USER` your accounts and qos"
    )


def requeues_if_killed_at_its_start(limit: int) -> list[str]:
    """Shell lines after a job's command: a signal that came before Python handled it has killed the job, which goes back into the queue.

    That is SIGUSR1, SIGUSR2 or SIGTERM (128 + 10, 12, 15), at most `limit` times, and not if somebody is ending the job.
    """
    state = 'state=$(squeue --noheader --format=%T --jobs="$SLURM_JOB_ID")'
    goes_on = f'[ "${{SLURM_RESTART_COUNT:-0}}" -lt {limit} ] && case $state in {"|".join(signals.GOING_ON)}) true ;; *) false ;; esac'
    return ["code=$?", f'case $code in 138|140|143) {state}; {goes_on} && scontrol requeue "$SLURM_JOB_ID" ;; esac', "exit $code"]


class Queued(NamedTuple):
    """A job as Slurm's queue shows it: its state, such as RUNNING, and why it waits."""

    state: str
    reason: str

    @property
    def has_ended(self) -> bool:
        return self.state not in LIVING


LIVING = (
    *("PENDING", "RUNNING", "CONFIGURING", "COMPLETING", "SUSPENDED", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD"),
    *("RESIZING", "SIGNALING", "STAGE_OUT", "STOPPED", "SPECIAL_EXIT", "RESV_DEL_HOLD"),
)


def queue() -> dict[str, Queued] | None:
    """Job -> what Slurm's queue says, for every job of this user; None if Slurm does not answer.

    Jobs that have ended are in it for a few minutes (MinJobAge). Array tasks are named ARRAY_TASK, as submitit names them.
    """
    command = ["squeue", "--me", "--noheader", "--array", "--states=all", "--format=%i|%T|%r"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    rows = (line.strip().split("|", 2) for line in done.stdout.splitlines())
    return {job: Queued(state, reason) for job, state, reason in rows}


def accounts(jobs: Iterable[str]) -> dict[str, str] | None:
    """Job -> its last state by Slurm's accounting, for jobs that the queue has forgotten; None where the cluster keeps no accounts."""
    command = ["sacct", "--allocations", "--noheader", "--parsable2", "--format=JobID,State", f"--jobs={','.join(jobs)}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return {job: state for job, _, state in (line.partition("|") for line in done.stdout.splitlines())}
