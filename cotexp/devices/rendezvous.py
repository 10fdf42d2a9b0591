"""The rank of this machine and the address of machine 0, from settings or from the environment that Slurm or torchrun sets."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
from collections.abc import Mapping

from cotexp.settings.base import ConfigError
from cotexp.settings.training import Trainer

RANK_VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "ROLE_RANK", "MASTER_ADDR", "MASTER_PORT")
"""Environment variables of a launcher that started this process. Its workers must not inherit them, since they have ranks of their own."""


def rank(trainer: Trainer, environment: Mapping[str, str] = os.environ) -> int:
    """The rank of this machine, from 0 to num_nodes - 1.

    Raises: ConfigError if neither the settings nor the environment contain it, or if it is too large.
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
        f"trainer.node_rank must number this machine from 0 to {trainer.num_nodes - 1}; got none, and neither Slurm nor torchrun sets it"
    )


def address(trainer: Trainer, environment: Mapping[str, str] = os.environ) -> str:
    """The address at which other machines reach machine 0. Raises: ConfigError if neither the settings nor the environment contain it."""
    main_address = trainer.main_address or environment.get("MASTER_ADDR") or _reached(_first_host(environment.get("SLURM_STEP_NODELIST", "")))
    if not main_address:
        raise ConfigError(
            "trainer.main_address must be the address at which other machines reach machine 0; got none, and neither Slurm nor torchrun sets it"
        )
    return main_address


def _first_host(node_list: str) -> str:
    """The first host in Slurm's compact node list, in which gpu[03-05,9] means gpu03, gpu04, ..."""
    first = re.match(r"([^\[,]*)(?:\[([^\],-]+)[^\]]*\])?", node_list)
    return f"{first[1]}{first[2] or ''}" if first else ""


def _reached(node: str) -> str:
    """The address of a node of Slurm: its name, or where its name is none that machines know, the address that Slurm itself uses."""
    try:
        socket.getaddrinfo(node, None)
    except OSError:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            shown = subprocess.run(["scontrol", "show", "node", "--oneliner", node], capture_output=True, text=True, timeout=60, check=True)
            if found := re.search(r"\bNodeAddr=(\S+)", shown.stdout):
                return found[1]
    return node


def port(trainer: Trainer, environment: Mapping[str, str] = os.environ) -> int:
    """The port of machine 0 at which workers meet. Where Slurm numbers the machines, jobs that share one have different ports."""
    numbered_by_slurm = trainer.node_rank is None and "SLURM_NODEID" in environment
    return trainer.main_port + (int(environment["SLURM_JOB_ID"]) % 1000 if numbered_by_slurm else 0)


def check(trainer: Trainer, environment: Mapping[str, str] = os.environ) -> None:
    """Raises: ConfigError if a launcher started several processes on this machine, or if a rank or an address is missing."""
    if int(environment.get("LOCAL_RANK", environment.get("SLURM_LOCALID", "0"))):
        raise ConfigError(
            "trainer.devices: start the run once per machine, since it starts one worker process per device; torchrun or srun started it several "
            "times: use --nproc-per-node=1 or --ntasks-per-node=1"
        )
    if trainer.num_nodes > 1:
        rank(trainer, environment)
        address(trainer, environment)


def launcher_options(trainer: Trainer) -> list[str]:
    """Options for torchrun, by which workers find each other. Raises: ConfigError as `rank` and `address` do."""
    if trainer.num_nodes == 1:
        return ["--standalone"]
    return [
        f"--nnodes={trainer.num_nodes}",
        f"--node-rank={rank(trainer)}",
        f"--master-addr={address(trainer)}",
        f"--master-port={port(trainer)}",
    ]
