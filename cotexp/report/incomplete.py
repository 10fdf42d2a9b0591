"""Warnings about benchmark files that do not have the official number of rows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping


def line(name: str, num_rows: float, num_official: float) -> str:
    """The warning for the file of "TASK/SPLIT"."""
    task, _, split = name.rpartition("/")
    remark = "; its score is not one on the whole benchmark; state its number of questions" if split == "test" else ""
    return f"{task}: the {split} file has {num_rows:,.0f} rows, the official one has {num_official:,.0f}{remark}."


def lines(metrics: Mapping[str, float]) -> Iterator[str]:
    """The warnings for all files from which a run took questions."""
    for name, num_rows in metrics.items():
        if match := re.fullmatch(r"questions/(.+)/num_rows", name):
            yield line(match[1], num_rows, metrics[f"{name}_official"])
