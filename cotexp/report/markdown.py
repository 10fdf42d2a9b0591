"""A report as Markdown with its figures as files."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cotexp.report.document import NOISE, Cell, Report, Table, text_table
from cotexp.visible import visible_lines

_CODE = re.compile(r"(?<![`\\])`([^`|]+)`(?!`)")
_MARK = re.compile(r"[\\|*_`\[\]<&~$]")


def files(report: Report, name: str = "report.md") -> dict[str, bytes]:
    """File name -> content: the report, and figures/ in both formats."""
    return {name: markdown(report).encode(), **figure_files(report)}


def figure_files(report: Report) -> dict[str, bytes]:
    """File name -> content of every figure as PNG and SVG."""
    forms = [(figure.name, form, content) for figure in report.figures for form, content in (("png", figure.png), ("svg", figure.svg))]
    return {f"figures/{name}.{form}": content for name, form, content in forms}


def markdown(report: Report) -> str:
    """Title, tables with their notes, gaps, figures, footnotes."""
    has_headings = len(report.tables) > 1
    lines = [f"# {escaped(report.title)}", ""]
    for table in report.tables:
        lines += [f"## {escaped(table.title)}", ""] if has_headings and table.title else []
        lines += [*table_lines(table), "", *(f"- {escaped(note)}" for note in table.notes), ""]
    if report.gaps:
        lines += ["## Missing", "", *table_lines(_gaps(report)), ""]
    for figure in report.figures:
        lines += [f"**{escaped(figure.title)}**", ""] if has_headings else []
        lines += [f"![{escaped(figure.description)}](figures/{figure.name}.png)", ""]
    notes = [*report.footnotes, *(f"Left out: {line}" for line in report.left_out)]
    lines += [f"- {escaped(note)}" for note in notes]
    return "\n".join(lines).rstrip() + "\n"


def table_lines(table: Table) -> Iterator[str]:
    """The lines of one table, without title and notes."""
    yield "| " + " | ".join(map(escaped, (table.row_title, *(column.title for column in table.columns)))) + " |"
    yield "|---|" + "".join("---:|" if column.align == "right" else "---|" for column in table.columns)
    for row in table.rows:
        yield "| " + " | ".join((escaped(row.label), *map(_cell, row.cells))) + " |"


def _cell(cell: Cell) -> str:
    text = code(cell.text) if cell.is_code else escaped(cell.text)
    return f"{'**' + text + '**' if cell.bold else text}{NOISE if cell.within_noise else ''}"


def _gaps(report: Report) -> Table:
    headings = ("arm", "seed", "state", "command")
    rows = ((gap.row, "any" if gap.seed is None else str(gap.seed), gap.description, Cell(text=gap.command, is_code=True)) for gap in report.gaps)
    return text_table("Missing", headings, rows, left=headings)


def escaped(text: str) -> str:
    """`text` on one line: `code` between single backticks stays code, all other marks of Markdown and HTML are escaped."""
    pieces = _CODE.split(" ".join(visible_lines(text).split()))
    return "".join(f"`{piece}`" if index % 2 else _MARK.sub(r"\\\g<0>", piece) for index, piece in enumerate(pieces))


def code(text: str) -> str:
    """`text` on one line as code within a table: between more backticks than its longest run of them."""
    flat = " ".join(visible_lines(text).split()).replace("|", "\\|")
    fence = "`" * (max(map(len, re.findall("`+", flat)), default=0) + 1)
    space = " " if "`" in (flat[:1], flat[-1:]) else ""
    return f"{fence}{space}{flat}{space}{fence}" if flat else ""


def block(text: str) -> list[str]:
    """Lines of a code block with an unchanged text."""
    return [f"    {line}" for line in visible_lines(text).split("\n")]
