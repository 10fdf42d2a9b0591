"""`python run.py` and `cotexp run`: run an experiment.

Nothing heavy is imported before the settings have been checked.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import logging
import logging.config
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from cotexp import signals
from cotexp.commands import completion
from cotexp.config import command_line, help_page, schema, sweep_agents, sweeper
from cotexp.config.command_line import Command, Composed, Point
from cotexp.config.grids import expand_sweep
from cotexp.invocation import while_read
from cotexp.jobs import current_sweep
from cotexp.settings.base import USER_ERRORS, ConfigError
from cotexp.settings.root import Settings
from cotexp.version import __version__
from cotexp.visible import format_error


def main(words: Sequence[str] | None = None) -> None:
    """Run the command of these words, by default those after run.py."""
    words = sys.argv[1:] if words is None else words
    if "--version" in words:  # Hydra would print its own
        print(f"cotexp {__version__}")
        return
    gc.disable()  # what is imported and composed stays until the end
    with while_read():
        try:
            work = prepared(command_line.read_command(words))
            gc.enable()
        except ConfigError as error:
            sys.exit(format_error(error))
        try:
            with signals.handled():
                work()
        except signals.Stopped as stop:
            print(f"cotexp: {stop}; everything computed is kept, run the same command again to go on", file=sys.stderr)
            raise


def prepared(command: Command) -> Callable[[], object]:
    """What a checked command does. Raises: ConfigError with every mistake in it."""
    current_sweep.leave()
    if command.help_wanted:
        return functools.partial(print, help_page.help_text(command.overrides))
    if command.completes:
        return functools.partial(completion.print_completions, command.completes)
    if command.is_one_run:
        point = command_line.only_point(command.overrides)
        if command.shows_settings:
            return functools.partial(print, OmegaConf.to_yaml(point.config), end="")
        return functools.partial(run_only, point)
    points: list[Point] = []
    if command.runs:
        points = command_line.points_of(command.overrides, multirun=command.multirun)
        if command.multirun:
            current_sweep.enter([(point.overrides, point.settings) for point in points])
    else:
        schema.register()
    sys.argv[1:] = command.words_for_hydra
    if command.multirun:
        sweep_agents.leave()
    if points and command.has_grid:
        return functools.partial(run_sweep, command, points)
    return functools.partial(command_line.hydra_main, run_by_hydra)


def run_sweep(command: Command, points: Sequence[Point]) -> None:
    """Write down all points of a sweep, then run them with the chosen launcher."""
    from cotexp.jobs import sweeps
    from cotexp.store.disk import explained_disk_errors

    with errors_shown(), explained_disk_errors(Path(points[0].settings.paths.outputs)):
        sweeps.write([(tuple(expand_sweep(each.overrides)), each.settings) for each in points], command.words_of_sweep, command.grid)
    command_line.hydra_main(run_by_hydra)


def run_only(point: Composed) -> None:
    """The run of a command of one run."""
    logging.config.dictConfig(OmegaConf.to_container(point.hydra.job_logging))  # type: ignore[arg-type]
    with errors_shown():
        run(point.settings, list(expand_sweep(point.overrides)), point.options)


def run_by_hydra(config: DictConfig) -> float | None:
    """One point of a command; returns what a sweeper maximises. One that fails raises, which a sweep survives and a sweeper can count."""
    overrides, is_one_of_many = sweeper.current_point()
    with signals.handled(), errors_shown(overrides if is_one_of_many else None):
        settings = schema.load(config)
        with _noted(settings) if is_one_of_many and not settings.plan else contextlib.nullcontext():
            return run(settings, overrides, sweeper.chosen_options())


def _noted(settings: Settings) -> contextlib.AbstractContextManager[None]:
    from cotexp.jobs import sweeps

    return sweeps.failure_noted(settings)


def run(settings: Settings, overrides: list[str], options: dict[str, str | None]) -> float | None:
    from cotexp import commands

    result = commands.run_experiment(settings, overrides, options)
    return result.objective if result else None


@contextlib.contextmanager
def errors_shown(one_of_many: list[str] | None = None) -> Iterator[None]:
    """Ends the process with a user's mistake. Of a point of a sweep, given by its overrides, it is printed and raised."""
    try:
        yield
    except USER_ERRORS as error:
        if one_of_many is None:
            sys.exit(format_error(error))
        print(format_error(error), file=sys.stderr)
        raise
    except Exception:
        if one_of_many is not None:
            logging.getLogger("cotexp").exception("the point %s failed", " ".join(one_of_many))
        raise
