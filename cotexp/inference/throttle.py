"""Limits how many requests are sent to a server at once, and how much money they may cost.

The number in flight doubles per round trip until the first cut, and grows by one per round trip after it. Once per round trip, the share of
requests that were refused as "too many" decides about a cut. A few refusals are chance, and only those requests are sent again. A larger share
cuts the number to what was answered, at most by half. If the share stays as large after the cut, the number was not the cause: it is restored,
and such a share is accepted from then on.

Refusals in a row, without an answer between them, pause all requests: two refusals for as long as the server asks, a round trip full of them
for a growing time if it does not say how long. The scheme is that of TCP congestion control (slow start, additive increase, multiplicative
decrease; RFC 5681). The constants are our choice.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from dataclasses import dataclass, field
from typing import NamedTuple

from cotexp.settings.base import RunFailed

FIRST_IN_FLIGHT = 8
BORNE = 0.1
"""Share of refusals that changes nothing."""
MOST_BORNE = 0.4
"""Largest share of refusals that can be judged independent of the number in flight."""
FIRST_HOLD_SECONDS, LONGEST_HOLD_SECONDS = 0.5, 60.0


class Stopped(Exception):
    """No more requests may be sent; `Throttle.reason` says why."""


class OutOfMoney(Exception):
    """Nothing is in flight, and the next request could cost more than the remaining money."""


class Capacity(NamedTuple):
    """What a server has shown to take: the requests in flight, whether it has refused more, and the share of refusals that it makes at any number."""

    limit: float = FIRST_IN_FLIGHT
    was_cut: bool = False
    borne: float = BORNE


class Cut(NamedTuple):
    """The state before a cut whose effect is not known yet."""

    limit: float
    share: float


@dataclass(slots=True)
class Throttle:
    """Sends as many requests as the server accepts, at most `most` at once, and no more than `max_cost` dollars can pay.

    `spent`: dollars paid so far, earlier starts included. `num_holds`: pauses since the last answer for which the server named no duration.
    `known`: what the same server took before, from which it goes on.
    """

    most: int
    max_cost: float | None = None
    spent: float = 0.0
    reason: RunFailed | None = None
    num_answers: int = 0
    num_holds: int = 0
    in_flight: int = 0
    known: Capacity = Capacity()
    limit: float = field(init=False)
    _reserved: float = 0.0
    _borne: float = field(init=False)
    _was_cut: bool = field(init=False)
    _on_trial: Cut | None = None
    _refused_in_a_row: int = 0
    _is_settled: bool = False
    _last_cut: float = 0.0
    _round_trip: float = 0.0
    _window_began: float = 0.0
    _last_hold: float = 0.0
    _answered_in_window: int = 0
    _refused_in_window: int = 0
    _not_before: float = 0.0
    _turnstile: asyncio.Lock = field(default_factory=asyncio.Lock)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _stopped: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.limit, self._was_cut, self._borne = min(self.known.limit, self.most), self.known.was_cut, self.known.borne

    @property
    def capacity(self) -> Capacity:
        """What the server has shown to take so far, if that is more than is known of any server."""
        return Capacity(self.limit, self._was_cut, self._borne) if self.limit > FIRST_IN_FLIGHT else Capacity()

    async def begin(self, most_cost: float) -> float:
        """Wait until a request that may cost `most_cost` dollars can be sent, first come, first served. Returns time.monotonic() in seconds.

        Raises: Stopped, OutOfMoney.
        """
        async with self._turnstile:
            self._check()
            while True:
                now = time.monotonic()
                held_back = self._not_before - now
                if held_back <= 0 and self.in_flight < int(self.limit) and self._has_money(most_cost):
                    break
                await self._wait_for_a_change(held_back)
                self._check()
            self.in_flight += 1
            self._reserved += most_cost
            return now

    def end(self, most_cost: float) -> None:
        """Record that a request ended, in any way."""
        self.in_flight -= 1
        self._reserved = self._reserved - most_cost if self.in_flight else 0.0
        self._changed.set()

    def answered(self, sent: float | None = None) -> None:
        """Record that the request sent at `sent` was answered: more may be in flight."""
        self.num_answers += 1
        if sent is not None:
            latest = time.monotonic() - sent
            self._round_trip += (latest - self._round_trip) / min(self.num_answers, FIRST_IN_FLIGHT)
        self._refused_in_a_row = self.num_holds = 0
        self.limit = min(self.most, self.limit + (1 / self.limit if self._was_cut else 1))
        if not self._is_settled and (sent is None or sent >= self._last_cut):
            self._is_settled = True
            self._begin_window(time.monotonic())
        if self._is_settled:
            self._answered_in_window += 1
            self._judge()

    def refused(self, sent: float, wait: float | None) -> None:
        """Record that the request sent at `sent` was refused as one too many. `wait`: seconds that the server asks for, None if it does not say."""
        self._refused_in_a_row += 1
        if wait is not None and self._refused_in_a_row > 1:
            self._hold(wait)
        elif self._refused_in_a_row > max(1, int(self.limit)) and sent >= self._last_hold:
            self._hold_for_a_while()
        if self._is_settled:
            self._refused_in_window += 1
            self._judge()
        elif sent >= self._last_cut and self._refused_in_a_row >= int(self.limit):
            self._cut(1.0)

    def stop(self, reason: RunFailed) -> None:
        """Send no more requests; those in flight may still be answered."""
        self.reason = self.reason or reason
        self._stopped.set()
        self._changed.set()

    async def sleep(self, seconds: float) -> None:
        """Wait `seconds`. Raises: Stopped as soon as no more requests may be sent."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopped.wait()
        except TimeoutError:
            pass
        self._check()

    # --- the number in flight -------------------------------------------------------------------------------------------

    def _judge(self) -> None:
        """Once per round trip, cut the number if refusals exceed the accepted share and chance, or undo a cut that did not help."""
        num, refused = self._answered_in_window + self._refused_in_window, self._refused_in_window
        now = time.monotonic()
        if num < max(FIRST_IN_FLIGHT, min(int(self.limit), self.in_flight)) or now - self._window_began < self._round_trip:
            return  # refusals come at once and answers in groups, so less than a round trip shows no share
        share, before = refused / num, self._on_trial
        self._begin_window(now)
        self._on_trial = None
        if before is not None and share > before.share / 2:
            self.limit, self._borne = max(self.limit, before.limit), min(MOST_BORNE, max(before.share, share))
        elif refused - 2 * math.sqrt(refused) > self._borne * num:
            self._cut(share)
        elif share < BORNE and before is None:
            self._borne = BORNE

    def _cut(self, share: float) -> None:
        """Lower the number in flight by the refused share. The next judgement waits for an answer to a request sent from now on."""
        before, self.limit = self.limit, max(1.0, min(self.limit, self.in_flight) * max(0.5, 1 - share))
        self._on_trial = Cut(before, share) if share <= MOST_BORNE else None
        self._was_cut, self._is_settled = True, False
        self._last_cut = time.monotonic()

    def _begin_window(self, now: float) -> None:
        self._answered_in_window = self._refused_in_window = 0
        self._window_began = now

    def _hold_for_a_while(self) -> None:
        """Pause all requests, longer each time, or about until the next answer if one is due."""
        seconds = min(LONGEST_HOLD_SECONDS, FIRST_HOLD_SECONDS * 2**self.num_holds)
        due = self._round_trip if self.in_flight > 1 and self._round_trip else seconds
        self._hold(min(seconds, due) * random.uniform(0.5, 1.0))
        self.num_holds += 1
        self._last_hold = time.monotonic()

    def _hold(self, seconds: float) -> None:
        self._not_before = max(self._not_before, time.monotonic() + seconds)

    # --- admission of requests ----------------------------------------------------------------------------------------

    def _check(self) -> None:
        if self.reason is not None:
            raise Stopped

    def _has_money(self, most_cost: float) -> bool:
        if self.max_cost is None or self.spent + self._reserved + most_cost <= self.max_cost:
            return True
        if not self.in_flight:
            raise OutOfMoney
        return False

    async def _wait_for_a_change(self, held_back: float) -> None:
        """Wait until a request ends, or for the seconds of a pause. One of the two happens: without a pause, a request is in flight."""
        assert held_back > 0 or self.in_flight, "nothing would ever wake this"
        self._changed.clear()
        try:
            async with asyncio.timeout(held_back if held_back > 0 else None):
                await self._changed.wait()
        except TimeoutError:
            pass
