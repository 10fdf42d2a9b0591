"""The user's own files: JSON Lines, CSV and Parquet give the same questions, and mistakes are named."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from refusals import refusal

from cotexp.tasks import CustomTask, QuestionSets, answer_type_of, load_questions
from cotexp.tasks.custom import load_sets, read_questions

ROWS = [{"question": f"What is {n} plus 1?", "answer": str(n + 1), "solution": f"{n} and 1 make {n + 1}."} for n in range(20)]
CHOICES = [{"stem": f"Which, {n}?", "key": "b", "choices": ["x", "y"]} for n in range(10)]
CHOICE_SETTINGS = {
    "question_field": "stem",
    "answer_field": "key",
    "options_field": "choices",
    "answer_type": "choice",
    "prompt": "{question}\n{options}",
}


def json_lines(folder: Path, rows: list[dict[str, Any]], name: str = "all.jsonl") -> str:
    path = folder / name
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return str(path)


def custom(file: str, **more: Any) -> CustomTask:
    return CustomTask(file=file, **{"num_validation": 3, **more})


def everything(sets: QuestionSets) -> set[str]:
    return {each.id for split in ("train", "validation", "test") for each in sets[split]}


def test_json_lines_csv_and_parquet_give_the_same_questions(tmp_path: Path) -> None:
    import pandas

    found = [load_sets(custom(json_lines(tmp_path, ROWS), solution_field="solution"))]
    with (tmp_path / "all.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["question", "answer", "solution"])
        writer.writeheader()
        writer.writerows(ROWS)
    pandas.DataFrame(ROWS).to_parquet(tmp_path / "all.parquet")
    for name in ("all.csv", "all.parquet"):
        found.append(load_sets(custom(str(tmp_path / name), solution_field="solution")))
    assert found[0] == found[1] == found[2]
    assert found[0].train[0].task == "custom"


def test_without_a_test_file_a_fifth_is_the_test_split(tmp_path: Path) -> None:
    sets = load_sets(custom(json_lines(tmp_path, ROWS)))
    assert [len(each) for each in (sets.train, sets.validation, sets.test)] == [13, 3, 4]
    assert len(everything(sets)) == 20
    assert sets == load_sets(custom(json_lines(tmp_path, ROWS[::-1]))), "the order of the file does not matter"


def test_a_number_of_test_questions_takes_the_place_of_the_fifth(tmp_path: Path) -> None:
    file = json_lines(tmp_path, ROWS)
    few, many = load_sets(custom(file, num_test=2)), load_sets(custom(file, num_test=10))
    assert (len(few.test), len(few.train)) == (2, 15)
    assert (len(many.test), len(many.train)) == (10, 7)
    assert many.test[:2] == few.test


def test_repeated_rows_never_stand_on_both_sides(tmp_path: Path) -> None:
    sets = load_sets(custom(json_lines(tmp_path, [*ROWS, *ROWS[:7]])))
    assert sets.dropped == {"duplicates": 7}
    assert len(everything(sets)) == 20


def test_own_validation_and_test_files_are_read(tmp_path: Path) -> None:
    parts = {"a.jsonl": ROWS[:12], "b.jsonl": ROWS[12:16], "c.jsonl": [*ROWS[16:], ROWS[0]]}
    files = [json_lines(tmp_path, part, name) for name, part in parts.items()]
    sets = load_sets(custom(files[0], validation_file=files[1], test_file=files[2]))
    assert [len(each) for each in (sets.train, sets.validation, sets.test)] == [11, 3, 5]
    assert sets.dropped == {"overlap": 1}, "a training question that is tested"


def test_a_worked_solution_states_its_answer_and_is_left_alone_where_it_does(tmp_path: Path) -> None:
    rows = [ROWS[0], {**ROWS[1], "solution": "The answer is 2."}, {**ROWS[2], "solution": None}, {**ROWS[3], "solution": ""}]
    task = custom(json_lines(tmp_path, rows), solution_field="solution")
    found = [each.references for each in read_questions(task, "file", task.file)]
    assert found == [["0 and 1 make 1.\nThe answer is \\boxed{1}."], ["The answer is 2."], [], []]


@pytest.mark.parametrize(
    ("answer_type", "raw", "gold"),
    [
        ("integer", 7, "7"),
        ("integer", "1,000", "1000"),
        ("decimal", 2.5, "2.5"),
        ("decimal", "He has 2.\n#### 2", "2"),
        ("latex", "$\\frac{1}{2}$", "\\frac{1}{2}"),
        ("boolean", True, "yes"),
        ("boolean", "No", "no"),
    ],
)
def test_answers_are_read_by_their_type(tmp_path: Path, answer_type: str, raw: Any, gold: str) -> None:
    task = custom(json_lines(tmp_path, [{"question": "x", "answer": raw}]), answer_type=answer_type)
    (question,) = read_questions(task, "file", task.file)
    assert (question.answer, question.answer_type, answer_type_of(task)) == (gold, answer_type, answer_type)


@pytest.mark.parametrize(
    ("options", "key"),
    [(["x", "y"], "B"), (["x", "y"], "(b)"), (["x", "y"], "y"), (["x", "y"], 2), ({"A": "x", "B": "y"}, "B"), ({"1": "x", "2": "y"}, "2")],
)
def test_options_and_the_right_one_are_read_in_every_form(tmp_path: Path, options: Any, key: Any) -> None:
    task = custom(json_lines(tmp_path, [{"stem": "Which?", "key": key, "choices": options}]), **CHOICE_SETTINGS)
    (question,) = read_questions(task, "file", task.file)
    assert (question.answer, question.options) == ("B", {"A": "x", "B": "y"})


def test_labels_that_start_elsewhere_win_over_positions(tmp_path: Path) -> None:
    row = {"stem": "Which?", "key": "1", "choices": {"0": "x", "1": "y"}}
    task = custom(json_lines(tmp_path, [row]), **CHOICE_SETTINGS)
    assert read_questions(task, "file", task.file)[0].answer == "B"


def test_options_in_a_csv_cell_are_json(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('stem,choices,key\nWhich?,"[""x"", ""y""]",B\n')
    task = custom(str(path), **CHOICE_SETTINGS)
    assert read_questions(task, "file", task.file)[0].options == {"A": "x", "B": "y"}


BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"questions": "x", "answer": 1}, "field 'question' is missing (did you mean 'questions'?); fields here: questions, answer; "),
    ({"question": "", "answer": 1}, "field 'question' must not be empty; see task.question_field"),
    ({"question": 5, "answer": 1}, "field 'question' must be a text; got int"),
    ({"question": "x"}, "field 'answer' is missing; fields here: question; see task.answer_field"),
    ({"question": "x", "answer": None}, "field 'answer' must not be null; see task.answer_field"),
    ({"question": "x", "answer": "many"}, "field 'answer' must hold one number; got 'many' (answer type decimal)"),
    ({"question": "x", "answer": 1, "solution": 3}, "field 'solution' must be a text; got int"),
]


@pytest.mark.parametrize(("row", "expected"), BROKEN, ids=range(len(BROKEN)))
def test_a_malformed_row_is_refused_with_file_line_and_field(tmp_path: Path, row: dict[str, Any], expected: str) -> None:
    file = json_lines(tmp_path, [ROWS[0], row])
    assert f"task.file: {file}, line 2: {expected}" in refusal(load_questions, custom(file, solution_field="solution"))


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"stem": "x", "key": "C", "choices": ["x", "y"]}, "field 'key' must name one of the options A, B; got 'C' (answer type choice)"),
        ({"stem": "x", "key": "A"}, "field 'choices' is missing; fields here: stem, key; see task.options_field"),
        ({"stem": "x", "key": "A", "choices": "x or y"}, "field 'choices' must be a list of texts or an object of label and text"),
        ({"stem": "x", "key": "A", "choices": ["x"]}, "field 'choices' must hold 2 to 26 options; got 1"),
    ],
)
def test_malformed_options_are_refused(tmp_path: Path, row: dict[str, Any], expected: str) -> None:
    assert f"line 2: {expected}" in refusal(load_questions, custom(json_lines(tmp_path, [CHOICES[0], row]), **CHOICE_SETTINGS))


def test_a_malformed_test_file_is_named_by_its_setting(tmp_path: Path) -> None:
    good, bad = json_lines(tmp_path, ROWS), json_lines(tmp_path, [{"question": "x"}], "bad.jsonl")
    assert refusal(load_questions, custom(good, test_file=bad)).startswith(f"task.test_file: {bad}, line 1: ")
    assert refusal(load_questions, custom(good, validation_file=bad)).startswith(f"task.validation_file: {bad}, line 1: ")
    assert "task.file must hold at least one question" in refusal(load_questions, custom(json_lines(tmp_path, [], "none.jsonl")))


def test_a_file_too_small_for_a_test_split_is_refused(tmp_path: Path) -> None:
    assert "task.num_test must leave test and training questions" in refusal(load_questions, custom(json_lines(tmp_path, ROWS[:4])))
    assert "task.num_test must leave test and training questions" in refusal(load_questions, custom(json_lines(tmp_path, ROWS), num_test=20))
    assert "task.num_validation must leave training questions" in refusal(load_questions, custom(json_lines(tmp_path, ROWS), num_validation=16))


def test_options_in_the_prompt_go_with_multiple_choice_alone(tmp_path: Path) -> None:
    assert "task.prompt must not contain {options}" in refusal(load_questions, custom(json_lines(tmp_path, ROWS), prompt="{question} {options}"))


SPELLINGS = [
    *(
        '["x", "y"]',
        '{"A": "x", "B": "y"}',
        '{"text": ["x", "y"], "label": ["A", "B"]}',
        '[{"label": "A", "text": "x"}, {"label": "B", "text": "y"}]',
    ),
    *(
        "['x', 'y']",
        "{'text': ['x', 'y'], 'label': ['A', 'B']}",
        "{'text': array(['x', 'y'], dtype=object), 'label': array(['A', 'B'], dtype=object)}",
    ),
    *('["A)x", "B)y"]', '["(A)x", "(B) y"]', '["A. x", "B. y"]', '["a) x", "b) y"]', '["A: x", "B: y"]'),
]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_options_in_a_cell_are_read_as_json_or_as_python_spells_them(tmp_path: Path, spelling: str) -> None:
    path = tmp_path / "all.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["stem", "key", "choices"], *([f"Which, {n}?", "B", spelling] for n in range(10))])
    questions = read_questions(CustomTask(file=str(path), **CHOICE_SETTINGS), "file", str(path))
    assert [(each.options, each.answer) for each in questions] == [({"A": "x", "B": "y"}, "B")] * 10


def test_a_letter_that_is_part_of_an_option_s_text_is_no_label(tmp_path: Path) -> None:
    path = json_lines(tmp_path, [{"stem": f"Which, {n}?", "key": "A", "choices": ["A.5", "B.6"]} for n in range(10)])
    assert read_questions(CustomTask(file=path, **CHOICE_SETTINGS), "file", path)[0].options == {"A": "A.5", "B": "B.6"}


def test_an_answer_may_be_an_option_as_it_is_labelled(tmp_path: Path) -> None:
    path = json_lines(tmp_path, [{"stem": f"Which, {n}?", "key": "B)y", "choices": ["A)x", "B)y"]} for n in range(10)])
    assert read_questions(CustomTask(file=path, **CHOICE_SETTINGS), "file", path)[0].answer == "B"


@pytest.mark.parametrize(
    ("options", "key", "gold"),
    [
        (["B) cat", "A) dog"], "B", "B"),
        (["A) cat", "C) dog", "D) cow"], "C", "C"),
        ({"B": "x", "A": "y"}, "A", "A"),
        (["2 cm", "3 cm", "4 cm"], "3", "B"),
        (["3.0", "4.0", "5.0"], 3, "A"),
        (["3 cats", "4 dogs"], 2, "B"),
    ],
)
def test_an_answer_is_the_option_of_its_label_or_amount_before_a_count(tmp_path: Path, options: Any, key: Any, gold: str) -> None:
    path = json_lines(tmp_path, [{"stem": "Which?", "key": key, "choices": options}])
    assert [each.answer for each in read_questions(CustomTask(file=path, **CHOICE_SETTINGS), "file", path)] == [gold]


def test_numbers_that_count_options_in_some_rows_and_are_texts_in_others_are_refused(tmp_path: Path) -> None:
    numbers = {"stem": "Which?", "key": 2, "choices": ["4", "8", "2", "1"]}
    path = json_lines(tmp_path, [numbers, {**numbers, "key": 1}])
    assert [each.answer for each in read_questions(CustomTask(file=path, **CHOICE_SETTINGS), "file", path)] == ["C", "D"]
    for rows in ([numbers, {**numbers, "key": 3}], [{**numbers, "key": 3}, numbers]):
        path = json_lines(tmp_path, rows)
        said = refusal(load_questions, custom(path, **CHOICE_SETTINGS))
        place, other = (1, 2) if rows[0] is numbers else (2, 1)
        assert f"line {place}: field 'key' must be a letter: 2 may count options (B) or be the text of one (C); that of task.file: " in said
        assert said.endswith(f"line {other} can only count")


def test_answers_that_count_options_from_zero_are_refused_in_one_line(tmp_path: Path) -> None:
    rows = [{"stem": f"Which, {n}?", "key": n % 2, "choices": ["x", "y"]} for n in range(10)]
    said = refusal(load_questions, custom(json_lines(tmp_path, rows), **CHOICE_SETTINGS))
    assert "line 1: field 'key' must count options from 1; got 0" in said
    assert "write letters" in said
    assert "\n" not in said
    labelled = [{"stem": f"Which, {n}?", "key": n % 2, "choices": {"0": "x", "1": "y"}} for n in range(10)]
    path = json_lines(tmp_path, labelled, "labelled.jsonl")
    assert [each.answer for each in read_questions(CustomTask(file=path, **CHOICE_SETTINGS), "file", path)][:2] == ["A", "B"]
    numbers = [{"stem": f"Which, {n}?", "key": 0, "choices": ["5", "0"]} for n in range(10)]
    path = json_lines(tmp_path, numbers, "numbers.jsonl")
    assert read_questions(CustomTask(file=path, **CHOICE_SETTINGS), "file", path)[0].answer == "B"
