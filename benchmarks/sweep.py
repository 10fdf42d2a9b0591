"""Cost of twelve fine-tunings over shared rationales and rounds, compared with the same twelve in separate stores.

    python benchmarks/sweep.py [--points 12]

The goal is the cost of one generation, one compression and twelve fine-tunings with their evaluations, within 5 %: the seconds of the stages of the
shared sweep are compared with those of the separate runs, where generation and compression count once.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from measure import Row, keep, run

WORDS = ["tracking=none", "task.num_train=48", "task.num_validation=8", "task.num_test=16", "compression.max_rounds=3", "trainer.max_epochs=1"]
WORDS += ["evaluation.latency=false", "trainer.num_validations=1"]
ONCE = ("rationales", "rounds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=12)
    options = parser.parse_args()
    shared, separate = [], []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.points):  # in turns, so that other load of the machine affects both
            separate.append(stages(f"{folder}/own{seed}", seed))
            shared.append(stages(f"{folder}/shared", seed))
    expected = sum(sum(each.values()) for each in separate) - sum(each.get(name, 0.0) for each in separate[1:] for name in ONCE)
    ours, apart = sum(sum(each.values()) for each in shared), sum(sum(each.values()) for each in separate)
    again = sum(each.get(name, 0.0) for each in shared[1:] for name in ONCE)
    sizes = {"points": options.points, "expected seconds": expected, "apart seconds": apart, "generation and compression after the first": again}
    keep(Row("sweep_sharing", "s", ours, expected, expected / ours, 0.95, again < 0.05 * ours, sizes))


def stages(outputs: str, seed: int) -> dict[str, float]:
    """Seconds of each stage of one point, as measured by the run."""
    run([sys.executable, "run.py", *WORDS, f"seed={seed}", f"paths.outputs={outputs}"])
    folder = max(Path(outputs).glob("runs/*/*/*/metrics.json"), key=lambda each: each.stat().st_mtime)
    return {name.removeprefix("seconds/"): value for name, value in json.loads(folder.read_text()).items() if name.startswith("seconds/")}


if __name__ == "__main__":
    main()
