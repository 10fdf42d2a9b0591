"""`cotexp questions --detect`: files of other tools, and that the printed settings read them."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from cotexp.commands import cli
from cotexp.settings.base import ConfigError
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
    found = detect(path)
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
        detect(path)
    path.write_text("")
    with pytest.raises(ConfigError, match="must hold at least one row"):
        detect(path)


@pytest.mark.parametrize("answer", ["Paris is the capital of France.", ["several", "texts"], {"a": 1}])
def test_what_is_no_gold_answer_is_not_taken_for_one(answer: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"question": "Which city?", "answer": answer, "text": "It is Paris."}) + "\n")
    assert not detect(path).task
    cli.main(["questions", "--detect", str(path)])
    printed = capsys.readouterr().out
    assert "no field holds answers that can be graded; name it by task.answer_field=FIELD; fields here: question, answer, text" in printed
    assert printed.startswith("rationales: teacher=recorded ")
