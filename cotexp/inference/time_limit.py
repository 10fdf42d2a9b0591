"""A time limit that does not count the time for which this process was suspended."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

LATE_SECONDS = 1.0
"""A limit that is noticed so much too late was noticed by a process that had been suspended."""


async def within(seconds: float, work: Coroutine[Any, Any, Any]) -> Any:
    """What `work` returns. Raises: TimeoutError if that takes longer.

    After a suspension it gets the time again: the answer has often come meanwhile, and to ask for it again would cost it twice.
    """
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)
    try:
        while True:
            due = loop.time() + seconds
            await asyncio.wait({task}, timeout=seconds)
            if task.done():
                return task.result()
            if loop.time() - due < LATE_SECONDS:
                raise TimeoutError
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
