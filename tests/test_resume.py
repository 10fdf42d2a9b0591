"""A killed run goes on where it stood: real processes, real SIGKILL.

COTEXP_KILLS=50 kills as often at random moments (`make soak`) and prints in which stages.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import forked
import psutil
import pytest

from cotexp.commands.cli import main
from cotexp.jobs.status import Status, read_status

ROOT = Path(__file__).resolve().parent.parent

NUM_RATIONALES, NUM_TEST = 24, 16
SIZES = [
    "tracking=none",
    f"task.num_train={NUM_RATIONALES - 8}",
    "task.num_validation=8",
    f"task.num_test={NUM_TEST}",
    "teacher.batch_size=8",
    "compressor.batch_size=8",
    "evaluation.batch_size=8",
    "evaluation.latency=false",
    "trainer.max_epochs=6",
    "trainer.precision=float32",
    "trainer.checkpoint_every_seconds=0",
]
MACC = ("compression=macc", "compression.max_rounds=3")


def start(outputs: Path, *overrides: str, held_at: str = "") -> forked.Process:
    """A run; one that is `held_at` a moment goes no further than there, so that no clock decides where it is killed."""
    program = ["run.py"] if not held_at else ["-c", HELD, str(outputs), held_at]
    return forked.start([*program, *SIZES, f"paths.outputs={outputs}", *overrides], cwd=ROOT)


HELD = """
import runpy, sys, time
from pathlib import Path
from cotexp import signals
from cotexp.store import ledgers
from cotexp.training import recorder

sys.path.append("tests")
from tests.test_resume import MOMENTS

outputs, moment = Path(sys.argv[1]), sys.argv[2]
fill, write = ledgers.Ledger.fill, recorder.Recorder._write

def hold():
    if MOMENTS[moment](outputs):
        (outputs / "held").touch()
        while not signals.noted():
            time.sleep(0.02)

def held_fill(self, ids, compute, **words):
    def held_compute(chunk, emit):
        compute(chunk, lambda row: (emit(row), hold()))
    return fill(self, ids, held_compute, **words)

def held_write(self, trainer, row):
    write(self, trainer, row)
    hold()

