"""A run's name at a tracker says what varies; the points of an ad hoc sweep know each other by an id."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from finished_runs import settings_in

from cotexp.commands import run
from cotexp.config import command_line
from cotexp.jobs import current_sweep
from cotexp.jobs.current_sweep import CurrentSweep
from cotexp.tracking.run_names import run_name
from cotexp.tracking.tracked_run import TrackedRun


@pytest.fixture(autouse=True)
def nobody_sweeps(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(current_sweep.VARIABLE, raising=False)
    yield
    current_sweep.leave()


def named(outputs: Path, *words: str, varied: tuple[str, ...] | None = None, **options: str) -> str:
    settings = settings_in(outputs, *words)
    sweep = None if varied is None else CurrentSweep("abc", varied)
    return run_name(settings, dataclasses.asdict(settings), options, words, sweep)


def test_a_point_of_a_sweep_is_named_by_what_varies_in_it(tmp_path: Path) -> None:
    words = ("trainer.learning_rate=3e-3", "compression.max_rounds=3", "seed=1", "trainer.max_epochs=2")
    assert named(tmp_path, *words, varied=("trainer.learning_rate", "compression.max_rounds", "seed")) == "lr=0.003 rounds=3 s1"
    assert named(tmp_path, *words, varied=("seed",)) == "macc/quickstart s1"
    assert named(tmp_path, "compression=single_round", varied=("compression", "seed"), compression="single_round") == "compression=single_round s0"


def test_settings_that_end_with_the_same_word_are_named_in_full(tmp_path: Path) -> None:
    paths = ("task.seed", "teacher.seed", "evaluation.latency")
    assert named(tmp_path, varied=paths) == "task.seed=0 teacher.seed=0 latency=true s0"


def test_a_single_run_is_named_by_its_experiment_and_what_the_command_line_sets(tmp_path: Path) -> None:
    words = ("compression.fixed_k=3", "tracking.tags=[a]", "baseline=base", "seed=4")
    assert named(tmp_path, *words, "name=mine") == "mine fixed_k=3 s4"
    assert named(tmp_path) == "macc/quickstart s0"


def test_a_long_name_keeps_its_seed_and_what_w_and_b_takes(tmp_path: Path) -> None:
    name = named(tmp_path, "name=" + "x" * 200, "task.prompt='" + "{question} " * 9 + "'", "seed=12")
    assert len(name) == 128
    assert name.endswith(" s12")
    assert named(tmp_path, "name=" + "x" * 199 + "y", "seed=12") != named(tmp_path, "name=" + "x" * 200, "seed=12")


def test_long_values_that_begin_or_end_alike_give_different_names(tmp_path: Path) -> None:
    long = "/data/projects/checkpoints/2026/qwen2_5_7b_instruct_sft"
    paths = (f"{long}_a", f"{long}_b", f"{long[:30]}/other/folders{long[30:]}_a")
    names = [named(tmp_path, f"paths.data={path}", f"task.few_shot_file={path}", "task.few_shot=1", varied=("task.few_shot_file",)) for path in paths]
    assert len(set(names)) == 3
    assert all(name.startswith("few_shot_file=/data/proje…") and "instruct_sft_" in name and len(name) <= 60 for name in names)


def test_the_points_of_an_ad_hoc_sweep_share_an_id_however_it_is_typed(tmp_path: Path) -> None:
    place = f"paths.outputs={tmp_path}"

    def entered(*words: str) -> CurrentSweep:
        run.prepared(command_line.read_command(["-m", place, *words]))
        found = current_sweep.current()
        assert found is not None
        return found

    first = entered("trainer.learning_rate=0.001,3e-3", "seed=0,1", "trainer.max_epochs=2")
    assert first.varied == ("trainer.learning_rate", "seed")
    assert entered("++trainer.learning_rate=0.001,3e-3", "seed=0,1", "++trainer.max_epochs=2") == first
    assert entered("seed=1,0", "trainer.max_epochs=2", "trainer.learning_rate=0.003,1e-3").id == first.id
    assert entered("seed=1,0", "trainer.max_epochs=2", "trainer.learning_rate=0.003").id != first.id
    tracked = TrackedRun(settings_in(tmp_path), "key")
    assert tracked.sweep is not None
    tag = f"sweep-{tracked.sweep.id}"
    assert (tracked.sweeps, tracked.group) == ([tag], tag)
    named_grid = TrackedRun(settings_in(tmp_path), "key", options={"sweep": "macc/rounds"})
    assert (named_grid.sweeps, named_grid.group) == (["macc/rounds"], "macc/quickstart")
    run.prepared(command_line.read_command([place]))
    alone = TrackedRun(settings_in(tmp_path), "key")
    assert (alone.sweeps, alone.group) == ([], "macc/quickstart")


def test_what_is_no_sweep_in_the_environment_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("", "{", "[]", '{"id": "x"}'):
        monkeypatch.setenv(current_sweep.VARIABLE, text)
        assert current_sweep.current() is None
