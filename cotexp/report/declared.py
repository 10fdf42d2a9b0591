"""The settings of a declared report: rows, columns, baseline, and published numbers to compare with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cotexp.report import arm_table
from cotexp.settings.base import Section, setting
from cotexp.settings.evaluation import MODES


@dataclass(slots=True, kw_only=True)
class Peers(Section):
    """Published rows to show below a table."""

    file: str = setting("", "File in conf/report/published, without its ending.")
    model: str | None = setting(None, "Model of the rows, as the file spells it; all by default.")
    task: str | None = setting(None, "Task of the rows; all by default.")


@dataclass(slots=True, kw_only=True)
class DeclaredTable(Section):
    """One table: the points of a sweep, or all runs of some experiments."""

    title: str = setting("", "Heading; the report's by default.")
    sweep: str | None = setting(None, "Grid in conf/sweep whose points are the expected runs.")
    overrides: list[str] = setting([], "Further arguments of `cotexp run -m`, in addition to the sweep.")
    runs: list[str] = setting([], "Experiments whose runs are the rows, if there is no sweep.")
    seeds: list[int] = setting([], "Seeds that every arm of `runs` should have; a sweep names its own.", low=0)
    where: dict[str, Any] = setting(dict, "Only runs with these settings, such as task: gsm8k or compression.stop: rebound.")
    mode: str | None = setting(None, "Evaluated mode; by default each run's last.", choices=MODES)
    baseline: str | None = setting(
        None,
        "Arm to compare with, by settings in its label; `base`: the model that each arm was fine-tuned from; by default what the runs declare.",
    )
    columns: list[str] = setting([], "Columns in order; the usual ones by default.")
    labels: dict[str, str] = setting(dict, "Short names of settings in the labels of rows; a setting with an empty name is left out.")
    published: list[Peers] = setting([], "Published numbers to show below ours.")
    notes: list[str] = setting([], "Sentences below the table.")

    def contradictions(self) -> Iterator[str]:
        if (self.sweep is None) == (not self.runs):
            yield f"sweep or runs must be given, not both; got sweep={self.sweep} and runs={self.runs}"
        if self.seeds and self.sweep:
            yield f"seeds cannot be given with sweep, which has its own; leave them out; got {self.seeds}"
        if self.overrides and not self.sweep:
            yield f"overrides are read only with sweep; got {self.overrides}"
        for column in self.columns:
            try:
                arm_table.column_named(column)
            except ValueError as error:
                yield f"columns {error}"


@dataclass(slots=True, kw_only=True)
class DeclaredReport(Section):
    """A report in one file."""

    title: str = setting("", "Heading of the report.")
    tables: list[DeclaredTable] = setting([], "The tables in order.")
    footnotes: list[str] = setting([], "Sentences at the end.")

    def contradictions(self) -> Iterator[str]:
        if not self.title:
            yield "title must be given"
        if not self.tables:
            yield "tables must hold at least one table"


@dataclass(slots=True, kw_only=True)
class PublishedRow(Section):
    """Published numbers of one method; None for a number that was not published."""

    method: str = setting("", "Name of the row.")
    model: str | None = setting(None, "Model that was measured.")
    task: str | None = setting(None, "Benchmark.")
    accuracy: float | None = setting(None, "Percent.", low=0, high=100)
    cot_tokens: float | None = setting(None, "Mean tokens of the chain of thought.", low=0)
    ratio: float | None = setting(None, "Short over long tokens.", low=0)
    latency: float | None = setting(None, "Seconds per question, as the source measured them.", low=0)


@dataclass(slots=True, kw_only=True)
class Published(Section):
    """One source's numbers."""

    system: str = setting("", "Name of the method.")
    source: str = setting("", "Reference of the numbers.")
    notes: list[str] = setting([], "What a reader must know to compare with them.")
    rows: list[PublishedRow] = setting([], "The numbers.")
