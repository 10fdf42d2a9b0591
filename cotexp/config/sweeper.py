"""Hydra's sweep over a grid, with one difference: a point that fails does not end the sweep."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, RunMode, TaskFunction
from omegaconf import DictConfig, OmegaConf

from cotexp.config import launchers, plugins
from cotexp.config.grids import expand_sweep
from cotexp.config.spelling import as_typed
from cotexp.settings.base import ConfigError, RunFailed
from cotexp.visible import format_error


def current_point() -> tuple[list[str], bool]:
    """(the overrides that make the current point by `cotexp run OVERRIDES`, whether it is one of a sweep)."""
    hydra_config = HydraConfig.get()
    return list(expand_sweep(hydra_config.overrides.task)), hydra_config.mode == RunMode.MULTIRUN


def chosen_options() -> dict[str, str | None]:
    """The option of each slot at the current point, by slot; `sweep` is the named grid of the point, if any."""
    return dict(HydraConfig.get().runtime.choices)


def combinations(overrides: Iterable[Override]) -> list[list[str]]:
    """The overrides of every point of a grid: all combinations of the values of its overrides, the last override varied first.

    Raises: ConfigError for an override without separate values, such as interval(0,1).
    """
    values: dict[str, list[str]] = {}
    for each in overrides:
        key = each.get_key_element()
        if not each.is_sweep_override():
            values[key] = [f"{key}={each.get_value_element_as_str()}"]
        elif each.is_discrete_sweep():
            values[key] = [f"{key}={value}" for value in each.sweep_string_iterator()]
        else:
            ways = f"{key}=A,B,C or {key}=range(LOW,HIGH,STEP); cotexp search chooses from intervals"
            raise ConfigError(f"{key} is given an interval; a grid takes separate values: {ways}")
    return [as_typed(point) for point in itertools.product(*values.values())]  # the arguments of a function such as choice lose their quotes


def failed_line(points: Sequence[Sequence[str]], failed: Sequence[Sequence[str]]) -> str:
    """Names the failed points among these by the overrides that not all of them share."""
    shared = set.intersection(*map(set, points))
    named = "; ".join(" ".join(each for each in point if each not in shared) for point in failed)
    return f"{len(failed)} of {len(points)} points failed: {named} (the same command again tries these alone)"


class GridSweeper(Sweeper):
    """Runs every point with any launcher. If points failed, it names them after the last one and ends the process with the status 1.

    Other sweepers receive the error of a failed point, which those that search can handle.
    """

    def __init__(self, max_batch_size: int | None = None, params: dict[str, str] | None = None) -> None:
        """`max_batch_size`: points per call of the launcher, None for all. `params`: overrides of the grid itself, by name."""
        self.max_batch_size, self.params = max_batch_size, params or {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(hydra_context=hydra_context, task_function=task_function, config=config)

    def sweep(self, arguments: list[str]) -> list[JobReturn]:
        assert self.hydra_context is not None
        assert self.config is not None
        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        points = combinations(parser.parse_overrides([*as_typed(f"{key}={value}" for key, value in self.params.items()), *arguments]))
        returns = self._launch_all(points)
        if failed := [point for point, each in zip(points, returns, strict=True) if each.status == JobStatus.FAILED]:
            sys.exit(f"cotexp: {failed_line(points, failed)}")
        return returns

    def _launch_all(self, points: Sequence[Sequence[str]]) -> list[JobReturn]:
        """The result of each point, failed ones included."""
        assert self.launcher is not None
        size = len(points) if self.max_batch_size is None else self.max_batch_size
        if size < 1:
            sys.exit(f"cotexp: hydra.sweeper.max_batch_size must be at least 1; got {size}")
        returns: list[JobReturn] = []
        for first in range(0, len(points), size):
            batch = points[first : first + size]
            self.validate_batch_is_legal(batch)
            try:
                returns += self.launcher.launch(batch, initial_job_idx=first)
            except RunFailed as error:
                sys.exit(format_error(error))
        return returns


def register() -> None:
    """Replace Hydra's default sweeper, and plugins of launchers by ours; names and settings stay the same."""
    launchers.replace_plugins()
    plugins.replace(ConfigStore.instance().load("hydra/sweeper/basic.yaml").node["_target_"], GridSweeper)
