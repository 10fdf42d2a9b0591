"""The settings that read a file of questions or rationales, found from the names and values of its fields."""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cotexp.records import AnswerType
from cotexp.settings.base import ConfigError
from cotexp.tasks.custom import gold_of
from cotexp.tasks.hub import is_hub, read_source
from cotexp.tasks.options_field import options_of
from cotexp.tasks.rows import Row

NUM_ROWS = 1000
"""Rows that are looked at for the names of fields; the type of the answers is that of all rows."""
SMALL = 200
"""Rows of a file that is too small for the usual number of validation questions."""
JOINED = "{instruction} {input}"
"""Question of Alpaca's rows."""
CONTEXTS = ("passage", "context", "body", "story", "article", "paragraph")
"""What a question is about, in a field of its own."""
MARKS = ("correct", "label", "result")
"""Fields that hold gold answers in some files, and in others whether the answer of a model is right."""
PROSE = re.compile(r"[^\W\d_]{2,}\s+[^\W\d_]{2,}")
"""Two words in a row, which no formula has outside \\text."""
LETTER = re.compile(r"\(?[a-j]\)?[.:]?")
"""The letter of an option."""
OF_CUSTOM: AnswerType = "decimal"
"""The type that a named field of answers has if none reads it: reading then says why it does not."""
QUESTIONS = (
    *["question", "problem", "query", "question.stem", "doc.question", "doc.question.stem", "doc.problem"],
    *["messages.user", "conversations.user", "body.messages.user", "prompt.user", "input.user"],
    *["instruction", "prompt", "input", "stem", "sQuestion", "text"],
)
ANSWERS = (
    *["gold", "gold_answer", "ground_truth", "expected_answer", "reward_model.ground_truth", "doc.answerKey", "answerKey", "answer_key", "ideal"],
    *["answer", "target", "final_answer", "correct", "label", "result", "doc.answer", "doc.target", "lSolutions.0", "solution", "output"],
)
OPTIONS = ("options", "choices", "question.choices", "doc.options", "doc.choices", "doc.question.choices")
SOLUTIONS = ("solution", "rationale", "explanation", "worked_solution", "messages.assistant", "conversations.assistant", "output")
FIRST_CHOICE, ALL_CHOICES = "response.body.choices.0.message.", "response.body.choices.*.message.content"
THOUGHTS = (f"{FIRST_CHOICE}reasoning_content", f"{FIRST_CHOICE}reasoning")
RATIONALES = (
    *["generations", "generation", "completions", "completion", ALL_CHOICES, "result.message.content.*.text", "outputs.*.text", "resps.*.*"],
    *["messages.assistant", "conversations.assistant", "completion.assistant", "response", "responses", "model_output", "generated_solution"],
    *["output", "prediction", "text"],
)
FINISH_REASONS = ("finish_reason", "finish_reasons", "response.body.choices.*.finish_reason", "outputs.*.finish_reason", "result.message.stop_reason")
IDS = ("question_id", "custom_id", "doc_id", "id", "uuid")
"""Names that the files of other tools have, the more telling ones first; upper and lower case count alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detected:
    """Settings as they are typed without their values' quotes: path -> value. `task` reads the file as questions, `teacher` as rationales."""

    task: dict[str, str]
    teacher: dict[str, str]
    rows: Sequence[Row]


@dataclass(frozen=True, slots=True)
class _Fields:
    """The first rows of a file, and the settings that the user gave, which replace what would be found."""

    rows: Sequence[Row]
    given: Mapping[str, str]

    def first(self, setting: str, names: Iterable[str], holds: Callable[[Row, str], bool]) -> str | None:
        """The first field for which `holds` is true in most rows. A few bad rows do not lead to another field: reading the file names them."""
        if setting in self.given:
            self.rows[0].value(self.given[setting])
            return self.given[setting]
        return next((name for name in self.spelled(names) if 2 * sum(holds(row, name) for row in self.rows) > len(self.rows)), None)

    def spelled(self, names: Iterable[str]) -> list[str]:
        """The names in the upper and lower case of the rows."""
        here = {str(field).casefold(): str(field) for row in self.rows for field in row.fields}
        return [here.get(name.casefold(), name) for name in names]


def detect(source: str, given: Mapping[str, str] | None = None) -> Detected:
    """What reads a file or a data set of the hub; `given` holds settings that are already known.

    Raises: ConfigError if it cannot be read, is empty, lacks a given field, or nothing in it looks like a question, nor like rationales with ids.
    """
    rows = list(read_source(source, "--detect"))
    if not rows:
        raise ConfigError(f"--detect {source} must hold at least one row; it is empty")
    fields = _Fields(rows[:NUM_ROWS], given or {})
    question = _question(fields)
    task = _task(source, fields, rows, question) if question else {}
    teacher = _teacher(source, fields, question)
    if question is None and not teacher:
        here = ", ".join(str(name) for name in rows[0].fields)
        raise ConfigError(f"--detect {source}: no field looks like a question; fields here: {here}; name it by task.question_field=FIELD")
    return Detected(task=task, teacher=teacher, rows=rows)


def _question(fields: _Fields) -> str | None:
    """The field of the question, together with that of its passage if there is one."""
    has_input = any("input" in row.fields for row in fields.rows) and fields.first("", ["instruction"], _is_text)
    names = [*QUESTIONS[: QUESTIONS.index("instruction")], *([JOINED] if has_input else []), *QUESTIONS[QUESTIONS.index("instruction") :]]
    setting = "task.question_field" if "task.question_field" in fields.given else "teacher.question_field"
    name = fields.first(setting, names, _is_text)
    if name is None or setting in fields.given or not name.casefold().endswith(("question", "problem", "query")):
        return name
    before = name[: name.rfind(".") + 1]
    context = fields.first("", [f"{before}{each}" for each in CONTEXTS], _is_text)
    return f"{{{context}}} {{{name}}}" if context else name


