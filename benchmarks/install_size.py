"""Size on disk of an installation, and of each extra: of the packages that only it needs. And the time to import each package that is optional.

    python benchmarks/install_size.py

Sizes are of the files that pip wrote into this environment; torch is as it is here, a build for processors or for GPUs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib.metadata import Distribution
from pathlib import Path

from measure import run

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from dependencies import PROJECT, num_bytes, packages, requirements

IMPORTED = {
    "api": "openai",
    "wandb": "wandb",
    "forecast": "sklearn.ensemble",
    "hub": "datasets",
    "pandas": "pandas",
    "search": "optuna",
    "figures": "matplotlib.pyplot",
}
"""Extra -> what the first use of it imports. There is no extra `figures`: every run and every report draws."""
ROUNDS = 3


def mebibytes(distributions: Iterable[Distribution]) -> float:
    return sum(map(num_bytes, distributions)) / 2**20


def import_seconds(module: str) -> float:
    """Processor seconds to import a module in a new process; the least of several."""
    code = f"import time; began = time.process_time(); import {module}; print(time.process_time() - began)"
    return min(float(run([sys.executable, "-c", code])) for _ in range(ROUNDS))


def main() -> None:
    core = packages(requirements())
    print(f"core: {len(core)} packages, {mebibytes(core.values()):.0f} MiB, of which torch {mebibytes([core['torch']]):.0f}")
    for extra, module in IMPORTED.items():
        if extra in PROJECT["optional-dependencies"]:
            own = {name: each for name, each in packages(requirements(extra)).items() if name not in core}
        else:
            without = packages(each for each in requirements() if not module.startswith(each.name))
            own = {name: each for name, each in core.items() if name not in without}
        size = f"{len(own)} packages, {mebibytes(own.values()):.0f} MiB"
        print(f"{extra}: {size}, import {module} {import_seconds(module):.2f} s: {', '.join(sorted(own))}")


if __name__ == "__main__":
    main()
