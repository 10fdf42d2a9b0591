"""Processes that a cluster suspends for longer than a lease, while another host takes over what they were at, and then lets go on."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import forked
import pytest
import test_resume as resume

ROOT = Path(__file__).resolve().parent.parent
TAKEN_OVER = "has been taken over by"
SETTINGS = [
    *("tracking=none", "compression=none", "task.num_train=8", "task.num_validation=4", "task.num_test=2", "evaluation.latency=false"),
    *("trainer.max_epochs=6", "trainer.batch_size=4", "trainer.precision=float32", "trainer.checkpoint_every_seconds=0"),
]

HELD = """
import runpy, socket, sys, time
from pathlib import Path
from cotexp.store import claims
from cotexp.training import recorder

folder, lease, step = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
socket.gethostname, claims.LEASE_SECONDS, write = lambda: folder.name, lease, recorder.Recorder._write

def held_write(self, trainer, row):
    write(self, trainer, row)
    if row["step"] == step and not (folder / "held").exists():
        (folder / "held").touch()
        while not (folder / "go").exists():
            time.sleep(0.02)

recorder.Recorder._write = held_write
sys.argv = ["run.py", *sys.argv[4:]]
runpy.run_path("run.py", run_name="__main__")
"""


def held(host: Path, outputs: Path, *words: str, lease: float, step: int) -> forked.Process:
    """A run on the host that the folder `host` is named after, once it is held after a step of its fine-tuning."""
    host.mkdir()
    command = ["-c", HELD, str(host), str(lease), str(step), *SETTINGS, f"paths.outputs={outputs}", *words]
    process = forked.start(command, cwd=ROOT, together=True)
    while not (host / "held").exists():
        assert process.poll() is None, process.printed()
        time.sleep(0.02)
    return process


@pytest.mark.slow
@pytest.mark.parametrize("wakes", ["while the other trains", "when the other has ended"])
def test_a_process_suspended_in_its_fine_tuning_leaves_it_to_the_one_that_took_it_over(wakes: str, tmp_path: Path) -> None:
    outputs, first, second = tmp_path / "outputs", tmp_path / "first", tmp_path / "second"
    suspended = held(first, outputs, lease=45, step=3)
    os.kill(suspended.pid, signal.SIGSTOP)
    (first / "go").touch()
    other = held(second, outputs, "evaluation.seed=1", lease=1, step=6)
    if wakes == "when the other has ended":
        (second / "go").touch()
        other.wait()
    os.kill(suspended.pid, signal.SIGCONT)
    while TAKEN_OVER not in suspended.printed():
        assert suspended.poll() is None, suspended.printed()
        time.sleep(0.1)
    (second / "go").touch()
    assert [each.wait() for each in (suspended, other)] == [0, 0], [each.printed() for each in (suspended, other)]
    assert suspended.printed().count(TAKEN_OVER) == 1
    assert TAKEN_OVER not in other.printed()
    (checkpoint,) = outputs.glob("store/checkpoint/*/manifest.json")
    steps = [row["step"] for row in resume.curve(outputs) if "train/loss" in row]
    assert steps == [*range(1, len(steps) + 1)], "each step is in the curve once"
    assert len(steps) > 6
    assert not {path.name for path in checkpoint.parent.iterdir()} & {"owner", "best.safetensors", "resumable.ckpt"}
    assert {json.loads(path.read_text())["store/num_duplicates"] for path in outputs.glob("runs/*/*/*/metrics.json")} == {0}
