"""MLflow's real server in a process of its own, with a database and artifacts in a folder."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import psutil

STARTS_WITHIN_SECONDS = 600


def reason_to_skip() -> str | None:
    """Why no server can be started here."""
    missing = [name for name in ("mlflow", "flask", "graphene", "huey", "alembic") if importlib.util.find_spec(name) is None]
    return f"MLflow's server needs {', '.join(missing)}: make .venv/.mlflow" if missing else None


class MlflowServer:
    """Listens on the loopback device from `start` to `stop`, always on the same port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        store = ["--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db", "--artifacts-destination", str(self.folder / "artifacts")]
        command = [sys.executable, "-m", "mlflow", "server", *store, "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=log, stderr=log)
        deadline = time.monotonic() + STARTS_WITHIN_SECONDS
        while not self._answers():
            assert self.process.poll() is None, (self.folder / "server.log").read_text()
            assert time.monotonic() < deadline, (self.folder / "server.log").read_text()
            time.sleep(0.2)

    def stop(self) -> None:
        """Kill the server and its workers."""
        if self.process is not None:
            root = psutil.Process(self.process.pid)
            processes = [*root.children(recursive=True), root]
            for each in processes:
                each.kill()
            psutil.wait_procs(processes)
            self.process.wait()
            self.process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/health", timeout=5):
                return True
        except OSError:
            return False

    def ask(self, method: str, **body: Any) -> Any:
        """What the server's REST API answers."""
        request = urllib.request.Request(f"{self.address}/api/2.0/mlflow/{method}", data=json.dumps(body).encode() if body else None)
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def runs(self, experiment: str) -> list[Any]:
        """The runs of an experiment, as the REST API tells them."""
        found = self.ask(f"experiments/get-by-name?experiment_name={urllib.request.quote(experiment)}")  # type: ignore[attr-defined]
        return list(self.ask("runs/search", experiment_ids=[found["experiment"]["experiment_id"]]).get("runs", []))

    def curve(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        """(step, value) of a metric in the order of steps."""
        found = self.ask(f"metrics/get-history?run_id={run_id}&metric_key={metric}").get("metrics", [])
        return sorted((int(each.get("step", 0)), float(each["value"])) for each in found)

    def file(self, run_id: str, path: str) -> bytes:
        """A file that a run has logged."""
        with urllib.request.urlopen(f"{self.address}/get-artifact?run_id={run_id}&path={path}") as answer:
            return bytes(answer.read())


def pairs(items: Any) -> dict[str, Any]:
    """Parameters, tags or metrics by key."""
    return {each["key"]: each["value"] for each in items}
