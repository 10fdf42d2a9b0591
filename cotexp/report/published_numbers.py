"""Published numbers of other systems as rows of a table, with their sources."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cotexp.report.declared import Peers, Published, PublishedRow
from cotexp.report.document import Cell, Column, Row
from cotexp.settings.base import ConfigError

MEASURES = ("accuracy", "cot_tokens", "ratio", "latency")
"""Columns that a published row can fill; the others are empty."""
NOT_AVAILABLE = Cell(text="not available", state="not available")


class PublishedRows(NamedTuple):
    """Rows and the notes that belong to them."""

    rows: tuple[Row, ...]
    notes: tuple[str, ...]


def published_rows(peers: Peers, file: Published, columns: Sequence[Column]) -> PublishedRows:
    """The rows of a file of published numbers for this model and task. Raises: ConfigError if there is none."""
    matching = [row for row in file.rows if (peers.model in (None, row.model)) and (peers.task in (None, row.task))]
    if not matching:
        pairs = sorted({f"{row.model}, {row.task}" for row in file.rows})
        raise ConfigError(f"report: conf/report/published/{peers.file}.yaml has no row of {peers.model}, {peers.task}; it has {'; '.join(pairs)}")
    rows = tuple(
        Row(
            label=_label(file.system, row),
            kind="published",
            cells=tuple(_cell(row, column.name) for column in columns),
            source=file.source,
        )
        for row in matching
    )
    source = f"{file.system} (published): {file.source}. Its models, questions, counts of tokens and hardware are others: context, no comparison."
    return PublishedRows(rows, (source, *file.notes))


def _label(system: str, row: PublishedRow) -> str:
    method = "" if row.method == system else f": {row.method}"
    return f"{system}{method}{f', {row.model}' if row.model else ''} (published)"


def _cell(row: PublishedRow, column: str) -> Cell:
    """The number with the digits that were published: tokens may be whole numbers, others have a decimal at least."""
    if column not in MEASURES:
        return Cell()
    value = getattr(row, column)
    if value is None:
        return NOT_AVAILABLE
    return Cell(text=f"{value:g}" if column == "cot_tokens" else max(f"{value:g}", f"{value:.1f}", key=len), value=value)
