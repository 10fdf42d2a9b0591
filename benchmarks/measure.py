"""Measures this project and a peer in one run, and stores each row as outputs/benchmarks/NAME.json.

Ours and the peer take turns, so that a change of the machine's load affects both. Figures are medians; a ratio above 1 is in our favour.
`exponent` is the slope of log cost over log size; a cost that is linear in the number of rows has 1.
"""

from __future__ import annotations

import gc
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "outputs" / "benchmarks"
LIBRARIES = ("torch", "transformers", "peft", "pytorch-lightning", "hydra-core", "orjson", "math-verify")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `ours` and `peer` are in `unit`; `goal` is the smallest acceptable ratio, or None."""

    name: str
    unit: str
    ours: float
    peer: float | None
    ratio: float | None
    goal: float | None
    agrees: bool
    """Whether ours and the peer gave the same result, as far as the benchmark compares it."""
    sizes: dict[str, Any]
    exponent: float | None = None
    machine: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def line(self) -> str:
        ratio = "     -" if self.ratio is None else f"{self.ratio:6.2f}"
        goal = "" if self.goal is None else f"   goal {self.goal:g}"
        peer = "" if self.peer is None else f"   peer {self.peer:10.4g}"
        slope = "" if self.exponent is None else f"   exponent {self.exponent:.2f}"
        return f"{self.name:34} ours {self.ours:10.4g}{peer} {self.unit:12}   ratio {ratio}{goal}{slope}   {'agrees' if self.agrees else 'DIFFERS'}"


def keep(row: Row) -> Row:
    """Write a row to its file with machine and versions, and print it."""
    machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count(), "load": os.getloadavg()[0]}
    full = {**asdict(row), "machine": machine, "versions": versions(), **({"machine": row.machine} if row.machine else {})}
    full["versions"] |= row.versions
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{row.name}.json").write_text(json.dumps(full, indent=2) + "\n", encoding="utf-8")
    print(row.line, flush=True)
    return row


def versions(names: Sequence[str] = LIBRARIES) -> dict[str, str]:
    """Versions of those of the libraries that are installed."""
    known = {"python": platform.python_version()}
    for name in names:
        try:
            known[name] = version(name)
        except PackageNotFoundError:
            continue
    return known


def in_turns(ways: Mapping[str, Callable[[], Any]], rounds: int, *, warm_up: bool = True) -> tuple[dict[str, float], dict[str, Any]]:
    """(median seconds of each way, its last result) over `rounds` rounds. Every round runs every way once."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    results: dict[str, Any] = {}
    for number in range(rounds + warm_up):
        for name, way in ways.items():
            results.pop(name, None)
            gc.collect()
            started = time.perf_counter()
            results[name] = way()
            if number or not warm_up:
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(each) for name, each in seconds.items()}, results


def exponent(costs: Mapping[int, float]) -> float:
    """Slope of log cost over log size by least squares; `costs` maps sizes to costs."""
    xs, ys = [math.log(each) for each in costs], [math.log(each) for each in costs.values()]
    x_mean, y_mean = statistics.mean(xs), statistics.mean(ys)
    return sum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True)) / sum((x - x_mean) ** 2 for x in xs)


def run(command: Sequence[str], **variables: str) -> str:
    """The standard output of a command in the project's folder. Raises: CalledProcessError, after printing its error output."""
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        done.check_returncode()
    return done.stdout
