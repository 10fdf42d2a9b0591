"""W&B's sweep agents, which start run.py once per point (`wandb_sweeps/`) and say by the environment which of their runs it is."""

from __future__ import annotations

import os

VARIABLES = ("WANDB_SWEEP_ID", "WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH")
"""What an agent sets for the one run that it asked for."""


def is_asked_for() -> bool:
    """Whether an agent started this process, and waits for the metric of its run."""
    return bool(os.environ.get("WANDB_SWEEP_ID"))


def leave() -> None:
    """Make no run of this process and those below it the agent's: for commands of several runs, which would all write into that one."""
    for name in VARIABLES:
        os.environ.pop(name, None)
