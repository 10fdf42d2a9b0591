"""Runs a coroutine to its end, also where a loop of asyncio is at work already, as in the kernel of a notebook."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from cotexp import signals

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns. Beside another loop it runs in a thread of its own, and a signal cancels it there."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    at_work: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any] | None]] = []

    async def noted() -> T:
        at_work.append((asyncio.get_running_loop(), asyncio.current_task()))
        return await work

    with ThreadPoolExecutor(1) as threads:
        found = threads.submit(contextvars.copy_context().run, asyncio.run, noted())
        try:
            return found.result()
        except signals.Stopped:
            for loop, task in at_work:
                if task is not None and not found.done():
                    loop.call_soon_threadsafe(task.cancel)
            raise
