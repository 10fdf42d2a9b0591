"""Tables as floats that fit a paper: as wide as a column if that is possible, else as the text, in several parts if they are wider or too long.

Columns that say the same of every arm stand in the caption. Nothing is scaled.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from cotexp.report.document import Cell, Column, Row, Table
from cotexp.report.latex_text import breakable, escaped, prose, width
from cotexp.report.papers import POINTS, Paper
from cotexp.report.short_names import short_names, shortened

SEPARATION = 3.0
"""Points at both sides of a column."""
MOST_LINES = 40
"""Lines of one float; longer tables continue in another one."""
MOST_LABEL_LINES = 3
"""Lines of a row's label in a float as wide as a column."""
LEAST_LABEL, MOST_LABEL = 0.24, 0.42
"""Shares of a float's width that the labels of rows may take if they are broken."""
INTERVAL = r"\scriptsize"


class Size(NamedTuple):
    """A command for a size of text, in points, and that of the intervals beside it."""

    command: str
    points: float
    interval: float


class Layout(NamedTuple):
    """A float's environment, size of text, width of the labels of rows if they are broken, and columns of each part."""

    environment: str
    size: Size
    label_width: float | None
    parts: list[list[int]]


def floats(table: Table, paper: Paper, label: str) -> list[str]:
    """The float of a table; several if it is too long. `label` is that of the first."""
    kept, constants = _without_constants(_shortened(table))
    layout = _layout(kept, paper)
    chunks = list(_chunks(kept.rows, layout, paper))
    return ["\n".join(_float(kept, rows, layout, constants, label, number)) for number, rows in enumerate(chunks, 1)]


# --- short names -------------------------------------------------------------------------------------------------------------


def _shortened(table: Table) -> Table:
    """The table with short names of settings in its labels and in its caption."""
    names = short_names(row.label for row in table.rows)
    rows = tuple(replace(row, label=shortened(row.label, names)) for row in table.rows)
    return replace(table, rows=rows, caption=shortened(table.caption, names))


# --- what every arm has in common --------------------------------------------------------------------------------------------


def _without_constants(table: Table) -> tuple[Table, list[str]]:
    """The table without the columns that say the same of every arm, and what they say."""
    constant = {column.name: text for place, column in enumerate(table.columns) if (text := _constant(table.rows, place))}
    if len(constant) == len(table.columns):
        return table, []
    places = [place for place, column in enumerate(table.columns) if column.name not in constant]
    rows = tuple(replace(row, cells=tuple(row.cells[place] for place in places)) for row in table.rows)
    kept = replace(table, columns=tuple(table.columns[place] for place in places), rows=rows)
    return kept, [text if column.title in text else f"{column.title} {text}" for column in table.columns if (text := constant.get(column.name, ""))]


def _constant(rows: Sequence[Row], place: int) -> str:
    """The text of a column if all arms have it, and no other row another one; a result with an interval is none."""
    arms = [row.cells[place] for row in rows if row.kind in ("arm", "entry") and not row.cells[place].is_missing]
    others = {row.cells[place].text for row in rows if row.kind not in ("arm", "entry")}
    texts = {cell.text for cell in arms}
    if len(arms) < 2 or len(texts) > 1 or any(cell.low is not None or cell.bold for cell in arms):
        return ""
    return texts.pop() if others <= {"", *texts} else ""


# --- layout ------------------------------------------------------------------------------------------------------------------


def _sizes(paper: Paper) -> tuple[Size, Size]:
    return Size(r"\small", paper.body - 1.0, paper.body - 3.0), Size(r"\footnotesize", paper.body - 2.0, paper.body - 3.0)


def _layout(table: Table, paper: Paper) -> Layout:
    """The narrowest float in which the table fits; as wide as the text, in parts with some of the columns each, if it fits in none."""
    everything = list(range(len(table.columns)))
    spans = [("table", paper.column), ("table*", paper.text)] if paper.num_columns == 2 else [("table", paper.text)]
    for environment, inches in spans:
        for size in _sizes(paper):
            found = _label_width(table, size, inches * POINTS, everything)
            is_column = inches < paper.text
            if found is not None and not (is_column and _label_lines(table, size, found) > MOST_LABEL_LINES):
                natural = _natural_label(table, size)
                return Layout(environment, size, None if natural <= found else found, [everything])
    environment, inches = spans[-1]
    return _in_parts(table, environment, _sizes(paper)[-1], inches * POINTS)


def _label_width(table: Table, size: Size, whole: float, columns: Sequence[int]) -> float | None:
    """Points that are left for the labels of rows beside these columns; None if they are too few."""
    room = whole - sum(_column_width(table, place, size) + 2 * SEPARATION for place in columns)
    needed = min(_natural_label(table, size), max(LEAST_LABEL * whole, min(MOST_LABEL * whole, _longest_word(table, size))))
    return room if room >= needed else None


def _in_parts(table: Table, environment: str, size: Size, whole: float) -> Layout:
    natural = _natural_label(table, size)
    label = min(natural, max(LEAST_LABEL * whole, min(MOST_LABEL * whole, _longest_word(table, size))))
    parts: list[list[int]] = [[]]
    for place in range(len(table.columns)):
        used = sum(_column_width(table, other, size) + 2 * SEPARATION for other in (*parts[-1], place))
        if parts[-1] and used > whole - label:
            parts.append([])
        parts[-1].append(place)
    label = whole - max(sum(_column_width(table, place, size) + 2 * SEPARATION for place in part) for part in parts)
    return Layout(environment, size, None if natural <= label else label, parts)


def _natural_label(table: Table, size: Size) -> float:
    return max((width(text, size.points) for text in (table.row_title, *(row.label for row in table.rows))), default=0.0)


