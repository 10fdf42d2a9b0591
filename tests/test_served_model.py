"""MACC, whole, with its compressor behind a real server: `transformers serve` with the embedded model, in a process of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import forked
import pytest

ROOT = Path(__file__).resolve().parent.parent
TINY = ROOT / "cotexp" / "models" / "shipped" / "tiny"
START_SECONDS = 600


@contextmanager
def transformers_serve(model: Path, folder: Path) -> Iterator[str]:
    """The address of the server, once it says that it is well; it is ended with the block."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(model), "--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with (folder / "serve.log").open("wb") as log:
        process = subprocess.Popen([*command, "--device", "cpu", "--dtype", "float32"], stdout=log, stderr=log, env=environment)
        try:
            url = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + START_SECONDS
            while not is_well(url):
                assert process.poll() is None, (folder / "serve.log").read_text()
                assert time.monotonic() < deadline, "the server did not start"
                time.sleep(0.2)
            yield url
        finally:
            process.kill()
            process.wait()


def is_well(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def run(outputs: Path, url: str, *overrides: str) -> dict[str, Any]:
    """The metrics of a finished run."""
    server = {"service": "local", "model": TINY, "base_url": f"{url}/v1", "input_price": 1, "output_price": 1, "max_cost": 1}
    sizes = ["task.num_train=24", "task.num_validation=6", "task.num_test=12", "compression.max_rounds=3", "trainer.max_epochs=1"]
    command = ["run.py", "compressor=api", *(f"compressor.server.{name}={value}" for name, value in server.items()), *sizes]
    command += ["compressor.max_new_tokens=160", "compressor.batch_size=4", "evaluation.latency=false", "tracking=none", f"paths.outputs={outputs}"]
    done = forked.run([*command, *overrides], cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    path = max(outputs.glob("runs/*/*/*/metrics.json"), key=lambda path: path.stat().st_mtime)
    metrics: dict[str, Any] = json.loads(path.read_text())
    return metrics


@pytest.mark.slow
def test_macc_runs_whole_with_a_compressor_behind_a_real_server(tmp_path: Path) -> None:
    with transformers_serve(TINY, tmp_path) as url:
        metrics = run(tmp_path / "outputs", url)
    texts = [json.loads(line) for path in tmp_path.glob("outputs/store/rewrites/*/rows-*.jsonl") for line in path.read_text().splitlines()]
    rounds = [json.loads(line) for path in tmp_path.glob("outputs/store/rounds/*/rows-*.jsonl") for line in path.read_text().splitlines()]
    assert len(texts) == len(rounds) == metrics["compressor/num_texts"] == metrics["rounds/num_written"] >= 30
    assert {each["finish_reason"] for each in texts} <= {"stop", "length"}
    assert all(each["usage"]["completion_tokens"] > 0 and str(TINY) in each["usage"]["model"] for each in texts)
    first = [each["num_tokens"] for each in rounds if each["round"] == 1 and each["outcome"] == "ok"]
    assert len(first) > 20
    assert metrics["compression/compression_ratio"] < 0.9, "the embedded model shortens, behind a server too"
    assert metrics["eval/compress/num_tokens"] > 0

    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        elsewhere = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        again = run(tmp_path / "outputs", elsewhere, "seed=1")  # another address, where nobody answers
    assert again["compressor/num_texts"] == len(texts)
