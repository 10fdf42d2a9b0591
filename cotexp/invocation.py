"""How this process was started: the words that begin a command of experiments, as its user types them."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable
from pathlib import Path


def run_words() -> list[str]:
    """`python run.py` in a process of that script, with the path that was typed; else the installed command, which works in any folder."""
    return ["python", sys.argv[0]] if Path(sys.argv[0]).name == "run.py" else ["cotexp", "run"]


def run_command(arguments: Iterable[str] = ()) -> str:
    """A line for a shell that starts an experiment with these arguments."""
    return shlex.join([*run_words(), *arguments])