def _longest_word(table: Table, size: Size) -> float:
    return max((width(word, size.points) for row in table.rows for word in row.label.split()), default=0.0)


def _label_lines(table: Table, size: Size, room: float) -> int:
    return max((_lines(row.label, size, room) for row in table.rows), default=1)


def _lines(text: str, size: Size, room: float) -> int:
    """Lines of a broken label, whose second and later ones are indented."""
    return max(1, -(-int(width(text, size.points)) // max(1, int(0.85 * room))))


def _column_width(table: Table, place: int, size: Size) -> float:
    lines = (width(line, size.points) for line in _heading_lines(table, place, size))
    return max(*lines, *(_cell_width(row.cells[place], size) for row in table.rows), 0.0)


def _cell_width(cell: Cell, size: Size) -> float:
    number, interval = _split(cell)
    shown = width(number, size.points, bold=cell.bold) + (width(f"~{interval}", size.interval) if interval else 0.0)
    return shown + (width("~≈", size.points) if cell.within_noise else 0.0)


def _heading_lines(table: Table, place: int, size: Size) -> list[str]:
    """The title of a column, broken where its cells are narrower."""
    widest = max((_cell_width(row.cells[place], size) for row in table.rows), default=0.0)
    title = table.columns[place].title
    if table.caption:  # it says so for all columns
        title = title.replace(" (95 % interval)", "")
    lines: list[str] = []
    for word in re.split(r" (?!%)(?![^(]*\))", title):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and width(longer, size.points) <= max(widest, width("questions", size.points)):
            lines[-1] = longer
        else:
            lines.append(word)
    return lines or [""]


def _chunks(rows: Sequence[Row], layout: Layout, paper: Paper) -> Iterator[Sequence[Row]]:
    """The rows of each float."""
    room = layout.label_width or paper.text * POINTS
    begin, used = 0, 0
    for number, row in enumerate(rows):
        lines = len(layout.parts) * (_lines(row.label, layout.size, room) if layout.label_width else 1)
        if number > begin and used + lines > MOST_LINES:
            yield rows[begin:number]
            begin, used = number, 0
        used += lines
    yield rows[begin:]


# --- writing -----------------------------------------------------------------------------------------------------------------


def _float(table: Table, rows: Sequence[Row], layout: Layout, constants: Sequence[str], label: str, number: int) -> Iterator[str]:
    yield rf"\begin{{{layout.environment}}}[tbp]"
    yield r"\centering"
    yield rf"{layout.size.command}\setlength{{\tabcolsep}}{{{SEPARATION:.0f}pt}}"
    for part, columns in enumerate(layout.parts):
        yield from [r"\par\medskip"] if part else []
        yield from _tabular(table, rows, layout, columns)
    yield rf"\caption{{{prose(_caption(table, constants) if number == 1 else f'{table.title} (continued)')}}}"
    yield rf"\label{{{label if number == 1 else f'{label}-{number}'}}}"
    yield rf"\end{{{layout.environment}}}"


def _caption(table: Table, constants: Sequence[str]) -> str:
    kinds = {row.kind for row in table.rows}
    common = f"All {'arms' if 'arm' in kinds else 'rows'}: {'; '.join(constants)}." if constants else ""
    title = table.title.rstrip(".")
    return " ".join(part for part in (f"{title}." if title else "", table.caption, common) if part)


def _tabular(table: Table, rows: Sequence[Row], layout: Layout, columns: Sequence[int]) -> Iterator[str]:
    ending = "".join(table.columns[place].align[0] for place in columns)
    room = layout.label_width
    first = "l" if room is None else rf">{{\raggedright\arraybackslash\hangindent=0.8em}}p{{{room:.1f}pt}}"
    yield rf"\begin{{tabular}}{{@{{}}{first}{ending}@{{}}}}"
    yield r"\toprule"
    headings = (_heading(table.columns[place], _heading_lines(table, place, layout.size)) for place in columns)
    yield " & ".join((escaped(table.row_title), *headings)) + r" \\"
    yield r"\midrule"
    write: Callable[[str], str] = escaped if room is None else (lambda text: _label(text, layout.size, room))
    for before, row in itertools.pairwise([None, *rows]):
        assert row is not None
        if before is not None and before.kind != row.kind:
            yield r"\midrule"
        yield " & ".join((write(row.label), *(_cell(row.cells[place]) for place in columns))) + r" \\"
    yield r"\bottomrule"
    yield r"\end{tabular}"


def _label(text: str, size: Size, room: float) -> str:
    """The label of a row; words that are wider than `room` have places to break."""
    return breakable(text, size.points, 0.9 * room)


def _heading(column: Column, lines: Sequence[str]) -> str:
    """The title in its lines."""
    broken = r" \\ ".join(map(escaped, lines))
    return rf"\begin{{tabular}}[b]{{@{{}}{column.align[0]}@{{}}}}{broken}\end{{tabular}}" if len(lines) > 1 else broken


def _split(cell: Cell) -> tuple[str, str]:
    """The text of a cell before and from its bracket on, if the bracket is an interval."""
    number, bracket, rest = cell.text.partition(" (")
    return (number, f"({rest}") if bracket and cell.low is not None else (cell.text, "")


_MINUS = re.compile(r"(?<![\w.])-(?=[\d.])")
"""A hyphen that is a sign."""


def _cell(cell: Cell) -> str:
    number, interval = _split(cell)
    text = escaped(_MINUS.sub("−", number))
    if cell.bold:
        text = rf"\textbf{{{text}}}"
    if cell.is_code:
        text = rf"\texttt{{{text}}}"
    if cell.is_missing:
        text = rf"\textit{{{text}}}"
    return text + (rf" {{{INTERVAL} {escaped(_MINUS.sub('−', interval))}}}" if interval else "") + (r" $\approx$" if cell.within_noise else "")
