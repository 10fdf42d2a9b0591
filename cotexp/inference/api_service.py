"""One model of an API server: its client, the fields of its requests, its prices, and the removal of its keys from texts and errors."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any

from openai import AsyncOpenAI, Timeout

from cotexp import credentials
from cotexp.inference.api_refusals import Refusal
from cotexp.inference.engine import Request
from cotexp.inference.throttle import Capacity
from cotexp.settings.base import RunFailed
from cotexp.settings.sampling import Sampling
from cotexp.settings.server import ApiServer

CONNECT_SECONDS = 10.0
SHORTEST_KEY = 8
TEMPLATE_TOKENS = 100
"""Tokens that a chat template may add to a prompt. A prompt has at most as many tokens as bytes."""
LIFTED = {"top_k": -1, "top_p": 1.0, "min_p": 0.0}
"""Values with which nothing is restricted, for vLLM, SGLang and llama.cpp. Where a request does not name them, these servers sample by defaults of
their own: llama.cpp by top_k=40, top_p=0.95 and min_p=0.05, vLLM by the model's generation_config.json."""


@dataclass(slots=True)
class Learned:
    """What a server has shown to this process: the requests that it takes at once, and names of LIFTED that it refuses."""

    capacity: Capacity = Capacity()
    left_out: set[str] = field(default_factory=set)


@functools.cache
def learned(address: str, model: str) -> Learned:
    """For the model of a server. Every round of a compression asks anew, and need not begin with a few requests again."""
    return Learned()


@dataclass(slots=True)
class ApiService:
    """The model of `server` for one role: teacher or compressor. Reads the key from the environment."""

    server: ApiServer
    role: str
    learned: Learned = field(init=False)
    _key: str = field(init=False, repr=False)
    _secrets: list[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.learned = learned(self.server.base_url, self.server.model)
        self._key = credentials.environment_value(self.server.api_key_env) if self.server.api_key_env else ""
        held = (credentials.environment_value(name) for name in self.server.variables)
        self._secrets = sorted((each for each in held if len(each) >= SHORTEST_KEY), key=len, reverse=True)

    def client(self) -> AsyncOpenAI:
        """A client that does not retry. A server without a key in the settings does not receive the user's OpenAI key."""
        timeout = Timeout(None, connect=min(CONNECT_SECONDS, self.server.timeout))
        address = credentials.fill_address(self.server.base_url)
        headers = {name: credentials.environment_value(variable) for name, variable in json.loads(self.server.headers_env).items()}
        return AsyncOpenAI(api_key=self._key or "none", base_url=address, default_headers=headers, max_retries=0, timeout=timeout)

    def body(self, request: Request, sampling: Sampling, limit: int | None) -> dict[str, Any]:
        """The fields of one request for at most `limit` new tokens; None leaves the limit to the server."""
        assert not request.compressed, "a server knows no marks of ours"
        assert request.ratio is None, "a server knows no marks of ours"
        fields: dict[str, Any] = {
            "model": self.server.model,
            "messages": [{"role": "user", "content": request.prompt}],
            "temperature": sampling.temperature,
        }
        if sampling.temperature > 0:  # at 0 no restriction matters
            fields |= {name: value for name, value in LIFTED.items() if name not in self.learned.left_out} | sampling.restrictions
        if limit is not None:
            fields[self.server.token_limit_field] = limit
        if self.server.send_seed:
            fields["seed"] = int.from_bytes(hashlib.sha256(f"{sampling.seed}/{request.id}".encode()).digest()[:4], "big") >> 1
        return {**fields, **credentials.fill_placeholders(self.server.extra_fields)}

    def leaves_out(self, refusal: Refusal, body: dict[str, Any]) -> bool:
        """Whether `refusal` is about names of LIFTED in `body`. Later bodies leave them out."""
        ours = {name for name, value in LIFTED.items() if body.get(name) == value and name not in self.server.extra_fields}
        named = {name for name in ours if refusal.is_about(name)}
        self.learned.left_out |= named
        return bool(named)

    def most_cost(self, request: Request, sampling: Sampling) -> float:
        """The most dollars that one answer can cost."""
        return self.cost(len(request.prompt.encode()) + TEMPLATE_TOKENS, sampling.max_new_tokens)

    def cost(self, num_prompt_tokens: int, num_written_tokens: int) -> float:
        """Dollars for so many tokens of a prompt and of its answer."""
        return (num_prompt_tokens * self.server.input_price + num_written_tokens * self.server.output_price) / 1e6

    def scrubbed(self, text: str) -> str:
        """`text` without keys. Short keys stay, because users often set "x" for servers without keys."""
        for each in self._secrets:
            text = text.replace(each, "***")
        return text

    def scrubbed_words(self, text: str) -> str:
        """`text` without words that begin like a key."""
        for each in self._secrets:
            text = re.sub(re.escape(each[:6]) + r"\S*", "***", text)
        return text

    def failure(self, what: str) -> RunFailed:
        """The error that ends the run, beginning with role, service and model."""
        return RunFailed(f"{self.role}.server ({self.server.service}, {self.server.model}): {what}")
