"""Compression round by round: what is read of a run, and that figures of one run and of several can be drawn, twice the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cotexp.report import rounds
from cotexp.report.rounds import CompressedSet
from cotexp.report.style import picture


def write(folder: Path, chains: list[dict[str, Any]], **metrics: float) -> Path:
    folder.mkdir()
    (folder / "compressed.jsonl").write_text("".join(json.dumps(each) + "\n" for each in chains))
    (folder / "stages.json").write_text(json.dumps({"rounds/stories": {"key": "r"}, "checkpoint": {"key": "c"}}))
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


REBOUND = {"round_num_tokens": [10, 6, 8], "num_rounds_run": 2, "stop_reason": "rebound", "kept_round": 1}
LIMIT = {"round_num_tokens": [20, 12, 9, 5], "num_rounds_run": 3, "stop_reason": "limit", "kept_round": 3}


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
