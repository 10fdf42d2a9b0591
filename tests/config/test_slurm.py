"""What Slurm says, as settings and states; tests/test_slurm_cluster.py asks a real cluster."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from cotexp.config import slurm

CHOSEN = {"mem_gb": 900, "partition": "gpu", "timeout_min": 300, "nodes": 3, "cpus_per_task": 8, "qos": None, "additional_parameters": {}}
REASONS = {
    "PartitionTimeLimit": ["hydra.launcher.timeout_min=300"],
    "PartitionNodeLimit": ["hydra.launcher.nodes=3"],
    "PartitionDown": ["hydra.launcher.partition=gpu"],
    "PartitionConfig": ["hydra.launcher.cpus_per_task=8", "hydra.launcher.mem_gb=900"],
    "QOSMaxCpuPerUserLimit": [],
    "JobHeldUser": [],
}


@pytest.mark.parametrize("reason", REASONS)
def test_a_reason_to_wait_names_the_settings_that_are_set(reason: str) -> None:
    assert slurm.settings_of(reason, CHOSEN) == REASONS[reason]


def test_a_refusal_of_several_lines_is_one_that_says_each_once() -> None:
    said = (
        "sbatch: error: Memory specification can not be satisfied\n"
        "sbatch: error: Batch job submission failed: Requested node configuration is not available\n"
    )
    assert str(slurm.refusal(RuntimeError(said), CHOSEN, 8)).startswith(
        "hydra.launcher.mem_gb=900: sbatch refuses the sweep and says: Memory specification can not be satisfied; "
        "Requested node configuration is not available. Nothing runs;"
    )


@pytest.mark.parametrize(
    ("said", "begins"),
    [
        (
            "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)",
            "hydra/launcher=submitit_slurm: Slurm's",
        ),
        ("sbatch: error: Batch job submission failed: Invalid job array specification", "hydra.sweeper.max_batch_size must be at most"),
        ("sbatch: error: Batch job submission failed: A new excuse", "hydra.launcher.*: sbatch refuses the sweep and says: A new excuse."),
        ("", "hydra.launcher.*: sbatch refuses the sweep and says: nothing."),
    ],
)
def test_a_refusal_about_no_setting_says_what_to_do(said: str, begins: str) -> None:
    shown = str(slurm.refusal(RuntimeError(said), CHOSEN, 8))
    assert shown.startswith(begins)
    assert "\n" not in shown


@pytest.mark.parametrize(
    ("code", "state", "restarts", "is_requeued"),
    [
        (143, "RUNNING", 0, True),
        (140, "SIGNALING", 1, True),
        (138, "RUNNING", 2, False),
        (143, "COMPLETING", 0, False),
        (137, "RUNNING", 0, False),
        (1, "RUNNING", 0, False),
        (0, "RUNNING", 0, False),
    ],
)
def test_a_job_that_a_signal_kills_at_its_start_queues_again(code: int, state: str, restarts: int, is_requeued: bool, tmp_path: Path) -> None:
    for name, body in {"squeue": f"echo {state}", "scontrol": 'echo "$@"'}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    script = "\n".join([f"(exit {code})", "", "# teardown", *slurm.requeues_if_killed_at_its_start(2)])
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": str(restarts)}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (code, "requeue 7\n" if is_requeued else "", "")
