"""W&B's sweep agents. They start a run once per point (`wandb_sweeps/`), and name the W&B run in environment variables."""

from __future__ import annotations

import os

VARIABLES = ("WANDB_SWEEP_ID", "WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH")
"""Variables that an agent sets for the run that it starts."""


def is_asked_for() -> bool:
    """Whether an agent started this process and waits for the metric of its run."""
    return bool(os.environ.get("WANDB_SWEEP_ID"))


def leave() -> None:
    """Detach this process and its children from the agent. Otherwise all runs of a command of several runs would write into one W&B run."""
    for name in VARIABLES:
        os.environ.pop(name, None)
