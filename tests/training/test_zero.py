"""Fine-tuning with DeepSpeed on processors. Skipped where DeepSpeed is not installed; `make engines` has it."""

from __future__ import annotations

import importlib.util
import os
import signal
from collections.abc import Callable
from typing import Any

import psutil
import pytest
import torch
from test_fit import Killed, MakeJob, make_job, read_curve, weights  # noqa: F401 - a fixture

from cotexp import signals
from cotexp.devices import training_workers
from cotexp.records import Example
from cotexp.training import resumable
from cotexp.training.fit import FitJob, fit
from cotexp.training.recorder import RESUMABLE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("deepspeed") is None, reason="DeepSpeed is not installed: pip install 'cotexp[deepspeed]'"),
]

TWO: dict[str, Any] = {"devices": 2, "strategy": "deepspeed", "max_batch_tokens": 150}
"""Settings of two workers, with several micro-batches in a step."""


def run(job: FitJob) -> None:
    training_workers.run_fit(job, lambda row, num_steps: None)


def assert_same_curve(job: FitJob, other: FitJob, rel: float) -> None:
    assert len(read_curve(job)) == len(read_curve(other))
    for ours, theirs in zip(read_curve(job), read_curve(other), strict=True):
        assert ours == pytest.approx(theirs, rel=rel)


@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_two_devices_give_the_loss_curve_and_weights_of_one(make_job: MakeJob, tuning: str) -> None:  # noqa: F811
    """Every step clips its gradient, so that its norm must be that of one device. Under LoRA the row of `<compress>` is trained as well."""
    one, two = make_job("one", tuning=tuning, gradient_clip=0.1), make_job("two", tuning=tuning, gradient_clip=0.1, **TWO)
    fit(one)
    run(two)
    assert_same_curve(two, one, rel=1e-5)
    ours, theirs = weights(two), weights(one)
    assert ours.keys() == theirs.keys()
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-4) for name in ours)
    assert {path.name for path in two.folder.iterdir()} == {path.name for path in one.folder.iterdir()}, "one set of files, nothing left over"


def test_in_bfloat16_they_round_what_ddp_rounds(make_job: MakeJob) -> None:  # noqa: F811
    """The forward pass alone: weights and sums of gradients stay in float32, frozen weights in bfloat16."""
    jobs = [make_job(name, tuning="lora", precision="bfloat16", **{**TWO, "strategy": name}) for name in ("deepspeed", "ddp")]
    for each in jobs:
        run(each)
    assert_same_curve(*jobs, rel=1e-4)


def test_a_killed_worker_and_a_signal_end_training_and_it_goes_on_with_any_strategy(make_job: MakeJob) -> None:  # noqa: F811
    settings: dict[str, Any] = {"tuning": "lora", "max_epochs": 16}
    undisturbed, job = make_job("undisturbed", **settings), make_job("job", **settings, checkpoint_every_seconds=0)
    fit(undisturbed)
    steps: list[float] = []
    with pytest.raises(Killed):
        fit(job, noting(steps, 2, end_itself))
    job.trainer.strategy, job.trainer.devices = "deepspeed", 2
    with pytest.raises(training_workers.WorkersFailed, match=r"worker 1 was killed by SIGKILL"):
        training_workers.run_fit(job, noting(steps, 5, kill_a_worker))
    assert steps[:3] == [1, 2, 2], "two devices go on after the first step of one"
    with pytest.raises(signals.Stopped) as stopped, signals.handled():
        training_workers.run_fit(job, noting(steps, 9, ask_to_end))
    assert stopped.value.code == 143
    assert resumable.progress(job.folder / RESUMABLE).step == steps[-1] < 80, "a checkpoint of the last whole step"
    job.trainer.strategy = "ddp"
    run(job)
    assert_same_curve(job, undisturbed, rel=1e-3)


def noting(steps: list[float], step: float, act: Callable[[], None]) -> Callable[[dict[str, float], int], None]:
    """Collects the steps of rows, and acts once, at the first one from `step` on."""
    left = [act]

    def on_row(row: dict[str, float], num_steps: int) -> None:
        steps.append(row["step"])
        if left and row["step"] >= step:
            left.pop()()

    return on_row


def end_itself() -> None:
    raise Killed


def kill_a_worker() -> None:
    [victim] = [each for each in psutil.Process().children(recursive=True) if _rank(each) == "1"]
    victim.kill()


def ask_to_end() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def _rank(process: psutil.Process) -> str | None:
    """The number of a worker; None for other processes."""
    return process.environ().get("RANK") if "cotexp.devices.training_workers" in process.cmdline() else None


def test_an_error_in_a_worker_ends_training_with_its_message(make_job: MakeJob) -> None:  # noqa: F811
    job = make_job("two", max_length=8, **TWO)
    job.train = [Example(id="long", question_id="q", prompt="x" * 500, completion="y", form="full")]
    with pytest.raises(training_workers.WorkersFailed, match=r"trainer\.max_length leaves no training example"):
        run(job)
