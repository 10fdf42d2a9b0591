"""What rounds keep of chains that were written by hand."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest
from written_runs import write_run

from cotexp.report import rounds, survival
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
    (table,) = survival.tables({"": found})
    assert [row.label for row in table.rows] == ["1", "2", "3", "kept text"]
    assert [cell.text.split(" ")[0] for cell in table.rows[0].cells] == ["2", "75.0", "80.0", "100.0"]
    assert picture(*survival.drawings({"": found})).png.startswith(b"\x89PNG")


def test_a_run_without_rounds_has_no_such_table(tmp_path: Path) -> None:
    found = survival.read(write_run(tmp_path, "key", answers={"base": {"a": "right"}}))
    assert found == survival.tables({"": found}) == list(survival.drawings({"": found})) == []


def test_chains_without_rounds_are_among_the_kept_texts_as_they_were_written(tmp_path: Path) -> None:
    found = survival.read(write_run(tmp_path, "key", chains=CHAINS | {"c": ["1 + 1 = 2"]}))
    assert [(each.label, each.num_chains) for each in found] == [("1", 2), ("2", 1), ("3", 1), ("kept text", 3)]
    assert found[-1].shares["calculations"] == [0.5, 0.5, 1]


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """Answers of two tokens. Chain a: nats after rounds 0 to 3, then without a chain; chain b was measured in rounds 0 and 1."""
    folder = write_run(tmp_path, "key", chains=CHAINS)
    rows = [json.loads(line) for line in (folder / "compressed.jsonl").read_text().splitlines()]
    rows[0] |= {"num_answer_tokens": 2, "round_answer_nll": [0.0, 1.0, 8.0, 0.5], "answer_nll": 8.0, "answer_nll_alone": 4.0}
    rows[1] |= {"num_answer_tokens": 2, "round_answer_nll": [2.0, 3.0, None], "answer_nll": 3.0, "answer_nll_alone": 6.0}
    (folder / "compressed.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    return folder


def test_each_round_has_the_perplexity_of_the_answer_beside_that_of_the_same_chains_as_written_and_without_a_chain(measured: Path) -> None:
    """Round 1: exp((1 + 3) / 4), as written exp((0 + 2) / 4), alone exp((4 + 6) / 4). Round 2 has chain a alone, whose answer no longer follows."""
    found = survival.read(measured)
    _, table = survival.tables({"": found})
    rows = {row.label: row.cells for row in table.rows}
    assert [cell.value for cell in rows["1"][1:]] == pytest.approx([math.e, math.exp(0.5), math.exp(2.5), 100.0])
    assert [cell.value for cell in rows["2"][1:]] == pytest.approx([math.exp(4), 1.0, math.exp(2), 0.0])
    assert [cell.value for cell in rows["kept text"][1:]] == pytest.approx([math.exp(11 / 4), math.exp(0.5), math.exp(2.5), 50.0])
    assert [row[0].text for row in rows.values()] == ["2", "1", "1", "2"]
    assert (rows["1"][1].text, rows["1"][1].low, rows["1"][1].high) == ("2.718", None, None), "two chains are too few for an interval"


def test_several_sets_have_tables_and_lines_of_their_own(measured: Path, tmp_path: Path) -> None:
    found = {"macc": survival.read(measured), "single": survival.read(write_run(tmp_path / "other", "other", chains={"a": CHAINS["a"][:2]}))}
    tables = {each.name: each for each in survival.tables(found, "1-")}
    assert list(tables) == ["1-survival", "1-answers", "1-survival-2"], "the answers of the second were not measured"
    assert [row.label for row in tables["1-survival"].rows] == ["1", "2", "3", "kept text"]
    assert [row.label for row in tables["1-survival-2"].rows] == ["1", "kept text"]
    assert (tables["1-answers"].title, tables["1-survival-2"].title) == ("Whether the answer still follows: macc", "What a round keeps: single")
    (drawing,) = survival.drawings(found)
    assert picture(drawing) == picture(drawing)
    assert picture(*survival.drawings({"": found["macc"]})).png.startswith(b"\x89PNG")


def test_stop_rules_that_share_rounds_have_the_rounds_once_and_each_its_kept_texts(tmp_path: Path) -> None:
    """The second rule keeps round 1 of chain a, and its run is the shorter one."""
    folders = [write_run(tmp_path / name, name, chains=chains) for name, chains in (("long", CHAINS), ("short", CHAINS | {"a": CHAINS["a"][:2]}))]
    sets = [found for folder in folders if (found := rounds.read(folder, folder.name)) is not None]
    shared = [dataclasses.replace(each, source=("rounds",)) for each in sets]
    for order in (shared, shared[::-1]):
        (found,) = survival.of_sets(order).values()
        assert [each.label for each in found[:3]] == ["1", "2", "3"]
        kept = {each.label: each.shares for each in found[3:]}
        assert kept == {f"kept text: {folder.name}": survival.read(folder)[-1].shares for folder in folders}
        assert [each.title for each in survival.tables(survival.of_sets(order))] == ["What a round keeps: long"]
        (drawing,) = survival.drawings(survival.of_sets(order))
        assert drawing.description.endswith("The rounds are those of long.")
    ((label, alone),) = survival.of_sets(shared[:1]).items()
    assert label == ""
    assert alone[-1].label == "kept text"


def test_tables_show_every_set_and_the_figure_says_how_many_it_shows(tmp_path: Path) -> None:
    found = {f"arm {number}": survival.read(write_run(tmp_path / str(number), "key", chains=CHAINS)) for number in range(9)}
    assert len(survival.tables(found)) == 9
    (drawing,) = survival.drawings(found)
    assert drawing.description.endswith(" 7 of 9 sets of rounds are shown.")
