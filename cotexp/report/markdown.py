"""A report as Markdown, and its figures as files."""

from __future__ import annotations

from collections.abc import Iterator

from cotexp.report.content import Cell, Gap, Report, Table

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
    lines = [f"# {_text(report.title)}", ""]
    for table in report.tables:
        lines += [f"## {_text(table.title)}", ""] if len(report.tables) > 1 else []
        lines += [*_table(table), "", *(f"- {_text(each)}" for each in table.notes), ""]
    if report.gaps:
        lines += ["## Missing", "", *_gaps(report), ""]
    for figure in report.figures:
        lines += [f"**{_text(figure.title)}**", ""] if len(report.tables) > 1 else []
        lines += [f"![{_text(figure.description)}](figures/{figure.name}.png)", ""]
    notes = [*report.footnotes, *(f"Left out: {each}" for each in report.left_out)]
    lines += [f"- {_text(each)}" for each in notes]
    return "\n".join(lines).rstrip() + "\n"


def _table(table: Table) -> Iterator[str]:
    yield "| " + " | ".join(map(_text, (table.row_title, *(each.title for each in table.columns)))) + " |"
    yield "|---|" + "---:|" * len(table.columns)
    for row in table.rows:
        yield "| " + " | ".join((_text(row.label), *map(_cell, row.cells))) + " |"


def _cell(cell: Cell) -> str:
    text = _text(cell.text)
    return f"{'**' + text + '**' if cell.bold else text}{NOISE if cell.within_noise else ''}"


def _gaps(report: Report) -> Iterator[str]:
    yield "| arm | seed | state | command |"
    yield "|---|---|---|---|"
    for gap in report.gaps:
        command = f"`{gap.command.replace('|', chr(92) + '|')}`" if gap.command else ""
        yield f"| {_text(gap.row)} | {'any' if gap.seed is None else gap.seed} | {_text(state_of(gap))} | {command} |"


def state_of(gap: Gap) -> str:
    """Such as "failed: no space left"."""
    return f"{gap.state}: {gap.reason}" if gap.reason else gap.state


def _text(text: str) -> str:
    """`text` on one line, with what Markdown or HTML would take for markup made harmless."""
    flat = " ".join(text.split())
    for mark in "\\|*_`[]<":
        flat = flat.replace(mark, f"\\{mark}")
    return flat
