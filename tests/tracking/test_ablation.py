"""Which run `delta/*` compares a run with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from run_folders import MORSD, RANDOM, write_run

from cotexp.tracking.ablation import find_baseline


def write(outputs: Path, key: str, modified: int, **settings: Any) -> Path:
    """A run whose stages were written at this time, in seconds since the epoch."""
    folder = write_run(outputs, key, "1100", **settings)
    os.utime(folder / "stages.json", (modified, modified))
    return folder


@pytest.mark.parametrize("declared", ["selection=random", "selection.order=random"])
def test_of_several_baselines_a_run_is_compared_with_the_one_of_its_own_settings(declared: str, tmp_path: Path) -> None:
    for number, k in enumerate((1, 3, 6)):
        write(tmp_path, f"random{k}", number, selection={**RANDOM, "k": k})
        write(tmp_path, f"morsd{k}", number, selection={**MORSD, "k": k})
    found = {k: find_baseline(tmp_path / "runs" / "exp" / f"morsd{k}", declared) for k in (1, 3, 6)}
    assert {k: folder and folder.name for k, folder in found.items()} == {1: "random1", 3: "random3", 6: "random6"}


def test_a_run_of_whose_settings_no_baseline_has_finished_is_compared_with_none_of_several(tmp_path: Path) -> None:
    for k in (1, 3):
        write(tmp_path, f"random{k}", k, selection={**RANDOM, "k": k})
    assert find_baseline(write(tmp_path, "morsd", 9, selection={**MORSD, "k": 6}), "selection=random") is None


def test_the_only_baseline_is_that_of_every_run_and_of_equal_ones_the_newest_counts(tmp_path: Path) -> None:
    write(tmp_path, "older", 1)
    run = write(tmp_path, "run", 9, selection={**MORSD, "k": 6})
    assert (find_baseline(run, "selection=random") or run).name == "older"
    write(tmp_path, "newer", 2)
    assert (find_baseline(run, "selection=random") or run).name == "newer"


def test_other_settings_than_the_declared_ones_tell_baselines_apart_too(tmp_path: Path) -> None:
    for number, rate in enumerate((1e-4, 2e-4)):
        write(tmp_path, f"random{number}", number, trainer={"name": "single", "learning_rate": rate})
    run = write(tmp_path, "run", 9, selection=MORSD, trainer={"name": "single", "learning_rate": 1e-4})
    assert (find_baseline(run, "selection=random") or run).name == "random0"
