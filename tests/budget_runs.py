"""Folders of finished runs of compression=budget, with lengths that are given."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LIMIT = 300

Lengths = Mapping[str, Sequence[int]]
"""Question -> the tokens of its answers; LIMIT is one that was cut."""


def write_budget_run(
    outputs: Path,
    budget: int,
    lengths: Lengths,
    *,
    base: Lengths | None = None,
    wrong: Sequence[str] = (),
    name: str = "exp",
    key: str = "",
    weights: str = "weights",
    **settings: Any,
) -> Path:
    """A run whose answers under `budget` have these `lengths`; those to questions in `wrong` are unparsable. `base` are answers without a
    budget.
    """
    key = key or f"b{budget}"
    folder = outputs / "runs" / name / key
    folder.mkdir(parents=True)
    stages: dict[str, dict[str, str]] = {}
    for mode, own in (("compress", lengths), *((("base", base),) if base is not None else ())):
        ids = [(f"{question}/{sample}", question, sample, length) for question, each in own.items() for sample, length in enumerate(each)]
        answers = [_answer(*each) for each in ids]
        grades = [_grade(name_of_answer, question not in wrong) for name_of_answer, question, _, _ in ids]
        for kind, rows in (("predictions", answers), ("grades", grades)):
            place = outputs / "store" / kind / f"{name.replace('/', '-')}-{key}-{mode}"
            place.mkdir(parents=True)
            (place / "rows-w.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
            stages[f"{kind}/{mode}/sums"] = {"key": place.name, "path": str(place.relative_to(outputs))}
    own_settings = {
        "name": name,
        "seed": 0,
        "model": {"name": "small", "path": "small", "dtype": "float32"},
        "compression": {"name": "budget", "budget": budget, "instruction": "Use less than {budget} tokens:"},
        "evaluation": {"modes": [*(["base"] if base is not None else []), "compress"], "max_new_tokens": LIMIT},
        **settings,
    }
    test = [f"{question}/{sample}" for question, each in lengths.items() for sample in range(len(each))]
    for file, content in (
        ("settings", own_settings),
        ("origin", {"weights": {"model": weights}}),
        ("stages", stages),
        ("metrics", {"seconds/evaluation": 1}),
        ("questions", {"test": {"sums": test}}),
    ):
        (folder / f"{file}.json").write_text(json.dumps(content))
    return folder


def _answer(name: str, question: str, sample: int, length: int) -> dict[str, Any]:
    kind = {"task": "sums", "gold": "7", "answer_type": "integer", "options": {}, "text": "", "written": 0}
    ended = "length" if length >= LIMIT else "stop"
    return {"id": name, "question_id": question, "sample": sample, "num_tokens": length, "num_cot_tokens": length - 1, "finish_reason": ended, **kind}


def _grade(name: str, is_right: bool) -> dict[str, Any]:
    answer = "7" if is_right else None
    labels = {"strict": is_right, "lenient": is_right, "math_verify": None, "timed_out": False, "written": 0}
    return {"id": name, "extracted": answer, "extracted_by": "statement" if is_right else "none", **labels}
