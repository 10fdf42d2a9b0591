"""Several devices compute the rows of one stage: real processes on one store."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
import pytest

from cotexp.config import command_line
from cotexp.devices import stage_workers
from cotexp.devices.training_workers import WorkersFailed
from cotexp.jobs import pipeline
from cotexp.jobs.engines import LEAST_SHARE, share
from cotexp.settings.base import ConfigError
from cotexp.settings.models import PretrainedModel
from cotexp.stages import rationales
from cotexp.stages.context import Context
from cotexp.store.ledger_files import complete_lines


def prepare(outputs: Path, *overrides: str) -> Context:
    sizes = ["task.num_train=40", "task.num_validation=4", "task.num_test=4", "teacher.batch_size=4", "teacher.temperature=0.7"]
    typed = [*sizes, "model.device=cpu", "tracking=none", f"paths.outputs={outputs}", *overrides]
    return pipeline.prepare(command_line.check_command_line(typed, multirun=False)[0])


def writers(outputs: Path) -> dict[str, list[str]]:
    """File of a writer -> ids of its rationales."""
    return {path.name: [row["id"] for row in complete_lines(path)] for path in outputs.glob("store/rationales/*/rows-*.jsonl")}


def worker_processes() -> list[psutil.Process]:
    """The worker processes of other devices, without processes for grading."""
    return [each for each in psutil.Process().children() if "cotexp.devices.stage_worker" in each.cmdline()]


@pytest.mark.slow
def test_two_devices_write_the_texts_of_one_device_each_once(tmp_path: Path) -> None:
    alone = rationales.make(prepare(tmp_path / "one"))
    context = prepare(tmp_path / "two", "model.devices=2")
    with stage_workers.on_all_devices(context, "rationales", context.settings.model):
        context.on_compute()
        deadline = time.monotonic() + 600
        while not any(writers(tmp_path / "two").values()):
            context.store.watch()
            assert time.monotonic() < deadline, "the other device has written nothing"
            time.sleep(0.02)
        together = rationales.make(context)
        workers = worker_processes()
    assert [(each.id, each.cot, each.closing, each.num_tokens) for each in together] == [
        (each.id, each.cot, each.closing, each.num_tokens) for each in alone
    ]
    ids_by_writer = writers(tmp_path / "two")
    assert len(ids_by_writer) == 2
    assert all(ids_by_writer.values()), "both have written"
    assert sorted(name for ids in ids_by_writer.values() for name in ids) == sorted(each.id for each in alone), "each row once"
    assert workers
    assert not any(each.is_running() for each in workers), "nobody outlives the stage"


@pytest.mark.slow
def test_an_error_on_another_device_fails_the_stage_with_its_message(tmp_path: Path) -> None:
    context = prepare(tmp_path, "model.devices=2")
    context.settings.model.path = str(tmp_path / "gone")

    def wait() -> None:
        with stage_workers.on_all_devices(context, "rationales", context.settings.model):
            context.on_compute()
            while True:
                context.store.watch()
                time.sleep(0.05)

    with pytest.raises(WorkersFailed, match=r"rationales on 2 devices failed: ConfigError: model\.path .* there is no folder .*gone' \(log: "):
        wait()


@pytest.mark.slow
def test_a_device_that_is_killed_ends_the_stage_and_leaves_no_process(tmp_path: Path) -> None:
    context = prepare(tmp_path, "model.devices=3")
    workers: list[psutil.Process] = []

    def write() -> None:
        with stage_workers.on_all_devices(context, "rationales", context.settings.model):
            context.on_compute()
            workers.extend(worker_processes())
            workers[1].kill()
            rationales.make(context)

    with pytest.raises(WorkersFailed, match="rationales on 3 devices failed: a worker was killed by SIGKILL"):
        write()
    assert len(workers) == 2
    assert not any(each.is_running() for each in workers)


def test_one_device_starts_nothing_and_several_start_nothing_until_something_is_computed(tmp_path: Path) -> None:
    for count in ("1", "2"):
        context = prepare(tmp_path, f"model.devices={count}")
        with stage_workers.on_all_devices(context, "rationales", context.settings.model):
            assert not worker_processes()


def test_each_device_gets_a_share_of_the_rows_but_no_tiny_batches() -> None:
    one, two = PretrainedModel(path="x"), PretrainedModel(path="x", devices="2", device="cpu")
    ids = [str(number) for number in range(100)]
    assert share(one, 64) == 64
    of_two = share(two, 64)
    assert callable(of_two)
    assert [of_two(ids[:count]) for count in (100, 30, 10, 3)] == [50, 15, LEAST_SHARE, LEAST_SHARE]
    assert share(two, lambda ids: 5)(ids) == 5  # type: ignore[operator]


def test_more_devices_than_available_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("cotexp.models.identity.has_cuda", lambda: True)
    monkeypatch.setattr("cotexp.models.identity.gpu_names", lambda: ["A GPU", "A GPU"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3")
    with pytest.raises(ConfigError, match=r"^model\.devices must be at most 2, the devices of kind cuda that this machine offers; got 3$"):
        prepare(tmp_path, "model.device=cuda", "model.devices=3")
    with pytest.raises(ConfigError, match=r"^trainer\.devices must be at most 2, the devices of kind cuda"):
        prepare(tmp_path, "trainer=fsdp", "trainer.devices=4", "trainer.accelerator=cuda")
