"""A copy of a model in a process of its own, which runs vLLM: both sides of it.

vLLM refuses several copies in one process, and a copy's memory is free for training only after its process ended. A copy gets messages
(first the arguments of `vllm.LLM`, then texts to write) and reports each text as soon as it ends. It ends with the process that started it.

Source: vLLM's documented interface, `vllm.LLM`, `vllm.LLMEngine` and `vllm.SamplingParams` (https://docs.vllm.ai/en/stable/api/vllm/).
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from cotexp.settings.base import RunFailed

END_SECONDS = 20.0
"""A copy that does not end within this time is killed, with its child processes."""

TIDY_SECONDS = 3.0

MOST_CHARACTERS = 300
"""Of the reason that a user reads; the log has all of it."""


class Copy:
    """A process with a copy of the model, with `environment` beside this process's own. It ends with this process."""

    def __init__(self, arguments: dict[str, Any], environment: dict[str, str]) -> None:
        self.log = Path(tempfile.mkstemp(prefix="cotexp-vllm-", suffix=".log")[1])
        self.connection, other_end = Pipe()
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cotexp.inference.vllm_copies", str(other_end.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={"VLLM_NO_USAGE_STATS": "1", **os.environ, **environment},  # a run reports to nobody unless its user says so
                pass_fds=[other_end.fileno()],
                start_new_session=True,
            )
        other_end.close()
        self.send(arguments)

    def send(self, content: dict[str, Any]) -> None:
        """Send a message to the copy."""
        with contextlib.suppress(BrokenPipeError):  # `receive` reports what happened
            self.connection.send_bytes(json.dumps(content).encode())

    def receive(self) -> dict[str, Any]:
        """The next reply of the copy. Raises: RunFailed if it reports a failure or its process ended."""
        reply: dict[str, Any] = {"error": "its process ended"}
        with contextlib.suppress(EOFError, ConnectionError):
            if self.process.poll() is None or self.connection.poll():  # its child processes may hold the other end open
                reply = json.loads(self.connection.recv_bytes())
        if "error" in reply:
            reason = _cause(self.log) or reply["error"]
            raise RunFailed(f"vLLM failed: {reason} (log: {self.log}); nothing already computed is lost")
        return reply

    def end(self) -> None:
        """End the process and its child processes. Remove the log unless the process failed."""
        self.connection.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(END_SECONDS)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self.process.poll() is not None:
                self._wait_for_group()
            os.killpg(self.process.pid, signal.SIGKILL)
        if self.process.wait() == 0:
            self.log.unlink(missing_ok=True)

    def _wait_for_group(self) -> None:
        """Leave the child processes time to end: one of them frees the memory that they shared. Raises: ProcessLookupError once they have."""
        end = time.monotonic() + TIDY_SECONDS
        while time.monotonic() < end:
            os.killpg(self.process.pid, 0)
            time.sleep(0.05)


def replies(copies: Sequence[Copy]) -> Iterator[tuple[Copy, dict[str, Any]]]:
    """What the copies report, in order of arrival, until each of them is done. Raises: RunFailed if one fails."""
    waiting = list(copies)
    while waiting:
        ready = wait([each.connection for each in waiting], timeout=1.0)
        for each in [each for each in waiting if each.connection in ready or each.process.poll() is not None]:
            reply = each.receive()
            if reply["done"]:
                waiting.remove(each)
            yield each, reply


def end_all(copies: Sequence[Copy]) -> None:
    """End several copies, which all hear of it before the first is waited for."""
    for copy in copies:
        copy.connection.close()
    for copy in copies:
        copy.end()


def _cause(log: Path) -> str | None:
    """The error of vLLM's own child processes in its log; the copy itself hears only that one of them has failed."""
    found = re.findall(
        r"^\((?:EngineCore|Worker)\b[^\n]*\bERROR\b[^\n]*\] (?:\w+\.)*(\w+(?:Error|Exception): [^\n]+)$", log.read_text(errors="replace"), re.M
    )
    return shortened_reason(found[0]) if found else None


def shortened_reason(text: str) -> str:
    """A text of many lines as one."""
    line = " ".join(text.split())
    return line if len(line) <= MOST_CHARACTERS else f"{line[:MOST_CHARACTERS]}..."


# --- in the copy's process ----------------------------------------------------------------------------------------------


class _Inbox:
    """Messages of the other side. `ended` is set once there will be no more; then the process has END_SECONDS to end by itself."""

    def __init__(self, connection: Connection) -> None:
        self.connection, self.ended = connection, threading.Event()
        self.messages: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                self.messages.put(json.loads(self.connection.recv_bytes()))
        self.ended.set()
        self.messages.put(None)
        time.sleep(END_SECONDS)
        os.killpg(os.getpgrp(), signal.SIGKILL)  # vLLM is loading, or hangs


def serve(connection: Connection) -> None:
    """Load the model of the first message, then write the texts of each message until the other side has ended."""
    inbox = _Inbox(connection)
    arguments = inbox.messages.get()
    if arguments is None:
        return
    from vllm import LLM

    engine = LLM(**arguments).llm_engine
    _report(connection, done=True)
    while not inbox.ended.is_set() and (content := inbox.messages.get()) is not None:
        _write(engine, content, connection, inbox.ended)


def _write(engine: Any, content: dict[str, Any], connection: Connection, ended: threading.Event) -> None:
    """Write the texts of a message, and report each by its number: token ids and the reason of its end."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    for number, (prompt, sampling) in enumerate(zip(content["prompts"], content["sampling"], strict=True)):
        engine.add_request(str(number), {"prompt_token_ids": prompt}, SamplingParams(**sampling, output_kind=RequestOutputKind.FINAL_ONLY))
    while engine.has_unfinished_requests() and not ended.is_set():
        done = [each for each in engine.step() if each.finished]
        texts = [(int(each.request_id), list(each.outputs[0].token_ids), each.outputs[0].finish_reason) for each in done]
        if texts:
            _report(connection, outputs=texts)
    if not ended.is_set():
        _report(connection, done=True)


def _report(connection: Connection, **content: Any) -> None:
    connection.send_bytes(json.dumps({"outputs": [], "done": False, **content}).encode())


def main() -> None:
    os.set_inheritable(int(sys.argv[1]), False)
    connection = Connection(int(sys.argv[1]))
    try:
        serve(connection)
    except BrokenPipeError:
        return
    except Exception as error:
        with contextlib.suppress(OSError):
            _report(connection, error=f"{type(error).__name__}: {shortened_reason(str(error))}")
        raise


if __name__ == "__main__":
    main()
