"""A killed run goes on where it stood: real processes, real SIGKILL."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).resolve().parent.parent

SIZES = [
    "tracking=none",
    "task.num_train=48",
    "task.num_validation=8",
    "task.num_test=48",
    "teacher.batch_size=8",
    "compressor.batch_size=8",
    "evaluation.batch_size=8",
    "evaluation.latency=false",
    "trainer.max_epochs=8",
    "trainer.precision=float32",
    "trainer.checkpoint_every_seconds=0",
]
MACC = ("compression=macc", "compression.max_rounds=3")


def start(outputs: Path, *overrides: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "run.py", *SIZES, f"paths.outputs={outputs}", *overrides]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"})


def finish(outputs: Path, *overrides: str) -> None:
    process = start(outputs, *overrides)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors.decode()


def rows(outputs: Path, stage: str) -> list[dict[str, Any]]:
    """Every stored line of a stage, duplicates included; an unterminated tail is left out."""
    lines = [
        (path.parent.name, line)
        for path in sorted((outputs / "store" / stage).glob("*/rows-*.jsonl"))
        for line in path.read_text().splitlines(keepends=True)
    ]
    return [{**json.loads(line), "place": (ledger, json.loads(line)["id"])} for ledger, line in lines if line.endswith("\n")]


def content(outputs: Path, stage: str) -> dict[tuple[str, str], dict[str, Any]]:
    """The stored rows but for what depends on the clock."""
    return {row["place"]: {name: value for name, value in row.items() if name not in ("seconds", "written")} for row in rows(outputs, stage)}


def metrics(outputs: Path) -> dict[str, float]:
    path = min(outputs.glob("runs/*/*/*/metrics.json"), key=lambda path: path.stat().st_mtime)
    return {name: value for name, value in json.loads(path.read_text()).items() if not name.startswith("seconds/")}


def curve(outputs: Path) -> list[dict[str, float]]:
    path = min(outputs.glob("store/checkpoint/*/curve.jsonl"), key=lambda path: path.stat().st_mtime)
    return [json.loads(line) for line in path.read_text().splitlines()]


def steps_done(outputs: Path) -> int:
    paths = list(outputs.glob("store/checkpoint/*.partial/curve.jsonl"))
    return len(paths[0].read_text().splitlines()) if paths else 0


STAGES = ("rationales", "rounds", "predictions", "grades")
MOMENTS: dict[str, Callable[[Path], bool]] = {
    "generation": lambda outputs: len(rows(outputs, "rationales")) >= 10,
    "round 2": lambda outputs: sum(row["round"] == 2 for row in rows(outputs, "rounds")) >= 5,
    "fine-tuning": lambda outputs: steps_done(outputs) >= 8,
    "evaluation": lambda outputs: len(rows(outputs, "predictions")) >= 60,
    "grading": lambda outputs: len(rows(outputs, "grades")) > 56,
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outputs = tmp_path_factory.mktemp("undisturbed")
    finish(outputs, *MACC)
    return outputs


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_killed_in_any_stage_ends_equal_to_an_undisturbed_one_and_repeats_only_rows_in_flight(
    tmp_path: Path, undisturbed: Path, moment: str
) -> None:
    process = start(tmp_path, *MACC)
    while not MOMENTS[moment](tmp_path):
        assert process.poll() is None, f"the run ended before its {moment} was seen"
        time.sleep(0.005)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == [], "processes outlive the run that started them"
    before = {stage: rows(tmp_path, stage) for stage in STAGES}
    assert not list(tmp_path.glob("runs/*/*/*/metrics.json"))
    finish(tmp_path, *MACC)
    for stage, kept in before.items():
        after = rows(tmp_path, stage)
        assert len(after) == len({row["place"] for row in after}), f"{stage}: a stored row was computed again"
        assert [row for row in kept if row not in after] == [], f"{stage}: stored rows are gone"
        assert content(tmp_path, stage) == content(undisturbed, stage)
    assert curve(tmp_path) == curve(undisturbed)
    assert metrics(tmp_path) == metrics(undisturbed)


@pytest.mark.slow
def test_the_same_command_again_computes_nothing_and_a_new_seed_reuses_rationales_and_rounds(undisturbed: Path) -> None:
    before, metrics_before = {stage: rows(undisturbed, stage) for stage in STAGES}, metrics(undisturbed)
    finish(undisturbed, *MACC)
    assert {stage: rows(undisturbed, stage) for stage in STAGES} == before
    assert metrics(undisturbed) == metrics_before
    finish(undisturbed, *MACC, "seed=1")
    assert rows(undisturbed, "rationales") == before["rationales"]
    assert rows(undisturbed, "rounds") == before["rounds"]
    for stage in ("predictions", "grades"):
        assert len(rows(undisturbed, stage)) == len(before[stage]) + 2 * 48, "base answers are shared, two new modes are not"


@pytest.mark.slow
def test_a_sweep_shares_every_stage_that_its_points_can_share(tmp_path: Path) -> None:
    finish(tmp_path, "-m", "compression=macc,single_round,truncate,none", "seed=0,1", "compressor.max_new_tokens=120", "trainer.max_epochs=1")
    assert len(list(tmp_path.glob("runs/*/*/*/metrics.json"))) == 8
    assert len(list(tmp_path.glob("store/checkpoint/*/manifest.json"))) == 8
    for stage in ("rationales", "rounds"):
        assert len(list(tmp_path.glob(f"store/{stage}/*"))) == 1
        stored = rows(tmp_path, stage)
        assert len(stored) == len({row["id"] for row in stored})
    assert len(rows(tmp_path, "rationales")) == 56
    modes = 1 + 2 * 4 + 2 * 3
    assert len(rows(tmp_path, "predictions")) == 48 * modes, "one base, eight full and six compressed sets of answers"
    assert len(rows(tmp_path, "grades")) == 56 + 48 * modes, "those of the rationales as well"


@pytest.mark.slow
def test_another_stop_rule_reads_the_rounds_that_exist(undisturbed: Path) -> None:
    before = rows(undisturbed, "rounds")
    finish(undisturbed, "compression.max_rounds=2")
    finish(undisturbed, "compression.max_rounds=3", "compression.stop=fixed_k", "compression.fixed_k=1")
    finish(undisturbed, "compression=single_round")
    assert rows(undisturbed, "rounds") == before


@pytest.mark.slow
def test_workers_of_a_killed_run_end_with_it_and_the_run_resumes(tmp_path: Path, undisturbed: Path) -> None:
    ddp = (*MACC, "trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu")
    process = start(tmp_path, *ddp)
    while steps_done(tmp_path) < 4:
        assert process.poll() is None, "the run ended before its workers were seen"
        time.sleep(0.005)
    assert workers_in(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    deadline = time.monotonic() + 60
    while workers_in(tmp_path):
        assert time.monotonic() < deadline, "workers outlive the run that started them"
        time.sleep(0.2)
    finish(tmp_path, *ddp)
    ours, theirs = curve(tmp_path), curve(undisturbed)
    assert [row["step"] for row in ours] == [row["step"] for row in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one == pytest.approx(other, rel=1e-2), "float32 sums in another order, over all steps"


def workers_in(outputs: Path) -> list[int]:
    """Processes whose command line names a file under `outputs` as a worker's job."""
    found = []
    for each in psutil.process_iter(["pid", "cmdline"]):
        words = each.info["cmdline"] or []
        if "cotexp.jobs.workers" in words and any(str(outputs) in word for word in words):
            found.append(each.info["pid"])
    return found
