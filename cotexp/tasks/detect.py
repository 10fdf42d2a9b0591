"""The settings that read a file of questions or rationales, found from the names and values of its fields."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cotexp.records import AnswerType
from cotexp.settings.base import ConfigError
from cotexp.tasks.rows import Row, options_of, read_rows

NUM_ROWS = 200
"""Rows that are looked at."""
JOINED = "{instruction} {input}"
"""Question of Alpaca's rows."""
PROSE = re.compile(r"[^\W\d_]{2,}\s+[^\W\d_]{2,}")
"""Two words in a row, which no formula has outside \\text."""
QUESTIONS = (
    *["question", "problem", "query", "doc.question", "doc.problem", "messages.user", "conversations.user", "body.messages.user"],
    *("instruction", "prompt", "input", "stem", "text"),
)
ANSWERS = (
    *[
        "answer",
        "gold",
        "target",
        "gold_answer",
        "final_answer",
        "expected_answer",
        "answerKey",
        "answer_key",
        "correct",
        "label",
        "result",
        "ground_truth",
    ],
    *["ground_truth", "doc.answer", "doc.target", "reward_model.ground_truth", "solution", "output"],
)
OPTIONS = ["options", "choices", "doc.options", "doc.choices"]
SOLUTIONS = ["solution", "rationale", "explanation", "worked_solution", "messages.assistant", "conversations.assistant", "output"]
RATIONALES = (
    *["generations", "generation", "completion", "completions", "response.body.choices.*.message.content", "outputs.*.text", "resps.*.*"],
    *["messages.assistant", "conversations.assistant", "response", "responses", "model_output", "output", "prediction", "text"],
)
FINISH_REASONS = ["finish_reason", "finish_reasons", "response.body.choices.*.finish_reason", "outputs.*.finish_reason"]
IDS = ["question_id", "custom_id", "doc_id", "id", "uuid"]
"""Names that the files of other tools have, the more telling ones first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detected:
    """Settings as they are typed without their values' quotes: path -> value. `task` reads the file as questions, `teacher` as rationales."""

    task: dict[str, str]
    teacher: dict[str, str]
    rows: Sequence[Row]


def detect(path: Path) -> Detected:
    """What reads the first rows of a file. Raises: ConfigError if it cannot be read, is empty, or nothing in it looks like a question."""
    rows = list(itertools.islice(read_rows(path, f"--detect {path}"), NUM_ROWS))
    if not rows:
        raise ConfigError(f"--detect {path} must hold at least one row; it is empty")
    joined = [JOINED] if all({"instruction", "input"} <= row.fields.keys() for row in rows) else []
    question = next(_that_are_texts(rows, [*joined, *QUESTIONS]), None)
    ids = next((name for name in IDS if all(row.get(name) is not None for row in rows)), None)
    if question is None:
        here = ", ".join(str(name) for name in rows[0].fields)
        raise ConfigError(f"--detect {path}: no field looks like a question; fields here: {here}; name it by task.question_field=FIELD")
    return Detected(task=_task(path, rows, question), teacher=_teacher(path, rows, question, ids), rows=rows)


def _task(path: Path, rows: Sequence[Row], question: str) -> dict[str, str]:
    """Empty if no field holds answers that can be read."""
    options = next((name for name in OPTIONS if all(_has_options(row, name) for row in rows)), None)
    found = next(((name, kind) for name in ANSWERS if name != question for kind in _kinds(rows, name, options)), None)
    if found is None:
        return {}
    answer, kind = found
    solution = next(_that_are_texts(rows, [name for name in SOLUTIONS if name not in (question, answer)]), None)
    return {
        "task": "custom",
        "task.file": str(path),
        "task.question_field": question,
        "task.answer_field": answer,
        "task.answer_type": kind,
        **({"task.options_field": options} if options else {}),
        **({"task.solution_field": solution} if solution else {}),
        **({"task.num_validation": str(max(1, len(rows) // 10))} if len(rows) < NUM_ROWS else {}),  # of a small file the usual number is too many
    }


def _teacher(path: Path, rows: Sequence[Row], question: str, ids: str | None) -> dict[str, str]:
    """Empty if no field holds rationales."""
    texts = next((name for name in RATIONALES if name != question and all(_are_texts(row.get(name)) for row in rows)), None)
    if texts is None:
        return {}
    reasons = next((name for name in FINISH_REASONS if all(row.get(name) is not None for row in rows)), None)
    return {
        "teacher": "recorded",
        "teacher.files": f"[{path}]",
        "teacher.text_field": texts,
        "teacher.question_field": question,
        **({"teacher.id_field": ids} if ids else {}),
        **({"teacher.finish_reason_field": reasons} if reasons else {}),
    }


def _that_are_texts(rows: Sequence[Row], names: Sequence[str]) -> Iterator[str]:
    for name in names:
        values = [row.get(name) for row in rows]
        if all(isinstance(value, str) and value.strip() for value in values):
            yield name


def _are_texts(value: Any) -> bool:
    return (isinstance(value, str) and bool(value.strip())) or (
        isinstance(value, list) and bool(value) and all(isinstance(each, str) for each in value)
    )


def _has_options(row: Row, name: str) -> bool:
    try:
        return len(options_of(row, name)) > 1
    except ConfigError:
        return False


def _kinds(rows: Sequence[Row], name: str, options: str | None) -> Iterator[str]:
    """The first type of answer by which all rows can be read, the narrowest first."""
    if any(row.get(name) is None for row in rows):
        return
    kinds: list[AnswerType] = ["choice"] if options else ["boolean", "integer", "decimal", "latex"]
    for kind in kinds:
        try:
            golds = [row.gold(name, kind, options_of(row, options) if options else None) for row in rows]
        except ConfigError:
            continue
        if kind != "latex" or not any(_is_prose(row.get(name), gold) for row, gold in zip(rows, golds, strict=True)):
            yield kind
        return


def _is_prose(value: Any, gold: str) -> bool:
    """Whether a value that can be read as LaTeX, as any text can, is no formula."""
    return not isinstance(value, str | int | float) or bool(PROSE.search(re.sub(r"\\(text|mbox)\s*\{[^{}]*\}", "", gold)))
