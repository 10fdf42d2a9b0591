"""Rows of W&B's curve by round."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from cotexp.tracking.tables import round_curve

PATIENCE = {"name": "macc", "stop": "patience", "patience": 2, "max_rounds": 10}


def curve_of(folder: Path, chains: list[dict[str, Any]]) -> list[dict[str, float]]:
    (folder / "compressed.jsonl").write_text("".join(json.dumps(each) + "\n" for each in chains))
    (folder / "settings.json").write_text(json.dumps({"name": "exp", "compression": PATIENCE}))
    return list(round_curve(folder))


def test_the_curve_by_round_has_the_perplexity_of_the_answers_in_the_rounds_where_it_was_measured(tmp_path: Path) -> None:
    """Round 1: exp((1 + 3) / 4) over both chains; round 2 of the first chain was not measured, and the second ended before it."""
    chains = [
        {"round_num_tokens": [10, 6, 4], "kept_round": 2, "num_answer_tokens": 2, "round_answer_nll": [0.0, 1.0, None]},
        {"round_num_tokens": [20, 12], "kept_round": 1, "num_answer_tokens": 2, "round_answer_nll": [2.0, 3.0]},
        {"round_num_tokens": [30, 18], "kept_round": 1},
    ]
    curve = curve_of(tmp_path, chains)
    assert [each.get("rounds/answer_perplexity") for each in curve] == [pytest.approx(math.exp(0.5)), pytest.approx(math.e), None]
    assert [each["rounds/num_tokens"] for each in curve] == [20, 12, 4]


def test_the_curve_has_the_tokens_of_the_texts_that_are_kept_if_rounds_end_there(tmp_path: Path) -> None:
    """The shortest so far under stop=patience; the second chain has no rounds."""
    chains = [{"round_num_tokens": [100, 80, 90, 70, 95], "kept_round": 3}, {"round_num_tokens": [20], "kept_round": 0}]
    assert [each["rounds/num_tokens_kept"] for each in curve_of(tmp_path, chains)] == [60, 50, 50, 45, 45]
