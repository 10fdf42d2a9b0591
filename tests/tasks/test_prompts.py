"""Prompts: templates, options, and worked examples from the draw or from a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cotexp.settings.base import ConfigError
from cotexp.tasks import BenchmarkTask, prompt_for, prompt_of
from cotexp.tasks.splits import make_question

PLAIN = make_question("t", text="How {many}?", answer="5", answer_type="decimal", references=["Two and three.\nThe answer is \\boxed{5}."])
CHOICE = make_question("t", text="Which?", answer="B", answer_type="choice", options={"A": "iron", "B": "{wood}"})
CHOICE_PROMPT = "Q: {question}\n{options}\nEnd."


def task(**more: Any) -> BenchmarkTask:
    return BenchmarkTask(name="t", **more)


def worked(number: int) -> Any:
    return make_question("t", text=f"Q{number}", answer=str(number), answer_type="decimal", references=[f"S{number}"])


def test_the_default_prompt_asks_for_a_box_and_leaves_braces_of_the_question_alone() -> None:
    expected = "How {many}?\nLet's think step by step, and put the final answer in \\boxed{}."
    assert prompt_of(task())(PLAIN) == prompt_for(task(), PLAIN) == expected


def test_options_stand_one_a_line() -> None:
    assert prompt_of(task(prompt=CHOICE_PROMPT))(CHOICE) == "Q: Which?\n(A) iron\n(B) {wood}\nEnd."


def test_worked_examples_come_first_with_blank_lines_between() -> None:
    prompt = prompt_of(task(prompt="Q: {question}", few_shot=2), [worked(1), worked(2), worked(3)])
    assert prompt(PLAIN) == "Q: Q1\nS1\n\nQ: Q2\nS2\n\nQ: How {many}?"


def test_without_enough_worked_examples_a_file_is_asked_for() -> None:
    with pytest.raises(ConfigError, match=r"training questions of t give 1 worked examples.*asks for 2; give task\.few_shot_file=FILE"):
        prompt_of(task(few_shot=2), [worked(1), CHOICE])


def test_the_identity_changes_with_template_and_examples_alone() -> None:
    plain, one, other = prompt_of(task()), prompt_of(task(few_shot=1), [worked(1)]), prompt_of(task(few_shot=1), [worked(2)])
    assert plain.identity["shots"] == ""
    assert len({str(each.identity) for each in (plain, one, other, prompt_of(task(prompt="{question}")))}) == 4
    assert one.identity == prompt_of(task(few_shot=1), [worked(1), worked(2)]).identity


def few_shot_file(folder: Path, *rows: dict[str, Any]) -> str:
    path = folder / "shots.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return str(path)


def test_a_file_of_worked_examples_takes_the_place_of_training_questions(tmp_path: Path) -> None:
    path = few_shot_file(tmp_path, {"question": "F1", "solution": "G1", "options": ["x", "y"]}, {"question": "F2", "solution": "G2"})
    prompt = prompt_of(task(prompt="{question}", few_shot=1, few_shot_file=path), [worked(1)])
    assert prompt(PLAIN) == "F1\nG1\n\nHow {many}?"


def test_a_file_for_multiple_choice_shows_options(tmp_path: Path) -> None:
    path = few_shot_file(tmp_path, {"question": "F1", "solution": "G1", "options": {"A": "x", "B": "y"}})
    prompt = prompt_of(task(prompt=CHOICE_PROMPT, few_shot=1, few_shot_file=path))
    assert prompt(CHOICE) == "Q: F1\n(A) x\n(B) y\nEnd.\nG1\n\nQ: Which?\n(A) iron\n(B) {wood}\nEnd."


@pytest.mark.parametrize(
    ("rows", "prompt", "expected"),
    [
        ([{"question": "F1", "solution": "G1"}], "{question}", "has 1 worked examples, but task.few_shot asks for 2; add lines to the file"),
        ([{"question": "F1", "solution": "G1"}, {"question": "F2"}], "{question}", "shots.jsonl, line 2: field 'solution' is missing"),
        ([{"question": "F1", "solution": " "}] * 2, "{question}", "shots.jsonl, line 1: field 'solution' must not be empty"),
        ([{"question": "F1", "solution": "G1"}] * 2, CHOICE_PROMPT, "shots.jsonl, line 1: field 'options' is missing"),
    ],
)
def test_a_file_that_does_not_do_is_refused(tmp_path: Path, rows: list[dict[str, Any]], prompt: str, expected: str) -> None:
    path = few_shot_file(tmp_path, *rows)
    with pytest.raises(ConfigError) as error:
        prompt_of(task(prompt=prompt, few_shot=2, few_shot_file=path))
    assert expected in str(error.value)
    assert str(error.value).startswith("task.few_shot_file: ")


def test_a_missing_file_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"task\.few_shot_file: .* must name a readable file"):
        prompt_of(task(few_shot=1, few_shot_file="nowhere.jsonl"))
