"""Number of grading cases of a file that get the desired strict label, per kind.

    python benchmarks/grading_cases.py CASES.jsonl [--wrong]

Each line has the fields `task`, `gold`, `text`, `right` (the desired label), `note` (its first words name the kind) and, for a choice, `options`.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

from cotexp.tasks.benchmarks import BENCHMARKS
from cotexp.tasks.gold import read_gold
from cotexp.tasks.grading import Answered, grade_all
from cotexp.tasks.options import LETTERS


def answered(case: dict[str, Any], number: int) -> Answered | None:
    """The text of a case with its gold answer, or None if the gold answer is refused."""
    answer_type = BENCHMARKS[case["task"]].answer_type
    given = case.get("options") or {}
    options = dict(zip(LETTERS, given, strict=False)) if isinstance(given, list) else given
    try:
        gold = read_gold(case["gold"], answer_type, options or None)
    except ValueError:
        return None
    return Answered(id=str(number), text=case["text"], gold=gold, answer_type=answer_type, options=options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", type=Path)
    parser.add_argument("--wrong", action="store_true", help="print every case whose label is not the desired one")
    options = parser.parse_args()
    cases = [json.loads(line) for line in options.cases.read_text(encoding="utf-8").split("\n") if line]
    texts = {number: text for number, case in enumerate(cases) if (text := answered(case, number)) is not None}
    grades = {int(each.id): each for each in grade_all(list(texts.values()), whole_text=False)}
    right, total = Counter[tuple[str, str, bool]](), Counter[tuple[str, str, bool]]()
    for number, case in enumerate(cases):
        label = number in grades and grades[number].strict
        kind = (case["task"], " ".join(case["note"].split(":")[0].split()[:2]), case["right"])
        total[kind] += 1
        right[kind] += label == case["right"]
        if options.wrong and label != case["right"]:
            print(json.dumps({**case, "label": label, "extracted": grades[number].extracted if number in grades else "gold refused"}))
    print("| task | kind | desired | cases | labelled so |\n|---|---|---|---|---|")
    for kind in sorted(total):
        print(f"| {kind[0]} | {kind[1]} | {'right' if kind[2] else 'wrong'} | {total[kind]} | {right[kind]} |")
    num_wrong, num_right = (sum(count for kind, count in total.items() if kind[2] is desired) for desired in (False, True))
    kept, found = (sum(count for kind, count in right.items() if kind[2] is desired) for desired in (False, True))
    print(f"\nwrong answers still marked right: {num_wrong - kept} of {num_wrong}; right answers recognised: {found} of {num_right}")


if __name__ == "__main__":
    main()
