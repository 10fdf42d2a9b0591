"""Compares our grades of recorded model outputs with the labels of their sources.

    python benchmarks/recorded_outputs.py DATA [--disagreements FILE.jsonl]

DATA contains `model_outputs/` and `teacher_rationales/`, like `paths.data`. The label of a source is its `accuracy` or `is_correct`. If a source
has only the answer that it parsed, the label is whether that answer equals the gold answer.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from cotexp.records import Grade
from cotexp.tasks import BenchmarkTask, load_questions
from cotexp.tasks.booleans import boolean_word
from cotexp.tasks.gold import read_gold
from cotexp.tasks.grading import Answered, grade_all, numbers_equal
from cotexp.tasks.judge import Judge
from cotexp.tasks.option_texts import letter_of_text
from cotexp.tasks.splits import normal_text

MODELS = ("code001", "code002", "text002", "text003", "gpt-3.5-turbo", "gpt4")
RATIONALES = {"svamp": "decimal", "multiarith": "decimal", "strategyqa": "boolean", "date_understanding": "choice"}


class Recorded(NamedTuple):
    """Recorded texts of one model with the labels of their source."""

    name: str
    texts: list[Answered]
    labels: list[bool]


def rows(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def openai_solutions(data: Path) -> Iterator[Recorded]:
    """Solutions of GPT-3, which end in "A: 18". They are graded unchanged and with that mark replaced by "####"."""
    found = rows(data / "model_outputs/gsm8k_test/openai_example_model_solutions.jsonl")
    for model in ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification"):
        labels = [row[model]["is_correct"] for row in found]
        for mark in ("A: ", "#### "):
            texts = [
                Answered(
                    id=str(number),
                    text=row[model]["solution"].replace("\nA: ", f"\n{mark}"),
                    gold=read_gold(row["ground_truth"].rsplit("A: ", 1)[1], "decimal"),
                    answer_type="decimal",
                )
                for number, row in enumerate(found)
            ]
            yield Recorded(f"GPT-3 {model}, mark {mark.strip()}", texts, labels)


def tokenskip(data: Path) -> Iterator[Recorded]:
    for path in sorted((data / "model_outputs/gsm8k_test/tokenskip").glob("*.jsonl")):
        found = rows(path)
        texts = [Answered(id=row["id"], text=row["model_output"], gold=read_gold(row["answer"], "decimal"), answer_type="decimal") for row in found]
        yield Recorded(path.stem, texts, [row["accuracy"] for row in found])


def faithful_cot(data: Path) -> Iterator[Recorded]:
    """Outputs with answers that the source parsed. The label is whether the parsed answer is the gold answer."""
    for task, answer_type in {"gsm8k": "decimal", **RATIONALES}.items():
        folder = data / ("model_outputs/gsm8k_test/faithful_cot" if task == "gsm8k" else f"teacher_rationales/faithful_cot/{task}_train")
        questions = {row["id"]: row for row in rows(folder / "questions.jsonl")}
        options = date_options(data) if task == "date_understanding" else {}
        for model in MODELS:
            texts, labels = [], []
            for row in rows(folder / f"{model}.jsonl"):
                question = questions[row["id"]]
                own = options.get(" ".join(question["question"].casefold().split()), {})
                raw = str(question["answer"]).removeprefix("#### ")
                gold = letter_of_text(raw, own) if own else read_gold(raw, answer_type) if answer_type != "choice" else None
                if gold is None:
                    continue
                texts.append(Answered(id=str(row["id"]), text=row["completion"], gold=gold, answer_type=answer_type, options=own))
                labels.append(source_label(str(row["answer"]), gold, answer_type, own))
            yield Recorded(f"{task}, {model}", texts, labels)


def date_options(data: Path) -> dict[str, dict[str, str]]:
    """Question text -> options of Date Understanding."""
    sets = load_questions(BenchmarkTask(name="date_understanding", num_validation=1, prompt="{question}{options}"), [data])
    return {normal_text(each).split("\n")[0]: each.options for each in (*sets.train, *sets.validation, *sets.test)}


def source_label(answer: str, gold: str, answer_type: str, options: dict[str, str]) -> bool:
    if answer_type == "boolean":
        return boolean_word(answer) == gold
    return letter_of_text(answer, options) == gold if answer_type == "choice" else numbers_equal(answer, gold)


def show(recorded: Recorded, grades: list[Grade]) -> None:
    n = len(grades)
    cells = [f"{sum(bool(getattr(each, rule)) for each in grades) / n:.2%}" for rule in ("strict", "lenient")]
    cells.append(f"{sum(bool(each.math_verify) for each in grades) / n:.2%}" if grades[0].math_verify is not None else "-")
    more = sum(ours.strict and not theirs for ours, theirs in zip(grades, recorded.labels, strict=True))
    fewer = sum(theirs and not ours.strict for ours, theirs in zip(grades, recorded.labels, strict=True))
    unparsable = sum(each.extracted is None for each in grades)
    print(f"| {recorded.name} | {n} | {sum(recorded.labels) / n:.2%} | {' | '.join(cells)} | {unparsable} | {more} | {fewer} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--disagreements", type=Path, help="write every row on which strict and the source differ")
    options = parser.parse_args()
    lines = []
    print("| recorded answers | rows | source | strict | lenient | math_verify | unparsable | only strict right | only source right |")
    print("|---|---|---|---|---|---|---|---|---|")
    with Judge() as judge:
        for source in (openai_solutions, tokenskip, faithful_cot):
            for recorded in source(options.data):
                grades = grade_all(recorded.texts, judge=judge)
                show(recorded, grades)
                for text, grade, label in zip(recorded.texts, grades, recorded.labels, strict=True):
                    if grade.strict != label:
                        found = {name: getattr(grade, name) for name in ("extracted", "extracted_by", "strict", "lenient", "math_verify")}
                        lines.append({"recorded": recorded.name, "id": text.id, "gold": text.gold, "source": label, **found, "text": text.text})
    if options.disagreements:
        options.disagreements.write_text("".join(json.dumps(each) + "\n" for each in lines), encoding="utf-8")


if __name__ == "__main__":
    main()