def _task(source: str, fields: _Fields, rows: Sequence[Row], question: str) -> dict[str, str]:
    """Empty if no field holds answers that can be read."""
    options = fields.first("task.options_field", OPTIONS, _has_options)
    found = _answer(fields, question, options)
    if found is None:
        return {}
    answer, kind = found
    solution = fields.first("task.solution_field", [name for name in SOLUTIONS if name not in (question, answer)], _is_text)
    return {
        "task": "custom",
        "task.file": source,
        "task.question_field": question,
        "task.answer_field": answer,
        "task.answer_type": _kind(rows, answer, options, fields.given.get("task.answer_type")) or kind,
        **({"task.options_field": options} if options else {}),
        **({"task.solution_field": solution} if solution else {}),
        **({"task.num_validation": str(max(1, len(rows) // 10))} if len(rows) < SMALL else {}),  # of a small file the usual number is too many
    }


def _answer(fields: _Fields, question: str, options: str | None) -> tuple[str, str] | None:
    """The field of the gold answers, and their type."""
    given, type_given = fields.given.get("task.answer_field"), fields.given.get("task.answer_type")
    if given is not None:
        fields.rows[0].value(given)
        return given, _kind(fields.rows, given, options, type_given) or OF_CUSTOM
    for name in [each for each in fields.spelled(ANSWERS) if each != question]:
        values = {str(value).strip().casefold() for row in fields.rows if (value := row.get(name)) is not None}
        kind = _kind(fields.rows, name, options, None)
        if kind == "latex" and all(map(LETTER.fullmatch, values)):
            return None  # letters of options that the question names, or other fields: worth nothing without them
        if kind and not (name.casefold() in MARKS and all(map(_is_mark, values))):
            return name, type_given or kind
    return None


def _teacher(source: str, fields: _Fields, question: str | None) -> dict[str, str]:
    """Empty if no field holds rationales, or nothing says to which questions they belong."""
    texts = fields.first("teacher.text_field", [name for name in RATIONALES if name != question], _is_text_or_texts)
    ids = fields.first("teacher.id_field", IDS, _is_there)
    if texts is None or (question is None and ids is None):
        return {}
    thoughts = fields.first("", THOUGHTS, _is_text)
    if texts == ALL_CHOICES and thoughts and not any(_is_there(row, "response.body.choices.1") for row in fields.rows):
        texts = f"<think>{{{thoughts}}}</think>{{{FIRST_CHOICE}content}}"
    given = fields.given.get("teacher.finish_reason_field")  # elsewhere most rows must have a field; where no reason is given, a text is complete
    reasons = given or next((name for name in fields.spelled(FINISH_REASONS) if any(_is_there(row, name) for row in fields.rows)), None)
    return {
        "teacher": "recorded",
        "teacher.files": f"[{source if is_hub(source) else glob.escape(source)}]",
        "teacher.text_field": texts,
        **({"teacher.question_field": question} if question else {}),
        **({"teacher.id_field": ids} if ids else {}),
        **({"teacher.finish_reason_field": reasons} if reasons else {}),
    }


def _is_there(row: Row, name: str) -> bool:
    return row.get(name) is not None


def _is_text(row: Row, name: str) -> bool:
    value = row.get(name)
    return isinstance(value, str) and bool(value.strip())


def _is_text_or_texts(row: Row, name: str) -> bool:
    value = row.get(name)
    return _is_text(row, name) or (isinstance(value, list) and bool(value) and all(isinstance(each, str) for each in value))


def _has_options(row: Row, name: str) -> bool:
    if row.get(name) is None:
        return False  # and no time for the words of a refusal
    try:
        return len(options_of(row, name)) > 1
    except ConfigError:
        return False


def _is_mark(value: str) -> bool:
    """Whether a value may say how good an answer is: true, false, or a number from 0 to 1."""
    try:
        return value in ("true", "false") or 0 <= float(value) <= 1
    except ValueError:
        return False


def _kind(rows: Sequence[Row], name: str, options: str | None, given: str | None) -> str | None:
    """The given type, or else the narrowest type of answer by which all rows can be read, or the one that reads most rows, if more than half."""
    if given is not None:
        return given
    kinds: list[AnswerType] = ["choice"] if options else ["boolean", "integer", "decimal", "latex"]
    counts: dict[str, int] = {}
    for kind in kinds:
        golds = [_gold(row, name, kind, options) for row in rows]
        counts[kind] = sum(gold is not None for gold in golds)
        if kind == "latex" and any(gold is not None and _is_prose(row.get(name), gold) for row, gold in zip(rows, golds, strict=True)):
            del counts[kind]
        elif counts[kind] == len(rows):
            break
    best = max(counts, key=lambda kind: counts[kind], default="")
    return best if 2 * counts.get(best, 0) > len(rows) else None


def _gold(row: Row, name: str, kind: AnswerType, options: str | None) -> str | None:
    if row.get(name) is None:
        return None
    try:
        return gold_of(row, name, kind, options)
    except ConfigError:
        return None


def _is_prose(value: Any, gold: str) -> bool:
    """Whether a value that can be read as LaTeX, as any text can, is no formula."""
    return not isinstance(value, str | int | float) or bool(PROSE.search(re.sub(r"\\(text|mbox)\s*\{[^{}]*\}", "", gold)))
