"""Finished runs' folders with all that a run of MACC leaves, by hand: two questions, one chain of thought, two rounds, three training steps."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from cotexp.config import command_line
from cotexp.settings.root import Settings

KEY = "f00dcafe0000"
CURVE = [
    *(
        {"step": step, "num_steps": 3, "learning_rate": 0.1, "train/loss": 1 / step, "train/loss_compress": 2 / step, "train/loss/svamp": 4 / step}
        for step in (1, 2, 3)
    ),
    {"step": 3, "num_steps": 3, "validation/loss": 0.25},
]


def settings_in(outputs: Path, *overrides: str) -> Settings:
    return command_line.check_command_line([f"paths.outputs={outputs}", "model=hf", "model.path=nowhere", *overrides], multirun=False)[0]


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))


def write_ledger(outputs: Path, stage: str, key: str, rows: list[dict[str, Any]], *, made: float) -> dict[str, str]:
    folder = outputs / "store" / stage / key
    write_lines(folder / "rows-w.jsonl", [{**each, "written": made} for each in rows])
    (folder / "spec.json").write_text(json.dumps({"stage": stage, "key": key}))
    os.utime(folder / "spec.json", (made, made))
    return {"key": key, "path": f"store/{stage}/{key}"}


def write_run(outputs: Path, settings: Settings, key: str = KEY, *, right: str = "10", started: float = 1000.0, num_tokens: int = 20) -> Path:
    """A finished run whose answers are right where `right` has a 1; its rationales were in the store before it began."""
    folder = outputs / "runs" / settings.name / key
    questions = [f"stories-{number}" for number in range(len(right))]
    answer = {"task": "stories", "sample": 0, "gold": "7", "answer_type": "integer", "options": {}, "num_cot_tokens": 15, "finish_reason": "stop"}
    answers = [
        {"id": f"{name}/0", "question_id": name, "text": f"<b>{name}</b> The answer is 7.", "num_tokens": num_tokens, **answer} for name in questions
    ]
    grade = {"extracted": "7", "extracted_by": "statement", "lenient": True, "math_verify": None, "timed_out": False}
    grades = [{"id": f"{name}/0", "strict": mark == "1", **grade} for name, mark in zip(questions, right, strict=True)]
    chain = {"id": "t/0", "question_id": "t", "sample": 0, "cot": "One. Two. ", "closing": "The answer is 7.", "num_tokens": 9, "num_cot_tokens": 6}
    rewrite = {"rationale_id": "t/0", "tokenizer": "x", "prompt_hash": "x", "previous_text_hash": "x", "finish_reason": "stop", "outcome": "ok"}
    rounds = [{"id": f"t/0/{n}", "round": n, "text": "Two." * n, "num_tokens": 5 - n, "answer_kept": True, **rewrite} for n in (1, 2)]
    stages = {
        "rationales/stories": write_ledger(outputs, "rationales", "aa" * 8, [{**chain, "finish_reason": "stop"}], made=started - 500),
        "grades/rationales/stories": write_ledger(outputs, "grades", "ab" * 8, [{"id": "t/0", "strict": True, **grade}], made=started - 500),
        "rounds/stories": write_ledger(outputs, "rounds", "bb" * 8, rounds, made=started + 1),
        "checkpoint": {"key": f"c{key}000", "path": f"store/checkpoint/c{key}000"},
    }
    for mode in ("base", "full", "compress"):
        own = "ba" * 8 if mode == "base" else f"{mode[0]}{key}000"
        stages[f"predictions/{mode}/stories"] = write_ledger(outputs, "predictions", own, answers, made=started + 2)
        stages[f"grades/{mode}/stories"] = write_ledger(outputs, "grades", own, grades, made=started + 2)
    checkpoint = outputs / stages["checkpoint"]["path"]
    write_lines(checkpoint / "curve.jsonl", CURVE)
    (checkpoint / "manifest.json").write_text(json.dumps({"stage": "checkpoint"}))
    compressed = {"rationale_id": "t/0", "text": "Two.", "kept_round": 1, "num_tokens": 4, "num_tokens_original": 6, "stop_reason": "rebound"}
    write_lines(folder / "compressed.jsonl", [{**compressed, "num_rounds_run": 2, "round_num_tokens": [6, 4, 3]}])
    write_lines(folder / "selection.jsonl", [{"question_id": "t", "kept": ["t/0"]}])
    accuracy, more = right.count("1") / len(right), {"eval/compress/accuracy_low": 0.1, "eval/compress/num_tokens": num_tokens}
    asked = {name: {"text": f"How many is {name}?", "answer": "7"} for name in questions}
    for name, content in (
        ("settings", dataclasses.asdict(settings)),
        ("stages", stages),
        ("metrics", {"eval/compress/accuracy": accuracy, "eval/compress/stories/accuracy": accuracy, **more}),
        ("origin", {"command": f"cotexp run seed={settings.seed}", "version": "0.1.0", "commit": "c0ffee", "is_changed": False}),
        ("questions", {"test": {"stories": [f"{each}/0" for each in questions]}, "questions": asked}),
        ("planned", stages),
    ):
        (folder / f"{name}.json").write_text(json.dumps(content))
    os.utime(folder / "planned.json", (started, started))
    return folder
