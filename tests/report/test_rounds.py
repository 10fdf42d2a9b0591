"""Compression round by round: what is read of a run, and that figures of one run and of several can be drawn, twice the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from written_runs import write_run

from cotexp.report import rounds
from cotexp.report.rounds import CompressedSet
from cotexp.report.style import Drawing, picture

MACC = {"name": "macc", "stop": "rebound", "max_rounds": 10}


def write(folder: Path, chains: list[dict[str, Any]], **metrics: float) -> Path:
    folder.mkdir()
    (folder / "compressed.jsonl").write_text("".join(json.dumps(each) + "\n" for each in chains))
    (folder / "stages.json").write_text(json.dumps({"rounds/stories": {"key": "r"}, "checkpoint": {"key": "c"}}))
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "settings.json").write_text(json.dumps({"name": "exp", "compression": MACC}))
    return folder


REBOUND = {"round_num_tokens": [10, 6, 8], "num_rounds_run": 2, "stop_reason": "rebound", "kept_round": 1}
UNWRITTEN = {"round_num_tokens": [30], "num_rounds_run": 0, "stop_reason": "answer_lost", "kept_round": 0}
LIMIT = {"round_num_tokens": [20, 12, 9, 5], "num_rounds_run": 3, "stop_reason": "limit", "kept_round": 3}


def drawn(drawing: Drawing) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(drawing.width, 3.0))
    drawing.draw(figure)
    return figure


@pytest.fixture
def compressed(tmp_path: Path) -> CompressedSet:
    perplexities = {"compression/original_perplexity": 1.5, "compression/perplexity_round_1": 3.0, "compression/perplexity_round_3": 60.0}
    found = rounds.read(write(tmp_path / "run", [REBOUND, LIMIT], **perplexities))
    assert found
    return found


def test_what_is_kept_after_each_round_stays_when_a_chain_has_stopped(compressed: CompressedSet) -> None:
    assert compressed.kept_lengths() == [[10, 20], [6, 12], [6, 9], [6, 5]]
    assert compressed.stops == [(2, "rebound"), (3, "limit")]
    assert compressed.perplexities == [1.5, 3.0, None, 60.0], "a round that was not measured has none"
    assert compressed.source == ("r",)


def test_a_run_without_rounds_has_nothing_to_draw(tmp_path: Path) -> None:
    assert rounds.read(tmp_path) is None
    assert rounds.read(write(tmp_path / "cut", [{"round_num_tokens": [7]}])) is None
    assert list(rounds.drawings([])) == []


def test_a_rule_that_keeps_the_shortest_keeps_at_each_round_the_shortest_until_then(tmp_path: Path) -> None:
    """A longer rewrite before the kept one is not what is kept if rounds end there."""
    chain = {"round_num_tokens": [100, 80, 90, 70, 95, 99], "num_rounds_run": 5, "stop_reason": "patience", "kept_round": 3}
    folder = write(tmp_path / "run", [chain])
    (folder / "settings.json").write_text(json.dumps({"name": "exp", "compression": {**MACC, "stop": "patience", "patience": 2}}))
    found = rounds.read(folder)
    assert found
    assert [length for (length,) in found.kept_lengths()] == [100, 80, 80, 70, 70, 70]


def test_a_rule_that_asks_for_answers_keeps_at_each_round_the_shortest_that_keeps_its_answer(tmp_path: Path) -> None:
    """Round 1 has lost its answer; whether a rewrite kept it is in the store alone."""
    chains = {"a": ["right " * 9, "", "right " * 7, "right " * 8, "right " * 5]}
    folder = write_run(tmp_path, "key", chains=chains)
    row = json.loads((folder / "compressed.jsonl").read_text())
    row |= {"round_num_tokens": [9, 3, 7, 8, 5], "kept_round": 4, "stop_reason": "limit"}
    (folder / "compressed.jsonl").write_text(json.dumps(row) + "\n")
    (folder / "settings.json").write_text(json.dumps({"name": "exp", "compression": {"name": "shortest_correct", "max_rounds": 4}}))
    found = rounds.read(folder)
    assert found
    assert [length for (length,) in found.kept_lengths()] == [9, 9, 7, 7, 5]


def test_chains_without_rounds_count_as_they_were_written(tmp_path: Path) -> None:
    found = rounds.read(write(tmp_path / "run", [REBOUND, UNWRITTEN, UNWRITTEN]))
    assert found
    assert found.kept_lengths() == [[10, 30, 30], [6, 30, 30], [6, 30, 30]]
    assert found.stops == [(2, "rebound"), (0, "answer_lost"), (0, "answer_lost")]
    tokens, stops = rounds.drawings([found])
    assert "2 of 3 chains have no rounds and count as they were written." in tokens.description
    assert "The only arm with rounds: compression=tale." in next(rounds.drawings([replace(found, label="compression=tale")])).description
    figure = drawn(stops)
    assert [bar.get_height() for bar in figure.axes[0].patches] == [0, 0, 1, 2, 0, 0], "rebound, then answer lost, in rounds 0, 1, 2"


def test_one_line_for_arms_that_share_rounds_says_which_arm_it_is(tmp_path: Path, compressed: CompressedSet) -> None:
    long, short = replace(compressed, label="stop=rebound"), replace(compressed, label="fixed_k=1", lengths=[[10, 6]], kept=[[0, 1]], content="x")
    for drawing in rounds.drawings([short, long]):
        if drawing.name != "stop_rounds":
            figure = drawn(drawing)
            named = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
            assert any("stop=rebound" in name for name in named), drawing.name
            assert "the one with the most rounds (stop=rebound) is shown" in drawing.description
    assert not any("arms" in drawing.description for drawing in rounds.drawings([compressed]))


def test_a_figure_says_how_many_sets_it_has_no_place_for(compressed: CompressedSet) -> None:
    sets = [replace(compressed, label=f"arm {number}", content=str(number), source=(str(number),)) for number in range(17)]
    assert len(rounds.longest(sets)) == 17, "tables show them all"
    tokens, stops, perplexity = (drawing.description for drawing in rounds.drawings(sets))
    assert tokens.endswith(" 7 of 17 sets of rounds are shown.")
    assert perplexity.endswith(" 7 of 17 sets of rounds are shown.")
    assert stops.endswith(" 16 of 17 arms are shown.")


def test_perplexity_is_drawn_where_it_was_measured_alone(compressed: CompressedSet, tmp_path: Path) -> None:
    assert [each.name for each in rounds.drawings([compressed])] == ["tokens_per_round", "stop_rounds", "perplexity_per_round"]
    unmeasured = rounds.read(write(tmp_path / "unmeasured", [LIMIT]))
    assert unmeasured
    assert [each.name for each in rounds.drawings([unmeasured])] == ["tokens_per_round", "stop_rounds"]


@pytest.mark.slow
def test_figures_of_one_set_and_of_several_are_drawn_and_twice_the_same(compressed: CompressedSet, tmp_path: Path) -> None:
    """Warnings, such as of a layout that does not fit, are errors."""
    other = rounds.read(write(tmp_path / "other", [LIMIT, LIMIT, {**REBOUND, "stop_reason": "patience"}]), "compression.stop=patience, " * 4)
    assert other
    for sets in ([compressed], [compressed, other]):
        for drawing in rounds.drawings(sets):
            first, second = picture(drawing), picture(drawing)
            assert first.png.startswith(b"\x89PNG")
            assert first == second, drawing.name
