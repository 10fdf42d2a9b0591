"""Seconds to grade 10,000 MATH-like answers, compared with math-verify in a pool of processes over the same texts.

    python benchmarks/grading.py DATA [--texts 10000] [--long 50] [--rounds 1]

DATA is a folder like `paths.data`. The texts are worked solutions of MATH's training set, every third with the gold answer of another
problem; `--long` of them end in an answer of some thousand characters. The pool gives one label per text, `grade_all` three. Both must agree
on the label of math-verify. Goal: 1.5 times as fast.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from measure import Row, in_turns, keep

from cotexp.tasks.boxes import last_boxed
from cotexp.tasks.gold import read_gold
from cotexp.tasks.grading import Answered, grade_all


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--texts", type=int, default=10_000)
    parser.add_argument("--long", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    texts = math_like(options.data, options.texts, options.long)
    seconds, labels = in_turns({"ours": lambda: grade_all(texts), "peer": lambda: in_pool(texts)}, options.rounds, warm_up=False)
    differ = sum(one != other.math_verify for one, other in zip(labels["peer"], labels["ours"], strict=True))
    sizes = {"texts": len(texts), "long": options.long, "labels that differ": differ, "timed out": sum(each.timed_out for each in labels["ours"])}
    keep(Row("grading_math", "s", seconds["ours"], seconds["peer"], seconds["peer"] / seconds["ours"], 1.5, differ == 0, sizes))


def math_like(data: Path, count: int, num_long: int) -> list[Answered]:
    """`count` solutions with gold answers, repeated if there are fewer. The long ones are sums of many terms."""
    rows = [json.loads(line) for line in (data / "math/train.jsonl").read_text(encoding="utf-8").split("\n") if line]
    found = [(row["solution"], box) for row in rows if (box := last_boxed(row["solution"]))]
    golds = [box for _, box in found]
    texts = []
    for number in range(count):
        index = number % len(found)
        solution = found[index][0] if number % (count // max(1, num_long)) else f"The sum is \\boxed{{{'+'.join(map(str, range(1, 1000)))}}}"
        texts.append(
            Answered(id=str(number), text=solution, gold=read_gold(golds[(index + (number % 3 == 0)) % len(golds)], "latex"), answer_type="latex")
        )
    return texts


def in_pool(texts: list[Answered]) -> list[bool]:
    """One label per text by math-verify with its defaults, on all cores."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(verified, [each.gold for each in texts], [each.text for each in texts], chunksize=32))


def verified(gold: str, text: str) -> bool:
    from math_verify import parse, verify

    return bool(verify(parse(f"${gold}$"), parse(text)))


if __name__ == "__main__":
    main()
