"""Fine-tuning in this process, or in one worker process per device through torch's elastic launcher.

Workers read a plain settings file, so that they never re-enter Hydra, and their memory is free again when the stage ends. They end when
this process does; a signal to this process is passed on to them, and waited for until they have saved a checkpoint.
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
from cotexp.store.processes import owner, process_is_alive

if TYPE_CHECKING:
    from cotexp.settings.training import Trainer
    from cotexp.training.fit import FitJob

PARENT = "COTEXP_PARENT"
"""Environment variable that names the process whose end ends the workers."""
JOB, LOG = "job.json", "workers.log"

SHUTDOWN_SECONDS = 3600
"""What the launcher grants workers after a signal, to end their step and save a checkpoint, before it kills them."""

OnRow = Callable[[dict[str, float], int], None]


class WorkersFailed(RunFailed):
    """A worker process ended with an error."""


def run_fit(job: FitJob, on_row: OnRow) -> None:
    """Run `job` on the devices that its settings name; `on_row` is called for every row of the curve.

    Raises: WorkersFailed, TrainingDiverged with the error of the worker that failed first; Stopped when a signal ended it.
    """
    from cotexp.training.fit import fit, repair

    if job.trainer.num_workers == 1:
        fit(job, on_row)
        return
    repair(job)
    json_codec.write(job.folder / JOB, {each.name: getattr(job, each.name) for each in dataclasses.fields(job)})
    _launch(job.folder, job.trainer, on_row, job.folder / LOG)
    (job.folder / JOB).unlink()


def _launch(folder: Path, trainer: Trainer, on_row: OnRow, log: Path) -> None:
    """Start this machine's workers for the job in `folder`, and wait for their end; what they say is kept in `log` where they fail."""
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={trainer.devices}", *rendezvous.launcher_options(trainer)]
    with signals.at_safe_points("the end of this training step, with a checkpoint"), log.open("wb") as output:
        # In a session of their own, workers hear of a terminal's Ctrl-C from this process alone.
        process = subprocess.Popen(
            [*command, "-m", "cotexp.devices.training_workers", str(folder / JOB)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=_environment(),
            start_new_session=True,
        )
        try:
            _follow(folder / "curve.jsonl", process, on_row)
        finally:
            _end(process)
    signals.check()
    if process.returncode:
        raise failure(log.read_text(errors="replace"), f"training on {trainer.num_workers} devices failed", log)
    log.unlink()


def join(folder: Path, trainer: Trainer) -> None:
    """Start this machine's workers for the job that machine 0 has put in `folder`, and wait for their end."""
    _launch(folder, trainer, lambda row, num_steps: None, Path(tempfile.gettempdir()) / f"cotexp-workers-{os.getpid()}.log")


def check(trainer: Trainer) -> None:
    """Raises ConfigError when the devices, machines or libraries that fine-tuning asks for are not here."""
    if trainer.num_workers == 1:
        return
    kind = identity.device_type(trainer.accelerator)
    if trainer.strategy == "deepspeed":
        if importlib.util.find_spec("deepspeed") is None:
            raise ConfigError("trainer=deepspeed needs a library that is not installed: pip install 'cotexp[deepspeed]', or use trainer=fsdp")
        if kind != "cuda":
            raise ConfigError(f"trainer=deepspeed needs NVIDIA GPUs; trainer.accelerator={trainer.accelerator} is {kind} here; use trainer=fsdp")
    identity.check_number(trainer.devices, trainer.accelerator, "trainer.devices")
    rendezvous.check(trainer)


def _environment() -> dict[str, str]:
    """This process's, with what the launcher and its workers need to know, without what another launcher said to this process."""
    own = {name: value for name, value in os.environ.items() if name not in rendezvous.OF_ONE_PROCESS}
    handled = ",".join(signal.Signals(each).name for each in (*signals.SIGNALS, signal.SIGHUP, signal.SIGQUIT))
    launcher = {"TORCHELASTIC_SIGNALS_TO_HANDLE": handled, "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(SHUTDOWN_SECONDS)}
    return {**own, **launcher, PARENT: json.dumps(owner())}


def _follow(curve: Path, process: subprocess.Popen[bytes], on_row: OnRow) -> None:
    """Call `on_row` for every line that the workers add to the curve until they end; pass on a signal that was noted."""
    position = curve.stat().st_size if curve.is_file() else 0
    going_on, passed_on = True, False
    while going_on:
        going_on = process.poll() is None
        if going_on:
            time.sleep(0.2)
            if signals.noted() and not passed_on:
                process.send_signal(signals.noted())
                passed_on = True
        if curve.is_file():
            with curve.open() as file:
                file.seek(position)
                content = file.read()
            whole = content[: content.rfind("\n") + 1]
            position += len(whole.encode())
            for line in whole.splitlines():
                row = json.loads(line)
                on_row(row, int(row["num_steps"]))


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the launcher and with it the workers, where that is not over."""
    if process.poll() is None:
        process.terminate()
    process.wait()


# --- errors --------------------------------------------------------------------------------------------------------------

TOLD = re.compile(r"^cotexp worker: (?:rank (\d+): )?(\w+): (.*)$", re.M)
"""A worker's last words. The first to speak is the one that failed by itself; others follow when they miss it."""
KILLED = re.compile(r"exitcode\s*: -(\d+)\) local_rank: (\d+)")
"""The launcher's word for a worker that could say nothing."""


def tell(error: BaseException) -> None:
    """Say why this worker ends, for the process that started it; with a traceback where it is no mistake of the user's."""
    rank = f"rank {os.environ['RANK']}: " if "RANK" in os.environ else ""
    message = "; ".join(str(error).splitlines()) or "without a message"
    print(f"cotexp worker: {rank}{type(error).__name__}: {message}", file=sys.stderr, flush=True)
    if not isinstance(error, RunFailed | ValueError | signals.Stopped):
        traceback.print_exc()


def failure(text: str, what: str, log: Path, returncode: int = 1) -> RunFailed:
    """The error that a log of workers tells of, or, for one that ended by itself, its return code."""
    told, killed = TOLD.search(text), KILLED.search(text)
    if told and told[2] == TrainingDiverged.__name__:
        return TrainingDiverged(told[3])
    if killed or returncode < 0:
        who, number = (f"worker {killed[2]}", int(killed[1])) if killed else ("a worker", -returncode)
        name = signal.Signals(number).name
        reason = f"{who} was killed by {name}{'; the kernel does so when memory runs out' if name == 'SIGKILL' else ''}"
    elif told:
        reason = f"{f'worker {told[1]}: ' if told[1] else ''}{told[2]}: {told[3]}"
    else:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        reason = next((line for line in lines if "Error" in line), lines[-1] if lines else "no output")
    return WorkersFailed(f"{what}: {reason} (log: {log}); nothing that was stored is lost, the same command again goes on")


# --- in a worker -----------------------------------------------------------------------------------------------------------


def end_with_parent() -> None:
    """End this worker when the process that started the workers is gone, so that a restarted run finds nobody in its folder."""
    parent = json.loads(os.environ[PARENT])

    def watch() -> None:
        while process_is_alive(parent):
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    end_with_parent()
    try:
        with signals.handled():
            from cotexp.training.fit import FitJob, fit

            fit(FitJob(**json_codec.read(Path(sys.argv[1]))))
    except BaseException as error:  # noqa: BLE001 - whatever ends a worker is told to the process that waits for it
        tell(error)
        sys.exit(error.code if isinstance(error, signals.Stopped) else 1)


if __name__ == "__main__":
    main()
