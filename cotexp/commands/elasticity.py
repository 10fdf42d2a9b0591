"""`cotexp elasticity`: the length of answers against the budget of tokens in their prompt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cotexp.commands.report import publish, target_of
from cotexp.report import elasticity
from cotexp.report.papers import USUAL
from cotexp.settings.base import ConfigError


def show_elasticity(names: Sequence[str], *, outputs: Path, formats: Sequence[str] = ("md",), folder: Path | None = None, paper: str = USUAL) -> None:
    """Print and write the report on the runs that these names or patterns fit, and a line per question in questions.csv.

    Raises: ConfigError if there is no finished run, or no two runs differ in the budget alone.
    """
    target = folder or target_of(names, outputs, "elasticity")
    try:
        report, files = elasticity.make(names, outputs)
    except ConfigError as error:
        raise ConfigError(*(problem.replace("report: ", "elasticity: ", 1) for problem in error.problems)) from None
    target.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (target / name).write_bytes(content)
    publish(report, formats, target, paper)
    print(f"Questions: {', '.join(str(target / name) for name in files)}")
