"""What a log of workers tells of the one that failed, and what is refused before any of them starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from cotexp.devices import training_workers
from cotexp.settings.base import ConfigError, TrainingDiverged
from cotexp.settings.training import Trainer

LOG = Path("workers.log")


def test_the_first_worker_to_speak_failed_by_itself() -> None:
    text = "cotexp worker: rank 3: ConfigError: trainer.max_length leaves nothing\ncotexp worker: rank 0: RuntimeError: Connection closed by peer\n"
    error = training_workers.failure(text, "training on 4 devices failed", LOG)
    assert str(error) == (
        "training on 4 devices failed: worker 3: ConfigError: trainer.max_length leaves nothing (log: workers.log); "
        "nothing that was stored is lost, the same command again goes on"
    )


def test_a_loss_that_is_no_number_is_told_as_such_in_whichever_process_it_occurred() -> None:
    text = "cotexp worker: rank 1: TrainingDiverged: training diverged: the loss became nan at step 3\n"
    error = training_workers.failure(text, "training failed", LOG)
    assert isinstance(error, TrainingDiverged)
    assert str(error) == "training diverged: the loss became nan at step 3"


def test_a_worker_that_could_say_nothing_is_told_of_by_its_signal() -> None:
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


def test_deepspeed_is_refused_where_it_is_not_installed_or_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer(strategy="deepspeed", devices=2, accelerator="cpu")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"^trainer=deepspeed needs a library that is not installed: pip install 'cotexp\[deepspeed\]'"):
        training_workers.check(trainer)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    with pytest.raises(ConfigError, match=r"^trainer=deepspeed needs NVIDIA GPUs; trainer\.accelerator=cpu is cpu here"):
        training_workers.check(trainer)
