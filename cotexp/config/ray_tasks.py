"""Hydra's launcher of Ray on Ray's own API, with four differences.

It reaches a running cluster; the plugin asks every cluster for a store of its own, which Ray refuses. A point whose process or node dies more often
than `max_retries`, or that fails, does not end the sweep. A point that no node can hold is named. A signal to the command lets points save what they
have before they end.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra_plugins.hydra_ray_launcher.ray_launcher import RayLauncher
from omegaconf import OmegaConf, open_dict

from cotexp import signals
from cotexp.config import plugins
from cotexp.settings.base import RunFailed

log = logging.getLogger(__name__)

SMALLEST_STORE = 75 * 2**20
"""Bytes of the smallest object store that Ray begins: only settings and results pass through it."""


class Tasks(RayLauncher):  # type: ignore[misc]
    """Points as tasks of Ray."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """The result of each point. Raises: RunFailed when there is no cluster, or when a new one could run no point."""
        os.environ.setdefault("RAY_DEDUP_LOGS", "0")  # points print similar lines, of which Ray would show one
        ray: Any = import_module("ray")
        wanted = _connect(OmegaConf.to_container(self.ray_cfg.init, resolve=True))
        options: Any = OmegaConf.to_container(self.ray_cfg.remote, resolve=True)
        if problem := _unmet(ray.nodes(), options):
            if not wanted:
                raise RunFailed(problem)
            log.warning("%s; points wait until the cluster grows", problem)
        run = ray.remote(_run_point).options(**options) if options else ray.remote(_run_point)
        state = Singleton.get_state()
        log.info("%d points for Ray, on %d nodes", len(job_overrides), sum(each["Alive"] for each in ray.nodes()))
        tasks = [run.remote(self, list(overrides), initial_job_idx + number, state) for number, overrides in enumerate(job_overrides)]
        try:
            return [_result(task, list(overrides)) for task, overrides in zip(tasks, job_overrides, strict=True)]
        except SystemExit:  # also what Ray makes of the Stopped that a signal raises while it waits
            _end(tasks)
            signals.check()
            raise


def register() -> None:
    """Use this launcher in place of the plugin's own; name and settings stay the same."""
    plugins.replace(plugins.name_of(RayLauncher), Tasks)


def _connect(init: Any) -> bool:
    """Begin a cluster or join the one at `address`; whether it was joined. Raises: RunFailed."""
    ray: Any = import_module("ray")
    address = init.get("address")
    joins = address not in (None, "local")
    if not joins:
        init = {"object_store_memory": SMALLEST_STORE, **init, "address": "local"}  # without one Ray joins a cluster of this machine, if there is one
    try:
        if not ray.is_initialized():
            ray.init(**init)
    except (ConnectionError, ValueError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0]
        raise RunFailed(f"hydra.launcher.ray.init.address={address}: {first} (a cluster is begun by `ray start --head`)") from None
    return joins


def _unmet(nodes: Sequence[dict[str, Any]], options: dict[str, Any]) -> str:
    """Why no node of the cluster can hold a point now; empty if one can."""
    wanted = {"CPU": options.get("num_cpus") or 0, "GPU": options.get("num_gpus") or 0, "memory": options.get("memory") or 0}
    wanted |= options.get("resources") or {}
    names = {"CPU": "num_cpus", "GPU": "num_gpus"}
    offered = [each["Resources"] for each in nodes if each["Alive"]]
    if any(all(node.get(name, 0) >= amount for name, amount in wanted.items()) for node in offered):
        return ""
    lacking = [name for name, amount in wanted.items() if all(node.get(name, 0) < amount for node in offered)] or list(wanted)
    said = ", ".join(f"{names.get(name, name)}={wanted[name]} (most on a node: {max(node.get(name, 0) for node in offered):g})" for name in lacking)
    return f"hydra.launcher.ray.remote: no node of the Ray cluster has {said}"


def _end(tasks: Sequence[Any]) -> None:
    """Let the points at work save what they have, and begin no others."""
    ray: Any = import_module("ray")
    log.warning("points end at their next row or step; a second signal ends them at once")
    for task in tasks:
        ray.cancel(task)
    ray.wait(tasks, num_returns=len(tasks))


def _run_point(launcher: Any, overrides: list[str], number: int, state: dict[Any, Any]) -> JobReturn:
    """Run one point, in a process of Ray."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # Ray ends a task by it, in vain where it is inherited as ignored
    try:
        with signals.handled(are_repeated=True):
            return _run(launcher, overrides, number, state)
    except signals.Stopped as stop:
        if stop.number == signal.SIGINT:
            raise KeyboardInterrupt from None  # which Ray expects of a task that it ends; anything else ends the process and is told as a fault
        raise


def _run(launcher: Any, overrides: list[str], number: int, state: dict[Any, Any]) -> JobReturn:
    setup_globals()
    Singleton.set_state(state)
    config = launcher.hydra_context.config_loader.load_sweep_config(launcher.config, overrides)
    with open_dict(config):
        config.hydra.job.id, config.hydra.job.num = f"job_{number}", number
    return run_job(
        hydra_context=launcher.hydra_context,
        task_function=launcher.task_function,
        config=config,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )


def _result(task: Any, overrides: list[str]) -> JobReturn:
    ray: Any = import_module("ray")
    try:
        result: JobReturn = ray.get(task)
    except ray.exceptions.RayError as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        why = lines[0] if not isinstance(error, ray.exceptions.RayTaskError) else lines[-1]
        log.error("the point %s failed: %s; everything stored is kept", " ".join(overrides), why)
        result = JobReturn(overrides=overrides, status=JobStatus.FAILED)
        result.return_value = RunFailed(why)
    return result
