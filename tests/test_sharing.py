"""Many processes at once on one experiment: real ones, with texts from a real server that counts what it was asked."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import forked
import pytest

from cotexp.jobs.status import read_status

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests" / "inference"))
from fault_server import served, told  # noqa: E402

NUM_PROCESSES, IN_FLIGHT = 16, 4
SETTINGS = [
    *(
        "teacher=api",
        "teacher.server.service=test",
        "teacher.server.model=m",
        "teacher.server.api_key_env=null",
        "teacher.num_samples=1",
        f"teacher.batch_size={IN_FLIGHT}",
    ),
    *("task.num_train=40", "task.num_validation=4", "task.num_test=4", "selection.validation=all", "compression=none", "tracking=none"),
    *("trainer.max_epochs=1", "trainer.precision=float32", "evaluation.latency=false"),
]


@pytest.mark.slow
def test_sixteen_processes_at_once_ask_for_each_text_once_and_end_alike_though_one_at_work_is_killed(random_model: Path, tmp_path: Path) -> None:
    with served(latency=0.25, shares={}, text="We add both numbers. \n The answer is \\boxed{7}.") as url:
        command = ["run.py", *SETTINGS, f"teacher.server.base_url={url}/v1", f"model.path={random_model}"]
        command.append(f"paths.outputs={tmp_path}")
        processes = [forked.start(command, cwd=ROOT, together=True) for _ in range(NUM_PROCESSES)]
        while told(url, "counts")["answered"] < 12:
            assert not any(each.poll() for each in processes)
            time.sleep(0.1)
        folder = next(tmp_path.glob("runs/*/*/*"))
        at_work = read_status(folder)
        assert at_work is not None
        assert at_work.stage == "rationales"
        os.kill(at_work.owner["pid"], signal.SIGSTOP)  # until the others have come to wait for it
        waits = f"waiting for process {at_work.owner['pid']} on"
        while sum(waits in each.printed() for each in processes) < NUM_PROCESSES - 1:
            assert not any(each.poll() for each in processes)
            time.sleep(0.1)
        os.kill(at_work.owner["pid"], signal.SIGKILL)
        died = time.time()
        for each in processes:
            each.wait()
        said = {each.pid: each.printed() for each in processes}
        requests = told(url, "requests")

    endings = Counter(each.returncode for each in processes)
    assert endings == {0: NUM_PROCESSES - 1, -signal.SIGKILL: 1}, said
    done = read_status(folder)
    assert done is not None
    assert done.state == "finished"
    assert not [text for text in said.values() if "claimed by process" in text], "a dead process was waited for"
    tables = {re.sub(r" \(already finished\)|(?m:^\[.*$)|\s", "", text) for pid, text in said.items() if pid != at_work.owner["pid"]}
    assert len(tables) == 1, "all end with the same table"
    assert len(list(tmp_path.rglob("metrics.json"))) == 1
    assert "now at rationales" in "".join(said.values())

    rows = [json.loads(line) for path in tmp_path.glob("store/texts/*/rows-*.jsonl") for line in path.read_text().splitlines()]
    stored = {row["id"]: row["written"] for row in rows}
    assert len(rows) == len(stored) == 44, "each text is stored once"
    assert json.loads((folder / "metrics.json").read_text())["store/num_duplicates"] == 0
    assert len({each["row"] for each in requests}) == 44
    assert len(requests) - 44 <= IN_FLIGHT, "only what was in flight at the kill was asked again"
    again = [each for each in requests if each["arrived"] > died]
    assert len(again) == 44 - sum(written < died for written in stored.values()), "a stored text was asked for again"
