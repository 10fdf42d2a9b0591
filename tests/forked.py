"""Programs in processes of their own that begin with the libraries imported: forks of one process that imported them once.

To import what fine-tuning needs takes six seconds of CPU, more than what most tests let a process do. All else is as in a process begun by itself:
own memory, id, signals, folder and environment, and `cotexp` itself is imported anew. What tests imports begins its processes itself.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import tempfile
import types
import weakref
from pathlib import Path
from typing import IO, Any

# Not wandb, whose import makes a folder for its media that the first fork to end deletes.
LIBRARIES = [
    *("torch", "torch._dynamo", "torch.utils.data", "transformers", "transformers.models.auto.modeling_auto", "transformers.models.qwen2"),
    *("transformers.generation.utils", "transformers.trainer_utils", "pytorch_lightning", "torchmetrics", "peft", "hydra", "omegaconf"),
    *(
        "safetensors",
        "pandas",
        "matplotlib.pyplot",
        "scipy.stats",
        "math_verify",
        "latex2sympy2_extended",
        "sympy",
        "rich",
        "openai",
        "tenacity",
        "psutil",
    ),
]


class Process:
    """A program at work, with the methods of `subprocess.Popen`. Its output is a file, which can be read while it works."""

    def __init__(self, pid: int, output: IO[bytes], errors: IO[bytes] | None) -> None:
        self.pid, self._output, self._errors = pid, output, errors
        for file in (output, errors):
            if file is not None:
                weakref.finalize(self, file.close)

    @property
    def returncode(self) -> int | None:
        return _server().endings.get(self.pid)

    def poll(self) -> int | None:
        _server().hear(0)
        return self.returncode

    def wait(self) -> int:
        while (code := self.poll()) is None:
            _server().hear(60)
        return code

    def communicate(self) -> tuple[str, str]:
        """What it printed, and its errors: the latter are part of the former if it was begun so."""
        self.wait()
        return _text(self._output), _text(self._errors) if self._errors else ""

    def printed(self) -> str:
        """What it has printed so far."""
        return _text(self._output)

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start(words: list[str], *, cwd: Path, env: dict[str, str] | None = None, together: bool = False) -> Process:
    """`python WORDS` in the folder `cwd`; `together` writes errors where the output goes."""
    files = [tempfile.NamedTemporaryFile() for _ in range(1 if together else 2)]  # noqa: SIM115
    paths = [each.name for each in files]
    request = {"words": [str(each) for each in words], "folder": str(cwd), "environment": env or dict(os.environ), "files": [paths[0], paths[-1]]}
    return Process(_server().begin(request), files[0], None if together else files[1])


def run(words: list[str], *, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """What `python WORDS` printed once it has ended."""
    process = start(words, cwd=cwd, env=env)
    output, errors = process.communicate()
    return subprocess.CompletedProcess(words, process.wait(), output, errors)


def _text(file: IO[bytes]) -> str:
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode(errors="replace")


# --- the process that is forked: seen from the tests ---------------------------------------------------------------------


class _Server:
    """Begins processes, and knows how those that ended did."""

    def __init__(self) -> None:
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 0}
        self.process, self.owner, self.endings = subprocess.Popen([sys.executable, __file__], **pipes), os.getpid(), dict[int, int]()
        self._begun, self._part = list[int](), b""
        atexit.register(self.close)

    def begin(self, request: dict[str, Any]) -> int:
        self.process.stdin.write(json.dumps(request).encode() + b"\n")  # type: ignore[union-attr]
        while not self._begun:
            self.hear(60)
        return self._begun.pop()

    def hear(self, seconds: float) -> None:
        """Notes what the server tells within `seconds`."""
        if not select.select([self.process.stdout], [], [], seconds)[0]:
            return
        told = os.read(self.process.stdout.fileno(), 65536)  # type: ignore[union-attr]
        assert told, "the process that is forked has died"
        *lines, self._part = (self._part + told).split(b"\n")
        for line in lines:
            pid, code = json.loads(line)
            if code is None:
                self._begun.append(pid)
            else:
                self.endings[pid] = code

    def close(self) -> None:
        if self.owner == os.getpid():
            self.process.stdin.close()  # type: ignore[union-attr]
            self.process.wait()
            self.process.stdout.close()  # type: ignore[union-attr]


_SERVERS: list[_Server] = []


def _server() -> _Server:
    if not _SERVERS:
        _SERVERS.append(_Server())
    return _SERVERS[0]


# --- the process that is forked: seen from itself ------------------------------------------------------------------------


def _serve() -> dict[str, Any] | None:
    """In the process that is forked nothing, once nobody wants more; in each fork what it has to do."""
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    requests, replies = os.dup(0), os.dup(1)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    part = b""
    while True:
        ready = select.select([requests, woken], [], [])[0]
        if woken in ready:
            os.read(woken, 4096)
            _tell_endings(replies)
        if requests in ready:
            told = os.read(requests, 65536)
            if not told:
                return None
            *lines, part = (part + told).split(b"\n")
            for line in lines:
                pid = os.fork()
                if not pid:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    signal.signal(signal.SIGINT, signal.default_int_handler)  # even where the tests run in the background of a shell
                    for each in (requests, replies, woken, wake):
                        os.close(each)
                    job: dict[str, Any] = json.loads(line)
                    return job
                os.write(replies, json.dumps([pid, None]).encode() + b"\n")


def _tell_endings(replies: int) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        os.write(replies, json.dumps([pid, os.waitstatus_to_exitcode(status)]).encode() + b"\n")


def _become(job: dict[str, Any]) -> None:
    """Runs a program as `python WORDS` would."""
    own = {sys.path[0], *os.environ.get("PYTHONPATH", "").split(os.pathsep)}
    os.environ.clear()
    os.environ.update(job["environment"])
    for number, path in enumerate([os.devnull, *job["files"]]):
        file = os.open(path, os.O_RDWR | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    if os.environ.get("PYTHONUNBUFFERED"):
        sys.stdout.reconfigure(write_through=True)  # type: ignore[union-attr]
    os.chdir(job["folder"])
    kind, *words = job["words"]
    first = job["folder"] if kind == "-m" else "" if kind == "-c" else str(Path(kind).resolve().parent)
    named = [each for each in job["environment"].get("PYTHONPATH", "").split(os.pathsep) if each]
    sys.path[:] = [first, *named, *(each for each in sys.path if each not in own)]
    importlib.invalidate_caches()
    if kind == "-m":
        sys.argv = words
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        sys.argv = [kind, *words[1:]]
        module = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(words[0], "<string>", "exec"), module.__dict__)
    else:
        sys.argv = [kind, *words]
        runpy.run_path(kind, run_name="__main__")


if __name__ == "__main__" and (todo := _serve()) is not None:
    _become(todo)
