"""Names of fields: paths, lists, messages and several at once, as other tools' files need them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cotexp.settings.base import ConfigError
from cotexp.tasks.custom import CustomTask, read_questions
from cotexp.tasks.fields import find
from cotexp.tasks.rows import Row, read_rows
from cotexp.teachers.recorded import RecordedTeacher

QUESTION, ANSWER = "Ann has 2 apples and buys 3. How many?", "2 + 3 = 5. The answer is 5."
LM_EVAL = {"doc_id": 0, "doc": {"question": QUESTION, "answer": "5"}, "target": "5", "resps": [[ANSWER, "no"]], "filtered_resps": ["5"]}
BATCH = {
    "custom_id": "q1",
    "response": {"status_code": 200, "body": {"choices": [{"message": {"role": "assistant", "content": ANSWER}, "finish_reason": "length"}]}},
}
OPENAI = {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}, {"role": "assistant", "content": ANSWER}]}
PARTS = {"messages": [{"role": "user", "content": [{"type": "text", "text": QUESTION[:9]}, {"type": "text", "text": QUESTION[9:]}]}]}
SHAREGPT = {"conversations": [{"from": "human", "value": QUESTION}, {"from": "gpt", "value": ANSWER}]}
ALPACA = {"instruction": "Solve.", "input": QUESTION, "output": ANSWER}


@pytest.mark.parametrize(
    ("row", "name", "expected"),
    [
        (LM_EVAL, "doc.question", QUESTION),
        (LM_EVAL, "resps.0.1", "no"),
        (LM_EVAL, "resps.0", [ANSWER, "no"]),
        (LM_EVAL, "resps.*.*", [ANSWER, "no"]),
        (BATCH, "response.body.choices.0.message.content", ANSWER),
        (BATCH, "response.body.choices.*.message.content", [ANSWER]),
        (BATCH, "response.body.choices.*.finish_reason", ["length"]),
        (OPENAI, "messages.user", QUESTION),
        (OPENAI, "messages.assistant", ANSWER),
        (OPENAI, "messages.1.content", QUESTION),
        (PARTS, "messages.user", QUESTION),
        (SHAREGPT, "conversations.human", QUESTION),
        (SHAREGPT, "conversations.user", QUESTION),
        (SHAREGPT, "conversations.assistant", ANSWER),
        (ALPACA, "{instruction}\n{input}", f"Solve.\n{QUESTION}"),
        ({**ALPACA, "input": ""}, "{instruction}\n{input}", "Solve.\n"),
        ({**ALPACA, "input": None}, "{instruction}\n{input}", "Solve.\n"),
        ({"doc.question": "with a dot", "doc": {"question": "x"}}, "doc.question", "with a dot"),
        ({"a": {"0": "zero"}}, "a.0", "zero"),
    ],
)
def test_a_name_finds_what_other_tools_write(row: dict[str, Any], name: str, expected: object) -> None:
    assert find(row, name) == expected


@pytest.mark.parametrize(
    ("row", "name", "expected"),
    [
        (LM_EVAL, "doc.qestion", "line 1: field 'doc.qestion' is missing in 'doc' (did you mean 'question'?); fields here: question, answer"),
        (LM_EVAL, "dog.question", "line 1: field 'dog.question' is missing; fields here: doc_id, doc, target, resps, filtered_resps"),
        (LM_EVAL, "resps.4", "line 1: field 'resps.4' is missing in 'resps'; fields here: 0"),
        (OPENAI, "messages.tool", "line 1: field 'messages.tool' is missing in 'messages'; fields here: system, user, assistant, 0 to 2"),
        (OPENAI, "messages.user.text", "line 1: field 'messages.user.text' is missing in 'messages.user'; fields here: none"),
        (
            {"messages": [*OPENAI["messages"], *OPENAI["messages"][1:]]},
            "messages.user",
            "fields here: system, user (2 messages), assistant (2 messages), 0 to 4",
        ),
        (ALPACA, "{question} {text}", "field '{question} {text}' has none of its fields; fields here: instruction, input, output"),
        (LM_EVAL, "{doc.question} {resps.*.*}", "line 1: field '{doc.question} {resps.*.*}' joins 'resps.*.*', which is no text but several"),
        ({"messages": []}, "messages.user", "field 'messages.user' is missing in 'messages'; fields here: none"),
    ],
)
def test_a_name_that_finds_nothing_says_where_the_path_ended_and_what_is_there(row: dict[str, Any], name: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Row(row, "line 1").value(name)
    assert expected in str(caught.value)
    assert Row(row, "line 1").get(name) is None


def test_a_list_in_a_row_is_several_rationales_each_with_its_finish_reason(tmp_path: Path) -> None:
    question = read_questions(CustomTask(file="x"), "file", str(write(tmp_path / "q.json", [{"question": QUESTION, "answer": "5"}])))
    row = {"problem": QUESTION, "generations": [ANSWER, "2 + 3 = "], "finish_reasons": ["stop", "length"]}
    path = write(tmp_path / "r1.jsonl", [row], array=False)
    teacher = RecordedTeacher(files=[str(path)], text_field="generations", question_field="problem", finish_reason_field="finish_reasons")
    (written,) = teacher.read("custom", question, []).rationales.values()
    assert [(each.text, each.finish_reason) for each in written] == [(ANSWER, "stop"), ("2 + 3 =", "length")]
    for broken, expected in (
        ({**row, "finish_reasons": ["stop"]}, "field 'finish_reasons' must hold one finish reason for each of the row's 2 texts; got 1"),
        ({**row, "generations": [ANSWER, ""]}, "line 1, 2 of 2: field 'generations' must not be empty"),
        ({**row, "generations": [ANSWER, 3]}, "line 1, 2 of 2: field 'generations' must be a text; got int"),
        ({**row, "generations": []}, "line 1: field 'generations' must not be empty"),
    ):
        write(path, [broken], array=False)
        with pytest.raises(ConfigError, match=expected.replace("(", r"\(")):
            teacher.read("custom", question, [])


def write(path: Path, rows: list[Any], *, array: bool = True) -> Path:
    path.write_text(json.dumps(rows, indent=2) if array else "".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_json_file_may_hold_one_array_of_objects(tmp_path: Path) -> None:
    rows = [{"question": f"What is {number} plus 1?", "answer": number + 1} for number in range(3)]
    path = write(tmp_path / "all.json", rows)
    assert [dict(each.fields) for each in read_rows(path, "all.json")] == rows
    assert [each.place for each in read_rows(path, "all.json")] == ["all.json, row 1", "all.json, row 2", "all.json, row 3"]
    for content, expected in (
        ("[1]", "all.json, row 1 must be a JSON object; got int"),
        ('[{"a": 1}', "all.json is not valid JSON"),
        ('[{"a": 1}]\n[{"a": 2}]', "all.json is not valid JSON"),
    ):
        path.write_text(content)
        with pytest.raises(ConfigError, match=expected):
            list(read_rows(path, "all.json"))
    path.write_text("[]")
    with pytest.raises(ConfigError, match="must hold at least one question"):
        read_questions(CustomTask(file=str(path)), "file", str(path))


@pytest.mark.parametrize(
    ("row", "question", "answer"),
    [
        (LM_EVAL, "doc.question", "target"),
        ({**OPENAI, "answer": "5"}, "messages.user", "answer"),
        ({**SHAREGPT, "meta": {"gold": 5}}, "conversations.human", "meta.gold"),
        ({**ALPACA, "instruction": "", "answer": "5"}, "{instruction} {input}", "answer"),
    ],
)
def test_questions_are_read_from_rows_of_other_tools(row: dict[str, Any], question: str, answer: str, tmp_path: Path) -> None:
    path = write(tmp_path / "q.json", [row])
    (read,) = read_questions(CustomTask(file=str(path), question_field=question, answer_field=answer), "file", str(path))
    assert (read.text, read.answer) == (QUESTION, "5")
