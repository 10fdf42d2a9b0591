"""Rows of files: every kind of file, and a refusal with file, line and field for every kind of mistake."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

import pytest
from refusals import refusal

from cotexp.tasks.gold import read_gold
from cotexp.tasks.options_field import labels_of, options_of
from cotexp.tasks.rows import PLAIN, Row, read_rows


def rows(path: Path) -> list[Row]:
    return list(read_rows(path, "the file"))


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "A.JSONL"])
def test_json_lines_skip_blank_lines_and_keep_line_numbers(tmp_path: Path, name: str) -> None:
    found = rows(written(tmp_path, name, '\ufeff{"a": 1}\r\n\n   \n{"a": "\u2028é"}'))
    assert [(each.fields, each.place) for each in found] == [({"a": 1}, "the file, line 1"), ({"a": "\u2028é"}, "the file, line 4")]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"a": 1}\n{"a": \n', "the file, line 2 is not valid JSON"),
        (b'{"a": 1}\n[1]\n', "the file, line 2 must be a JSON object; got list"),
        (b'{"a": 1}\n\n{"a": "\xe9"}\n', "the file, line 3 is not UTF-8 (byte 0xe9)"),
        (b'{"a": NaN}', "the file, line 1 is not valid JSON"),
    ],
)
def test_a_bad_json_line_is_named(tmp_path: Path, content: bytes, expected: str) -> None:
    path = written(tmp_path, "a.jsonl", content)
    assert expected in refusal(rows, path)


def test_csv_cells_are_texts_and_lines_are_those_of_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", 'question,answer\r\n"two\nlines, and ""quotes""",007\r\n\r\nNA,\r\n')
    found = rows(path)
    assert [each.fields for each in found] == [{"question": 'two\nlines, and "quotes"', "answer": "007"}, {"question": "NA", "answer": ""}]
    assert [each.place for each in found] == ["the file, line 2", "the file, line 5"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a,b\n1,2\n1,2,3\n", "the file, line 3 must have 2 cells as the header; got 3"),
        (b"a,b\n1\n", "the file, line 2 must have 2 cells as the header; got 1"),
        (b"a,a\n1,2\n", "the file, line 1: the header must not repeat a name"),
        (b'a,b\n1,"x\n', "the file, line 2 is not valid CSV"),
        (b"a,b\n1,2\n1,\xff\n", "the file, line 3 is not UTF-8 (byte 0xff)"),
    ],
)
def test_a_bad_csv_line_is_named(tmp_path: Path, content: bytes, expected: str) -> None:
    path = written(tmp_path, "a.csv", content)
    assert expected in refusal(rows, path)


def test_parquet_rows_keep_lists_and_nulls(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"q": ["x", "y"], "n": [1, None], "options": [["a", "b"], []]}), path)
    found = rows(path)
    assert [each.fields for each in found] == [{"q": "x", "n": 1, "options": ["a", "b"]}, {"q": "y", "n": None, "options": []}]
    assert found[1].place == "the file, row 2"
    assert "field 'n' must not be null" in refusal(lambda: found[1].value("n"))


def test_what_is_no_parquet_file_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "a.parquet", "question,answer\n")
    assert "the file is not a readable Parquet file" in refusal(rows, path)


def test_unknown_endings_and_missing_files_are_refused(tmp_path: Path) -> None:
    assert "must end in .jsonl, .json, .csv, .parquet; got 'a.xlsx'" in refusal(lambda: rows(tmp_path / "a.xlsx"))
    assert "No such file" in refusal(lambda: rows(tmp_path / "a.csv"))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"questions": "x"}, "here: field 'question' is missing (did you mean 'questions'?); fields here: questions"),
        ({"question": None}, "here: field 'question' must not be null"),
        ({}, "here: field 'question' is missing; fields here: none"),
        ({"question": 3}, "here: field 'question' must be a text; got int"),
        ({"question": " \n"}, "here: field 'question' must not be empty"),
    ],
)
def test_a_text_must_be_there(fields: dict[str, Any], expected: str) -> None:
    assert expected in refusal(lambda: Row(fields, "here").text("question"))


def test_a_gold_answer_of_the_wrong_type_is_shown_but_not_at_length() -> None:
    message = refusal(lambda: Row({"answer": "no number " * 50}, "here").gold("answer", "integer"))
    assert message.startswith("here: field 'answer' must hold one number; got 'no number")
    assert len(message) < 200


@pytest.mark.parametrize("value", [["x", " y "], {"A": "x", "B": "y"}, '["x", "y"]', '{"1": "x", "2": "y"}'])
def test_options_take_the_letters_in_order(value: object) -> None:
    assert options_of(Row({"options": value}, "here"), "options") == {"A": "x", "B": "y"}


@pytest.mark.parametrize(
    ("value", "options"),
    [
        (["B) cat", "A) dog"], {"B": "cat", "A": "dog"}),
        (["B. cat", "A. dog"], {"B": "cat", "A": "dog"}),
        (["(A) cat", "(C) dog", "(D) cow"], {"A": "cat", "C": "dog", "D": "cow"}),
        ({"B": "x", "A": "y"}, {"B": "x", "A": "y"}),
        ({"a": "x", "c": "y"}, {"A": "x", "C": "y"}),
        ({"A": "x", "B": "y", "C": None}, {"A": "x", "B": "y"}),
        ({"C": "C) x", "A": "A) y"}, {"C": "x", "A": "y"}),
        ({"T": "true", "F": "false"}, {"A": "true", "B": "false"}),
        (["I. Newton", "N. Bohr"], {"A": "I. Newton", "B": "N. Bohr"}),
        (["A. Einstein", "N. Bohr"], {"A": "A. Einstein", "B": "N. Bohr"}),
        (["A) cat", "A) dog"], {"A": "A) cat", "B": "A) dog"}),
    ],
)
def test_labels_that_are_letters_stay_in_any_order_and_with_gaps(value: object, options: dict[str, str]) -> None:
    found = options_of(Row({"options": value}, "here"), "options")
    assert list(found.items()) == list(options.items())


