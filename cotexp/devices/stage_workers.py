"""Worker processes on further devices of this machine. Each runs the same stage on the same ledgers.

Claims divide the rows, so a faster device computes more of them. Each process writes a file of its own. Workers start when there is something
to compute. An error in a worker fails the stage.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cotexp import signals
from cotexp.devices import json_codec, training_workers
from cotexp.models import identity
from cotexp.settings.models import PretrainedModel
from cotexp.settings.root import Settings
from cotexp.stages.context import Context, compressor_model, teacher_model
from cotexp.store.processes import this_process

GRACE_SECONDS = 10
"""Time that a worker has to close its files after SIGTERM, before it is killed."""


@contextlib.contextmanager
def on_all_devices(context: Context, stage: str, model: PretrainedModel | None) -> Iterator[None]:
    """Compute rows of `stage` on all devices of `model` in this block. This process uses the first device.

    Raises: WorkersFailed with the error of the first worker that fails.
    """
    if model is None or identity.devices_of(model) == 1:
        yield
        return
    workers = StageWorkers(context.settings, stage, identity.device_type(model.device), identity.devices_of(model))
    context.on_compute, context.store.watch = workers.start, workers.check
    try:
        yield
        workers.check()
    finally:
        context.on_compute = context.store.watch = lambda: None
        workers.stop()


def check_devices(settings: Settings) -> None:
    """Raises: ConfigError if fine-tuning or a model needs devices that this machine does not have."""
    training_workers.check(settings.trainer)
    roles = {"teacher.model": teacher_model(settings), "compressor.model": compressor_model(settings), "model": settings.model}
    for role, model in roles.items():
        if model is not None and model.devices != "auto":
            setting = "model" if model is settings.model else role
            identity.check_number(int(model.devices), model.device, f"{setting}.devices")


@dataclass(slots=True)
class StageWorkers:
    """The worker processes of a stage, one per device but the first. There are none before `start`."""

    settings: Settings
    stage: str
    device_type: str
    num_devices: int
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    folder: Path | None = None
    num_threads: int = 0
    """The number of torch threads of this process before `start`, if the devices share the processor."""

    def start(self) -> None:
        """Start the workers unless they are running."""
        if self.processes:
            return
        self.folder = Path(tempfile.mkdtemp(prefix="cotexp-devices-"))
        json_codec.write(self.folder / "job.json", {"settings": self.settings, "stage": self.stage})
        command = [sys.executable, "-m", "cotexp.devices.stage_worker", str(self.folder / "job.json")]
        for number in range(1, self.num_devices):
            with self._log(number).open("wb") as log:
                environment = {**os.environ, **self._device_environment(number), training_workers.PARENT: json.dumps(this_process())}
                self.processes.append(subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True))
        if self.device_type == "cpu":
            import torch

            self.num_threads = torch.get_num_threads()
            torch.set_num_threads(max(1, self.num_threads // self.num_devices))

    def _device_environment(self, number: int) -> dict[str, str]:
        """Environment variables that assign a worker its GPU, or its share of the processor."""
        if self.device_type == "cuda":
            return {"CUDA_VISIBLE_DEVICES": identity.visible_gpus()[number]}
        return {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // self.num_devices)))}

    def _log(self, number: int) -> Path:
        assert self.folder is not None
        return self.folder / f"device-{number}.log"

    def check(self) -> None:
        """Raises: WorkersFailed if a worker has failed; Stopped if a signal ended it that Slurm sent to this process as well."""
        signals.check()
        for number, process in enumerate(self.processes, start=1):
            if process.poll():
                log = self._log(number)
                raise training_workers.failure(
                    log.read_text(errors="replace"), f"{self.stage} on {self.num_devices} devices failed", log, process.returncode
                )

    def stop(self) -> None:
        """Stop the workers, and remove their logs unless one has failed."""
        has_failed = any(process.poll() for process in self.processes)
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GRACE_SECONDS)
            if process.poll() is None:
                process.kill()
                process.wait()
        if self.num_threads:
            import torch

            torch.set_num_threads(self.num_threads)
        if self.folder and not has_failed:
            shutil.rmtree(self.folder, ignore_errors=True)
