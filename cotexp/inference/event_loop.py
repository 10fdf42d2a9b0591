"""Runs a coroutine to its end, also where a loop of asyncio is at work already, as in the kernel of a notebook."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
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
        return asyncio.run(_quiet(work))
    at_work: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any] | None]] = []
    is_stopped = threading.Event()

    async def noted() -> T:
        at_work.append((asyncio.get_running_loop(), asyncio.current_task()))
        if is_stopped.is_set():  # before it could be cancelled
            work.close()
            raise asyncio.CancelledError
        return await _quiet(work)

    with ThreadPoolExecutor(1) as threads:
        try:
            return threads.submit(contextvars.copy_context().run, asyncio.run, noted()).result()
        except signals.Stopped:  # wherever the signal comes, since the end of the block waits for the thread
            is_stopped.set()
            for loop, task in at_work:
                if task is not None:
                    with contextlib.suppress(RuntimeError):  # it has ended
                        loop.call_soon_threadsafe(task.cancel)
            raise


async def _quiet(work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns. asyncio prints a traceback of an exception that nobody asks a task for; a signal that came in one is told elsewhere."""
    loop = asyncio.get_running_loop()

    def tell(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not isinstance(context.get("exception"), signals.Stopped):
            loop.default_exception_handler(context)

    loop.set_exception_handler(tell)
    return await work
