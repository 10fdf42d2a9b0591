"""The table of arms: its columns, how their cells are written, and its notes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from cotexp.report import arm_notes, costs
from cotexp.report.arm_rows import ArmRow, most_accurate, shortest
from cotexp.report.costs import metric_cell
from cotexp.report.document import Cell, Column, Row, State, Table, p_text
from cotexp.settings.base import suggestion

NO_CELL = Cell()
USUAL = ("seeds", "rationales", "rationale_tokens", "accuracy", "deviation", "tokens", "ratio", "difference", "p", "p_holm")
"""Columns of a table that declares none. A column that no row fills is left out."""
TASK = "accuracy:"
"""Prefix of the column of a task's accuracy; the task's name follows."""


class FilledColumn(NamedTuple):
    """A column and how a row fills it."""

    column: Column
    cell: Callable[[ArmRow], Cell]


def make_table(name: str, title: str, rows: Sequence[ArmRow], columns: Sequence[str] = ()) -> Table:
    """A table of `rows` with these columns (see `column_named`); by default the usual ones that a row fills, and one per task of several."""
    shown = [column_named(column) for column in columns] if columns else _usual(rows)
    names = [filled.column.name for filled in shown]
    bold = {"accuracy": most_accurate(rows), "tokens": shortest(rows, "num_tokens"), "cot_tokens": shortest(rows, "num_cot_tokens")}
    return Table(
        name=name,
        title=title,
        columns=tuple(filled.column for filled in shown),
        rows=tuple(_row(row, shown, bold) for row in rows),
        caption=arm_notes.caption(rows, columns=names, has_bold=any(bold.get(name) for name in names)),
        notes=(*arm_notes.notes(rows), *costs.notes([row for row in rows if row.answers], names)),
    )


def _usual(rows: Sequence[ArmRow]) -> list[FilledColumn]:
    usual = [column_named(name) for name in USUAL]
    tasks = list(dict.fromkeys(task for row in rows for task in row.accuracy_of))
    filled = [column for column in usual if any(row.arm and _tells(column, row) for row in rows)]
    return [*filled, *(column_named(TASK + task) for task in tasks if len(tasks) > 1)]


def _tells(filled: FilledColumn, row: ArmRow) -> bool:
    """Whether a column without which the table would be shorter says something of this row."""
    cell = filled.cell(row)
    if filled.column.name == "p_holm":
        return row.against is not None and cell.value != row.against.paired.p_value
    return cell.value is not None if filled.column.name == "deviation" else bool(cell.text)


def _row(row: ArmRow, columns: Sequence[FilledColumn], bold: dict[str, set[str]]) -> Row:
    return Row(
        label=row.label,
        kind="arm" if row.arm or row.gaps else "base",
        cells=tuple(_cell(row, column, bold) for column in columns),
        seeds=tuple(row.seeds),
        num_questions=row.num_questions if row.answers else None,
        is_baseline=row.is_baseline,
        gaps=row.gaps,
    )


def _cell(row: ArmRow, filled: FilledColumn, bold: dict[str, set[str]]) -> Cell:
    if not row.answers:
        state: State = row.gaps[0].state if len({gap.state for gap in row.gaps}) == 1 else "missing"
        return Cell(text=state, state=state)
    cell = filled.cell(row)
    if row.label in bold.get(filled.column.name, ()):
        cell = replace(cell, bold=True)
    return replace(cell, state="partial") if row.gaps and cell.text else cell


# --- columns -------------------------------------------------------------------------------------------------------------


def column_named(name: str) -> FilledColumn:
    """The column of this name: one of COLUMNS, `accuracy:TASK`, or any number of metrics.json, such as compression/num_rounds_mean.

    Raises: ValueError for another name.
    """
    if name in COLUMNS:
        return COLUMNS[name]
    if name.startswith(TASK):
        task = name.removeprefix(TASK)
        return FilledColumn(Column(name=name, title=f"{task}, %"), lambda row: _percent(row.accuracy_of.get(task)))
    if "/" in name:
        return FilledColumn(Column(name=name, title=name.replace("_", " ").replace("/", ": ")), lambda row: metric_cell(row, name, ".4g"))
    raise ValueError(
        f"must be one of {', '.join(COLUMNS)}, accuracy:TASK, or a name in metrics.json with a slash; got {name!r}{suggestion(name, list(COLUMNS))}"
    )


def _seeds(row: ArmRow) -> Cell:
    missing = ", ".join("any" if gap.seed is None else str(gap.seed) for gap in row.gaps)
    return Cell(text=", ".join(map(str, row.seeds)) + (f" (missing {missing})" if missing else ""))


def _accuracy(row: ArmRow) -> Cell:
    value, low, high = (100 * share for share in (row.accuracy, row.low, row.high))
    deviation = 100 * row.over_seeds.deviation if row.over_seeds else math.nan
    return Cell(text=f"{value:.1f} ({low:.1f} to {high:.1f})", value=value, low=low, high=high, deviation=_number(deviation))


def _percent(share: float | None) -> Cell:
    return NO_CELL if share is None else Cell(text=f"{100 * share:.1f}", value=100 * share)


def _ratio(row: ArmRow) -> Cell:
    return Cell(text="1", value=1.0) if row.mode == "base" else metric_cell(row, "compression_ratio", ".2f")


def _difference(row: ArmRow) -> Cell:
    if row.against is None:
        return Cell(text=row.uncompared)
    paired = row.against.paired
    value, low, high = (100 * share for share in (paired.difference, paired.low, paired.high))
    text = f"{value:+.1f} ({low:+.1f} to {high:+.1f})"
    return Cell(text=text, value=value, low=low, high=high, within_noise=row.within_noise)


def _p_value(value: float | None) -> Cell:
    return NO_CELL if value is None else Cell(text=p_text(value), value=value)


def _deviation(row: ArmRow) -> Cell:
    return Cell(text="n = 1") if len(row.seeds) == 1 and row.is_trained else _percent(_number(row.over_seeds.deviation) if row.over_seeds else None)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _tokens(row: ArmRow, value: float) -> Cell:
    return Cell(text=f"{value:.1f}", value=value)


COLUMNS: dict[str, FilledColumn] = {
    filled.column.name: filled
    for filled in (
        FilledColumn(Column(name="seeds", title="seeds"), _seeds),
        FilledColumn(Column(name="rationales", title="training rationales"), lambda row: metric_cell(row, "selection/num_kept", ",.0f")),
        FilledColumn(Column(name="rationale_tokens", title="rationale tokens"), lambda row: metric_cell(row, "selection/num_tokens", ",.0f")),
        FilledColumn(Column(name="accuracy", title="accuracy, % (95 % interval)"), _accuracy),
        FilledColumn(Column(name="deviation", title="sd over seeds"), _deviation),
        FilledColumn(Column(name="tokens", title="answer tokens"), lambda row: _tokens(row, row.num_tokens)),
        FilledColumn(Column(name="cot_tokens", title="chain-of-thought tokens"), lambda row: _tokens(row, row.num_cot_tokens)),
        FilledColumn(Column(name="ratio", title="compression ratio"), _ratio),
        *(FilledColumn(Column(name=name, title=title), cell) for name, (title, cell) in costs.CELLS.items()),
        FilledColumn(Column(name="difference", title="difference (95 % interval)"), _difference),
        FilledColumn(Column(name="p", title="p"), lambda row: _p_value(row.against.paired.p_value if row.against else None)),
        FilledColumn(Column(name="p_holm", title="p (Holm)"), lambda row: _p_value(row.p_holm)),
    )
}
