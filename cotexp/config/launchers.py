"""Launchers of a sweep's points, such as hydra/launcher=joblib, and what each needs. Their settings are in conf/hydra/launcher/."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from typing import Any, NamedTuple

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins

from cotexp import credentials
from cotexp.config.overrides import apply, compose, option_of, parse, word_of
from cotexp.invocation import run_command
from cotexp.settings.base import ConfigError, suggestion

GROUP = "hydra/launcher"
BASIC = "basic"
"""Hydra's default launcher: one point after another in this process."""


class Needed(NamedTuple):
    """The modules of a launcher, the package that contains them, and the extra of this project that installs the package."""

    modules: tuple[str, ...]
    package: str
    extra: str


_SUBMITIT = Needed(("hydra_plugins.hydra_submitit_launcher",), "hydra-submitit-launcher", "launchers")
NEEDED = {
    "joblib": Needed(("hydra_plugins.hydra_joblib_launcher",), "hydra-joblib-launcher", "launchers"),
    "submitit_local": _SUBMITIT,
    "submitit_slurm": _SUBMITIT,
    "ray": Needed(("hydra_plugins.hydra_ray_launcher", "ray"), "hydra-ray-launcher", "ray"),
}


def names() -> list[str]:
    """Every launcher that can be chosen; Hydra's default comes first."""
    return [BASIC, *NEEDED]


def register() -> None:
    """Use the launchers' configs as schemas of our files of the same names. Hydra would match them by name, with a warning."""
    Plugins.instance()
    store = ConfigStore.instance()
    for name in NEEDED:
        if node := store.repo["hydra"]["launcher"].pop(f"{name}.yaml", None):
            store.store(group="schema/launcher", name=name, node=node.node)


def replace_plugins() -> None:
    """Use our launchers of submitit and Ray in place of the plugins' own, where those are installed."""
    if is_installed("submitit_slurm"):
        from cotexp.config import submitit_jobs

        submitit_jobs.register()
    if is_installed("ray"):
        from cotexp.config import ray_tasks

        ray_tasks.register()


def without_hydras_own(overrides: list[str], *, multirun: bool) -> list[str]:
    """The overrides without those of Hydra's own settings.

    Raises: ConfigError for a launcher that cannot start the points of this command, and for wrong settings of a launcher.
    """
    every = parse(overrides)
    own = [each for each in every if each.key_or_group.startswith("hydra")]
    values = [each for each in own if each.key_or_group.startswith("hydra.launcher.")]
    chosen = [option_of(each) for each in own if each.key_or_group == GROUP]
    found = [problem for name in chosen for problem in problems(name, multirun=multirun)]
    if values and chosen in ([], [BASIC]):
        found.append(f"{credentials.shown([word_of(values[0])])} is a setting of a launcher; choose one of {', '.join(NEEDED)} by {GROUP}=NAME")
    if own and not found:
        config = compose([word_of(each) for each in own if each not in values], full=True)
        found = [problem for each in values for problem in apply(config, each)]
        if not found and chosen[-1:] == ["submitit_slurm"]:
            found = list(_problems_of_slurm(config.hydra.launcher))
    if found:
        raise ConfigError(*found)
    return [word_of(each) for each in every if each not in own]


def problems(name: str, *, multirun: bool) -> Iterator[str]:
    """Why this launcher cannot start the points of a command here."""
    if name == BASIC:
        return
    if name not in NEEDED:
        yield f"{GROUP} must be one of {', '.join(names())}; got {name!r}{suggestion(name, names())}"
        return
    if not multirun:
        yield f"{GROUP}={name} starts the points of a sweep; add -m: {run_command()} -m {GROUP}={name} ..."
    needed = NEEDED[name]
    if not is_installed(name):
        yield f"{GROUP}={name} needs the package {needed.package}, which is not installed; pip install 'cotexp[{needed.extra}]'"
    if name == "submitit_slurm" and shutil.which("srun") is None:
        yield f"{GROUP}={name} needs Slurm, whose command srun is not here; start it on a login node, or try {GROUP}=submitit_local"


def _problems_of_slurm(values: Any) -> Iterator[str]:
    """Why a job of Slurm with these settings would not run as wanted."""
    if values.tasks_per_node != 1:
        yield f"hydra.launcher.tasks_per_node must be 1, because a point starts the processes of its devices itself; got {values.tasks_per_node}"
    if not 0 <= values.signal_delay_s < 60 * values.timeout_min:
        limit = f"hydra.launcher.timeout_min={values.timeout_min}"
        yield f"hydra.launcher.signal_delay_s must be shorter than the job ({limit}); got {values.signal_delay_s} seconds"
    for name, least in (("array_parallelism", 1), ("nodes", 1), ("max_num_timeout", 0)):
        if values[name] < least:
            yield f"hydra.launcher.{name} must be at least {least}; got {values[name]}"


def is_installed(name: str) -> bool:
    """Whether the packages of this launcher are installed."""
    return all(map(_can_be_imported, NEEDED[name].modules))


def _can_be_imported(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:  # its parent package is missing
        return False
