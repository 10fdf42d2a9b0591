"""A report as Markdown, and its figures as files."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cotexp.report.document import Cell, Gap, Report, Table
from cotexp.visible import visible_lines

NOISE = " ≈"


def files(report: Report) -> dict[str, bytes]:
    """File name -> content: report.md, and figures/ in both forms."""
    return {"report.md": markdown(report).encode(), **figure_files(report)}


def figure_files(report: Report) -> dict[str, bytes]:
    """File name -> content of every figure as PNG and SVG."""
    forms = [(figure.name, form, content) for figure in report.figures for form, content in (("png", figure.png), ("svg", figure.svg))]
    return {f"figures/{name}.{form}": content for name, form, content in forms}


def markdown(report: Report) -> str:
    """Title, tables with their notes, gaps, figures, footnotes."""
    lines = [f"# {plain(report.title)}", ""]
    for table in report.tables:
        lines += [f"## {plain(table.title)}", ""] if len(report.tables) > 1 else []
        lines += [*_table(table), "", *(f"- {plain(each)}" for each in table.notes), ""]
    if report.gaps:
        lines += ["## Missing", "", *_gaps(report), ""]
    for figure in report.figures:
        lines += [f"**{plain(figure.title)}**", ""] if len(report.tables) > 1 else []
        lines += [f"![{plain(figure.description)}](figures/{figure.name}.png)", ""]
    notes = [*report.footnotes, *(f"Left out: {each}" for each in report.left_out)]
    lines += [f"- {plain(each)}" for each in notes]
    return "\n".join(lines).rstrip() + "\n"


def _table(table: Table) -> Iterator[str]:
    yield "| " + " | ".join(map(plain, (table.row_title, *(each.title for each in table.columns)))) + " |"
    yield "|---|" + "---:|" * len(table.columns)
    for row in table.rows:
        yield "| " + " | ".join((plain(row.label), *map(_cell, row.cells))) + " |"


def _cell(cell: Cell) -> str:
    text = plain(cell.text)
    return f"{'**' + text + '**' if cell.bold else text}{NOISE if cell.within_noise else ''}"


def _gaps(report: Report) -> Iterator[str]:
    yield "| arm | seed | state | command |"
    yield "|---|---|---|---|"
    for gap in report.gaps:
        yield f"| {plain(gap.row)} | {'any' if gap.seed is None else gap.seed} | {plain(state_of(gap))} | {code(gap.command)} |"


def state_of(gap: Gap) -> str:
    """Such as "failed: no space left"."""
    return f"{gap.state}: {gap.reason}" if gap.reason else gap.state


def plain(text: str) -> str:
    """`text` on one line, with what Markdown or HTML would take for markup made harmless."""
    flat = " ".join(visible_lines(text).split())
    for mark in "\\|*_`[]<&~":
        flat = flat.replace(mark, f"\\{mark}")
    return flat


def code(text: str) -> str:
    """`text` on one line as code within a table: between more backticks than it holds in a row."""
    flat = " ".join(visible_lines(text).split()).replace("|", "\\|")
    fence = "`" * (max(map(len, re.findall("`+", flat)), default=0) + 1)
    space = " " if "`" in (flat[:1], flat[-1:]) else ""
    return f"{fence}{space}{flat}{space}{fence}" if flat else ""


def cell(text: str) -> str:
    """A cell of a table whose text is Markdown of ours already: on one line, and without bars of its own."""
    return " ".join(visible_lines(text).split()).replace("|", "\\|")


def block(text: str) -> list[str]:
    """Lines of a code block that shows a text as it is."""
    return [f"    {line}" for line in visible_lines(text).split("\n")]
