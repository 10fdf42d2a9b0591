"""The grading cases beside the data: wrong answers that look right, and right ones in an unusual dress."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from cotexp.tasks.grading import grade_all

answered = runpy.run_path(str(Path(__file__).resolve().parents[2] / "benchmarks/grading_cases.py"))["answered"]


@pytest.fixture
def cases(benchmark_data: Path) -> list[dict[str, Any]]:
    path = benchmark_data.parent / "cases/grading.jsonl"
    if not path.exists():
        pytest.skip("needs the file of grading cases beside the benchmark files")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def test_every_number_choice_and_boolean_has_its_label(cases: list[dict[str, Any]]) -> None:
    """A gold answer that is refused has no text to grade; no answer equals it."""
    texts = {number: text for number, case in enumerate(cases) if (text := answered(case, number)) is None or text.answer_type != "latex"}
    grades = {int(each.id): each.strict for each in grade_all([each for each in texts.values() if each], whole_text=False)}
    assert len(texts) > 200
    assert [(cases[number]["gold"], cases[number]["text"]) for number in texts if grades.get(number, False) != cases[number]["right"]] == []
