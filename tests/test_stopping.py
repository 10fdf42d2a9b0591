"""Signals to real processes: what the first one ends, what holds it back, and that the second ends everything."""

from __future__ import annotations

import contextlib
import pickle
import signal
import subprocess
import sys

import pytest

from cotexp import stopping

PROGRAM = """
import signal, sys, time
from cotexp import stopping

def steps(count):
    for number in range(count):
        print("step", number, flush=True)
        time.sleep(0.05)

with stopping.handled():
    try:
        {body}
        print("whole", flush=True)
    finally:
        print("tidied", flush=True)
"""


def ended(body: str, *signals: signal.Signals, pause: float = 0.4, before: str = "") -> tuple[int, list[str], str]:
    """(status, lines printed, errors) of a process that gets `signals` once it has begun its steps."""
    code = before + PROGRAM.format(body=body.replace("\n", "\n        "))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heed_interrupts)
    assert process.stdout is not None
    first = process.stdout.readline()
    for number in signals:
        process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(pause)
    output, errors = process.communicate(timeout=60)
    return process.returncode, [first.strip(), *output.splitlines()], errors


def heed_interrupts() -> None:
    """What a shell starts in the background ignores SIGINT, and so would all that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("number", stopping.SIGNALS)
def test_the_first_signal_ends_a_process_in_order_with_its_status(number: signal.Signals) -> None:
    status, lines, errors = ended("steps(1200)", number)
    assert status == 128 + number
    assert lines[-1] == "tidied"
    assert "whole" not in lines
    assert errors == ""


def test_a_signal_is_held_back_until_the_next_safe_point() -> None:
    body = "with stopping.at_safe_points('the end of this'):\n    steps(10)\nprint('beyond', flush=True)"
    status, lines, errors = ended(body, signal.SIGTERM)
    assert (status, lines) == (143, [*(f"step {number}" for number in range(10)), "tidied"])
    assert errors == "cotexp: SIGTERM received: ends at the end of this; a second signal ends it at once\n"


def test_work_at_safe_points_asks_itself_whether_to_end() -> None:
    body = "with stopping.at_safe_points():\n    while not stopping.noted():\n        steps(1)\n    print('saved', flush=True)\n    stopping.check()"
    status, lines, _ = ended(body, signal.SIGUSR1)
    assert status == 128 + signal.SIGUSR1
    assert lines[-2:] == ["saved", "tidied"]


def test_a_second_signal_ends_a_process_at_once() -> None:
    status, lines, errors = ended("with stopping.at_safe_points('the very end'):\n    steps(1200)", signal.SIGINT, signal.SIGINT)
    assert status == 130
    assert len(lines) < 100
    assert "tidied" not in lines
    assert errors.endswith("cotexp: ended at once by a second signal (SIGINT); everything stored is kept\n")


def test_a_signal_that_arrives_twice_at_the_same_time_is_one_wish() -> None:
    _, lines, _ = ended("with stopping.at_safe_points():\n    steps(20)", signal.SIGTERM, signal.SIGINT, pause=0.01)
    assert lines[-1] == "tidied"


def test_an_error_in_a_block_is_not_replaced_by_a_signal() -> None:
    body = "with stopping.at_safe_points():\n    steps(10)\n    raise RuntimeError('no space')"
    status, _, errors = ended(body, signal.SIGTERM)
    assert status == 1
    assert errors.splitlines()[-1] == "RuntimeError: no space"


def test_tidying_up_is_not_interrupted_by_the_signal_that_caused_it() -> None:
    body = (
        "try:\n    steps(1200)\nfinally:\n    with stopping.at_safe_points():\n        print('writing', flush=True)\n    print('written', flush=True)"
    )
    _, lines, _ = ended(body, signal.SIGTERM)
    assert lines[-3:] == ["writing", "written", "tidied"]


def test_a_signal_that_was_ignored_stays_ignored() -> None:
    status, lines, _ = ended("steps(10)", signal.SIGINT, before="import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n")
    assert (status, lines[-2:]) == (0, ["whole", "tidied"])


def test_asyncio_does_not_swallow_the_signal_wherever_it_arrives() -> None:
    body = """import asyncio
async def work():
    async with asyncio.TaskGroup() as tasks:
        for _ in range(8):
            tasks.create_task(busy())
async def busy():
    while True:
        sum(range(2000))
        await asyncio.sleep(0)
def often():
    sum(range(20000))
    asyncio.get_running_loop().call_soon(often)
async def main():
    asyncio.get_running_loop().call_soon(often)
    print('begun', flush=True)
    await work()
asyncio.run(main())"""
    for _ in range(3):
        status, lines, errors = ended(body, signal.SIGTERM)
        assert status == 143, errors
        assert lines[-1] == "tidied"


SUBMITIT = """
import signal, sys
class Handler:
    def checkpoint_and_try_requeue(self, number, frame=None):
        print("requeued", flush=True)
        sys.exit(-1)
    def bypass(self, number, frame=None):
        print("bypassed", flush=True)
Handler.checkpoint_and_try_requeue.__module__ = Handler.bypass.__module__ = "submitit.core.job_environment"
signal.signal(signal.SIGUSR2, Handler().checkpoint_and_try_requeue)
signal.signal(signal.SIGTERM, Handler().bypass)
"""


def test_submitits_own_handlers_requeue_but_not_before_the_next_safe_point() -> None:
    body = "with stopping.at_safe_points():\n    steps(20)\n    print('saved', flush=True)\n    stopping.check()"
    status, lines, _ = ended(body, signal.SIGUSR2, signal.SIGTERM, before=SUBMITIT)
    assert status == 255
    assert "bypassed" in lines
    assert lines[-3:] == ["saved", "requeued", "tidied"]


def test_a_stop_travels_between_processes() -> None:
    stop = pickle.loads(pickle.dumps(stopping.Stopped(signal.SIGTERM)))
    assert (stop.number, stop.code, str(stop)) == (15, 143, "stopped by SIGTERM")
