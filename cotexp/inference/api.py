"""Generation by any server with OpenAI's chat completions API.

A request ends in one of three ways:

* It is *answered*, with a text or with an outcome that would be the same again: cut off, empty, refused, filtered, too long for the model.
  The outcome is stored like a text and paid once.
* It meets a *fault* that may pass, such as a time-out. It is sent again, by a single layer of retries.
* The server reports an error that no retry changes, such as a wrong key or no credit. The run ends with that error.

If `max_new_tokens` does not fit the server's context, the request is sent once more for as many tokens as fit. The text's `usage` then has
`lowered_to`; 0 means that the server did not say how many fit, and was asked without a limit. Only a prompt that fills the whole context is an
"overflow". `completions` parses answers, `api_refusals` errors.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cotexp.inference import event_loop
from cotexp.inference.api_batch import ApiBatch
from cotexp.inference.api_service import ApiService
from cotexp.inference.engine import Output, Request
from cotexp.settings.sampling import Sampling
from cotexp.settings.server import ApiServer


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
        logging.getLogger("httpx2").setLevel(logging.WARNING)  # it logs every request

    def generate(self, requests: Sequence[Request], sampling: Sampling, on_output: Callable[[Output], None]) -> None:
        """Generate all requests, many at once; `on_output` is called for each as soon as its answer arrives.

        Raises: RunFailed if some requests cannot be answered, after all answers have been passed to `on_output`.
        """
        batch = ApiBatch(self.service, sampling, on_output, spent=self.paid(), keep_thinking=self.keep_thinking)

        try:
            event_loop.run(batch.run(requests))
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
