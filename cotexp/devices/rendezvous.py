"""Which of several machines this is, and how their workers meet: from settings, or from what Slurm or torchrun say."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from cotexp.settings.base import ConfigError
from cotexp.settings.training import Trainer

OF_ONE_PROCESS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "ROLE_RANK", "MASTER_ADDR", "MASTER_PORT")
"""What a launcher that started this process says to it; its workers have ranks of their own."""


def rank(trainer: Trainer, environment: Mapping[str, str] = os.environ) -> int:
    """The number of this machine, 0 where there is one.

    Raises: ConfigError when nothing says it, or it is too large.
    """
    if trainer.num_nodes == 1:
        return 0
    if trainer.node_rank is not None:
        return trainer.node_rank
    for name in ("SLURM_NODEID", "GROUP_RANK", "NODE_RANK"):
        if name in environment:
            if int(environment[name]) >= trainer.num_nodes:
                raise ConfigError(f"trainer.num_nodes must be the number of machines; got {trainer.num_nodes}, and {name}={environment[name]}")
            return int(environment[name])
    raise ConfigError(
        f"trainer.node_rank must number this machine from 0 to {trainer.num_nodes - 1}; got none, and neither Slurm nor torchrun says it"
    )


def address(trainer: Trainer, environment: Mapping[str, str] = os.environ) -> str:
    """Machine 0 as the others reach it. Raises: ConfigError when nothing says it."""
    found = trainer.main_address or environment.get("MASTER_ADDR") or _first_host(environment.get("SLURM_STEP_NODELIST", ""))
    if not found:
        raise ConfigError("trainer.main_address must name machine 0 as the others reach it; got none, and neither Slurm nor torchrun says it")
    return found


def _first_host(listed: str) -> str:
    """The first host of Slurm's short form: gpu[03-05,9] means gpu03, gpu04, ..."""
    first = re.match(r"([^\[,]*)(?:\[([^\],-]+)[^\]]*\])?", listed)
    return f"{first[1]}{first[2] or ''}" if first else ""


def check(trainer: Trainer, environment: Mapping[str, str] = os.environ) -> None:
    """Raises ConfigError when this process is one of several on its machine, or the machines cannot find each other."""
    if int(environment.get("LOCAL_RANK", environment.get("SLURM_LOCALID", "0"))):
        raise ConfigError(
            "trainer.devices: start run.py once per machine, it starts a worker process for each device itself; got started several times by "
            "torchrun or srun: use --nproc-per-node=1 or --ntasks-per-node=1"
        )
    if trainer.num_nodes > 1:
        rank(trainer, environment)
        address(trainer, environment)


def launcher_options(trainer: Trainer) -> list[str]:
    """Options of torch's launcher by which workers find each other."""
    if trainer.num_nodes == 1:
        return ["--standalone"]
    return [
        f"--nnodes={trainer.num_nodes}",
        f"--node-rank={rank(trainer)}",
        f"--master-addr={address(trainer)}",
        f"--master-port={trainer.main_port}",
    ]
