"""Fine-tuning in this process, or in one worker process per device under torch's elastic launcher (torchrun).

Workers read a JSON file with the job, so they never run Hydra, and their memory is freed when the stage ends. They end when this process ends.
This process forwards a signal to them and waits until they have saved a checkpoint.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from cotexp import signals
from cotexp.devices import json_codec, rendezvous
from cotexp.models import identity
from cotexp.settings.base import ConfigError, RunFailed, TrainingDiverged
from cotexp.store.processes import process_is_alive, this_process

if TYPE_CHECKING:
    from cotexp.settings.training import Trainer
    from cotexp.training.fit import FitJob

PARENT = "COTEXP_PARENT"
"""Environment variable with the identity of the process that started the workers."""
JOB, LOG = "job.json", "workers.log"

SHUTDOWN_SECONDS = 3600
"""Time that workers have after a signal to end their step and save a checkpoint, before the launcher kills them."""

OnRow = Callable[[dict[str, float], int], None]


class WorkersFailed(RunFailed):
    """A worker process ended with an error."""


def run_fit(job: FitJob, on_row: OnRow) -> None:
    """Run `job` on the devices in its settings. Calls `on_row(row, num_steps)` for every row of the training curve.

    Raises: WorkersFailed or TrainingDiverged with the error of the worker that failed first; Stopped on a signal.
    """
    from cotexp.training.fit import fit, repair

    if job.trainer.num_workers == 1:
        fit(job, on_row)
        return
    repair(job)
    json_codec.write(job.folder / JOB, {field.name: getattr(job, field.name) for field in dataclasses.fields(job)})
    _launch(job.folder, job.trainer, on_row, job.folder / LOG)
    (job.folder / JOB).unlink()


def _launch(folder: Path, trainer: Trainer, on_row: OnRow, log: Path) -> None:
    """Run this machine's workers for the job in `folder`. Their output is kept in `log` if they fail."""
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={trainer.devices}", *rendezvous.launcher_options(trainer)]
    with signals.at_safe_points("the end of this training step, with a checkpoint"), log.open("wb") as output:
        # In a session of their own, workers receive a terminal's Ctrl-C only through this process.
        process = subprocess.Popen(
            [*command, "-m", "cotexp.devices.training_workers", str(folder / JOB)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=_environment(trainer),
            start_new_session=True,
        )
        try:
            _follow(folder / "curve.jsonl", process, on_row)
        finally:
            process.terminate()  # does nothing if the launcher has ended
            process.wait()
    signals.check()
    if process.returncode:
        raise failure(log.read_text(errors="replace"), f"training on {trainer.num_workers} devices failed", log)
    log.unlink()


def join_fit(folder: Path, trainer: Trainer) -> None:
    """Run this machine's workers for the job that machine 0 has written to `folder`. Raises: WorkersFailed, TrainingDiverged, Stopped."""
    _launch(folder, trainer, lambda row, num_steps: None, Path(tempfile.gettempdir()) / f"cotexp-workers-{os.getpid()}.log")


def check(trainer: Trainer) -> None:
    """Raises: ConfigError if this machine lacks the devices or libraries that fine-tuning needs, or cannot find the other machines."""
    if trainer.num_workers == 1:
        return
    kind = identity.device_type(trainer.accelerator)
    if trainer.strategy == "deepspeed":
        if importlib.util.find_spec("deepspeed") is None:
            raise ConfigError("trainer=deepspeed needs a library that is not installed: pip install 'cotexp[deepspeed]', or use trainer=fsdp")
        if kind == "mps":
            raise ConfigError(f"trainer=deepspeed needs NVIDIA GPUs or CPUs; trainer.accelerator={trainer.accelerator} is {kind} here; take cpu")
    identity.check_number(trainer.devices, trainer.accelerator, "trainer.devices")
    rendezvous.check(trainer)


def _environment(trainer: Trainer) -> dict[str, str]:
    """The environment of the launcher: that of this process, without ranks that another launcher gave to this process."""
    inherited = {name: value for name, value in os.environ.items() if name not in rendezvous.RANK_VARIABLES}
    handled = ",".join(signal.Signals(number).name for number in (*signals.SIGNALS, signal.SIGHUP, signal.SIGQUIT))
    launcher = {"TORCHELASTIC_SIGNALS_TO_HANDLE": handled, "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(SHUTDOWN_SECONDS)}
    device = {"DS_ACCELERATOR": identity.device_type(trainer.accelerator)}  # DeepSpeed would take a GPU wherever there is one
    return {**inherited, **launcher, **device, PARENT: json.dumps(this_process())}


def _follow(curve: Path, process: subprocess.Popen[bytes], on_row: OnRow) -> None:
    """Call `on_row` for every row that the workers add to the curve, until they end. Forward the first noted signal."""
    position = curve.stat().st_size if curve.is_file() else 0
    is_running, is_forwarded = True, False
    while is_running:
        is_running = process.poll() is None
        if is_running:
            time.sleep(0.2)
            if signals.noted() and not is_forwarded:
                process.send_signal(signals.noted())
                is_forwarded = True
        if curve.is_file():
            with curve.open() as file:
                file.seek(position)
                content = file.read()
            complete_lines = content[: content.rfind("\n") + 1]
            position += len(complete_lines.encode())
            for line in complete_lines.splitlines():
                row = json.loads(line)
                on_row(row, int(row["num_steps"]))


# --- errors --------------------------------------------------------------------------------------------------------------

WORKER_ERROR = re.compile(r"^cotexp worker: (?:rank (\d+): )?(\w+): (.*)$", re.M)
"""The error line of a worker. The first one in a log is the cause; other workers fail afterwards because they miss that worker."""
WORKER_KILLED = re.compile(r"exitcode\s*: -(\d+)\) local_rank: (\d+)")
"""The launcher's line about a worker that was killed by a signal."""


def print_error(error: BaseException) -> None:
    """Print why this worker ends, in the form that `failure` reads, with a traceback unless it is a user's mistake."""
    rank = f"rank {os.environ['RANK']}: " if "RANK" in os.environ else ""
    message = "; ".join(str(error).splitlines()) or "without a message"
    print(f"cotexp worker: {rank}{type(error).__name__}: {message}", file=sys.stderr, flush=True)
    if not isinstance(error, RunFailed | ValueError | signals.Stopped):
        traceback.print_exc()


def failure(log_text: str, message: str, log: Path, returncode: int = 1) -> RunFailed:
    """The error in the log of workers. A negative `returncode` is the signal that killed a worker, as in `subprocess`."""
    error, killed = WORKER_ERROR.search(log_text), WORKER_KILLED.search(log_text)
    if error and error[2] == TrainingDiverged.__name__:
        return TrainingDiverged(error[3])
    if killed or returncode < 0:
        worker, number = (f"worker {killed[2]}", int(killed[1])) if killed else ("a worker", -returncode)
        name = signal.Signals(number).name
        reason = f"{worker} was killed by {name}{'; the kernel does so when memory runs out' if name == 'SIGKILL' else ''}"
    elif error:
        reason = f"{f'worker {error[1]}: ' if error[1] else ''}{error[2]}: {error[3]}"
    else:
        lines = [line.strip() for line in log_text.splitlines() if line.strip()]
        reason = next((line for line in lines if "Error" in line), lines[-1] if lines else "no output")
    return WorkersFailed(f"{message}: {reason} (log: {log}); all stored results are kept, and the same command resumes")


# --- in a worker -----------------------------------------------------------------------------------------------------------


def end_with_parent() -> None:
    """End this worker when the process that started it has died, so that no worker disturbs a restarted run."""
    parent = json.loads(os.environ[PARENT])

    def watch() -> None:
        while process_is_alive(parent):
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    """Run the job in the file that the first argument names."""
    end_with_parent()
    try:
        with signals.handled(are_repeated=True):
            from cotexp.training.fit import FitJob, fit

            fit(FitJob(**json_codec.read(Path(sys.argv[1]))))
    except BaseException as error:  # noqa: BLE001 - the process that started this worker needs every error
        print_error(error)
        sys.exit(error.code if isinstance(error, signals.Stopped) else 1)


if __name__ == "__main__":
    main()
