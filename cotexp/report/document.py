"""The document model: the content of a report, independent of its format.

Every table that a command prints or writes is a `Table`; every format (terminal, Markdown, LaTeX, CSV, HTML) is a function of this tree.
The tree depends only on the files under outputs/. It contains no time and no random order, so the same report twice is the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cotexp.report.papers import USUAL

NOISE = " ≈"
"""Follows the text of a difference that may be chance."""

State = Literal[
    "ok", "partial", "missing", "running", "finished", "failed", "diverged", "killed", "stopped", "unfinished", "unreadable", "not available"
]
"""State of a cell or a run. A cell is complete (ok), covers some of the seeds (partial), or has no value for the named reason."""
Kind = Literal["arm", "base", "published", "entry"]
"""What a row is: runs that differ only in the seed, a model before fine-tuning, another system's published numbers, or anything else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """`name` is stable and the same in every format; `title` is what readers see."""

    name: str
    title: str
    align: Literal["left", "right"] = "right"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """`text` is what readers see. `value` is its number in the column's unit, None for words and missing values.

    `low` and `high` bound the 95 % interval, `deviation` is the standard deviation over seeds. `bold` marks the best of the column,
    `within_noise` a difference that may be chance, `is_code` a command to type.
    """

    text: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    deviation: float | None = None
    bold: bool = False
    within_noise: bool = False
    is_code: bool = False
    state: State = "ok"

    @property
    def is_missing(self) -> bool:
        """Whether the text is the reason why there is no value."""
        return self.value is None and self.state not in ("ok", "partial", "finished")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A run that a row lacks: the reason, with the run's error message if it has one, and the command that fills the gap.

    `seed` is None if any seed will do. `folder` is the run's, relative to the outputs; empty if the run never began.
    """

    row: str
    seed: int | None
    state: State
    reason: str = ""
    command: str = ""
    folder: str = ""

    @property
    def description(self) -> str:
        """Such as "failed: no space left"."""
        return f"{self.state}: {self.reason}" if self.reason else self.state


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedRun:
    """A run whose answers are in a row of a table; `folder` is its present place."""

    row: str
    name: str
    key: str
    seed: int
    folder: Path
    table: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """As many cells as the table has columns. `num_questions` counts the test questions answered, None for published rows."""

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
    """`notes` belong only to this table; `caption` has what a paper must say below it, in short. Texts may hold `code` between backticks."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    row_title: str = "arm"
    caption: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One picture in two formats; `description` is its text for readers who cannot see it.

    `at_width` draws it anew for a width in inches, a size of text in points and a format: svg or pdf. A figure without it has one size.
    """

    name: str
    title: str
    description: str
    png: bytes = field(repr=False)
    svg: bytes = field(repr=False)
    at_width: Callable[[float, float, str], bytes] | None = field(default=None, compare=False, repr=False)

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        return self.png


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """`name` is the name under which it was requested. `left_out` has a line for each group of runs that the report excludes. `paper` is the
    style of paper, one of PAPERS, that tables and figures are made to fit.
    """

    name: str
    title: str
    tables: tuple[Table, ...]
    figures: tuple[Figure, ...] = ()
    footnotes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    runs: tuple[UsedRun, ...] = ()
    paper: str = USUAL

    @property
    def gaps(self) -> list[Gap]:
        """Every run that a table lacks, without duplicates."""
        return list(dict.fromkeys(gap for table in self.tables for row in table.rows for gap in row.gaps))


def p_text(value: float) -> str:
    """A p-value as tables show it."""
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def text_table(
    title: str, headings: Sequence[str], rows: Iterable[Sequence[str | Cell]], *, left: Collection[str] = (), notes: Iterable[str] = ()
) -> Table:
    """A table of texts: the first text of a row is its label, `left` names the other columns that are aligned on the left."""
    columns = tuple(Column(name=heading, title=heading, align="left" if heading in left else "right") for heading in headings[1:])
    lines = ((label, tuple(cell if isinstance(cell, Cell) else Cell(text=cell) for cell in cells)) for label, *cells in rows)
    entries = tuple(Row(label=str(label), kind="entry", cells=cells) for label, cells in lines)
    return Table(name="", title=title, columns=columns, rows=entries, notes=tuple(notes), row_title=headings[0])
