"""Runs an experiment: `python run.py --help` lists what can be chosen; README.md tells the rest.

Nothing heavy is imported before the settings have been checked.
"""

from __future__ import annotations

import sys

from cotexp import schema
from cotexp.sections import ConfigError


def main() -> None:
    sys.argv[1:] = sorted(sys.argv[1:], key=lambda word: word not in ("-m", "--multirun"))  # Hydra wants it before the settings
    command = schema.read_command(sys.argv[1:])
    try:
        if command.help_wanted:
            print(schema.help_text(command.overrides))
            return
        if command.runs:
            schema.check_command_line(command.overrides, multirun=command.multirun)
    except ConfigError as error:
        refuse(error)
    schema.hydra_main(run)


def run(config: object) -> float | None:
    """One point of a command; returns what a sweeper maximises."""
    from cotexp import commands

    try:
        return commands.run_experiment(schema.load(config))
    except commands.USER_ERRORS as error:
        refuse(error)
    except KeyboardInterrupt:
        print("cotexp: interrupted; everything computed is kept, run the same command again to go on", file=sys.stderr)
        sys.exit(130)


def refuse(error: Exception) -> None:
    """End with one clear line per mistake."""
    sys.exit("\n".join(f"cotexp: {line}" for line in str(error).splitlines()))


if __name__ == "__main__":
    main()
