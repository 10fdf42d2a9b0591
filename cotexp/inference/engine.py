"""Requests and outputs, which every engine shares. Imports nothing heavy."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from cotexp.records import FinishReason
from cotexp.settings.sampling import Sampling


class Request(NamedTuple):
    """A text to be generated. `id` also seeds its sampling. `prompt` is the user's message; the engine applies the chat template.

    `expected`: the expected length of the text in tokens, None for the longest that is allowed. It decides how many rows share a batch.
    """

    id: str
    prompt: str
    compressed: bool = False
    ratio: float | None = None
    expected: int | None = None


class EncodedRequest(NamedTuple):
    """A request, the ids of its prompt, and the most tokens of its text."""

    request: Request
    prompt: list[int]
    room: int

    @property
    def expected_length(self) -> int:
        """Expected tokens of prompt and text."""
        return len(self.prompt) + (self.room if self.request.expected is None else min(self.request.expected, self.room))


@dataclass(frozen=True, slots=True)
class Output:
    """A generated text and the number of its generated tokens, both without special tokens, and its share of the wall time in seconds.

    Stored lengths are counted in the text instead, because a model may use more tokens for a text than its tokenizer.
    `text` is empty if `finish_reason` says that nothing usable was written. `usage` is the server's account: tokens, dollars, model.
    """

    id: str
    text: str
    num_tokens: int
    finish_reason: FinishReason
    seconds: float
    usage: dict[str, Any] = field(default_factory=dict)


class Engine(Protocol):
    """A generator of texts: a model on this machine, or a server."""

    def generate(self, requests: Sequence[Request], sampling: Sampling, on_output: Callable[[Output], None]) -> None:
        """Generate all requests, and call `on_output` for each as soon as its text ends. A request without such a call was not answered."""


def seed_of(request: Request, sampling: Sampling) -> bytes:
    """32 bytes that seed the sampling of one text. They do not depend on the other texts of its batch."""
    return hashlib.sha256(f"{sampling.seed}/{request.id}".encode()).digest()


def rows_of_batch(lengths: Iterable[int], *, max_rows: int, max_tokens: int) -> int:
    """The number of next rows that form one batch: the rows times the longest of their expected `lengths` in tokens stay within `max_tokens`.

    It is at least one. Only the needed lengths are read.
    """
    longest = count = 0
    for each in itertools.islice(lengths, max_rows):
        longest = max(longest, each)
        if count and (count + 1) * longest > max_tokens:
            break
        count += 1
    return count


def refills(device: str) -> bool:
    """Whether waiting rows take the places of ended ones on this kind of device: not on a CPU, where a step costs as much as its rows (LOG.md)."""
    return device != "cpu"


def room(num_prompt_tokens: int, max_new_tokens: int, context_length: int | None) -> int:
    """Most tokens that can be written after a prompt; 0 if the prompt alone fills the context."""
    return max_new_tokens if context_length is None else max(0, min(max_new_tokens, context_length - num_prompt_tokens))
