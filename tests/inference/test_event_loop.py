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


def test_the_work_is_done_in_a_thread_of_its_own_with_the_same_context_also_beside_another_loop() -> None:
    async def cell() -> tuple[str, str]:
        HERE.set("in a cell")
        return event_loop.run(where())

    for (thread, place), expected in ((event_loop.run(where()), "nowhere"), (asyncio.run(cell()), "in a cell")):
        assert thread != threading.current_thread().name
        assert place == expected


def test_an_error_beside_another_loop_is_raised() -> None:
    async def fails() -> None:
        raise ValueError("no answer")

    async def cell() -> None:
        event_loop.run(fails())

    with pytest.raises(ValueError, match="no answer"):
        asyncio.run(cell())


INTERRUPTED = """
import asyncio, os, signal
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


WITHIN_A_LOOP = """
import asyncio, collections, os, signal
from cotexp import signals
from cotexp.inference import event_loop

class Steps(collections.deque):
    num_taken = 0

    def popleft(self):
        step = super().popleft()
        self.num_taken += 1
        if self.num_taken == 50:
            os.kill(os.getpid(), signal.SIGTERM)
        return step

async def busy():
    while True:
        await asyncio.sleep(0)

async def work():
    loop = asyncio.get_running_loop()
    loop._ready = Steps(loop._ready)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(8):
            tasks.create_task(busy())

with signals.handled():
    event_loop.run(work())
"""


@pytest.mark.slow
@pytest.mark.parametrize(("code", "expected"), [(INTERRUPTED, ("closed in order\n", 130)), (WITHIN_A_LOOP, ("", 143))], ids=["beside", "within"])
def test_a_signal_ends_the_work_wherever_it_comes(code: str, expected: tuple[str, int]) -> None:
    """Beside another loop, and where a loop has taken a step and not run it yet: an exception there loses the step, whose task then never ends."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == expected, done.stderr
