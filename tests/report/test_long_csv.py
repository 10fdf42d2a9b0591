"""A report as tidy CSV: a row per value, with everything that tells what it is worth."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from cotexp.report import long_csv
from cotexp.report.document import Cell, Column, Gap, Report, Row, Table, UsedRun

COLUMNS = (Column(name="accuracy", title="accuracy, %"), Column(name="difference", title="difference"), Column(name="p", title="p"))


def row(label: str, *cells: Cell, **others: object) -> Row:
    return Row(label=label, kind="arm", cells=cells, **others)  # type: ignore[arg-type]


def test_every_value_has_a_row_with_interval_seeds_state_and_runs() -> None:
    accuracy = Cell(text="80.0 (70.0 to 90.0)", value=80.0, low=70.0, high=90.0, deviation=1 / 3, bold=True, state="partial")
    gap = Gap(row="a, b", seed=2, state="failed", command="python run.py seed=2")
    rows = (
        row("a, b", accuracy, Cell(text="+1.0", value=1.0, within_noise=True), Cell(), seeds=(0, 1), num_questions=40, gaps=(gap,)),
        row("none", *[Cell(text="missing", state="missing")] * 3),
    )
    runs = tuple(UsedRun(table="1", row="a, b", name="exp", key=key, seed=seed, folder=Path()) for seed, key in enumerate(("k0", "k1")))
    other = UsedRun(table="2", row="a, b", name="exp", key="k2", seed=0, folder=Path())
    report = Report(name="x", title="X", tables=(Table(name="1", title="T", columns=COLUMNS, rows=rows),), runs=(*runs, other))
    first, second, *missing = csv.DictReader(io.StringIO(long_csv.long_csv(report)))
    assert {name: first[name] for name in ("report", "table", "row", "column", "value", "low", "high", "deviation")} == {
        "report": "x",
        "table": "1",
        "row": "a, b",
        "column": "accuracy",
        "value": "80",
        "low": "70",
        "high": "90",
        "deviation": "0.3333333333",
    }
    assert (first["num_questions"], first["num_seeds"], first["seeds"], first["is_best"], first["state"]) == ("40", "2", "0 1", "1", "partial")
    assert (first["missing_seeds"], first["commands"], first["runs"]) == ("2", "python run.py seed=2", "exp/k0 exp/k1")
    assert (first["within_noise"], second["within_noise"]) == ("", "1"), "noise is a matter of differences"
    assert [(each["value"], each["state"]) for each in missing] == [("", "missing")] * 3
