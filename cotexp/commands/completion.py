"""Completion in a shell: `eval "$(cotexp -sc install=bash)"`, or zsh, or fish. Hydra gives the shell its part, which then asks for the words."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

from cotexp.config import help_page, search_path
from cotexp.config.completion import completions
from cotexp.settings.base import ConfigError

WITH_SETTINGS = ("run", "encode", "questions", "search", "forecast")
"""Commands whose words may be settings."""
OF_RUNS = ("runs", "watch")
"""Commands whose words are experiments with runs."""


def print_completions(shell: str) -> None:
    """Print what the last word of the command line in the environment, COMP_LINE, may become, as this shell reads it."""
    try:
        found = offered(os.environ.get("COMP_LINE", ""))
    except ConfigError:
        found = []
    print(("\n" if shell == "fish" else " ").join(found))


def offered(line: str) -> list[str]:
    """What the last word of a command line may become. Raises: ConfigError for settings files that cannot be used."""
    from cotexp.commands.arguments import commands

    words = line.split()
    word = "" if not words or line[-1].isspace() else words.pop()
    if "run.py" in (Path(each).name for each in words[:3]):
        command, *given = ["run", *words[[Path(each).name for each in words].index("run.py") + 1 :]]
    elif len(words) == 1:
        return [each for each in commands() if each.startswith(word)]
    else:
        command, given = words[1], words[2:]
    return _of_command(command, given, word)


def _of_command(command: str, given: list[str], word: str) -> list[str]:
    words, folders = search_path.split(given)
    named = [after for each, after in pairwise([*words, ""]) if each in search_path.FLAGS and after]
    named += [each.partition("=")[2] for each in words if each.startswith("--config-dir=")]
    search_path.use(named[-1] if named else None, folders)
    if words[-1:] in ([each] for each in search_path.FLAGS):
        return []
    if command == "report":
        from cotexp.commands.declared_reports import report_names

        return [each for each in report_names() if each.startswith(word)]
    if command in OF_RUNS:
        return [each for each in _experiments(words) if each.startswith(word)]
    slots = [each for each in help_page.SLOTS if each.startswith(word)] if command == "run" and "--help" in words else []
    return [*slots, *(completions([each for each in words if not each.startswith("-")], word) if command in WITH_SETTINGS else ())]


def _experiments(words: list[str]) -> list[str]:
    """The experiments with runs, and the named grids that were started, under the folder that --outputs names."""
    from cotexp.jobs.sweeps import sweeps_in
    from cotexp.report.finished_runs import name_of, run_folders

    outputs = Path(next((after for each, after in pairwise([*words, ""]) if each == "--outputs" and after), "outputs"))
    return sorted({*(name_of(each, outputs) for each in run_folders(outputs)), *(each.name for each in sweeps_in(outputs)[0] if each.name)})
