"""Manifests of sweeps: what they hold, that the same sweep has one, and that no key enters them."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest

from cotexp.config import command_line
from cotexp.config.grids import expand_sweep
from cotexp.jobs import sweeps
from cotexp.jobs.current_sweep import point_of
from cotexp.jobs.sweeps import failure_noted, failure_of, sweeps_in
from cotexp.settings.base import RunFailed
from cotexp.store.stored_files import Damaged

GRID = ["compression=macc,none", "seed=0,1", "tracking=none"]


def write(outputs: Path, words: list[str], name: str = "") -> list[Path]:
    points = command_line.points_of([*words, f"paths.outputs={outputs}"], multirun=True)
    return sweeps.write([(tuple(expand_sweep(each.overrides)), each.settings) for each in points], ["-m", *words], name)


def test_a_manifest_has_every_point_with_its_arguments_and_all_its_settings(tmp_path: Path) -> None:
    (path,) = write(tmp_path, GRID, "some/grid")
    sweep = sweeps.read(path)
    assert (sweep.name, sweep.command, len(sweep.key)) == ("some/grid", ("-m", *GRID), 12)
    assert [each.overrides[:2] for each in sweep.points] == [
        (f"compression={compression}", f"seed={seed}") for compression in ("macc", "none") for seed in (0, 1)
    ]
    for each in sweep.points:
        (alone,) = command_line.points_of(list(each.overrides), multirun=False)
        assert each.settings == json.loads(json.dumps(dataclasses.asdict(alone.settings))), "as settings.json of its run has them"
        assert each.point == point_of(alone.settings)
    content = json.loads(path.read_text())
    assert content["settings"]["trainer"]["batch_size"] == 32, "once, since all points have it"
    assert "trainer" not in content["points"][0]["settings"]
    assert content["points"][1]["settings"]["seed"] == 1


def test_the_same_sweep_again_keeps_its_manifest_however_it_is_typed(tmp_path: Path) -> None:
    (path,) = write(tmp_path, GRID)
    before = path.read_bytes()
    os.utime(path, (1.0, 1.0))
    assert write(tmp_path, ["seed=1,0", "tracking=none", "compression=none,macc", "model.max_batch_tokens=512"]) == [path], (
        "order and batches change no result"
    )
    assert path.read_bytes() == before
    assert sweeps.read(path).started > sweeps.read(path).began - 60 > 1.0
    (other,) = write(tmp_path, ["seed=0,1,2", *GRID[:1]])
    assert other != path
    os.utime(path, (2e9, 2e9))
    assert [each.path for each in sweeps_in(tmp_path)[0]] == [path, other], "the one that was started last comes first"


def test_a_damaged_manifest_is_told_and_the_same_sweep_writes_it_anew(tmp_path: Path) -> None:
    (path,) = write(tmp_path, GRID)
    path.write_text('{"name": "", "command": [], "began": 1, "settings": {}, "points": [{"overrides": "x", "settings": {}}]}')
    with pytest.raises(Damaged, match=r"describes no sweep \(ValueError: overrides are no list of texts\); restore it, or remove it"):
        sweeps.read(path)
    assert sweeps_in(tmp_path)[0] == []
    assert write(tmp_path, GRID) == [path]
    assert len(sweeps.read(path).points) == 4


def test_points_that_make_no_run_have_no_manifest(tmp_path: Path) -> None:
    assert write(tmp_path, [*GRID, "plan=true"]) == []
    assert list(tmp_path.iterdir()) == []


def test_no_setting_of_a_launcher_enters_a_manifest_since_it_may_hold_a_key() -> None:
    words = ["hydra/launcher=joblib", "hydra.launcher.setup=[export HF_TOKEN=hf_planted0123]", "+hydra.job.env_set.X=planted4567", "seed=0,1"]
    command = command_line.read_command(["-m", *words])
    assert command.words_of_sweep == ["-m", "hydra/launcher=joblib", "seed=0,1"]
    assert command.has_grid
    assert not command_line.read_command(["-m", "hydra/sweeper=optuna", "seed=0,1"]).has_grid
    assert command_line.read_command(["-m", "sweep=macc/rounds"]).grid == "macc/rounds"


def test_why_a_point_failed_is_noted_until_it_succeeds(tmp_path: Path) -> None:
    (point,) = command_line.points_of([f"paths.outputs={tmp_path}"], multirun=False)
    with pytest.raises(RunFailed), failure_noted(point.settings):
        raise RunFailed("no model\nin this folder")
    found = failure_of(tmp_path, point_of(point.settings))
    assert found is not None
    assert found[0] == "no model\nin this folder"
    with failure_noted(point.settings):
        pass
    assert failure_of(tmp_path, point_of(point.settings)) is None
