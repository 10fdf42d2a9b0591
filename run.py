"""Runs an experiment: `python run.py --help` lists what can be chosen; README.md tells the rest.

Nothing heavy is imported before the settings have been checked.
"""

from __future__ import annotations

import sys

from cotexp import schema
from cotexp.settings import ConfigError


def main() -> None:
    command = schema.read_command(sys.argv[1:])
    if command.help_wanted:
        print(schema.help_text(command.overrides))
        return
    try:
        if command.runs:
            schema.check_command_line(command.overrides, multirun=command.multirun)
        schema.hydra_main(run)
    except ConfigError as error:
        sys.exit("\n".join(f"cotexp: {problem}" for problem in error.problems))


def run(config: object) -> float | None:
    """One point of a command; returns what a sweeper maximises."""
    from cotexp.jobs import pipeline

    settings = schema.load(config)
    if settings.plan:
        pipeline.print_plan(settings, schema.run_key(settings))
        return None
    return pipeline.run(settings, schema.run_key(settings)).objective


if __name__ == "__main__":
    main()
