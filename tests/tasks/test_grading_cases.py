"""The grading cases beside the data: wrong answers that look right, and right ones in an unusual dress."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cotexp.tasks.benchmarks import BENCHMARKS
from cotexp.tasks.choices import LETTERS
from cotexp.tasks.gold import read_gold
from cotexp.tasks.grading import Answered, grade_all


@pytest.fixture
def cases(benchmark_data: Path) -> list[dict[str, Any]]:
    path = benchmark_data.parent / "cases/grading.jsonl"
    if not path.exists():
        pytest.skip("needs the file of grading cases beside the benchmark files")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def label(case: dict[str, Any]) -> bool:
    """The strict label; no answer equals a gold answer that is refused."""
    answer_type = BENCHMARKS[case["task"]].answer_type
    given = case.get("options") or {}
    options = dict(zip(LETTERS, given, strict=False)) if isinstance(given, list) else given
    try:
        gold = read_gold(case["gold"], answer_type, options or None)
    except ValueError:
        return False
    [grade] = grade_all([Answered(id="0", text=case["text"], gold=gold, answer_type=answer_type, options=options)], whole_text=False)
    return grade.strict


def test_every_number_choice_and_boolean_has_its_label(cases: list[dict[str, Any]]) -> None:
    own = [each for each in cases if BENCHMARKS[each["task"]].answer_type != "latex"]
    assert len(own) > 200
    assert [(each["gold"], each["text"]) for each in own if label(each) != each["right"]] == []
