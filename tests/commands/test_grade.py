"""`cotexp grade --task TASK FILE`: rows in, labels out, a summary, and one line for every mistake."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cotexp.commands import cli
from cotexp.commands.grade import ANSWER_TYPES

KEYS = ["id", "extracted", "strict", "lenient", "math_verify", "timed_out"]
RIGHT = {"id": "a", "gold": "18", "text": "The answer is 18."}


def written(folder: Path, rows: list[Any], name: str = "answers.jsonl") -> Path:
    path = folder / name
    path.write_text("".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in rows), encoding="utf-8")
    return path


def labels(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.split("\n") if line]


def graded(task: str, path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[list[dict[str, Any]], str]:
    """The rows on standard output and the summary on standard error."""
    cli.main(["grade", "--task", task, str(path)])
    shown = capsys.readouterr()
    return labels(shown.out), shown.err


def refusal(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as end:
        cli.main(["grade", *arguments])
    message = str(end.value.code)
    assert isinstance(end.value.code, str)  # Python prints it and ends with code 1
    assert message.startswith("cotexp: ")
    assert "\n" not in message
    assert capsys.readouterr().out == ""
    return message


def test_every_row_gets_its_labels_in_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        RIGHT,
        {"id": 7, "gold": "1,000", "text": "so \\boxed{1{,}000}$ dollars"},
        {"id": ["x", 1], "gold": "She has <<9+9=18>>18.\n#### 18", "text": "It is 18"},
        {"id": {"question": 3}, "gold": 18.0, "text": "The answer is 1800.", "finish_reason": "stop"},
        {"id": 1.5, "gold": [18], "text": "The answer is 18", "finish_reason": "length"},
        {"id": False, "gold": "18", "text": ""},
        {"id": "é\u2028🎈", "gold": "18", "text": "The answer is \\boxed{18"},
    ]
    out, summary = graded("gsm8k", written(tmp_path, rows), capsys)
    assert [list(each) for each in out] == [KEYS] * len(rows)
    assert [each["id"] for each in out] == [each["id"] for each in rows]
    assert [each["extracted"] for each in out] == ["18", "1000", None, "1800", "18", None, None]
    assert [each["strict"] for each in out] == [True, True, False, False, False, False, False]
    assert [each["lenient"] for each in out] == [True, True, True, False, True, False, True]
    assert all(isinstance(each["math_verify"], bool) for each in out)
    assert "7 answers" in summary
    assert "strict        28.57%" in summary
    assert "lenient       71.43%" in summary
    assert "unparsable 3, truncated 1, timed out 0" in summary
    assert "strict/lenient 3" in summary


def test_choices_take_their_options_in_every_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "The answer is A dog so (B)"
    rows = [
        {"id": 0, "gold": "B", "text": text, "options": ["A", "B", "C"]},
        {"id": 1, "gold": "(B)", "text": text, "options": ["A) dog", "B) cat"]},
        {"id": 2, "gold": "cat", "text": text, "options": {"A": "dog", "B": "cat"}},
        {"id": 3, "gold": "2", "text": "cat", "options": ["(A) dog", "(B) cat"]},
        {"id": 4, "gold": {"dog": 0, "cat": 1}, "text": text, "options": {"A": "dog", "B": "cat"}},
        {"id": 5, "gold": "B", "text": "The answer is (D). Or (B)?", "options": ["A", "B", "C"]},
        {"id": 6, "gold": "2", "text": "The answer is 2", "options": ["1", "2", "3", "4"]},
        {"id": 7, "gold": "B", "text": "so B it is", "options": ["A. dog", "B. cat"]},
    ]
    out, summary = graded("arc_challenge", written(tmp_path, rows), capsys)
    assert [each["strict"] for each in out] == [True] * 7 + [False]
    assert [each["lenient"] for each in out] == [True] * 8
    assert [each["math_verify"] for each in out] == [None] * 8
    assert [each["extracted"] for each in out] == ["B"] * 6 + ["2", None]
    assert "math_verify" not in summary


@pytest.mark.slow
def test_yes_and_no_and_formulas(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"id": 0, "gold": "true", "text": "The answer is yes."},
        {"id": 1, "gold": {"Yes": 0, "No": 1}, "text": "The answer is no."},
        {"id": 2, "gold": False, "text": "The answer is unknown."},
    ]
    out, _ = graded("strategyqa", written(tmp_path, rows), capsys)
    assert [(each["strict"], each["math_verify"]) for each in out] == [(True, None), (True, None), (False, None)]
    rows = [
        {"id": 0, "gold": "so $\\boxed{\\frac{3}{4}}$", "text": "\\boxed{0.75}"},
        {"id": 1, "gold": "\\text{Evelyn}", "text": "The answer is Evelyn."},
        {"id": 2, "gold": "(1,2)", "text": "\\boxed{(2,1)}"},
    ]
    out, _ = graded("math500", written(tmp_path, rows), capsys)
    assert [each["strict"] for each in out] == [True, True, False]
    out, _ = graded("aime24", written(tmp_path, [{"id": 0, "gold": "025", "text": "\\boxed{25}"}]), capsys)
    assert out == [{"id": 0, "extracted": "25", "strict": True, "lenient": True, "math_verify": True, "timed_out": False}]


@pytest.mark.slow
def test_a_comparison_that_ran_out_is_marked_on_its_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"id": 0, "gold": "5", "text": "\\boxed{\\frac{10}{2}}"}, {"id": 1, "gold": "5", "text": "The answer is $9^{9^{9^{9}}}$"}]
    path = written(tmp_path, rows)
    cli.main(["grade", "--task", "math500", str(path), "--timeout", "0.5"])
    shown = capsys.readouterr()
    assert [(each["strict"], each["timed_out"]) for each in labels(shown.out)] == [(True, False), (False, True)]
    assert "timed out 1" in shown.err


def test_what_other_tools_say_of_the_end_of_a_text_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = {"STOP": True, "completed": True, "FinishReason.STOP": True, "end_turn": True, None: True, "eos-token": True}
    said |= dict.fromkeys(("length", "MAX_TOKENS", "max_tokens", "model_length", "FinishReason.MAX_TOKENS", "incomplete"), False)
    out, summary = graded("gsm8k", written(tmp_path, [{**RIGHT, "id": str(each), "finish_reason": each} for each in said]), capsys)
    assert {each["id"]: each["strict"] for each in out} == {str(each): whole for each, whole in said.items()}
    assert "truncated 6" in summary


@pytest.mark.parametrize("task", sorted(ANSWER_TYPES))
def test_every_task_of_the_project_can_be_graded(
    task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from cotexp.commands import grade
    from cotexp.tasks.comparison_worker import Comparison
    from cotexp.tasks.judge import Judge

    class Quiet(Judge):
        def ask(self, comparisons: Any) -> None:
            list(comparisons)

        def verdict(self, comparison: Comparison) -> bool | None:
            return None

    monkeypatch.setattr(grade, "Judge", Quiet)
    gold = {"choice": "B", "boolean": "yes"}.get(ANSWER_TYPES[task], "18")
    rows = [{"id": number, "gold": gold, "text": f"The answer is {gold}.", "options": ["A", "B"]} for number in range(3)]
    out, summary = graded(task, written(tmp_path, rows), capsys)
    assert [each["strict"] for each in out] == [True] * 3
    asked = ANSWER_TYPES[task] not in ("choice", "boolean")
    assert [each["math_verify"] for each in out] == [False if asked else None] * 3
    assert f"timed out {3 if asked else 0}" in summary


def test_labels_go_to_a_file_when_one_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "labels.jsonl"
    output.write_text("old\n")
    cli.main(["grade", "--task", "gsm8k", str(written(tmp_path, [RIGHT])), "--output", str(output)])
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "strict" in shown.err
    assert [list(each) for each in labels(output.read_text())] == [KEYS]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["answers.jsonl", "labels.jsonl"]


def of_kind(kind: str, number: int) -> dict[str, Any]:
    """A row of another tool: of two answers to a question, the first is right."""
    right, wrong = f"It is {number}.\n#### {number}", "The answer is \\boxed{77}"
    choice = {"message": {"role": "assistant", "content": right}, "finish_reason": "stop"}
    return {
        "harness": {"doc_id": number, "doc": {"question": "?"}, "target": f"So.\n#### {number}", "resps": [[right, wrong]]},
        "batch": {"custom_id": f"q{number}", "response": {"body": {"choices": [choice, {**choice, "finish_reason": "length"}]}}},
        "messages": {"uuid": number, "label": number, "messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": right}]},
        "choices": {"id": number, "answer": 1, "said": "The answer is (B).", "doc": {"choices": {"text": ["dog", "cat"], "label": ["0", "1"]}}},
    }[kind]


KINDS: dict[str, tuple[list[str], list[tuple[Any, Any, bool]]]] = {
    "harness": (
        ["--task", "gsm8k", "--id-field", "doc_id", "--gold-field", "target", "--text-field", "resps.*.*"],
        [(3, 0, True), (3, 1, False), (4, 0, True), (4, 1, False)],
    ),
    "batch": (
        [
            *["--task", "integer", "--id-field", "custom_id", "--gold-field", "answer", "--text-field", "response.body.choices.*.message.content"],
            *["--finish-reason-field", "response.body.choices.*.finish_reason"],
        ],
        [("q3", 0, True), ("q3", 1, False), ("q4", 0, True), ("q4", 1, False)],
    ),
    "messages": (
        ["--task", "decimal", "--id-field", "uuid", "--gold-field", "label", "--text-field", "messages.assistant"],
        [(3, None, True), (4, None, True)],
    ),
    "choices": (
        ["--task", "choice", "--gold-field", "answer", "--text-field", "said", "--options-field", "doc.choices"],
        [(3, None, True), (4, None, True)],
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ending", [".json", ".parquet"])
def test_files_of_other_tools_are_graded_by_the_names_of_their_fields(
    kind: str, ending: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import pyarrow
    from pyarrow import parquet

    words, expected = KINDS[kind]
    path, rows = tmp_path / f"a{ending}", [of_kind(kind, number) for number in (3, 4)]
    if ending == ".json":
        path.write_text(json.dumps(rows))
    else:
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    if kind == "batch":
        golds = written(tmp_path, [{"custom_id": f"q{number}", "answer": str(number)} for number in range(9)], "golds.jsonl")
        words = [*words, "--gold-file", str(golds)]
    cli.main(["grade", str(path), *words])
    shown = capsys.readouterr()
    assert [(each["id"], each.get("sample"), each["strict"]) for each in labels(shown.out)] == expected
    first = shown.err.splitlines()[0]
    assert first.startswith(f"{path}, row 1: id {expected[0][0]!r}, gold answer {'B' if kind == 'choices' else '3'!r}, text '")
    assert len([line for line in shown.err.splitlines() if line.startswith(str(path))]) == min(3, len(expected))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--text-field", "resp"], "line 1: field 'resp' is missing; fields here: id, gold, text; another field is named by --text-field"),
        (["--text-field", "gold.x"], "line 1: field 'gold.x' is missing in 'gold'; fields here: none; another field is named by --text-field"),
        (["--gold-file", "{golds}"], "line 1: field 'id' must be an id of --gold-file {golds}; got 'a'"),
        (["--gold-file", "{twice}"], "twice.jsonl, line 2: field 'id' must not repeat; got 'b' as in --gold-file {twice}, line 1"),
    ],
)
def test_a_wrong_name_of_a_field_is_told_with_the_option_that_names_it(
    words: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, [RIGHT])
    files = {name: written(tmp_path, [{"id": "b", "gold": 1}] * count, f"{name}.jsonl") for name, count in (("golds", 1), ("twice", 2))}
    assert expected.format(**files) in refusal(["--task", "gsm8k", str(path), *(word.format(**files) for word in words)], capsys)
    for words in ([str(path), "--text-field", "x"], [str(path)], ["hub:me/answers"]):
        assert "grade: a file needs --task TASK" in refusal(words, capsys)


def test_answers_that_a_log_repeats_for_each_filter_count_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = {"target": "4", "resps": [["The answer is 4."]]}
    rows = [{"doc_id": number, **row, "filter": name} for name in ("strict-match", "flexible-extract") for number in range(5)]
    rows.append({**rows[0], "resps": [["The answer is 5."]]})
    words = ["grade", "--task", "gsm8k", "--id-field", "doc_id", "--gold-field", "target", "--text-field", "resps.*.*"]
    path = written(tmp_path, rows)
    cli.main([*words, str(path)])
    shown = capsys.readouterr()
    assert [each["id"] for each in labels(shown.out)] == [0, 1, 2, 3, 4, 0], "another answer to a question is another answer"
    assert f"cotexp: {path} repeats its answers for each of the filters flexible-extract, strict-match; they are graded once\n" in shown.err
    cli.main([*words, str(written(tmp_path, rows[:5]))])
    assert "filters" not in capsys.readouterr().err


def test_long_integers_stay_exact_and_a_null_in_a_list_is_an_empty_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    number = 123456789012345678901234567890
    out, _ = graded("integer", written(tmp_path, [{"id": number, "gold": number, "text": f"The answer is {number}."}]), capsys)
    assert (out[0]["id"], out[0]["extracted"], out[0]["strict"]) == (number, str(number), True)
    path = written(tmp_path, [{"id": 1, "gold": 4, "answers": ["The answer is 4.", None], "finish_reason": ["stop", "length"]}])
    cli.main(["grade", "--task", "integer", "--text-field", "answers", str(path)])
    assert [each["strict"] for each in labels(capsys.readouterr().out)] == [True, False]


def test_the_first_rows_are_shown_as_they_are_read_and_cannot_control_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{**RIGHT, "id": number, "text": "\x1b[31mred [bold] " + "x" * 500, "finish_reason": "length"} for number in range(5)]
    path = written(tmp_path, rows)
    _, summary = graded("gsm8k", path, capsys)
    lines = summary.splitlines()
    assert lines[0].startswith(f"{path}, line 1: id 0, gold answer '18', text '\\x1b[31mred [bold] xxx")
    assert lines[0].endswith("xxx', cut off")
    assert [line.startswith(str(path)) for line in lines[:5]] == [True, True, True, False, False]
    assert "\x1b" not in summary


CHOICE = {"id": 0, "gold": "B", "text": "The answer is (B)", "options": ["A", "B"]}


@pytest.mark.parametrize(
    ("task", "rows", "expected"),
    [
        ("gsm8k", [RIGHT, {"gold": "18", "text": ""}], "line 2: field 'id' is missing"),
        ("gsm8k", [RIGHT, {"id": None, "gold": "18", "text": ""}], "line 2: field 'id' must not be null"),
        ("gsm8k", [RIGHT, {"id": 1, "text": ""}], "line 2: field 'gold' is missing"),
        ("gsm8k", [RIGHT, {"id": 1, "gold": None, "text": ""}], "line 2: field 'gold' must not be null"),
        ("gsm8k", [RIGHT, {"id": 1, "gold": "18"}], "line 2: field 'text' is missing"),
        ("gsm8k", [RIGHT, {"id": 1, "gold": "18", "text": None}], "line 2: field 'text' must not be null"),
        ("gsm8k", [RIGHT, {"id": 1, "gold": "18", "text": 18}], "line 2: field 'text' must be a text"),
        ("gsm8k", [RIGHT, {"id": 1, "gold": "18", "text": ["18"]}], "line 2: field 'text' must be a text"),
        ("gsm8k", [RIGHT, "", {"id": 1, "gold": "eggs", "text": ""}], "line 3: field 'gold' must hold one number; got 'eggs'"),
        ("gsm8k", [{"id": 1, "gold": "", "text": ""}], "line 1: field 'gold' must not be empty"),
        ("gsm8k", [{"id": 1, "gold": [], "text": ""}], "line 1: field 'gold' must not be an empty list"),
        ("gsm8k", [{"id": 1, "gold": True, "text": ""}], "line 1: field 'gold' must be a number"),
        ("aime24", [{"id": 1, "gold": "2.5", "text": ""}], "line 1: field 'gold' must be an integer"),
        ("math500", [{"id": 1, "gold": "\\boxed{}", "text": ""}], "line 1: field 'gold' must not be empty"),
        ("strategyqa", [{"id": 1, "gold": "maybe", "text": ""}], "line 1: field 'gold' must be yes, no, true or false"),
        ("aqua", [CHOICE, {**CHOICE, "gold": "C"}], "line 2: field 'gold' must name one of the options A, B; got 'C'"),
        ("aqua", [CHOICE, {"id": 0, "gold": "B", "text": ""}], "line 2: field 'options' is missing"),
        ("aqua", [CHOICE, {**CHOICE, "options": None}], "line 2: field 'options' must not be null"),
        ("aqua", [CHOICE, {**CHOICE, "options": []}], "line 2: field 'options' must be a list"),
        ("aqua", [CHOICE, {**CHOICE, "options": "AB"}], "line 2: field 'options' must be a list"),
        ("aqua", [CHOICE, {**CHOICE, "options": [1, 2]}], "line 2: field 'options' must be a list"),
        ("aqua", [CHOICE, {**CHOICE, "options": {}}], "line 2: field 'options' must be a list"),
        ("aqua", [CHOICE, {**CHOICE, "options": ["A", "B", "A"]}], "line 2: field 'options' must not repeat"),
        ("aqua", [CHOICE, {**CHOICE, "options": ["A", "b", "B"]}], "line 2: field 'options' must not repeat"),
        ("aqua", [CHOICE, {**CHOICE, "options": {"A": "x", "a": "y"}}], "line 2: field 'options' must not repeat"),
        ("aqua", [CHOICE, {**CHOICE, "options": ["dog", "cat"]}], "line 2: field 'options' must be letters, or texts such as 'A) dog'"),
        ("aqua", [CHOICE, {**CHOICE, "options": ["", "B"]}], "line 2: field 'options' must be letters"),
        ("aqua", [CHOICE, {**CHOICE, "options": {"A": None, "B": "y"}}], "line 2: field 'options' must"),
        ("aqua", [CHOICE, {**CHOICE, "options": {"": "x", "B": "y"}}], "line 2: field 'options' must"),
        ("gsm8k", [RIGHT, '{"id": 1, "gold": '], "line 2 is not valid JSON"),
        ("gsm8k", [RIGHT, "[1]"], "line 2 must be a JSON object"),
        ("gsm8k", [RIGHT, {**RIGHT, "finish_reason": 3}], "line 2: field 'finish_reason' must be a finish reason"),
        ("gsm8k", [RIGHT, {**RIGHT, "finish_reason": "lenght"}], "line 2: field 'finish_reason' must be a finish reason"),
        ("gsm8k", [], "it is empty"),
        ("gsm8k", ["", " "], "it is empty"),
        ("gsm9k", [RIGHT], "--task must be one of"),
    ],
)
def test_a_mistake_is_named_with_file_line_and_field(
    task: str, rows: list[Any], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, output = written(tmp_path, rows), tmp_path / "labels.jsonl"
    message = refusal(["--task", task, str(path), "--output", str(output)], capsys)
    assert expected in message
    assert task == "gsm9k" or str(path) in message
    assert [each.name for each in tmp_path.iterdir()] == ["answers.jsonl"]


def test_a_file_that_cannot_be_read_or_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "No such file" in refusal(["--task", "gsm8k", str(tmp_path / "no.jsonl")], capsys)
    assert "must end in .jsonl" in refusal(["--task", "gsm8k", str(tmp_path / "no.txt")], capsys)
    (tmp_path / "folder.jsonl").mkdir()
    assert "Is a directory" in refusal(["--task", "gsm8k", str(tmp_path / "folder.jsonl")], capsys)
    (tmp_path / "latin.jsonl").write_bytes(b'{"id": 1, "gold": "1", "text": "\xe9"}\n')
    assert "latin.jsonl, line 1 is not UTF-8" in refusal(["--task", "gsm8k", str(tmp_path / "latin.jsonl")], capsys)
    path = written(tmp_path, [RIGHT])
    assert "--output must name a file that can be written" in refusal(
        ["--task", "gsm8k", str(path), "--output", str(tmp_path / "no" / "labels.jsonl")], capsys
    )
    assert "--output must name a file that can be written" in refusal(
        ["--task", "gsm8k", str(path), "--output", str(tmp_path / "folder.jsonl")], capsys
    )
    for seconds in ("0", "-1", "nan"):
        assert "--timeout must be" in refusal(["--task", "gsm8k", str(path), "--timeout", seconds], capsys)


def test_a_csv_file_can_be_graded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "answers.csv"
    path.write_text('id,gold,text\nx,18,"The answer is 18, sir."\ny,18,17\n')
    out, _ = graded("gsm8k", path, capsys)
    assert [(each["id"], each["strict"]) for each in out] == [("x", True), ("y", False)]


@pytest.mark.slow
def test_the_module_is_a_command(tmp_path: Path) -> None:
    path = written(tmp_path, [RIGHT, {**RIGHT, "text": "\\boxed{19}"}])
    command = [sys.executable, "-m", "cotexp", "grade", "--task", "math500", str(path), "--timeout", "20"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [each["strict"] for each in labels(done.stdout)] == [True, False]
    assert "timed out 0" in done.stderr
    path.write_text('{"id": 1}\n')
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "line 1: field 'text' is missing" in done.stderr or "line 1: field 'gold' is missing" in done.stderr


@pytest.mark.slow
def test_a_reader_that_stops_early_ends_the_command_quietly(tmp_path: Path) -> None:
    path = written(tmp_path, [{**CHOICE, "id": number} for number in range(5_000)])
    command = f"{sys.executable} -m cotexp grade --task aqua {path} | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert labels(done.stdout)[0]["id"] == 0
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_large_file_is_graded_in_one_go(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"id": number, "gold": str(number), "text": f"So {'x ' * 500}. The answer is {number + number % 2}."} for number in range(6_000)]
    started = time.monotonic()
    out, summary = graded("gsm8k", written(tmp_path, rows), capsys)
    assert time.monotonic() - started < 300
    assert [each["id"] for each in out] == list(range(6_000))
    assert [each["strict"] for each in out] == [number % 2 == 0 for number in range(6_000)]
    assert "6000 answers" in summary
