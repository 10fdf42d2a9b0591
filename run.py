"""Runs an experiment: `python run.py --help` lists what can be chosen; docs/ explains the rest.

Nothing heavy is imported before the settings have been checked.
"""

from __future__ import annotations

import logging
import sys

from omegaconf import DictConfig

from cotexp import signals
from cotexp.config import command_line, help_page, schema, spelling, sweep_agents, sweeper
from cotexp.settings.base import ConfigError
from cotexp.visible import format_error


def main() -> None:
    sys.argv[1:] = sorted(sys.argv[1:], key=lambda word: word not in ("-m", "--multirun"))  # Hydra wants it before the settings
    try:
        command = command_line.read_command(sys.argv[1:])
        if command.help_wanted:
            print(help_page.help_text(command.overrides))
            return
        if command.runs:
            command_line.check_command_line(command.overrides, multirun=command.multirun)
        else:
            schema.register()
    except ConfigError as error:
        sys.exit(format_error(error))
    quoted = dict(zip(command.overrides, spelling.as_typed(command.overrides), strict=True))
    sys.argv[1:] = [quoted.get(each, each) for each in sys.argv[1:]]
    if command.multirun:
        sweep_agents.leave()
    try:
        with signals.handled():
            command_line.hydra_main(run)
    except signals.Stopped as stop:
        print(f"cotexp: {stop}; everything computed is kept, run the same command again to go on", file=sys.stderr)
        raise


def run(config: DictConfig) -> float | None:
    """One point of a command; returns what a sweeper maximises. One that fails raises, which a sweep survives and a sweeper can count."""
    from cotexp import commands

    overrides, is_one_of_many = sweeper.current_point()
    with signals.handled():
        try:
            result = commands.run_experiment(schema.load(config), overrides, sweeper.chosen_options())
            return result.objective if result else None
        except commands.USER_ERRORS as error:
            if not is_one_of_many:
                sys.exit(format_error(error))
            print(format_error(error), file=sys.stderr)
            raise
        except Exception:
            if is_one_of_many:
                logging.getLogger("cotexp").exception("the point %s failed", " ".join(overrides))
            raise


if __name__ == "__main__":
    main()
