"""Fine-tuning in this process, or in one worker process per device through torch's elastic launcher.

Workers read a plain settings file, so that they never re-enter Hydra, and their memory is free again when the stage ends.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cotexp.jobs.store import owner, process_is_alive
from cotexp.model_settings import PretrainedModel
from cotexp.records import Example
from cotexp.sections import ConfigError, RunFailed
from cotexp.settings import Lora, Trainer

if TYPE_CHECKING:
    from cotexp.training.fit import FitJob

PARENT = "COTEXP_PARENT"
"""Environment variable that names the process whose end ends the workers."""

OnRow = Callable[[dict[str, float], int], None]


class WorkersFailed(RunFailed):
    """A worker process ended with an error."""


def run_fit(job: FitJob, on_row: OnRow) -> None:
    """Run `job` on the devices that its settings name; `on_row` is called for every row of the curve."""
    from cotexp.training.fit import fit, settle

    if job.trainer.devices == 1:
        fit(job, on_row)
        return
    settle(job)
    path = job.folder / "job.json"
    path.write_text(json.dumps(dataclasses.asdict(job), default=str))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={job.trainer.devices}"]
    with (job.folder / "workers.log").open("wb") as output:
        environment = {**os.environ, PARENT: json.dumps(owner())}
        process = subprocess.Popen([*command, "-m", "cotexp.jobs.workers", str(path)], stdout=output, stderr=subprocess.STDOUT, env=environment)
        try:
            _follow(job.folder / "curve.jsonl", process, on_row)
        finally:
            process.terminate()
            process.wait()
    if process.returncode:
        raise WorkersFailed(f"training on {job.trainer.devices} devices failed: {_last_error(job.folder / 'workers.log')}")
    for each in (path, job.folder / "workers.log"):
        each.unlink()


def _follow(curve: Path, process: subprocess.Popen[bytes], on_row: OnRow) -> None:
    """Call `on_row` for every line that the workers add to the curve until they end."""
    position, going_on = 0, True
    while going_on:
        going_on = process.poll() is None
        if going_on:
            time.sleep(0.2)
        if curve.is_file():
            with curve.open() as file:
                file.seek(position)
                content = file.read()
            whole = content[: content.rfind("\n") + 1]
            position += len(whole.encode())
            for line in whole.splitlines():
                row = json.loads(line)
                on_row(row, int(row["num_steps"]))


def _last_error(path: Path) -> str:
    """The line of a worker's log that says what went wrong, and where the whole log lies."""
    lines = [line.strip() for line in path.read_text(errors="replace").splitlines()]
    errors = [line for line in lines if "Error" in line or "Diverged" in line]
    own = [line for line in errors if "torch.distributed" not in line and "ChildFailedError" not in line]
    return f"{(own or errors or lines or ['no output'])[0]} (log: {path})"


def read_job(path: Path) -> FitJob:
    from cotexp.training.fit import FitJob

    content: dict[str, Any] = json.loads(path.read_text())
    lora = Lora(**content["trainer"].pop("lora"))
    model = {name: value for name, value in content["model"].items() if name in {each.name for each in dataclasses.fields(PretrainedModel)}}
    return FitJob(
        folder=Path(content["folder"]),
        base_folder=Path(content["base_folder"]),
        model=PretrainedModel(**model),
        trainer=Trainer(**content["trainer"], lora=lora),
        seed=content["seed"],
        train=[Example(**each) for each in content["train"]],
        validation=[Example(**each) for each in content["validation"]],
        save_dtype=content["save_dtype"],
    )


def end_with_parent() -> None:
    """End this worker when the process that started the workers is gone, so that a restarted run finds nobody in its folder."""
    parent = json.loads(os.environ[PARENT])

    def watch() -> None:
        while process_is_alive(parent):
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    from cotexp.training.fit import fit

    end_with_parent()
    try:
        fit(read_job(Path(sys.argv[1])))
    except ConfigError as error:
        sys.exit(f"ConfigError: {error}")


if __name__ == "__main__":
    main()
