"""`cotexp questions --detect`: files of other tools, and that the printed settings read them."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

import cotexp
from cotexp.commands import cli
from cotexp.config import command_line
from cotexp.settings.base import ConfigError
from cotexp.tasks import load_questions
from cotexp.tasks.detect import detect

QUESTION, ANSWER = "Ann has {} apples and buys 3. How many?", "{} + 3 = {}. The answer is {}."
ROLES = {"messages": ("role", "content", "user", "assistant"), "conversations": ("from", "value", "human", "gpt")}


def rows(kind: str, number: int) -> dict[str, Any]:
    question, gold = QUESTION.format(number), str(number + 3)
    text = ANSWER.format(number, gold, gold)
    if kind in ROLES:
        role, content, user, assistant = ROLES[kind]
        return {kind: [{role: user, content: question}, {role: assistant, content: text}], "answer": gold}
    return {
        "plain": {"question": question, "answer": gold, "rationale": text},
        "OpenR1": {
            "problem": question,
            "answer": gold,
            "generations": [text, text + "!"],
            "finish_reasons": ["stop", "length"],
            "uuid": f"u{number}",
        },
        "lm-evaluation-harness": {"doc_id": number, "doc": {"question": question}, "target": gold, "resps": [[text]]},
        "Alpaca": {"instruction": question, "input": "", "output": text},
        "choice": {"question": question, "options": ["A) 1", f"B) {gold}"], "correct": "B", "rationale": text},
        "distilabel": {"instruction": question, "generation": text, "target": gold},
    }[kind]


KINDS = {
    "plain": ("question", "answer", "integer", None),
    "OpenR1": ("problem", "answer", "integer", "generations"),
    "lm-evaluation-harness": ("doc.question", "target", "integer", "resps.*.*"),
    "Alpaca": ("{instruction} {input}", "output", "integer", "output"),
    "choice": ("question", "correct", "choice", None),
    "distilabel": ("instruction", "target", "integer", "generation"),
    "messages": ("messages.user", "answer", "integer", "messages.assistant"),
    "conversations": ("conversations.user", "answer", "integer", "conversations.assistant"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ending", [".jsonl", ".json"])
def test_the_settings_that_are_found_read_the_file(kind: str, ending: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    question, answer, answer_type, texts = KINDS[kind]
    path, made = tmp_path / f"it's all{ending}", [rows(kind, number) for number in range(8)]
    path.write_text(json.dumps(made) if ending == ".json" else "".join(json.dumps(row) + "\n" for row in made))
    found = detect(str(path))
    assert found.teacher.get("teacher.text_field") == texts
    assert [found.task[f"task.{name}"] for name in ("question_field", "answer_field", "answer_type")] == [question, answer, answer_type]
    cli.main(["questions", "--detect", str(path)])
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert f"question: {QUESTION.format(0)}".strip() in [line.strip() for line in lines]
    typed = shlex.split(printed[: printed.index("\nrationales: " if texts else "\n\n")].removeprefix("questions: "))
    cli.main(["questions", *typed, "--examples", "0"])
    counts = [line for line in capsys.readouterr().out.splitlines() if line.startswith("│ train")]
    assert counts == [line for line in lines if line.startswith("│ train")]
    assert len(counts) == 1


def test_a_file_without_questions_or_rows_is_refused_with_its_fields(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"x": 1, "y": "z"}\n')
    with pytest.raises(ConfigError, match=r"no field looks like a question; fields here: x, y; name it by task\.question_field=FIELD"):
        detect(str(path))
    path.write_text("")
    with pytest.raises(ConfigError, match="must hold at least one row"):
        detect(str(path))


@pytest.mark.parametrize("answer", ["Paris is the capital of France.", ["several", "texts"], {"a": 1}])
def test_what_is_no_gold_answer_is_not_taken_for_one(answer: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"question": "Which city?", "answer": answer, "text": "It is Paris."}) + "\n")
    assert not detect(str(path)).task
    cli.main(["questions", "--detect", str(path)])
    printed = capsys.readouterr().out
    assert "no field holds answers that can be graded; name it by task.answer_field=FIELD" in printed
    assert "fields here: question, answer, text" in printed
    assert printed.startswith("rationales: teacher=recorded ")


GOOD = {"question": QUESTION.format(1), "answer": "4", "text": "1 + 3 = 4."}


@pytest.mark.parametrize("field", ["question", "answer", "generation"])
def test_a_bad_row_is_named_and_leads_to_no_other_field(field: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, [{**GOOD, "generation": "1 + 3 = 4.", "label": 1}] * 5 + [{**GOOD, "generation": "x", "label": 1, field: None}])
    with pytest.raises(SystemExit, match=f"line 6: field '{field}' must not be null"):
        cli.main(["questions", "--detect", str(path)])
    printed = capsys.readouterr().out
    assert "task.question_field=question task.answer_field=answer" in printed
    assert "teacher.text_field=generation" in printed


@pytest.mark.parametrize(
    ("made", "question", "answer", "answer_type"),
    [
        (
            [{"instruction": "Add.", "output": "4"}, {"instruction": "Add.", "input": "1 + 3", "output": "4"}],
            "{instruction} {input}",
            "output",
            "integer",
        ),
        ([{"Body": "Ann has 1 apple.", "Question": "How many?", "Answer": 1.0}], "{Body} {Question}", "Answer", "integer"),
        ([{"passage": "It is.", "question": "Is it?", "answer": True}], "{passage} {question}", "answer", "boolean"),
        (
            [{"prompt": [{"role": "user", "content": "1 + 3?"}], "reward_model": {"ground_truth": "4"}}],
            "prompt.user",
            "reward_model.ground_truth",
            "integer",
        ),
        ([{"instruction": "Add.", "input": "", "question": "1 + 3?", "answer": "4"}], "question", "answer", "integer"),
        ([{"question": "1 + 3?", "answer": "5", "ground_truth": "4"}], "question", "ground_truth", "integer"),
        ([{"sQuestion": "1 + 3?", "lSolutions": [4.0]}], "sQuestion", "lSolutions.0", "integer"),
        (
            [{"question": {"stem": "Which?", "choices": [{"label": each, "text": each * 2} for each in "AB"]}, "answerKey": "B"}],
            "question.stem",
            "answerKey",
            "choice",
        ),
        ([{**GOOD, "question": str(number), "answer": 4 if number < 1100 else 2.5} for number in range(1200)], "question", "answer", "decimal"),
    ],
)
def test_nothing_of_a_question_or_of_the_type_of_its_answers_is_lost(
    made: list[Any], question: str, answer: str, answer_type: str, tmp_path: Path
) -> None:
    task = detect(str(write(tmp_path, made))).task
    assert [task[f"task.{name}"] for name in ("question_field", "answer_field", "answer_type")] == [question, answer, answer_type]


@pytest.mark.parametrize(
    "row",
    [
        {"question": "Which? (A) 1 (B) 2", "answer": "(B)", "solution": "1 + 1 = 2. The answer is 2."},
        {"question": "Which?", "A": "1", "B": "2", "answer": "B"},
        {"question": "Which?", "response": "It is two.", "correct": True},
        {"question": "Which?", "response": "It is two.", "label": 0},
        {"question": "Which?", "response": "It is two.", "result": 0.5},
    ],
)
def test_letters_without_options_and_marks_of_answers_are_no_gold_answers(row: dict[str, Any], tmp_path: Path) -> None:
    assert not detect(str(write(tmp_path, [row] * 3))).task


def test_fields_that_are_named_replace_those_that_would_be_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, [{"frage": QUESTION.format(number), "zahl": number + 3, "answer": 7, "text": "So it is."} for number in range(8)])
    cli.main(["questions", "--detect", str(path), "task.question_field=frage", "task.answer_field=zahl", "teacher.num_samples=1"])
    printed = capsys.readouterr().out
    first, second, *_ = printed.splitlines()
    assert "task.question_field=frage task.answer_field=zahl" in first
    assert "teacher.num_samples" not in first
    assert second.endswith("teacher.num_samples=1")
    assert "task." not in second
    assert f"question: {QUESTION.format(0)}\nanswer: 3\n" in printed
    for given, expected in (
        ("zahll", r"field 'zahll' is missing \(did you mean 'zahl'\?\)"),
        ("text", "'text' must hold one number; got 'So it is.'"),
    ):
        with pytest.raises(SystemExit, match=expected):
            cli.main(["questions", "--detect", str(path), "task.question_field=frage", f"task.answer_field={given}"])


def test_rows_show_the_answer_as_it_is_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = [{"question": QUESTION.format(number), "options": ["x", "y", "z"], "answer": 2} for number in range(8)]
    cli.main(["questions", "--detect", str(write(tmp_path, made))])
    assert "answer: 2\noptions: ['x', 'y', 'z']\ngold answer: B) y\n" in capsys.readouterr().out


def test_labels_win_over_positions_in_what_is_shown_as_in_what_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = [{"question": QUESTION.format(number), "options": {"0": "x", "1": "y", "2": "z"}, "answer": "1"} for number in range(8)]
    cli.main(["questions", "--detect", str(write(tmp_path, made))])
    assert "gold answer: B) y\n" in capsys.readouterr().out


def test_a_reason_that_few_rows_have_is_found(tmp_path: Path) -> None:
    row = {"problem": "1 + 3?", "answer": "4", "generations": ["It is 4.", "It"]}
    found = detect(str(write(tmp_path, [row, {**row, "finish_reasons": ["stop", "length"]}, row])))
    assert found.teacher["teacher.finish_reason_field"] == "finish_reasons"


def test_reasoning_that_is_left_out_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = {"role": "assistant", "reasoning_content": "1 + 3 = 4.", "content": "The answer is 4."}
    rows = [{"messages": [{"role": "user", "content": f"1 + 3, {number}?"}, said], "answer": "4"} for number in range(8)]
    cli.main(["questions", "--detect", str(write(tmp_path, rows))])
    assert "8 of 8 rows have reasoning in a field of its own, which teacher.text_field=messages.assistant leaves out" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["my data/oc (1), x=1.jsonl", "Jürgen/a.jsonl", "data[1].jsonl", "2024/a.jsonl", "it's #1: b.jsonl", "plain.jsonl"])
def test_the_words_that_are_found_can_be_used_whatever_the_file_s_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).parent.mkdir(exist_ok=True)
    made = [{"question": QUESTION.format(number), "answer": number, "text": f"It is {number}."} for number in range(8)]
    write(tmp_path, made).rename(name)
    words = cotexp.detect(name)
    [settings] = command_line.check_command_line(["experiment=none", "compression=none", *words["questions"], *words["rationales"]], multirun=False)
    assert settings.task.file == name
    questions = load_questions(settings.task, [])
    everything = [*questions.train, *questions.validation, *questions.test]
    assert sum(map(len, settings.teacher.read("custom", everything, []).rationales.values())) == 8


def test_rationales_whose_rows_know_only_an_id_need_a_file_of_questions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = {"choices": [{"message": {"role": "assistant", "content": "1 + 3 = 4."}, "finish_reason": "stop"}] * 2}
    path = write(tmp_path, [{"id": "b", "custom_id": f"q{number}", "response": {"body": body}} for number in range(3)])
    cli.main(["questions", "--detect", str(path)])
    printed = capsys.readouterr().out
    assert "'teacher.text_field='\"'\"'response.body.choices.*.message.content'\"'\"'' teacher.id_field=custom_id" in printed
    assert "name the file with 'custom_id' and the questions by teacher.questions_file=FILE" in printed
    assert printed.endswith("\nrationales: 6; rows: 3; 3 rationales repeat another of their question\n")


def test_thoughts_beside_the_text_of_a_batch_are_part_of_the_rationale(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = {"reasoning_content": "1 + 3 = 4.", "content": "The answer is 4."}
    rows = [{"custom_id": "q", "response": {"body": {"choices": [{"message": said, "finish_reason": "stop"}]}}}] * 3
    cli.main(["questions", "--detect", str(write(tmp_path, rows))])
    assert "text: <think>1 + 3 = 4.</think>The answer is 4.\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("row", "question", "answer", "texts"),
    [
        ({"input": [{"role": "user", "content": "1 + 3?"}], "ideal": "4"}, "input.user", "ideal", None),
        (
            {"prompt": [{"role": "user", "content": "1 + 3?"}], "completion": [{"role": "assistant", "content": "It is."}]},
            None,
            None,
            "completion.assistant",
        ),
        ({"custom_id": "q", "result": {"message": {"content": [{"type": "text", "text": "It is."}]}}}, None, None, "result.message.content.*.text"),
    ],
)
def test_further_kinds_of_files(row: dict[str, Any], question: str | None, answer: str | None, texts: str | None, tmp_path: Path) -> None:
    found = detect(str(write(tmp_path, [row] * 3)))
    assert [found.task.get("task.question_field"), found.task.get("task.answer_field")] == [question, answer]
    assert found.teacher.get("teacher.text_field") == texts


def test_of_many_gold_answers_some_are_graded_and_the_table_says_how_many(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cotexp.commands.questions.NUM_CHECKED", 3)
    cli.main(["questions", "--detect", str(write(tmp_path, [rows("plain", number) for number in range(20)]))])
    cells = [[cell.strip() for cell in line.split("│")[1:4]] for line in capsys.readouterr().out.splitlines() if line.startswith(("│ t", "│ v"))]
    assert cells == [["train", "14", "3 of the 3 checked"], ["validation", "2", "2"], ["test", "4", "3 of the 3 checked"]]


def write(folder: Path, made: list[Any]) -> Path:
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in made))
    return path
