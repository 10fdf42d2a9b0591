from __future__ import annotations

from collections.abc import Sequence

import pytest
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from cotexp.config import command_line
from cotexp.config.overrides import parse
from cotexp.config.spelling import as_typed
from cotexp.config.sweeper import GridSweeper, combinations
from cotexp.settings.base import ConfigError


class Noting(Launcher):
    """Runs nothing, and notes the number of the first point and the points of each call."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, list[list[str]]]] = []

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None: ...

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        self.calls.append((initial_job_idx, [list(each) for each in job_overrides]))
        return [JobReturn(status=JobStatus.FAILED if "seed=1" in each else JobStatus.COMPLETED) for each in job_overrides]


def sweeper_of(max_batch_size: int | None) -> tuple[GridSweeper, Noting]:
    sweeper = GridSweeper(max_batch_size)
    sweeper.launcher = launcher = Noting()
    sweeper.validate_batch_is_legal = lambda batch: None  # type: ignore[method-assign]  # needs a composed config
    return sweeper, launcher


def test_a_grid_is_every_combination_and_its_last_override_varies_first() -> None:
    found = combinations(parse(as_typed(["seed=0,1", "compression=macc", "name=choice(a,2026_11)", "seed=range(3,5)"])))
    assert found == [
        ["seed=3", "compression=macc", "name=a"],
        ["seed=3", "compression=macc", "name='2026_11'"],
        ["seed=4", "compression=macc", "name=a"],
        ["seed=4", "compression=macc", "name='2026_11'"],
    ]


def test_an_interval_is_refused_before_hydra_runs() -> None:
    with pytest.raises(
        ConfigError, match=r"^trainer\.learning_rate is given an interval; a grid takes separate values: trainer\.learning_rate=A,B,C"
    ):
        command_line.check_command_line(["trainer.learning_rate=interval(0,1)"], multirun=True)


@pytest.mark.parametrize(("size", "sizes"), [(None, [(0, 5)]), (2, [(0, 2), (2, 2), (4, 1)]), (9, [(0, 5)])])
def test_points_are_launched_in_batches_of_the_wanted_size_and_a_failed_one_ends_none(size: int | None, sizes: list[tuple[int, int]]) -> None:
    sweeper, launcher = sweeper_of(size)
    returns = sweeper._launch_all([[f"seed={number}"] for number in range(5)])
    assert [(first, len(points)) for first, points in launcher.calls] == sizes
    assert [each.status == JobStatus.FAILED for each in returns] == [False, True, False, False, False]


@pytest.mark.parametrize("size", [0, -1])
def test_a_batch_of_no_points_is_refused(size: int) -> None:
    sweeper, launcher = sweeper_of(size)
    with pytest.raises(SystemExit, match=r"^cotexp: hydra\.sweeper\.max_batch_size must be at least 1; got -?\d$"):
        sweeper._launch_all([["seed=0"]])
    assert launcher.calls == []
