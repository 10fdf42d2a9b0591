"""Points of a sweep: Hydra's own grid, but a point that fails does not end it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import RunMode

from cotexp.grids import alone
from cotexp.spelling import as_typed

Plugins.instance()  # loads Hydra's own modules anew, so that classes imported before it are not those that it uses
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper  # noqa: E402


def point() -> tuple[list[str], bool]:
    """(the words that make the point at work by `python run.py WORDS`, whether it is one of a sweep)."""
    hydra_config = HydraConfig.get()
    return list(alone(hydra_config.overrides.task)), hydra_config.mode == RunMode.MULTIRUN


def chosen_options() -> dict[str, str | None]:
    """Slot -> its option at the point at work; `sweep` is the named grid that the point is of, if any."""
    return dict(HydraConfig.get().runtime.choices)


class Sweeper(BasicSweeper):
    """Runs every point with any launcher; when some failed it ends the process with the status 1 after the last one, and names them.

    Other sweepers get a failed point's error: those that search know what to do with it, and NaN would end them.
    """

    def setup(self, **context: Any) -> None:
        super().setup(**context)
        self.points: list[Sequence[str]] = []
        self.failed: list[Sequence[str]] = []
        launch = self.launcher.launch

        def launch_and_note(points: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
            returns = launch(points, initial_job_idx)
            self.points += points
            for words, each in zip(points, returns, strict=True):
                if each.status == JobStatus.FAILED:
                    self.failed.append(words)
                    each.status, each.return_value = JobStatus.COMPLETED, None
            return returns

        self.launcher.launch = launch_and_note

    @staticmethod
    def split_arguments(overrides: list[Override], max_batch_size: int | None) -> list[list[list[str]]]:
        batches = BasicSweeper.split_arguments(overrides, max_batch_size)
        return [[as_typed(words) for words in batch] for batch in batches]  # the arguments of a function such as choice lose their quotes

    def _parse_config(self) -> list[str]:
        return as_typed(super()._parse_config())

    def sweep(self, arguments: list[str]) -> Any:
        returns = super().sweep(arguments)
        if self.failed:
            shared = set.intersection(*map(set, self.points))
            named = "; ".join(" ".join(each for each in words if each not in shared) for words in self.failed)
            sys.exit(f"cotexp: {len(self.failed)} of {len(self.points)} points failed: {named} (the same command again tries these alone)")
        return returns


def register() -> None:
    """Put this sweeper in the place of Hydra's."""
    Plugins.instance().class_name_to_class[f"{BasicSweeper.__module__}.{BasicSweeper.__name__}"] = Sweeper
