"""A finished run as the pipeline leaves it, with texts that are given."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Texts = Sequence[str]


def write_run(
    outputs: Path,
    key: str,
    *,
    chains: Mapping[str, Texts] = {},
    answers: Mapping[str, Mapping[str, str]] = {},
    right: str = "right",
    rationales: Mapping[str, Texts] = {},
    kept: Mapping[str, Sequence[int]] = {},
    task: str = "sums",
) -> Path:
    """The folder of a run on one task.

    `chains` holds for each training question the original and its rounds, the last but one kept as after a rebound; `answers` for each
    mode the answers to test questions, graded as right where they contain the word `right`; `rationales` for each training question
    those among which `kept` were chosen. Every question has the text "Question NAME?" and the gold answer 7. Lengths count words.
    """
    folder = outputs / "runs" / "exp" / key
    folder.mkdir(parents=True)
    stages: dict[str, dict[str, str]] = {}

    def ledger(stage: str, rows: Sequence[Mapping[str, Any]]) -> None:
        place = outputs / "store" / stage / key
        place.mkdir(parents=True)
        (place / "rows-w.jsonl").write_text("".join(json.dumps({**each, "written": 0}) + "\n" for each in rows), encoding="utf-8")
        stages[stage] = {"key": key, "path": str(place.relative_to(outputs))}

    written = {name: [texts[0]] for name, texts in chains.items()} | {name: list(texts) for name, texts in rationales.items()}
    all_written = [(name, sample, text) for name, texts in written.items() for sample, text in enumerate(texts)]
    ledger(f"rationales/{task}", [_rationale(*each) for each in all_written])
    ledger(f"grades/rationales/{task}", [_grade(f"{name}/{sample}", right in text) for name, sample, text in all_written])
    ledger(f"rounds/{task}", [_round(name, number, text) for name, texts in chains.items() for number, text in enumerate(texts) if number])
    for mode, texts in answers.items():
        ledger(f"predictions/{mode}/{task}", [_answer(name, text, task) for name, text in texts.items()])
        ledger(f"grades/{mode}/{task}", [_grade(f"{name}/0", right in text) for name, text in texts.items()])
    questions = {*written, *(name for texts in answers.values() for name in texts)}
    test = [f"{name}/0" for name in next(iter(answers.values()), {})]
    contents = {
        "settings": {"name": "exp", "seed": 0},
        "stages": stages,
        "metrics": {},
        "questions": {"test": {task: test}, "questions": {each: {"text": f"Question {each}?", "answer": "7"} for each in sorted(questions)}},
    }
    for name, content in contents.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    for name, rows in (
        ("compressed", [_compressed(name, texts) for name, texts in chains.items()]),
        ("selection", [_selected(name, len(texts), kept.get(name, ())) for name, texts in rationales.items()]),
    ):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
    return folder


def _rationale(name: str, sample: int, text: str) -> dict[str, Any]:
    length = {"num_tokens": len(text.split()), "num_cot_tokens": len(text.split())}
    return {"id": f"{name}/{sample}", "question_id": name, "sample": sample, "cot": text, "closing": "", "finish_reason": "stop", **length}


def _grade(name: str, is_right: bool) -> dict[str, Any]:
    labels = {"strict": is_right, "lenient": is_right, "math_verify": None, "timed_out": False}
    return {"id": name, "extracted": "7" if is_right else None, "extracted_by": "statement", **labels}


def _round(name: str, number: int, text: str) -> dict[str, Any]:
    hashes = {"tokenizer": "", "prompt_hash": "", "previous_text_hash": ""}
    outcome = {"finish_reason": "stop", "outcome": "ok" if text else "empty", "answer_kept": bool(text)}
    return {
        "id": f"{name}/0/{number}",
        "rationale_id": f"{name}/0",
        "round": number,
        "text": text,
        "num_tokens": len(text.split()),
        **hashes,
        **outcome,
    }


def _answer(name: str, text: str, task: str) -> dict[str, Any]:
    graded = {"gold": "7", "answer_type": "integer", "options": {}, "num_tokens": len(text.split()), "num_cot_tokens": len(text.split())}
    return {"id": f"{name}/0", "question_id": name, "task": task, "sample": 0, "text": text, "finish_reason": "stop", **graded}


def _compressed(name: str, texts: Texts) -> dict[str, Any]:
    kept = max(len(texts) - 2, 0)
    lengths = [len(each.split()) for each in texts]
    ends = {"kept_round": kept, "stop_reason": "rebound", "num_rounds_run": len(texts) - 1, "round_num_tokens": lengths}
    return {"rationale_id": f"{name}/0", "text": texts[kept], "num_tokens": lengths[kept], "num_tokens_original": lengths[0], **ends}


def _selected(name: str, num_written: int, kept: Sequence[int]) -> dict[str, Any]:
    filters = dict.fromkeys(("num_usable", "num_accurate", "num_diverse", "num_ordered"), num_written)
    return {"question_id": name, "num_written": num_written, "kept": [f"{name}/{each}" for each in kept], **filters}
