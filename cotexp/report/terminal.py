"""Tables and reports on a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from rich.cells import cell_len
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table as Grid
from rich.text import Text

from cotexp.progress import page
from cotexp.report.document import NOISE, Cell, Column, Report, Row, Table
from cotexp.visible import visible, visible_lines

MOST_GAPS = 6
"""Most missing runs that are listed; the other formats list all of them."""
WIDEST_TEXT = 30
"""Characters of a label or a text beyond which it may be wrapped."""
BORDER = 3
"""Characters between two columns."""
COLOURS = {"finished": "green", "running": "cyan", "failed": "red", "diverged": "red", "killed": "red", "stopped": "yellow"}
"""State of a cell -> its colour."""


def say(text: str, console: Console | None = None) -> None:
    """Print a line without markup; the terminal wraps it, so that it can be copied in one piece."""
    console = console or page()
    if console.is_jupyter:  # where rich gives every line a box that does not wrap
        print(visible_lines(text))
    else:
        console.print(text, markup=False, highlight=False, soft_wrap=True)


def show(table: Table, console: Console | None = None) -> None:
    """Print a table and its notes."""
    console = console or page()
    console.print(_fitting(table, console))
    for note in table.notes:
        say(f"- {note}", console)


def show_titled(table: Table) -> None:
    """Print a table below its title, which may be wider than the table."""
    say(table.title)
    show(replace(table, title=""))


def follow(draw: Callable[[int], tuple[Sequence[Table], Sequence[str], bool]], seconds: float) -> None:
    """Show tables and the lines below them in one place of the terminal, drawn anew every few seconds until they are over.

    `draw` gets the lines that the terminal has, and returns tables, lines, and whether nothing will change any more.
    """
    console, is_over = page(), False
    with Live(console=console, auto_refresh=False) as live:
        while not is_over:
            tables, lines, is_over = draw(console.height)
            shown = [part for table in tables for part in (Text(visible(table.title)), _fitting(replace(table, title=""), console))]
            notes = [f"- {note}" for table in tables for note in table.notes]
            live.update(Group(*shown, *(Text(visible(line)) for line in (*notes, *lines))), refresh=True)
            if not is_over:
                time.sleep(seconds)


def show_report(report: Report) -> None:
    """Print tables, missing runs with the commands that fill them, and footnotes."""
    console = page()
    for table in report.tables:
        show(table, console)
    for gap in report.gaps[:MOST_GAPS]:
        seed = "" if gap.seed is None else f", seed {gap.seed}"
        say(f"- Missing: {gap.row}{seed}: {gap.description}", console)
        if gap.command:
            say(f"    {gap.command}", console)
    if len(report.gaps) > MOST_GAPS:
        say(f"- Missing: {len(report.gaps) - MOST_GAPS} more, with their commands in every written format", console)
    for note in (*report.footnotes, *(f"Left out: {line}" for line in report.left_out)):
        say(f"- {note}", console)


def _fitting(table: Table, console: Console) -> Grid:
    """The table, with headings on one line if it fits the console. Otherwise headings are wrapped first, then labels and texts, and numbers last."""
    headings = [table.row_title, *(column.title for column in table.columns)]
    texts = [_label_text(row) for row in table.rows], *([_text(row.cells[index]) for row in table.rows] for index in range(len(table.columns)))
    longest_lines = [max([0, *(_width(text.plain) for text in column)]) for column in texts]
    widths = list(map(max, longest_lines, map(_width, headings)))
    if _total(widths) <= console.width:
        return _grid(table, headings, widths)
    headings = [headings[0], *(heading.replace(" ", "\n", 1) for heading in headings[1:])]
    for longest in range(WIDEST_TEXT, 0, -1):
        if widths := _widths(table, longest_lines, [min(longest, _width(heading)) for heading in headings], console.width):
            return _grid(table, headings, widths)
    return _grid(table, headings)


def _total(widths: Sequence[int]) -> int:
    """Width of a table with columns of these widths."""
    return sum(width + BORDER for width in widths) + 1


def _widths(table: Table, longest_lines: Sequence[int], headings: Sequence[int], available: int) -> list[int]:
    """Width of each column whose numbers stay on one line, given those of its cells and its heading; empty if that is more than `available`."""
    needed = list(map(max, longest_lines, headings))
    wraps = [True, *(column.align == "left" for column in table.columns)]
    widths = [min(width, WIDEST_TEXT) if wrapped else width for width, wrapped in zip(needed, wraps, strict=True)]
    spare = available - _total(widths)
    for index in range(len(widths) if spare >= 0 else 0):
        more = min(spare, needed[index] - widths[index])
        widths[index] += more
        spare -= more
    return widths if spare >= 0 else []


def _width(text: str) -> int:
    """Width of the longest line on a terminal, in cells."""
    return max(map(cell_len, text.split("\n")))


def _grid(table: Table, headings: Sequence[str], widths: Sequence[int] = ()) -> Grid:
    grid = Grid(title=escape(table.title) or None, title_justify="left")
    columns = [Column(name="", title="", align="left"), *table.columns]
    for index, (column, heading) in enumerate(zip(columns, headings, strict=True)):
        grid.add_column(escape(heading), justify=column.align, overflow="fold", width=widths[index] if widths else None)
    for row in table.rows:
        grid.add_row(_label_text(row), *map(_text, row.cells))
    return grid


def _label(row: Row) -> str:
    """The label of an arm has a line for each of its settings."""
    return row.label.replace(", ", ",\n") if row.kind in ("arm", "base") else row.label


def _label_text(row: Row) -> Text:
    return Text(visible(_label(row), keep="\n"))


def _text(cell: Cell) -> Text:
    style = "bold" if cell.bold else COLOURS.get(cell.state, "")
    return Text(visible(cell.text, keep="\n") + (NOISE if cell.within_noise else ""), style=style)
