"""What rounds keep of chains that were written by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from written_runs import write_run

from cotexp.report import survival
from cotexp.report.style import picture

CHAINS = {
    "a": ["She has 2: 2 + 9 = 11. Then 11 + 8 = 19.", "2 + 9 = 11, 8 + 11 = 19", "11 + 8 = 19", "She has 2: 2 + 9 = 11. Then 11 + 8 = 19."],
    "b": ["3 - 1 = 2 and 2 * 4 = 8", "2 * 4 = 8", ""],
}
"""Chain a: all kept in round 1; one of two calculations in round 2. Chain b: one of two in round 1; round 2 is empty."""


def test_each_round_counts_the_calculations_and_numbers_that_are_left(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "key", chains=CHAINS)
    found = {each.label: each for each in survival.read(folder)}
    assert list(found) == ["1", "2", "3", "kept text"]
    assert found["1"].shares["calculations"] == [1, 0.5]
    assert found["1"].shares["numbers"] == [1, pytest.approx(3 / 5)]
    assert (found["2"].num_chains, found["2"].shares["calculations"], found["2"].shares["numbers"]) == (1, [0.5], [pytest.approx(3 / 5)])
    assert found["kept text"].shares["calculations"] == [0.5, 0.5], "round 2 of chain a, round 1 of chain b"
    assert found["1"].shares["answer"] == [1, 1]


def test_the_table_and_the_figure_show_every_round(tmp_path: Path) -> None:
    found = survival.read(write_run(tmp_path, "key", chains=CHAINS))
    (table,) = survival.tables(found)
    assert [row.label for row in table.rows] == ["1", "2", "3", "kept text"]
    assert [cell.text.split(" ")[0] for cell in table.rows[0].cells] == ["2", "75.0", "80.0", "100.0"]
    assert picture(survival.drawings(found)[0]).png.startswith(b"\x89PNG")


def test_a_run_without_rounds_has_no_such_table(tmp_path: Path) -> None:
    found = survival.read(write_run(tmp_path, "key", answers={"base": {"a": "right"}}))
    assert found == survival.tables(found) == survival.drawings(found) == []
