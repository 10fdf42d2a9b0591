"""Seconds to grade 10,000 GSM8K-like and 2,000 MATH-like predictions, compared with math-verify in a plain loop.

    python benchmarks/grading.py DATA [--gsm8k 10000] [--math 2000]

DATA is a folder like `paths.data`. GSM8K-like predictions are recorded answers of several models. MATH-like predictions are the worked solutions
of MATH's training set, every third one with the gold answer of another problem. The loop gives one label per text, `grade_all` gives three.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path

from cotexp.records import Grade
from cotexp.tasks.boxes import last_boxed
from cotexp.tasks.gold import read_gold
from cotexp.tasks.grading import Answered, grade_all

MODELS = ("code001", "code002", "text002", "text003", "gpt-3.5-turbo", "gpt4")


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def gsm8k_like(data: Path, count: int) -> list[Answered]:
    """Recorded texts of several sources with their gold answers."""
    folder = data / "model_outputs/gsm8k_test"
    pairs = [(row["model_output"], row["answer"]) for path in sorted((folder / "tokenskip").glob("*.jsonl")) for row in rows(path)]
    golds = {row["id"]: row["answer"] for row in rows(folder / "faithful_cot/questions.jsonl")}
    pairs += [(row["completion"], golds[row["id"]]) for model in MODELS for row in rows(folder / f"faithful_cot/{model}.jsonl")]
    for row in rows(folder / "openai_example_model_solutions.jsonl"):
        pairs += [(row[model]["solution"], row["ground_truth"].rsplit("A: ", 1)[1]) for model in row if isinstance(row[model], dict)]
    return [
        Answered(id=str(number), text=text, gold=read_gold(gold, "decimal"), answer_type="decimal")
        for number, (text, gold) in enumerate(pairs[:count])
    ]


def math_like(data: Path, count: int) -> list[Answered]:
    found = [(row["solution"], box) for row in rows(data / "math/train.jsonl") if (box := last_boxed(row["solution"]))]
    golds = [box for _, box in found]
    return [
        Answered(id=str(number), text=solution, gold=read_gold(golds[number + (number % 3 == 0)], "latex"), answer_type="latex")
        for number, (solution, _) in enumerate(found[:count])
    ]


def naive(texts: list[Answered]) -> list[bool]:
    """One label per text by math-verify with its defaults, one after the other."""
    from math_verify import parse, verify

    return [bool(verify(parse(f"${each.gold}$"), parse(each.text))) for each in texts]


def seconds(work: Callable[[], list]) -> tuple[float, list]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--gsm8k", type=int, default=10_000)
    parser.add_argument("--math", type=int, default=2_000)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    naive(math_like(options.data, 5))
    print("| predictions | texts | math-verify in a loop, s | cotexp, three rules, s | ratio | math_verify labels that differ | timed out |")
    print("|---|---|---|---|---|---|---|")
    for name, texts in (("GSM8K-like", gsm8k_like(options.data, options.gsm8k)), ("MATH-like", math_like(options.data, options.math))):
        plain, labels = seconds(lambda texts=texts: naive(texts))
        ours, grades = seconds(lambda texts=texts: grade_all(texts))
        show(name, plain, ours, labels, grades)


def show(name: str, plain: float, ours: float, labels: list[bool], grades: list[Grade]) -> None:
    differ = sum(one != other.math_verify for one, other in zip(labels, grades, strict=True))
    print(f"| {name} | {len(labels)} | {plain:.1f} | {ours:.1f} | {plain / ours:.2f} | {differ} | {sum(each.timed_out for each in grades)} |")


if __name__ == "__main__":
    main()
