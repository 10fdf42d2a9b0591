"""Answers per second of the API engine and of a bare loop. The server process answers after 200 ms; 64 requests are in flight.

    python benchmarks/api.py

Our engine runs the whole path: throttle, retries, parsing of answers, and a flushed ledger row per text. It runs once against a server without
faults, and once against a server that refuses 5 % of the requests with status 429 and without Retry-After. The bare loop uses the same client in
64 tasks, discards the answers, and meets no faults. The three are timed in turns after a ramp-up. Each ratio compares measurements of one turn;
the output has the median and the range of the ratios.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests" / "inference"))
from fault_server import served, told

from cotexp.inference.api import ApiEngine
from cotexp.inference.engine import Request
from cotexp.settings.sampling import Sampling
from cotexp.settings.server import ApiServer
from cotexp.store.specs import Spec
from cotexp.store.store import Store

LATENCY_SECONDS, IN_FLIGHT = 0.2, 64
REFUSED = 0.05
NUM_REQUESTS, RAMP_UP, NUM_TURNS = 2000, 400, 5
SAMPLING = Sampling(temperature=0.7, max_new_tokens=64, batch_size=IN_FLIGHT)


def rate(ends: Sequence[float]) -> float:
    """Answers per second between the ramp-up and the last IN_FLIGHT answers. `ends` are times in seconds."""
    steady = ends[RAMP_UP:-IN_FLIGHT]
    return (len(steady) - 1) / (steady[-1] - steady[0])


def ours(engine: ApiEngine) -> float:
    ends: list[float] = []

    def ask(ids: list[str], emit: Any) -> None:
        engine.generate([Request(each, f"row {each}") for each in ids], SAMPLING, lambda output: emit(asdict(output)))

    with tempfile.TemporaryDirectory() as folder:
        ids = [str(number) for number in range(NUM_REQUESTS)]
        Store(Path(folder)).ledger(Spec("texts", {})).fill(ids, ask, chunk_size=len(ids), on_row=lambda row: ends.append(time.perf_counter()))
    return rate(ends)


def bare(engine: ApiEngine) -> float:
    async def loop() -> list[float]:
        ends: list[float] = []
        left = iter(range(NUM_REQUESTS))

        async def ask() -> None:
            for number in left:
                messages: Any = [{"role": "user", "content": f"row {number}"}]
                await client.chat.completions.create(model="m", messages=messages, temperature=0.7, max_tokens=64, seed=number)
                ends.append(time.perf_counter())

        async with engine.service.client() as client:
            await asyncio.gather(*(ask() for _ in range(IN_FLIGHT)))
        return ends

    return rate(asyncio.run(loop()))


def timed(loop: Callable[[ApiEngine], float], engine: ApiEngine) -> tuple[float, float]:
    """(answers per second, processor seconds of this process per request); other load does not affect the second."""
    started = time.process_time()
    return loop(engine), (time.process_time() - started) / NUM_REQUESTS


def engine_of(url: str) -> ApiEngine:
    return ApiEngine(ApiServer(service="benchmark", model="m", base_url=f"{url}/v1", input_price=1.0, output_price=1.0), "teacher")


def ratios(name: str, own: Sequence[float], others: Sequence[float]) -> str:
    found = sorted(one / other for one, other in zip(own, others, strict=True))
    return f"{name} / bare: {statistics.median(found):.3f} (median of {len(found)} turns, {found[0]:.3f} to {found[-1]:.3f})"


def main() -> None:
    ideal = IN_FLIGHT / LATENCY_SECONDS
    with served(latency=LATENCY_SECONDS, shares={}) as url, served(latency=LATENCY_SECONDS, shares={"busy": REFUSED}) as refusing:
        calm, busy = engine_of(url), engine_of(refusing)
        turns = [(timed(bare, calm), timed(ours, calm), timed(ours, busy)) for _ in range(NUM_TURNS)]
        counts = told(refusing, "counts")
    names = ("bare loop", "ours", f"ours, {REFUSED:.0%} 429")
    for name, own in zip(names, zip(*turns, strict=True), strict=True):
        rates = [each for each, _ in own]
        middle, cpu = statistics.median(rates), 1000 * statistics.median(each for _, each in own)
        listed = ", ".join(f"{each:.0f}" for each in rates)
        print(f"{name:>12}: {middle:6.1f} answers/s, {middle / ideal:.3f} of {ideal:.0f}/s ({listed}); {cpu:.2f} ms of the client's CPU each")
    loop, own, refused = ([rate for rate, _ in each] for each in zip(*turns, strict=True))
    print(ratios("ours", own, loop))
    print(ratios(f"ours with {REFUSED:.0%} of the requests refused", refused, loop))
    wanted = NUM_TURNS * NUM_REQUESTS
    print(f"at the server that refuses: {counts['kinds']['busy']} refusals, {counts['answered']} answers paid for {wanted} texts")


if __name__ == "__main__":
    main()
