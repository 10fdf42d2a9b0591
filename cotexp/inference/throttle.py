"""How many requests a server is sent at once, and when no more may be sent.

As in TCP's congestion control, the number in flight doubles per round trip until the server first refuses one for being too many, is
halved then, and grows by one per round trip from there on. Two refusals in a row, with no answer between them, hold everyone back for as
long as the server asks. The numbers are ours.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from cotexp.sections import RunFailed

FIRST_IN_FLIGHT = 8


class Stopped(Exception):
    """No more requests may be sent; `Throttle.reason` says why."""


class OutOfMoney(Exception):
    """Nothing is in flight, and even so the next request could cost more than is left."""


@dataclass(slots=True)
class Throttle:
    """Lets as many requests out as the server takes, `most` at once, and no more than `max_cost` dollars can pay.

    `spent` are the dollars paid so far, those of earlier starts included.
    """

    most: int
    max_cost: float | None = None
    spent: float = 0.0
    reason: RunFailed | None = None
    num_answers: int = 0
    in_flight: int = 0
    limit: float = field(init=False)
    _reserved: float = 0.0
    _was_refused: bool = False
    _refused_in_a_row: int = 0
    _last_cut: float = 0.0
    _not_before: float = 0.0
    _turnstile: asyncio.Lock = field(default_factory=asyncio.Lock)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _stopped: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.limit = min(FIRST_IN_FLIGHT, self.most)

    async def begin(self, most_cost: float) -> float:
        """Wait, first come first served, until a request that may cost `most_cost` dollars can be sent; returns the time on time.monotonic.

        Raises: Stopped, OutOfMoney.
        """
        async with self._turnstile:
            self._check()
            while not (self._has_room() and self._has_money(most_cost)):
                await self._wait_for_a_change()
                self._check()
            self.in_flight += 1
            self._reserved += most_cost
            return time.monotonic()

    def end(self, most_cost: float) -> None:
        """The request is over, whatever became of it."""
        self.in_flight -= 1
        self._reserved = self._reserved - most_cost if self.in_flight else 0.0
        self._changed.set()

    def answered(self) -> None:
        """It was answered: more may be in flight."""
        self.num_answers += 1
        self._refused_in_a_row = 0
        self.limit = min(self.most, self.limit + (1 / self.limit if self._was_refused else 1))

    def refused(self, sent: float, wait: float) -> None:
        """The request sent at `sent` was one too many: fewer may be in flight, once for all that were sent before this was known."""
        self._refused_in_a_row += 1
        if self._refused_in_a_row > 1:
            self._not_before = max(self._not_before, time.monotonic() + wait)
        if sent >= self._last_cut:
            self._was_refused = True
            self._last_cut = time.monotonic()
            self.limit = max(1.0, min(self.limit, self.in_flight) / 2)

    def stop(self, reason: RunFailed) -> None:
        """Let no more requests out; those in flight may still be answered."""
        self.reason = self.reason or reason
        self._stopped.set()
        self._changed.set()

    async def sleep(self, seconds: float) -> None:
        """Wait `seconds`. Raises: Stopped, as soon as no more requests may be sent."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopped.wait()
        except TimeoutError:
            pass
        self._check()

    def _check(self) -> None:
        if self.reason is not None:
            raise Stopped

    def _has_room(self) -> bool:
        return self.in_flight < int(self.limit) and time.monotonic() >= self._not_before

    def _has_money(self, most_cost: float) -> bool:
        if self.max_cost is None or self.spent + self._reserved + most_cost <= self.max_cost:
            return True
        if not self.in_flight:
            raise OutOfMoney
        return False

    async def _wait_for_a_change(self) -> None:
        self._changed.clear()
        held_back = self._not_before - time.monotonic()
        try:
            async with asyncio.timeout(held_back if held_back > 0 else None):
                await self._changed.wait()
        except TimeoutError:
            pass
