"""A report over many finished runs, and the list of runs: seconds, and whether cost is linear in runs.

    python benchmarks/reports.py [--report 500] [--list 2000]

The runs are copies of one small real run with other seeds and learning rates, each with its predictions and grades. Goals for two cores:
10 s for a report over 500 runs, 3 s for a list of 2,000.
"""

from __future__ import annotations

import argparse
import functools
import json
import shutil
import sys
import tempfile
from pathlib import Path

from measure import Row, exponent, in_turns, keep, run

WORDS = ["task.num_train=16", "task.num_validation=4", "task.num_test=32", "tracking=none", "trainer.max_epochs=1", "evaluation.max_new_tokens=32"]
WORDS += ["name=copies", "compression=truncate", "evaluation.latency=false"]
COMMANDS = {"report": ["report", "copies"], "runs": ["runs"]}
GOALS = {"report": 10.0, "runs": 3.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--report", type=int, default=500)
    parser.add_argument("--list", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        original = Path(name) / "original"
        run([sys.executable, "run.py", *WORDS, f"paths.outputs={original}"])
        for command, count in (("report", options.report), ("runs", options.list)):
            sizes = (count // 4, count // 2, count)
            folders = {size: copies(original, Path(name) / f"{command}{size}", size) for size in sizes}
            ways = {str(size): functools.partial(run, [*COTEXP, *COMMANDS[command], "--outputs", str(folders[size])]) for size in sizes}
            seconds, printed = in_turns(ways, options.rounds)
            slope = exponent({size: seconds[str(size)] for size in sizes})
            goal, ours = GOALS[command], seconds[str(count)]
            keep(Row(f"{command}_{count}", "s", ours, goal, goal / ours, 1.0, "copies" in printed[str(count)], {"runs": count}, slope))


COTEXP = [sys.executable, "-m", "cotexp"]


def copies(original: Path, outputs: Path, count: int) -> Path:
    """`count` runs in a folder of outputs: ten learning rates with equally many seeds."""
    (source,) = original.glob("runs/copies/*")
    settings, stages = (json.loads((source / name).read_text()) for name in ("settings.json", "stages.json"))
    for number in range(count):
        folder = outputs / "runs/copies" / f"{number:016x}"
        shutil.copytree(source, folder)
        settings["seed"], settings["trainer"]["learning_rate"] = number // 10, float(f"{1 + number % 10}e-5")
        own = {}
        for name, stage in stages.items():
            place = original / stage["path"].removeprefix("outputs/") if (original / stage["path"]).exists() else original.parent / stage["path"]
            key = f"{stage['key'][:10]}{number:06x}"
            path = f"store/{place.parent.name}/{key}"
            if name.startswith(("predictions/compress", "grades/compress", "predictions/full", "grades/full")):
                shutil.copytree(place, outputs / path)
                own[name] = {**stage, "key": key, "path": path}
            else:
                (outputs / "store" / place.parent.name).mkdir(parents=True, exist_ok=True)
                if not (outputs / "store" / place.parent.name / place.name).exists():
                    shutil.copytree(place, outputs / "store" / place.parent.name / place.name)
                own[name] = stage
        (folder / "settings.json").write_text(json.dumps(settings))
        (folder / "stages.json").write_text(json.dumps(own))
    return outputs


if __name__ == "__main__":
    main()
