"""A report as CSV in long form: one row per value."""

from __future__ import annotations

import csv
import io
import itertools
import re

from cotexp.report.document import Cell, Column, Report, Row, Table
from cotexp.visible import visible

COLUMNS = (
    *("report", "table", "row", "kind", "column", "value", "text", "low", "high", "deviation", "num_questions", "num_seeds", "seeds"),
    *("is_baseline", "is_best", "within_noise", "state", "missing_seeds", "runs", "source", "commands"),
)


TEXTS = frozenset(("report", "table", "row", "kind", "column", "text", "state", "runs", "source", "commands"))
FORMULAS = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
"""First characters that make a spreadsheet take a text for a formula."""


def files(report: Report) -> dict[str, bytes]:
    """File name -> content: report.csv."""
    return {"report.csv": long_csv(report).encode()}


def long_csv(report: Report) -> str:
    """One line per cell: interval, deviation over seeds, questions, seeds, runs, and the commands that compute missing runs."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for table in report.tables:
        for row in table.rows:
            lines = (_line(report, table, row, column, cell) for column, cell in zip(table.columns, row.cells, strict=True) if cell.text)
            writer.writerows({name: harmless(value) if name in TEXTS else value for name, value in line.items()} for line in lines)
    return out.getvalue()


def table_csv(table: Table) -> str:
    """One table as readers see it: a line per row, a column per column, and the bounds of a column's intervals beside it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    bounded = {place for place in range(len(table.columns)) if any(row.cells[place].low is not None for row in table.rows)}
    names = [
        [column.name, *([f"{column.name}_low", f"{column.name}_high"] if place in bounded else [])] for place, column in enumerate(table.columns)
    ]
    writer.writerow([harmless(name) for name in (table.row_title, *itertools.chain(*names))])
    for row in table.rows:
        cells = [[_shown(cell), *([_number(cell.low), _number(cell.high)] if place in bounded else [])] for place, cell in enumerate(row.cells)]
        writer.writerow([harmless(row.label), *itertools.chain(*cells)])
    return out.getvalue()


def _shown(cell: Cell) -> object:
    return harmless(cell.text) if cell.value is None else _number(cell.value)


def _line(report: Report, table: Table, row: Row, column: Column, cell: Cell) -> dict[str, object]:
    return {
        "report": report.name,
        "table": table.name,
        "row": row.label,
        "kind": row.kind,
        "column": column.name,
        "value": _number(cell.value),
        "text": cell.text,
        "low": _number(cell.low),
        "high": _number(cell.high),
        "deviation": _number(cell.deviation),
        "num_questions": row.num_questions,
        "num_seeds": len(row.seeds) if row.kind == "arm" else None,
        "seeds": " ".join(map(str, row.seeds)),
        "is_baseline": int(row.is_baseline),
        "is_best": int(cell.bold),
        "within_noise": int(cell.within_noise) if column.name == "difference" and cell.value is not None else None,
        "state": cell.state,
        "missing_seeds": " ".join("any" if gap.seed is None else str(gap.seed) for gap in row.gaps),
        "runs": " ".join(f"{run.name}/{run.key}" for run in report.runs if (run.table, run.row) == (table.name, row.label)),
        "source": row.source,
        "commands": "; ".join(gap.command for gap in row.gaps if gap.command),
    }


def harmless(text: object) -> object:
    """`text` with an apostrophe in front if a spreadsheet would take it for a formula, unless it is a number with its interval."""
    if not isinstance(text, str):
        return text
    shown = visible(text, keep="\n")
    begins_formula = shown.lstrip().startswith(FORMULAS) and not re.fullmatch(r"[+-](?:[\d.,%()±≈−+ -]|to)*", shown)
    return f"'{shown}" if begins_formula else shown


def _number(value: float | None) -> str | None:
    """Ten significant digits, which are the same on every machine."""
    return None if value is None else f"{value:.10g}"
