"""`cotexp report`: runs as tables and figures, on the terminal and as files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from cotexp.commands import declared_reports
from cotexp.extensions import named
from cotexp.report import build, terminal
from cotexp.report.document import Figure, Report
from cotexp.report.papers import PAPERS, USUAL
from cotexp.settings.base import ConfigError, broken_path, shortened, suggestion

FORMATS = {
    "md": "cotexp.report.markdown:files",
    "latex": "cotexp.report.latex:files",
    "csv": "cotexp.report.long_csv:files",
    "html": "cotexp.report.web_page:files",
}
"""Format -> a function from a `Report` to its files (name -> content), the report itself first."""


def report_experiments(
    names: Sequence[str],
    *,
    outputs: Path,
    options: build.ReportOptions | None = None,
    formats: Sequence[str] = ("md",),
    folder: Path | None = None,
    paper: str = USUAL,
) -> WrittenReport:
    """Print a report and write it in these formats to `folder`, by default OUTPUTS/reports/NAME; tables and figures fit the style `paper`.

    Raises: ConfigError for an experiment without a finished run, or an unknown mode or baseline.
    """
    target = folder or target_of(names, outputs)
    return publish(declared_reports.make(names, outputs, options or build.ReportOptions()), formats, target, paper)


def target_of(names: Sequence[str], outputs: Path, below: str = "") -> Path:
    """The default folder of a report: OUTPUTS/reports/NAME. Raises: ConfigError for names that lead out of it or are not a valid folder."""
    if outside := [name for name in names if not {"", ".", ".."}.isdisjoint(name.split("/"))]:
        raise ConfigError(f"report: NAME must be a declared report or an experiment, words joined by '/'; got {shortened(outside[0])}")
    name = build.joined_name(names)
    if problem := broken_path(name):
        raise ConfigError(f"report: the names together {problem}, and they name its folder; add --output DIR; got {shortened(name)}")
    return outputs / "reports" / name / below


@dataclass(frozen=True, slots=True)
class WrittenReport:
    """A report with the files that were written, one of each format, and its figures by name, which a notebook shows."""

    report: Report = field(repr=False)
    files: list[Path]
    figures: dict[str, Figure]


def publish(report: Report, formats: Sequence[str], target: Path, paper: str = USUAL) -> WrittenReport:
    """Write a report in these formats to the folder `target`, and print it; its tables and figures fit this style of paper.

    Raises: ConfigError for an unknown style.
    """
    report = replace(report, paper=paper_of(paper))
    reports = []
    for format_name in formats:
        files: dict[str, bytes] = named(FORMATS[format_name])(report)
        reports.append(target / next(iter(files)))
        for name, content in files.items():
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    terminal.show_report(report)  # last: a reader such as head that closes the pipe ends the command
    print(f"Report: {', '.join(map(str, reports))}")
    return WrittenReport(report, reports, {each.name: each for each in report.figures})


def paper_of(name: str) -> str:
    """The name of a style of paper. Raises: ConfigError for an unknown one."""
    if name not in PAPERS:
        raise ConfigError(f"report: --paper must be one of {', '.join(PAPERS)}; got {name!r}{suggestion(name, list(PAPERS))}")
    return name


def formats_of(text: str) -> list[str]:
    """The formats in a text such as "md,csv" or "all". Raises: ConfigError for an unknown one."""
    names = list(FORMATS) if text == "all" else [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in FORMATS]:
        known = [*FORMATS, "all"]
        raise ConfigError(f"report: --format must be among {', '.join(known)}; got {unknown[0]!r}{suggestion(unknown[0], known)}")
    return names
