from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cotexp.inference import event_loop

ROOT = Path(__file__).resolve().parents[2]
HERE = contextvars.ContextVar("HERE", default="nowhere")


async def where() -> tuple[str, str]:
    await asyncio.sleep(0)
    return threading.current_thread().name, HERE.get()


def test_without_another_loop_the_work_is_done_in_this_thread() -> None:
    assert event_loop.run(where()) == (threading.current_thread().name, "nowhere")


def test_beside_another_loop_it_is_done_in_its_own_thread_with_the_same_context() -> None:
    async def cell() -> tuple[str, str]:
        HERE.set("in a cell")
        return event_loop.run(where())

    thread, place = asyncio.run(cell())
    assert thread != threading.current_thread().name
    assert place == "in a cell"


def test_an_error_beside_another_loop_is_raised() -> None:
    async def fails() -> None:
        raise ValueError("no answer")

    async def cell() -> None:
        event_loop.run(fails())

    with pytest.raises(ValueError, match="no answer"):
        asyncio.run(cell())


INTERRUPTED = """
import asyncio, os, signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored below the background of a shell
from cotexp import signals
from cotexp.inference import event_loop

async def work():
    try:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        print("closed in order", flush=True)
        raise

async def cell():
    with signals.handled():
        event_loop.run(work())

asyncio.run(cell())
"""


@pytest.mark.slow
def test_a_signal_ends_what_runs_beside_another_loop() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout, done.returncode) == ("closed in order\n", 130), done.stderr
