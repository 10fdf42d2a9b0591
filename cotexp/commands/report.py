"""`cotexp report`: runs as tables and figures, on the terminal and as files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from rich.markup import escape
from rich.table import Table as Shown
from rich.text import Text

from cotexp.jobs.progress import page
from cotexp.report import build, latex, long_csv, markdown, web_page
from cotexp.report.document import Cell, Report, Row, Table
from cotexp.sections import ConfigError, broken_path, shortened, suggestion
from cotexp.visible import visible

MOST_GAPS = 6
"""Missing runs that are named on the terminal."""
WIDEST_LABEL = 30
"""Characters of a label that a terminal always has room for."""
PART = ", "
"""Between the settings in a label."""

WRITERS: dict[str, Callable[[Report], dict[str, bytes]]] = {"md": markdown.files, "latex": latex.files, "csv": long_csv.files, "html": web_page.files}
"""Format -> what it writes: file name -> content."""
ENDINGS = {"latex": "tex"}
"""Of report.* where it is not the format's name."""


def report_experiments(
    names: Sequence[str],
    *,
    outputs: Path,
    wanted: build.Wanted | None = None,
    formats: Sequence[str] = ("md",),
    folder: Path | None = None,
) -> None:
    """Print a report and write it in these formats to `folder`, by default OUTPUTS/reports/NAME.

    Raises: ConfigError for an experiment without a finished run, an unknown mode or baseline.
    """
    own = folder or target_of(names, outputs)
    publish(build.make(names, outputs, wanted or build.Wanted()), formats, own)


def target_of(names: Sequence[str], outputs: Path, below: str = "") -> Path:
    """The folder of a report that is told no other: OUTPUTS/reports/NAME. Raises: ConfigError for names that lead out of it or make no folder."""
    if outside := [each for each in names if not {"", ".", ".."}.isdisjoint(each.split("/"))]:
        raise ConfigError(f"report: NAME must be a declared report or an experiment, words joined by '/'; got {shortened(outside[0])}")
    name = build.name_of_several(names)
    if problem := broken_path(name):
        raise ConfigError(f"report: the names together {problem}, since they name its folder; add --output DIR; got {shortened(name)}")
    return outputs / "reports" / name / below


def publish(report: Report, formats: Sequence[str], target: Path) -> None:
    """Print a report and write it in these formats to the folder `target`."""
    _print(report)
    for written in formats:
        for name, content in WRITERS[written](report).items():
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    print(f"Report: {', '.join(str(target / f'report.{ENDINGS.get(each, each)}') for each in formats)}")


def formats_of(word: str) -> list[str]:
    """The formats that a word such as "md,csv" or "all" names. Raises: ConfigError for an unknown one."""
    names = list(WRITERS) if word == "all" else [each.strip() for each in word.split(",")]
    if unknown := [each for each in names if each not in WRITERS]:
        known = [*WRITERS, "all"]
        raise ConfigError(f"report: --format must be of {', '.join(known)}; got {unknown[0]!r}{suggestion(unknown[0], known)}")
    return names


def _print(report: Report) -> None:
    console = page()
    for table in report.tables:
        console.print(_shown(table))
        for each in table.notes:
            console.print(f"- {each}", markup=False, highlight=False, soft_wrap=True)
    for gap in report.gaps[:MOST_GAPS]:
        seed = "" if gap.seed is None else f", seed {gap.seed}"
        console.print(f"- Missing: {gap.row}{seed}: {markdown.state_of(gap)}", markup=False, highlight=False, soft_wrap=True)
        if gap.command:
            console.print(f"    {gap.command}", markup=False, highlight=False, soft_wrap=True)
    if len(report.gaps) > MOST_GAPS:
        console.print(f"- Missing: {len(report.gaps) - MOST_GAPS} more, with their commands in every written format", markup=False, highlight=False)
    for each in (*report.footnotes, *(f"Left out: {line}" for line in report.left_out)):
        console.print(f"- {each}", markup=False, highlight=False, soft_wrap=True)


def _shown(table: Table) -> Shown:
    """A table for a terminal: headings are wrapped, and labels have a line for each of their settings."""
    shown = Shown(title=escape(table.title), title_justify="left")
    parts = [part for row in table.rows for part in _label(row).split("\n")]
    shown.add_column(escape(table.row_title), overflow="fold", min_width=min(WIDEST_LABEL, max(map(len, parts), default=0)))
    for index, column in enumerate(table.columns):
        width = max(len(_text(row.cells[index]).plain) for row in table.rows)
        shown.add_column(escape(column.title.replace(" ", "\n", 1)), justify="right", overflow="fold", min_width=width)
    for row in table.rows:
        shown.add_row(escape(_label(row)), *(_text(cell) for cell in row.cells))
    return shown


def _label(row: Row) -> str:
    """Ours in a line for each setting."""
    return row.label if row.kind == "published" else row.label.replace(PART, ",\n")


def _text(cell: Cell) -> Text:
    return Text(visible(cell.text) + (markdown.NOISE if cell.within_noise else ""), style="bold" if cell.bold else "")