def test_labels_are_those_of_an_object_or_of_labelled_texts() -> None:
    assert labels_of(Row({"options": {"1": "x", "2": "y"}}, "here"), "options") == ["1", "2"]
    assert labels_of(Row({"options": ["B) x", "A) y"]}, "here"), "options") == ["B", "A"]
    assert labels_of(Row({"options": ["x", "y"]}, "here"), "options") == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("x; y", "must be a list of texts or an object of label and text; got the text 'x; y'"),
        (3, "must be a list of texts or an object of label and text; got 3"),
        (["x"], "must hold 2 to 26 options; got 1"),
        (["x", ""], "must hold texts that are not empty; got ''"),
        (["x", None], "must hold texts that are not empty; got None"),
        (
            [{"label": "A", "text": "x"}, {"label": "A", "text": "y"}],
            "must have a label of its own for each text; got the labels ['A', 'A'] of 2 texts",
        ),
        ({"label": ["A", "B"], "text": ["x", "y", "z"]}, "must have a label of its own for each text; got the labels ['A', 'B'] of 3 texts"),
        ([str(n) for n in range(27)], "must hold 2 to 26 options; got 27"),
    ],
)
def test_other_options_are_refused(value: object, expected: str) -> None:
    assert f"here: field 'options' {expected}" in refusal(lambda: options_of(Row({"options": value}, "here"), "options"))


@pytest.mark.parametrize(
    "given",
    [
        ["cat", "dog"],
        ["A) cat", "B) dog"],
        ["(A) cat", "(B) dog"],
        {"1": "cat", "2": "dog"},
        {"label": ["A", "B"], "text": ["cat", "dog"]},
        [{"label": "A", "text": "cat"}, {"label": "B", "text": "dog"}],
        '["A. cat", "B. dog"]',
        '{"A": "cat", "B": "dog"}',
    ],
)
def test_options_are_read_in_every_usual_form(given: Any) -> None:
    assert options_of(Row({"options": given}, "here"), "options") == {"A": "cat", "B": "dog"}


def test_options_with_scores_are_refused() -> None:
    assert "must be an object of label and text" in refusal(lambda: options_of(Row({"options": {"cat": 1, "dog": 0}}, "here"), "options"))


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv"])
def test_integers_of_any_length_stay_exact(ending: str, tmp_path: Path) -> None:
    number = 123456789012345678901234567890
    content = {
        "jsonl": f'{{"gold": {number}, "list": [{number}, 1.5]}}\n',
        "json": f'[{{"gold": {number}, "list": [{number}, 1.5]}}]',
        "csv": f'gold,list\n{number},"[{number}, 1.5]"\n',
    }
    [row] = rows(written(tmp_path, f"a.{ending}", content[ending]))
    assert row.gold("gold", "integer") == str(number)
    assert options_of(row, "list") == {"A": str(number), "B": "1.5"}


def test_a_number_that_is_none_and_nesting_beyond_reason_are_no_json(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    request.addfinalizer(functools.partial(sys.setrecursionlimit, sys.getrecursionlimit()))
    sys.setrecursionlimit(1000)  # a compiled model in the same process has raised it
    for number, value in enumerate(("1" * 5000, "[" * 1001 + "1" * 20 + "]" * 1001)):
        path = written(tmp_path, f"{number}.jsonl", f'{{"gold": {value}}}\n')
        assert "line 1 is not valid JSON" in refusal(lambda path=path: rows(path))  # type: ignore[misc]


def test_a_cell_may_hold_a_long_chain_of_thought(tmp_path: Path) -> None:
    (row,) = rows(written(tmp_path, "a.csv", f"question,text\nq,{'x' * 200_000}\n"))
    assert len(row.text("text")) == 200_000


def test_an_object_around_the_rows_is_refused_with_the_form_that_is_read(tmp_path: Path) -> None:
    expected = "each line must be one JSON object, or the file one array of them"
    assert expected in refusal(lambda: rows(written(tmp_path, "a.json", '{\n "data": [{"a": 1}]\n}')))


@pytest.mark.parametrize("answer_type", ["integer", "decimal"])
@pytest.mark.parametrize("answer", [0, 7, -7, "0", "72", "-18", "1234567", 999999999999999, "-999999999999999", 10**6, "1000"])
def test_a_plain_integer_is_read_at_once_and_as_every_answer_is(answer: Any, answer_type: Any) -> None:
    assert PLAIN.fullmatch(str(answer))
    assert Row({"answer": answer}, "here").gold("answer", answer_type) == read_gold(answer, answer_type)


@pytest.mark.parametrize("answer", [True, "007", "-0", "1.0", "1,000", "72 apples", "1e3", "١٢", 10**15])
def test_what_is_no_plain_integer_is_left_to_the_reader_of_answers(answer: Any) -> None:
    assert not PLAIN.fullmatch(str(answer))
