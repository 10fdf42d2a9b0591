"""Runs an experiment: `python run.py --help` lists what can be chosen; docs/ explains the rest. `cotexp run` does the same in any folder."""

from cotexp.commands.run import main

if __name__ == "__main__":
    main()
