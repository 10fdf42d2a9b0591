"""What a report says, apart from any format: tables of cells, figures, footnotes, gaps and the runs behind them.

Every format is a function of this tree, and the tree of what lies under outputs/ alone: no time, no random order, so that the same
report twice is the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

State = Literal["ok", "partial", "missing", "running", "failed", "diverged", "killed", "stopped", "unfinished", "unreadable", "not available"]
"""Of a cell or a run: what a cell shows is whole (ok), of some of the seeds (partial), or lacks for the reason named."""
Kind = Literal["arm", "base", "published"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """`name` is lasting and the same in every format; `title` is what readers see. `better` says which values win, if any do."""

    name: str
    title: str
    better: Literal["higher", "lower", ""] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """`text` is what readers see, `value` the number that it stands for, in the column's unit; None for text and where there is none.

    `low` and `high` bound its 95 % interval, `deviation` is the standard deviation over seeds. `bold` marks the best of its column,
    `within_noise` a difference that may be chance.
    """

    text: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    deviation: float | None = None
    bold: bool = False
    within_noise: bool = False
    state: State = "ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A run that a row lacks: why, in the words of the run's error where it has one, and the command that fills it.

    `seed` is None where any will do. `folder` is the run's, relative to the outputs; empty where it never began.
    """

    row: str
    seed: int | None
    state: State
    reason: str = ""
    command: str = ""
    folder: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedRun:
    """A run that a row of a table is made of; `folder` is where it lies now."""

    row: str
    name: str
    key: str
    seed: int
    folder: Path
    table: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """As many cells as the table has columns. `num_questions` is how many test questions were answered, None for published rows."""

    label: str
    kind: Kind
    cells: tuple[Cell, ...]
    seeds: tuple[int, ...] = ()
    num_questions: int | None = None
    is_baseline: bool = False
    source: str = ""
    gaps: tuple[Gap, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """`notes` belong under this table alone."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    row_title: str = "arm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One picture in two forms; `description` says what it shows to whoever does not see it."""

    name: str
    title: str
    description: str
    png: bytes
    svg: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """`name` is what it was asked for by. `left_out` are lines on runs that take no part."""

    name: str
    title: str
    tables: tuple[Table, ...]
    figures: tuple[Figure, ...] = ()
    footnotes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    runs: tuple[UsedRun, ...] = ()

    @property
    def gaps(self) -> list[Gap]:
        """Every run that a table lacks, each once."""
        return list(dict.fromkeys(gap for table in self.tables for row in table.rows for gap in row.gaps))
