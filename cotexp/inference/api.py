"""Generation by any server that speaks OpenAI's chat completions.

A request ends in one of three ways. It is *answered*: with a text, or with an outcome that asking again would not change (cut off, empty,
refused, filtered, too long for the model), which is stored like a text and paid once. Or it meets a *fault* that passes, and is sent again,
by one layer of retries. Or the server says what no repetition mends (a wrong key, no credit), and the run ends with that.

A server that has no room for all the tokens that a text may have is asked once more for as many as fit: `usage` of the text says so, in
`lowered_to` (0 where the server did not say how many fit, and was asked without a limit). Only a prompt that fills the context by itself
overflows. What answers say, in which forms, and how they end is told in `completions`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cotexp import signals
from cotexp.inference.api_batch import ApiBatch
from cotexp.inference.api_service import ApiService
from cotexp.inference.engine import Output, Request
from cotexp.model_settings import ApiServer, Sampling


@dataclass(slots=True)
class ApiEngine:
    """Generates with the model of `server` for one role: teacher or compressor.

    `paid()` gives the dollars that the role's stored texts have cost so far.
    """

    server: ApiServer
    role: str
    paid: Callable[[], float] = lambda: 0.0
    keep_thinking: bool = True
    service: ApiService = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.service = ApiService(self.server, self.role)
        logging.getLogger("httpx2").setLevel(logging.WARNING)  # it would note each request

    def generate(self, requests: Sequence[Request], sampling: Sampling, on_output: Callable[[Output], None]) -> None:
        """Generate all requests, many at once; `on_output` is called for each as soon as its answer arrives.

        Raises: RunFailed when the server can or may not answer some of them; everything answered was handed over then.
        """
        batch = ApiBatch(self.service, sampling, on_output, spent=self.paid(), keep_thinking=self.keep_thinking)

        async def run() -> signals.Stopped | None:
            try:
                await batch.run(requests)
            except signals.Stopped as stop:  # left in its task, asyncio would log it as one that nobody retrieved
                return stop
            return None

        try:
            stop = asyncio.run(run())
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        if stop is not None:
            raise stop
