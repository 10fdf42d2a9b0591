"""Runs a coroutine to its end, in a thread of its own.

A signal raises an exception in the main thread wherever that is. In the code of a loop of asyncio it can come between taking a step from the queue
and running it: the step is lost, its task never ends, and the loop waits for it for ever. Beside a loop that is at work already, as in the kernel of
a notebook, asyncio runs no other one in the same thread.
"""

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
    """What `work` returns. Raises: Stopped on a signal, after `work` was cancelled and has ended."""
    at_work: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any] | None]] = []
    is_stopped = threading.Event()

    async def noted() -> T:
        at_work.append((asyncio.get_running_loop(), asyncio.current_task()))
        if is_stopped.is_set():  # before it could be cancelled
            work.close()
            raise asyncio.CancelledError
        return await work

    with ThreadPoolExecutor(1) as threads:
        try:
            return threads.submit(contextvars.copy_context().run, asyncio.run, noted()).result()
        except (signals.Stopped, KeyboardInterrupt):  # wherever the signal comes, since the end of the block waits for the thread
            is_stopped.set()
            for loop, task in at_work:
                if task is not None:
                    with contextlib.suppress(RuntimeError):  # it has ended
                        loop.call_soon_threadsafe(task.cancel)
            raise
