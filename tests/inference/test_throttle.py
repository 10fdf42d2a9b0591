"""How many requests are let out at once, by what becomes of them, and that nobody waits for ever."""

from __future__ import annotations

import asyncio
import itertools
import random
import selectors
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing
from typing import Any, NamedTuple

import pytest

from cotexp.inference import throttle as module
from cotexp.inference.api import ApiEngine
from cotexp.inference.api_batch import ApiBatch
from cotexp.inference.api_service import learned
from cotexp.inference.engine import Output, Request
from cotexp.inference.throttle import Capacity, OutOfMoney, Stopped, Throttle
from cotexp.settings.base import RunFailed
from cotexp.settings.sampling import Sampling
from cotexp.settings.server import ApiServer


class Hurried(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next thing to do, so that a minute takes no longer than what happens in it."""

    def __init__(self) -> None:
        super().__init__(selectors.SelectSelector())
        self.now = 0.0
        select = self._selector.select  # type: ignore[attr-defined]

        def jump(timeout: float | None = None) -> Any:
            self.now += timeout or 0.0
            return select(0)

        self._selector.select = jump  # type: ignore[attr-defined]

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


# --- how many at once ------------------------------------------------------------------------------------------------------


async def rounds_of_answers(throttle: Throttle, count: int) -> list[int]:
    """How many requests get out per round trip, when each is answered."""
    sizes = []
    for _ in range(count):
        sent = 0
        while throttle.in_flight < int(throttle.limit):
            await throttle.begin(0.0)
            sent += 1
        sizes.append(sent)
        for _ in range(sent):
            throttle.answered()
            throttle.end(0.0)
    return sizes


def test_requests_in_flight_double_until_the_first_refusal_and_then_grow_by_one() -> None:
    async def scenario() -> tuple[list[int], float, list[int]]:
        throttle = Throttle(most=200)
        doubling = await rounds_of_answers(throttle, 4)
        sent = [await throttle.begin(0.0) for _ in range(64)]
        for each in sent:
            throttle.refused(each, wait=0.0)
        for _ in sent:
            throttle.end(0.0)
        halved = throttle.limit
        return doubling, halved, await rounds_of_answers(throttle, 4)

    doubling, halved, growing = asyncio.run(scenario())
    assert doubling == [8, 16, 32, 64]
    assert halved == 32, "one cut for all that were sent before it was known"
    assert growing[0] == 32
    assert all(0 <= other - one <= 1 for one, other in itertools.pairwise(growing))
    assert growing[-1] > growing[0]


@pytest.mark.parametrize(
    ("known", "most", "expected"),
    [
        (Capacity(64.0), 200, [64, 128, 200]),
        (Capacity(64.0), 16, [16, 16, 16]),
        (Capacity(20.5, was_cut=True), 200, [20, 21, 22]),
        (Capacity(), 200, [8, 16, 32]),
    ],
)
def test_a_later_call_goes_on_from_what_the_server_took(known: Capacity, most: int, expected: list[int]) -> None:
    async def scenario() -> tuple[list[int], Capacity]:
        throttle = Throttle(most, known=known)
        return await rounds_of_answers(throttle, 3), throttle.capacity

    sizes, capacity = asyncio.run(scenario())
    assert sizes == expected
    assert capacity.was_cut == known.was_cut
    assert capacity.limit >= min(sizes[-1], most)


def test_a_server_that_took_fewer_than_any_is_first_asked_is_asked_as_if_it_were_new() -> None:
    """It may have been ill, and from one in flight on the number grows by one per round trip."""
    throttle = Throttle(most=200)
    for _ in range(8):
        throttle.in_flight = 8
        throttle.refused(time.monotonic(), wait=None)
    assert throttle.limit < 8
    assert throttle.capacity == Capacity()


def test_a_second_call_has_as_many_requests_in_flight_as_the_first_came_to(monkeypatch: pytest.MonkeyPatch) -> None:
    expected, in_flight, together = 0, 0, asyncio.Event()

    async def answered(batch: ApiBatch, body: dict[str, Any]) -> dict[str, Any]:
        nonlocal in_flight
        in_flight += 1
        if in_flight == expected:
            together.set()
        async with asyncio.timeout(600):
            await together.wait()
        in_flight -= 1
        return {"choices": [{"message": {"content": "Four."}, "finish_reason": "stop"}]}

    def ask(in_flight_at_first: int) -> None:
        nonlocal expected, together
        expected, together = in_flight_at_first, asyncio.Event()
        outputs: list[Output] = []
        server = ApiServer(service="test", model="m", base_url="http://127.0.0.1:9/v1", max_attempts=1)
        ApiEngine(server, "teacher").generate([Request(str(n), str(n)) for n in range(200)], Sampling(batch_size=64), outputs.append)
        assert len(outputs) == 200

    learned.cache_clear()
    monkeypatch.setattr(ApiBatch, "post", answered)
    ask(8)
    ask(64)


def test_two_refusals_in_a_row_hold_everyone_back_and_one_between_answers_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    async def seconds(loop: Hurried, between: bool) -> float:
        monkeypatch.setattr(module, "time", loop)
        throttle = Throttle(most=8)
        sent = [await throttle.begin(0.0) for _ in range(3)]
        throttle.refused(sent[0], wait=0.3)
        if between:
            throttle.answered()
        throttle.refused(sent[1], wait=0.3)
        for _ in sent:
            throttle.end(0.0)
        started = loop.now
        await throttle.begin(0.0)
        return loop.now - started

    took = {}
    for between in (False, True):
        with closing(Hurried()) as loop:
            took[between] = loop.run_until_complete(seconds(loop, between))
    assert took == {False: pytest.approx(0.3), True: 0.0}


def test_money_is_held_for_what_is_in_flight() -> None:
    async def scenario() -> None:
        throttle = Throttle(most=8, max_cost=1.0)
        await throttle.begin(0.6)
        waiting = asyncio.ensure_future(throttle.begin(0.6))
        await asyncio.sleep(0.05)
        assert not waiting.done(), "the first may still cost 0.6"
        throttle.spent += 0.1
        throttle.end(0.6)
        await waiting
        throttle.spent += 0.6
        throttle.end(0.6)
        with pytest.raises(OutOfMoney):
            await throttle.begin(0.6)

    asyncio.run(scenario())


def test_a_stop_wakes_who_waits_and_who_sleeps() -> None:
    async def scenario() -> None:
        throttle = Throttle(most=1)
        await throttle.begin(0.0)
        waiters = [asyncio.ensure_future(throttle.begin(0.0)), asyncio.ensure_future(throttle.begin(0.0)), asyncio.ensure_future(throttle.sleep(60))]
        await asyncio.sleep(0.05)
        throttle.stop(RunFailed("over"))
        ends = await asyncio.gather(*waiters, return_exceptions=True)
        assert [type(each) for each in ends] == [Stopped] * 3

    asyncio.run(scenario())


def test_a_pause_that_ends_between_two_looks_at_the_clock_lets_everyone_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock:
        readings: Iterator[float] = itertools.chain([0.0, 0.0, 0.999], itertools.repeat(1.001))

        def monotonic(self) -> float:
            return next(self.readings)

    async def scenario() -> None:
        throttle = Throttle(most=8)
        monkeypatch.setattr(module, "time", Clock())
        for _ in range(2):
            throttle.refused(0.0, wait=1.0)  # until 1.0
        await asyncio.wait_for(throttle.begin(0.0), timeout=600)

    asyncio.run(scenario())


# --- servers that refuse, in a time that passes as fast as it can -------------------------------------------------------------


class Happened(NamedTuple):
    """Answers and refusals per second, in the last two thirds of the time."""

    answered: float
    refused: float


SECONDS, LATENCY, MOST = 30.0, 0.2, 64
Refuses = Callable[[int], bool]
"""Whether a request is refused, beside so many that the server is answering."""


def happened(monkeypatch: pytest.MonkeyPatch, refuses: Refuses, *, until_refused: float = LATENCY) -> Happened:
    """What becomes of twice as many workers as may be in flight, each of which asks again after a short while when it is refused."""
    loop, chance = Hurried(), random.Random(0)
    ends: tuple[list[float], list[float]] = [], []
    monkeypatch.setattr(module, "time", loop)
    throttle, answering = Throttle(MOST), 0

    async def work() -> None:
        nonlocal answering
        while loop.now < SECONDS:
            sent = await throttle.begin(0.0)
            is_refused = refuses(answering)
            answering += not is_refused
            await asyncio.sleep((until_refused if is_refused else LATENCY) * chance.uniform(0.9, 1.1))
            answering -= not is_refused
            ends[is_refused].append(loop.now)
            if is_refused:
                throttle.refused(sent, None)
            else:
                throttle.answered(sent)
            throttle.end(0.0)
            if is_refused:
                await asyncio.sleep(chance.uniform(0, 0.25))

    async def everyone() -> None:
        await asyncio.gather(*(work() for _ in range(2 * MOST)))

    run(loop, everyone())
    return Happened(*(sum(SECONDS / 3 < each <= SECONDS for each in own) / (SECONDS * 2 / 3) for own in ends))


def run(loop: Hurried, scenario: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(scenario)


@pytest.mark.slow
@pytest.mark.parametrize("until_refused", [LATENCY, 0.005])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.1, 0.2, 0.3])
def test_refusals_by_chance_cost_what_they_take_and_no_more(monkeypatch: pytest.MonkeyPatch, share: float, until_refused: float) -> None:
    chance = random.Random(1)
    seen = happened(monkeypatch, lambda _: chance.random() < share, until_refused=until_refused)
    assert seen.answered > 0.85 * (1 - share) * MOST / LATENCY


@pytest.mark.parametrize("until_refused", [LATENCY, 0.005])
@pytest.mark.parametrize("room", [4, 16, 48])
def test_a_server_with_room_for_fewer_is_kept_busy_and_not_stormed(monkeypatch: pytest.MonkeyPatch, room: int, until_refused: float) -> None:
    seen = happened(monkeypatch, lambda answering: answering >= room, until_refused=until_refused)
    assert seen.answered > 0.6 * room / LATENCY
    assert seen.refused < seen.answered


def test_a_server_that_refuses_everyone_is_asked_less_and_less(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = happened(monkeypatch, lambda _: True)
    assert seen.answered == 0
    assert seen.refused < 1
