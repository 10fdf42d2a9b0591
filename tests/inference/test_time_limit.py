from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from fault_server import served, told

from cotexp.inference import time_limit
from cotexp.inference.api import ApiEngine
from cotexp.inference.engine import Output, Request
from cotexp.settings.sampling import Sampling
from cotexp.settings.server import ApiServer

SUSPENDED_SECONDS = time_limit.LATE_SECONDS + 0.5
"""By how much a loop that does nothing misses a limit: as long as its process is suspended nothing runs in it either."""


async def until(future: asyncio.Future[int]) -> int:
    return await future


def test_what_returns_or_raises_in_time_is_passed_on() -> None:
    async def fails() -> None:
        raise KeyError("x")

    assert asyncio.run(time_limit.within(60, asyncio.sleep(0, 7))) == 7
    with pytest.raises(KeyError, match="x"):
        asyncio.run(time_limit.within(60, fails()))


@pytest.mark.parametrize("seconds_suspended", [0.0, SUSPENDED_SECONDS])
def test_what_does_not_return_is_ended_also_after_a_suspension(seconds_suspended: float) -> None:
    ended = []

    async def never() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append(True)

    async def limited() -> None:
        task = asyncio.ensure_future(time_limit.within(0.1, never()))
        await asyncio.sleep(0.01)
        time.sleep(seconds_suspended)
        await task

    with pytest.raises(TimeoutError):
        asyncio.run(limited())
    assert ended == [True]


def test_what_came_while_the_process_was_suspended_is_taken() -> None:
    async def limited() -> int:
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        task = asyncio.ensure_future(time_limit.within(0.1, until(answer)))
        await asyncio.sleep(0.01)
        threading.Timer(0.2, loop.call_soon_threadsafe, (answer.set_result, 7)).start()
        time.sleep(SUSPENDED_SECONDS)
        return await task

    assert asyncio.run(limited()) == 7


def test_one_who_waits_and_is_ended_ends_the_work() -> None:
    async def ended() -> bool:
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        task = asyncio.ensure_future(time_limit.within(60, until(answer)))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait({task})
        return task.cancelled() and answer.cancelled()

    assert asyncio.run(ended())


@pytest.mark.slow
def test_answers_that_came_while_the_client_was_suspended_are_not_paid_again() -> None:
    answers: list[Any] = []

    def take(output: Output) -> None:
        if not answers:
            time.sleep(8 + SUSPENDED_SECONDS)
        answers.append(output)

    with served(latency=0.3, shares={}) as url:
        server = ApiServer(service="test", model="m", base_url=f"{url}/v1", timeout=8.0, input_price=1.0, output_price=2.0)
        ApiEngine(server, "teacher").generate([Request(str(each), f"row {each}") for each in range(24)], Sampling(batch_size=8), take)
        assert len(answers) == told(url, "counts")["requests"] == 24