ledgers.Ledger.fill, recorder.Recorder._write = held_fill, held_write
sys.argv = ["run.py", *sys.argv[3:]]
runpy.run_path("run.py", run_name="__main__")
"""


def wait_until_held(outputs: Path, process: forked.Process) -> None:
    while not (outputs / "held").exists():
        assert process.poll() is None, "the run ended before it was held"
        time.sleep(0.02)
    (outputs / "held").unlink()


def finish(outputs: Path, *overrides: str) -> None:
    process = start(outputs, *overrides)
    _, errors = process.communicate()
    assert process.returncode == 0, errors


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


CLOCK = ("seconds/", "training/seconds", "training/core_hours")
"""Beginnings of the names of metrics that depend on the clock."""


def metrics(outputs: Path) -> dict[str, float]:
    return numbers(min(outputs.glob("runs/*/*/*/metrics.json"), key=lambda path: path.stat().st_mtime).parent)


def numbers(folder: Path) -> dict[str, float]:
    """The metrics of the run in `folder` without its times."""
    return {name: value for name, value in json.loads((folder / "metrics.json").read_text()).items() if not name.startswith(CLOCK)}


def curve(outputs: Path) -> list[dict[str, float]]:
    path = min(outputs.glob("store/checkpoint/*/curve.jsonl"), key=lambda path: path.stat().st_mtime)
    return [json.loads(line) for line in path.read_text().splitlines()]


def status(outputs: Path) -> Status:
    found = read_status(next(outputs.glob("runs/*/*/*/status.json")).parent)
    assert found is not None
    return found


def steps_done(outputs: Path) -> int:
    paths = list(outputs.glob("store/checkpoint/*.partial/curve.jsonl"))
    return len(paths[0].read_text().splitlines()) if paths else 0


NUM_KILLS = int(os.environ.get("COTEXP_KILLS", "5"))
STAGES = ("rationales", "rounds", "predictions", "grades")
MOMENTS: dict[str, Callable[[Path], bool]] = {
    "generation": lambda outputs: len(rows(outputs, "rationales")) >= 10,
    "round 2": lambda outputs: sum(row["round"] == 2 for row in rows(outputs, "rounds")) >= 5,
    "fine-tuning": lambda outputs: steps_done(outputs) >= 4,
    "evaluation": lambda outputs: len(rows(outputs, "predictions")) > NUM_TEST + 5,
    "grading": lambda outputs: len(rows(outputs, "grades")) > NUM_RATIONALES,
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outputs = tmp_path_factory.mktemp("undisturbed")
    finish(outputs, *MACC)
    return outputs


@pytest.mark.slow
def test_a_run_ended_in_every_stage_ends_equal_to_an_undisturbed_one_and_repeats_only_rows_in_flight(tmp_path: Path, undisturbed: Path) -> None:
    """Killed in each but fine-tuning, where it gets a signal that lets it save its state."""
    for moment in MOMENTS:
        process = start(tmp_path, *MACC, held_at=moment)
        wait_until_held(tmp_path, process)
        if moment == "fine-tuning":
            ends_in_order(process, signal.SIGTERM)
            assert status(tmp_path).state == "stopped"
            assert (status(tmp_path).stage, status(tmp_path).error) == ("training", "stopped by SIGTERM")
        else:
            children = psutil.Process(process.pid).children(recursive=True)
            process.kill()
            process.communicate()
            _, alive = psutil.wait_procs(children, timeout=600)
            assert alive == [], "processes outlive the run that started them"
            assert status(tmp_path).state == "killed"
        assert not list(tmp_path.glob("runs/*/*/*/metrics.json"))
    before = {stage: rows(tmp_path, stage) for stage in STAGES}
    finish(tmp_path, *MACC)
    assert status(tmp_path).state == "finished"
    assert_equal(tmp_path, undisturbed, before)


def ends_in_order(process: forked.Process, number: signal.Signals) -> None:
    """Fine-tuning saves a checkpoint at the end of its step, whenever the next one would be due."""
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == 128 + number, errors
    said = errors.splitlines()
    assert f"cotexp: {number.name} received: ends at the end of this training step, with a checkpoint; a second signal ends it at once" in said
    assert said[-1] == f"cotexp: stopped by {number.name}; everything computed is kept, run the same command again to go on"


def assert_equal(outputs: Path, undisturbed: Path, before: dict[str, list[dict[str, Any]]]) -> None:
    """The same rows, curve and metrics, and nothing of `before` was computed again."""
    for stage, kept in before.items():
        after = rows(outputs, stage)
        assert len(after) == len({row["place"] for row in after}), f"{stage}: a stored row was computed again"
        assert [row for row in kept if row not in after] == [], f"{stage}: stored rows are gone"
        assert content(outputs, stage) == content(undisturbed, stage)
    assert curve(outputs) == curve(undisturbed)
    assert metrics(outputs) == metrics(undisturbed)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_run_killed_at_random_moments_ends_equal_to_an_undisturbed_one(tmp_path: Path, undisturbed: Path) -> None:
    """Killed when it has stored so many more bytes, or before it stores any; begun anew elsewhere when it finishes in between."""
    draw, stages, num_finished = random.Random(NUM_KILLS), Counter[str](), 0
    share = 2 * num_bytes(undisturbed) / (min(NUM_KILLS, 10) + 1)
    while sum(stages.values()) < NUM_KILLS:
        outputs = tmp_path / str(num_finished)
        before = {stage: rows(outputs, stage) for stage in STAGES}
        moment, pause = num_bytes(outputs) + draw.uniform(-0.1, 1) * share, draw.uniform(0, 0.3)
        process = start(outputs, *MACC)
        while process.poll() is None and num_bytes(outputs) < moment:
            time.sleep(0.02)
        time.sleep(pause)
        process.kill()
        _, errors = process.communicate()
        if process.returncode == 0:
            assert_equal(outputs, undisturbed, before)
            num_finished += 1
            continue
        assert process.returncode == -signal.SIGKILL, errors
        for stage, kept in before.items():
            now = rows(outputs, stage)
            assert len(now) == len({row["place"] for row in now}), f"{stage}: a stored row was computed again"
            assert [row for row in kept if row not in now] == [], f"{stage}: stored rows are gone"
        folder = next(outputs.glob("runs/*/*/*"), None)
        stages[str(ended.stage) if folder and (ended := read_status(folder)) else "start"] += 1
    before = {stage: rows(outputs, stage) for stage in STAGES}
    finish(outputs, *MACC)
    assert_equal(outputs, undisturbed, before)
    print(f"\n{NUM_KILLS} kills {dict(stages)}, {num_finished + 1} runs equal to the undisturbed one")
    assert len(stages) >= min(3, NUM_KILLS // 5), "few kills may meet the same stage"


def num_bytes(outputs: Path) -> int:
    """Of all ledgers and training curves: it grows with every row and every step."""
    return sum(path.stat().st_size for pattern in ("rows-*.jsonl", "curve.jsonl") for path in outputs.glob(f"store/*/*/{pattern}"))


@pytest.mark.slow
def test_a_stopped_training_goes_on_at_the_very_step_with_the_same_loss_curve(tmp_path: Path, undisturbed: Path) -> None:
    """No checkpoint is ever due here: the signal alone makes the one that training goes on from."""
    never = (*MACC, "trainer.checkpoint_every_seconds=3600", "trainer.num_validations=1")
    process = start(tmp_path, *never, held_at="fine-tuning")
    wait_until_held(tmp_path, process)
    ends_in_order(process, signal.SIGUSR1)
    steps = steps_done(tmp_path)
    finish(tmp_path, *never)
    ours, theirs = ([row for row in curve(each) if "train/loss" in row] for each in (tmp_path, undisturbed))
    assert [row["step"] for row in ours] == [row["step"] for row in theirs]
    assert [row["train/loss"] for row in ours] == pytest.approx([row["train/loss"] for row in theirs], abs=1e-6)
    log = next(tmp_path.glob("runs/*/*/*/log.txt")).read_text()
    assert int(re.findall(r"training: (\d+) computed", log)[-1]) == len(ours) - steps, "a step was made again"
    assert 3 <= steps < len(ours)


@pytest.mark.slow
def test_a_point_that_diverges_does_not_end_its_sweep_and_is_named_at_its_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ("compression=truncate", "trainer.max_epochs=1", "task.num_train=48", "task.num_test=8")
    process = start(tmp_path, "-m", *small, "trainer.learning_rate=1", "trainer.weight_decay=100,0.0")
    _, errors = process.communicate()
    assert process.returncode == 1
    assert errors.splitlines()[-1] == ("cotexp: 1 of 2 points failed: trainer.weight_decay=100 (the same command again tries these alone)")
    found = {each.state: each for path in tmp_path.glob("runs/*/*/*/status.json") if (each := read_status(path.parent))}
    assert set(found) == {"diverged", "finished"}
    assert "the loss became nan at step" in str(found["diverged"].error)
    assert found["diverged"].stage == "training"
    assert "trainer.weight_decay=100" in found["diverged"].overrides
    assert found["finished"].stages[0] == "rationales"
    assert found["finished"].stages[-3:] == ["training", "evaluation", "grading"]
    assert list(found["finished"].timed) == found["finished"].stages, "what a run says before it begins is what it does"
    assert found["finished"].expected == {}, "no run has measured a stage before"
    main(["watch", "--once", "--outputs", str(tmp_path)])
    shown = capsys.readouterr().out
    assert "2 points: 1 finished, 1 diverged" in shown
    assert re.search(r"diverged in training: .*the loss became nan at step", shown)


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
        assert len(rows(undisturbed, stage)) == len(before[stage]) + 2 * NUM_TEST, "base answers are shared, two new modes are not"


@pytest.mark.slow
def test_broken_files_of_a_finished_run_are_written_anew_by_its_command_and_a_missing_manifest_is_told_before_any_work(
    undisturbed: Path, tmp_path: Path
) -> None:
    outputs = tmp_path / "outputs"
    shutil.copytree(undisturbed, outputs)
    folder = min(outputs.glob("runs/*/*/*/metrics.json"), key=lambda path: path.stat().st_mtime).parent
    stored = {stage: rows(outputs, stage) for stage in STAGES}
    before = {path.name: path.read_bytes() for path in folder.glob("*.json*")}
    for number, name in enumerate(sorted(before)):
        (folder / name).write_bytes((b"", b"{", b"{}", b"[]", b"123", b"null")[number % 6])
    finish(outputs, *MACC)
    expected = json.loads(before["metrics.json"])
    assert numbers(folder) == {name: value for name, value in expected.items() if not name.startswith(CLOCK)}
    for name, content in before.items():
        same = name in ("metrics.json", "status.json") or (folder / name).read_bytes() == content
        assert same or name in ("settings.json", "origin.json"), name
        assert (folder / name).read_bytes(), name
    assert {stage: rows(outputs, stage) for stage in STAGES} == stored, "nothing is computed again"
    manifest = outputs / json.loads((folder / "stages.json").read_text())["checkpoint"]["path"] / "manifest.json"
    manifest.unlink()
    (folder / "stages.json").unlink()
    process = start(outputs, *MACC)
    _, errors = process.communicate()
    assert process.returncode == 1
    told = f"cotexp: {manifest} does not exist; restore it, or remove the folder {manifest.parent}, which is then computed again"
    assert errors.splitlines()[-1] == told
    assert not list(outputs.glob("store/checkpoint/*.partial"))
    shutil.rmtree(manifest.parent)
    finish(outputs, *MACC)
    assert numbers(folder) == {name: value for name, value in expected.items() if not name.startswith(CLOCK)}


@pytest.mark.slow
def test_a_sweep_shares_every_stage_that_its_points_can_share(tmp_path: Path) -> None:
    finish(tmp_path, "-m", "compression=macc,single_round,truncate,none", "seed=0,1", "compressor.max_new_tokens=120", "trainer.max_epochs=1")
    assert len(list(tmp_path.glob("runs/*/*/*/metrics.json"))) == 8
    assert len(list(tmp_path.glob("store/checkpoint/*/manifest.json"))) == 8
    for stage in ("rationales", "rounds"):
        assert len(list(tmp_path.glob(f"store/{stage}/*"))) == 1
        stored = rows(tmp_path, stage)
        assert len(stored) == len({row["id"] for row in stored})
    assert len(rows(tmp_path, "rationales")) == NUM_RATIONALES
    modes = 1 + 2 * 4 + 2 * 3
    assert len(rows(tmp_path, "predictions")) == NUM_TEST * modes, "one base, eight full and six compressed sets of answers"
    assert len(rows(tmp_path, "grades")) == NUM_RATIONALES + NUM_TEST * modes, "those of the rationales as well"


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
    deadline = time.monotonic() + 600
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
        if "cotexp.devices.training_workers" in words and any(str(outputs) in word for word in words):
            found.append(each.info["pid"])
    return found
