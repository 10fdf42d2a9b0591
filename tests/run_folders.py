"""Folders of finished runs, written by hand."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

RANDOM = {"name": "random", "accuracy": False, "diversity": None, "order": "random", "k": 1}
MORSD = {"name": "morsd", "accuracy": True, "diversity": 0.5, "order": "lowest_rd", "k": 1}


def write_run(
    outputs: Path,
    key: str,
    labels: str | dict[str, str],
    *,
    name: str = "exp",
    seed: int = 0,
    selection: dict[str, Any] = RANDOM,
    num_kept: int = 100,
    base: str | None = None,
    finished: float = 0.0,
    gold: str = "7",
    mode: str = "full",
    **settings: Any,
) -> Path:
    """A finished run: one answer per character of `labels`, of one task or of each; 1 is right. `base` adds those before fine-tuning."""
    folder = outputs / "runs" / name / key
    folder.mkdir(parents=True)
    of_task = {mode: {"svamp": labels} if isinstance(labels, str) else labels}
    if base is not None:
        of_task["base"] = {"svamp": base}
    stages: dict[str, dict[str, str]] = {}
    for mode, tasks in of_task.items():
        for task, marks in tasks.items():
            ids = [f"{task}-{number}/0" for number in range(len(marks))]
            fields = {"task": task, "sample": 0, "text": "", "gold": gold, "answer_type": "integer", "options": {}, "num_tokens": 20}
            fields |= {"num_cot_tokens": 15, "finish_reason": "stop", "written": 0}
            grade = {"extracted": "7", "extracted_by": "statement", "lenient": True, "math_verify": None, "timed_out": False, "written": 0}
            answers = [{"id": each, "question_id": each.split("/")[0], **fields} for each in ids]
            grades = [{"id": each, "strict": mark == "1", **grade} for each, mark in zip(ids, marks, strict=True)]
            for kind, rows in (("predictions", answers), ("grades", grades)):
                own = "base" if mode == "base" else f"{name.replace('/', '-')}-{key}"
                stages[f"{kind}/{mode}/{task}"] = {"key": own, "path": f"store/{kind}/{own}-{task}"}
                place = outputs / "store" / kind / f"{own}-{task}"
                place.mkdir(parents=True, exist_ok=True)
                (place / "rows-w.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    own_settings = {
        "name": name,
        "seed": seed,
        "selection": {**selection, "equal_questions": False},
        "trainer": {"name": "single", "learning_rate": 1e-4, "micro_batch_size": None},
        "paths": {"outputs": str(outputs)},
        "evaluation": {"modes": list(of_task), "batch_size": 8},
        **settings,
    }
    metrics = {"selection/num_kept": num_kept, "selection/num_tokens": 60 * num_kept, "training/num_steps": 10}
    wanted = {task: [f"{task}-{number}/0" for number in range(len(marks))] for task, marks in of_task[mode].items()}
    for file, content in (("settings", own_settings), ("stages", stages), ("metrics", metrics), ("questions", {"test": wanted})):
        (folder / f"{file}.json").write_text(json.dumps(content))
    os.utime(folder / "metrics.json", (finished, finished))
    return folder
