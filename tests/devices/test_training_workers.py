"""Errors found in the logs of workers, and refusals before any worker starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from cotexp.devices import training_workers
from cotexp.settings.base import ConfigError, TrainingDiverged
from cotexp.settings.training import Trainer

LOG = Path("workers.log")


def test_the_first_error_in_the_log_is_the_cause() -> None:
    text = "cotexp worker: rank 3: ConfigError: trainer.max_length leaves nothing\ncotexp worker: rank 0: RuntimeError: Connection closed by peer\n"
    error = training_workers.failure(text, "training on 4 devices failed", LOG)
    assert str(error) == (
        "training on 4 devices failed: worker 3: ConfigError: trainer.max_length leaves nothing (log: workers.log); "
        "all stored results are kept, and the same command resumes"
    )


def test_divergence_in_any_worker_is_reported_as_divergence() -> None:
    text = "cotexp worker: rank 1: TrainingDiverged: training diverged: the loss became nan at step 3\n"
    error = training_workers.failure(text, "training failed", LOG)
    assert isinstance(error, TrainingDiverged)
    assert str(error) == "training diverged: the loss became nan at step 3"


def test_a_killed_worker_is_reported_with_its_signal() -> None:
    text = (
        "cotexp worker: rank 0: RuntimeError: Connection closed by peer\n"
        "E1127 22:19:01 api.py:940] failed (exitcode: -9) local_rank: 1 (pid: 7) of binary: python\n"
    )
    assert "failed: worker 1 was killed by SIGKILL; the kernel does so when memory runs out (log:" in str(
        training_workers.failure(text, "training failed", LOG)
    )
    assert "failed: a worker was killed by SIGSEGV (log:" in str(training_workers.failure("", "answers failed", LOG, -11))
    assert "failed: ImportError: no gloo (log:" in str(training_workers.failure("warning\nImportError: no gloo\n", "training failed", LOG))
    assert "failed: no output (log:" in str(training_workers.failure("", "training failed", LOG))


def test_deepspeed_is_refused_without_the_library_and_on_a_device_that_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer(strategy="deepspeed", devices=2)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"^trainer=deepspeed needs a library that is not installed: pip install 'cotexp\[deepspeed\]'"):
        training_workers.check(trainer)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr("cotexp.models.identity.device_type", lambda wanted: "mps")
    with pytest.raises(ConfigError, match=r"^trainer=deepspeed needs NVIDIA GPUs or CPUs; trainer\.accelerator=auto is mps here; take cpu$"):
        training_workers.check(trainer)
    monkeypatch.setattr("cotexp.models.identity.device_type", lambda wanted: "cpu")
    training_workers.check(trainer)


@pytest.mark.parametrize("accelerator", ["cpu", "cuda"])
def test_deepspeed_takes_the_device_of_the_settings_and_not_any_gpu_that_there_is(accelerator: str) -> None:
    assert training_workers._environment(Trainer(strategy="deepspeed", devices=2, accelerator=accelerator))["DS_ACCELERATOR"] == accelerator
