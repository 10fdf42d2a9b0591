"""Other devices of this machine that take part in a stage: one process each, which runs the same stage on the same ledgers.

Claims divide the rows, so that a faster device does more of them; each process writes a file of its own. What they wrote is read like
everything that others write. They start when there is something to compute, and an error of theirs is the stage's.
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

from cotexp.devices import json_codec, training_workers
from cotexp.models import identity
from cotexp.settings.models import PretrainedModel
from cotexp.settings.root import Settings
from cotexp.stages.context import Context, compressor_model, teacher_model
from cotexp.store.processes import owner

GRACE_SECONDS = 10
"""For a process to close its files after the stage has ended, before it is killed."""


@contextlib.contextmanager
def beside(context: Context, stage: str, model: PretrainedModel | None) -> Iterator[None]:
    """In this block, as many devices as `model` asks for work on the rows of `stage`; this process has the first.

    Raises: WorkersFailed with the error of the first of the other processes that fails.
    """
    if model is None or identity.devices_of(model) == 1:
        yield
        return
    own = Devices(context.settings, stage, identity.device_type(model.device), identity.devices_of(model))
    context.on_compute, context.store.watch = own.start, own.check
    try:
        yield
        own.check()
    finally:
        context.on_compute = context.store.watch = _nothing
        own.end()


def check_devices(settings: Settings) -> None:
    """Raises ConfigError when fine-tuning or a model asks for devices that this machine does not offer."""
    training_workers.check(settings.trainer)
    roles = {"teacher.model": teacher_model(settings), "compressor.model": compressor_model(settings), "model": settings.model}
    for role, model in roles.items():
        if model is not None and model.devices != "auto":
            setting = "model" if model is settings.model else role
            identity.check_number(int(model.devices), model.device, f"{setting}.devices")


def _nothing() -> None:
    pass


@dataclass(slots=True)
class Devices:
    """The processes beside this one, none before `start`."""

    settings: Settings
    stage: str
    kind: str
    count: int
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    folder: Path | None = None
    threads: int = 0

    def start(self) -> None:
        """Start them, unless that is done."""
        if self.processes:
            return
        self.folder = Path(tempfile.mkdtemp(prefix="cotexp-devices-"))
        json_codec.write(self.folder / "part.json", {"settings": self.settings, "stage": self.stage})
        command = [sys.executable, "-m", "cotexp.devices.stage_worker", str(self.folder / "part.json")]
        for number in range(1, self.count):
            with self._log(number).open("wb") as log:
                environment = {**os.environ, **self._device(number), training_workers.PARENT: json.dumps(owner())}
                self.processes.append(subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True))
        if self.kind == "cpu":
            import torch

            self.threads = torch.get_num_threads()
            torch.set_num_threads(max(1, self.threads // self.count))

    def _device(self, number: int) -> dict[str, str]:
        """Environment variables that give a process its own device, or its share of the processor."""
        if self.kind == "cuda":
            return {"CUDA_VISIBLE_DEVICES": identity.visible_gpus()[number]}
        return {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // self.count)))}

    def _log(self, number: int) -> Path:
        assert self.folder is not None
        return self.folder / f"device-{number}.log"

    def check(self) -> None:
        """Raises WorkersFailed when one of them has failed."""
        for number, process in enumerate(self.processes, start=1):
            if process.poll():
                log = self._log(number)
                raise training_workers.failure(
                    log.read_text(errors="replace"), f"{self.stage} on {self.count} devices failed", log, process.returncode
                )

    def end(self) -> None:
        """End them, and remove their logs where none has failed."""
        failed = any(process.poll() for process in self.processes)
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GRACE_SECONDS)
            if process.poll() is None:
                process.kill()
                process.wait()
        if self.threads:
            import torch

            torch.set_num_threads(self.threads)
        if self.folder and not failed:
            shutil.rmtree(self.folder, ignore_errors=True)
