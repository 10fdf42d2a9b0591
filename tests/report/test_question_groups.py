"""Accuracy by difficulty of the question, with groups that are counted by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from run_folders import MORSD
from run_folders import write_run as write_answers
from sample_records import prediction
from written_runs import write_run

from cotexp import report
from cotexp.methods.statistics import wilson
from cotexp.report.arm_rows import ComparedArms, measure_arms
from cotexp.report.arms import arms_of
from cotexp.report.finished_runs import find_runs
from cotexp.report.question_groups import MOST_ARMS, Measured, drawings, groups_of, of_arms, tables
from cotexp.report.style import picture

BASE = [prediction(f"q{number}", correct=number < 3, num_cot_tokens=10 * number) for number in range(8)]


def test_questions_are_grouped_by_steps_by_the_bases_length_and_by_its_answer() -> None:
    steps = {"q0": 2, "q1": 2, "q2": 3}
    found = [(group.kind, group.label, sorted(group.questions)) for group in groups_of(steps, BASE)]
    assert found == [
        ("steps", "2", ["q0", "q1"]),
        ("steps", "3", ["q2"]),
        ("tokens", "0 to 10", ["q0", "q1"]),
        ("tokens", "20 to 30", ["q2", "q3"]),
        ("tokens", "40 to 50", ["q4", "q5"]),
        ("tokens", "60 to 70", ["q6", "q7"]),
        ("base", "right", ["q0", "q1", "q2"]),
        ("base", "wrong", ["q3", "q4", "q5", "q6", "q7"]),
    ]


def test_lengths_that_several_samples_make_fractions_are_whole_tokens() -> None:
    """9.5, 9.5, 10, 10.5 and 11 tokens: each question is in one group."""
    lengths = {"q1": (9, 10), "q2": (9, 10), "q3": (10, 10), "q4": (10, 11), "q5": (11, 11)}
    base = [prediction(name, num_cot_tokens=length) for name, samples in lengths.items() for length in samples]
    found = {group.label: sorted(group.questions) for group in groups_of({}, base) if group.kind == "tokens"}
    assert found == {"10": ["q1", "q2", "q3", "q4"], "11": ["q5"]}


def test_questions_that_the_base_model_gets_right_in_half_of_its_samples_are_a_group_of_their_own() -> None:
    base = [
        prediction(name, correct=correct) for name, marks in {"a": (True, True), "b": (True, False), "c": (False, False)}.items() for correct in marks
    ]
    found = {group.label: sorted(group.questions) for group in groups_of({}, base) if group.kind == "base"}
    assert found == {"right": ["a"], "half right": ["b"], "wrong": ["c"]}


def test_a_table_counts_the_questions_whose_difficulty_is_not_known() -> None:
    answers = [prediction(name, correct=True) for name in "abcd"]
    (table,) = tables([Measured("arm", {0: answers})], groups_of({"a": 1, "b": 2, "c": 2}, []))
    assert table.notes[1:] == ("Not known of 1 of 4 questions: steps of the worked solution.",)


def test_what_does_not_distinguish_questions_is_no_group() -> None:
    assert groups_of({"q0": 2, "q1": 2}, []) == []
    assert [group.kind for group in groups_of({}, [prediction("a", correct=True), prediction("b")])] == ["base", "base"]


def test_each_group_has_its_accuracy_with_its_interval() -> None:
    answers = [prediction(f"q{number}", correct=number in (0, 3, 4)) for number in range(8)]
    (table,) = [each for each in tables([Measured("arm", {0: answers})], groups_of({}, BASE)) if each.name == "base"]
    assert [column.title for column in table.columns] == ["right (n = 3)", "wrong (n = 5)"]
    right, wrong = table.rows[0].cells
    assert (right.value, wrong.value) == (pytest.approx(100 / 3), 40)
    assert (right.low, right.high) == pytest.approx(tuple(100 * end for end in wilson(1, 3)))


def test_an_arm_without_answers_in_a_group_has_an_empty_cell_and_the_figure_is_drawn() -> None:
    found = tables([Measured("arm", {0: [prediction("q0", correct=True)]})], groups_of({}, BASE))
    assert [cell.text for cell in found[-1].rows[0].cells] == ["100.0 (20.7 to 100.0)", ""]
    assert picture(drawings(found)[0]).png.startswith(b"\x89PNG")
    assert drawings([]) == []


def test_a_run_shows_its_modes_by_steps_and_by_the_bases_answers(tmp_path: Path) -> None:
    answers = {"base": {"a": "right", "b": "wrong one", "c": "right"}, "full": {"a": "right", "b": "right", "c": "wrong"}}
    folder = write_run(tmp_path, "key", answers=answers)
    content = json.loads((folder / "questions.json").read_text())
    for name, steps in (("a", 1), ("b", 2), ("c", 2)):
        content["questions"][name]["num_steps"] = steps
    (folder / "questions.json").write_text(json.dumps(content))
    (folder / "metrics.json").write_text(json.dumps({"eval/base/num_questions": 3}))
    report.write(folder)
    text = (folder / "results.md").read_text()
    assert "## Accuracy in %, by steps of the worked solution" in text
    assert "| model and mode | 1 (n = 1) | 2 (n = 2) |" in text
    assert "| base, full chain of thought | 100.0 (20.7 to 100.0) | 50.0 (9.5 to 90.5) |" in text
    assert (folder / "figures" / "accuracy_by_difficulty.png").is_file()


@pytest.mark.parametrize("model", ["one", "two"])
def test_the_base_models_answers_group_questions_only_if_all_arms_have_the_same(model: str, tmp_path: Path) -> None:
    write_answers(tmp_path, "a", "1100", base="1100")
    folder = write_answers(tmp_path, "b", "0011", base="1100", model={"path": "other"})
    if model == "two":
        stages = json.loads((folder / "stages.json").read_text())
        stages["predictions/base/svamp"]["key"] = "another"
        (folder / "stages.json").write_text(json.dumps(stages))
    arms, _ = arms_of(find_runs(["exp"], tmp_path, mode=None).runs)
    found = of_arms(measure_arms([ComparedArms(arms, arms[0])]), "table")
    assert [table.name for table in found] == (["table-base"] if model == "one" else [])


SMALL = {"path": "small", "name": "x", "dtype": "float32", "device": "cpu"}
STEPS = {f"svamp-{number}": {"num_steps": 1 + number % 2} for number in range(4)}


@pytest.mark.parametrize(
    ("other", "weights", "grouped"),
    [
        ({"path": "large", "name": "y"}, ("", ""), False),
        ({"dtype": "bfloat16"}, ("", ""), False),
        ({"path": "large"}, ("s", "l"), False),
        ({}, ("s", "l"), False),
        ({}, ("", ""), True),
        ({"device": "cuda", "name": "z"}, ("", "s"), True),
        ({"path": "copy/of/small"}, ("s", "s"), True),
    ],
)
def test_an_arm_of_another_model_is_not_grouped_by_answers_that_its_own_did_not_give(
    other: dict[str, str], weights: tuple[str, str], grouped: bool, tmp_path: Path
) -> None:
    """Only the first run evaluated its base model; the steps of the solutions are those of the questions, whatever the model."""
    folders = [
        write_answers(tmp_path, "a", "1100", base="1100", model=SMALL),
        write_answers(tmp_path, "b", "0011", model=SMALL | other, selection=MORSD),
    ]
    for folder, sha256 in zip(folders, weights, strict=True):
        if sha256:
            (folder / "origin.json").write_text(json.dumps({"weights": {"model": sha256}}))
    questions = json.loads((folders[0] / "questions.json").read_text())
    (folders[0] / "questions.json").write_text(json.dumps({**questions, "questions": STEPS}))
    arms, _ = arms_of(find_runs(["exp"], tmp_path, mode=None).runs)
    found = of_arms(measure_arms([ComparedArms(arms, arms[0])]), "table")
    assert [table.name for table in found] == ["table-steps", *(["table-base"] if grouped else [])]


@pytest.mark.parametrize("first", ["a", "b"])
def test_only_questions_that_all_arms_answered_are_grouped_and_counted(first: str, tmp_path: Path) -> None:
    """One arm answered four questions, of which the base has two right, the other eight."""
    second = "b" if first == "a" else "a"
    write_answers(tmp_path, first, "1110", base="1100", evaluation={"modes": ["full", "base"], "num_test": 4})
    write_answers(tmp_path, second, "11111110", base="11001111", evaluation={"modes": ["full", "base"], "num_test": 8})
    arms, _ = arms_of(find_runs(["exp"], tmp_path, mode=None).runs)
    (table,) = of_arms(measure_arms([ComparedArms(arms, arms[0])]), "1")
    assert [column.title for column in table.columns] == ["right (n = 2)", "wrong (n = 2)"]
    assert [[cell.value for cell in row.cells] for row in table.rows if "base" not in row.label] == [[100, 50], [100, 100]]
    assert table.notes[-1] == (
        "Only the 4 questions that all rows answered are grouped. "
        "Left out: base (not fine-tuned) of evaluation.num_test=8: 4; evaluation.num_test=8: 4."
    )


def test_arms_of_different_questions_have_no_groups(tmp_path: Path) -> None:
    write_answers(tmp_path, "a", {"svamp": "1110"}, base="1100")
    write_answers(tmp_path, "b", {"aqua": "1110"}, model={"path": "other"})
    arms, _ = arms_of(find_runs(["exp"], tmp_path, mode=None).runs)
    assert of_arms(measure_arms([ComparedArms(arms, arms[0])]), "1") == []


def test_the_figure_says_how_many_rows_it_draws() -> None:
    rows = [Measured(f"arm {number}", {0: BASE}) for number in range(MOST_ARMS + 2)]
    assert drawings(tables(rows[:MOST_ARMS], groups_of({}, BASE)))[0].description.endswith("and its answer.")
    told = drawings(tables(rows, groups_of({}, BASE)))[0].description
    assert told.endswith(f" The first {MOST_ARMS} of {MOST_ARMS + 2} rows of the table are drawn.")
