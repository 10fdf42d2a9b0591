"""Files of benchmarks that do not hold the official number of rows: what a score on them must be read with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping


def line(name: str, num_rows: float, num_official: float) -> str:
    """Of one file, "TASK/SPLIT"."""
    task, _, split = name.rpartition("/")
    remark = "; a score on it is not one on the whole benchmark, state its number of questions" if split == "test" else ""
    return f"{task}: the {split} file holds {num_rows:,.0f} rows, officially there are {num_official:,.0f}{remark}."


def lines(metrics: Mapping[str, float]) -> Iterator[str]:
    """Of all files that a run took questions from."""
    for name, num_rows in metrics.items():
        if found := re.fullmatch(r"questions/(.+)/num_rows", name):
            yield line(found[1], num_rows, metrics[f"{name}_official"])
