"""What every engine understands: requests in, outputs out. Nothing heavy is imported."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from cotexp.model_settings import Sampling
from cotexp.records import FinishReason


class Request(NamedTuple):
    """A text to be generated. `id` also seeds its sampling; `prompt` is what the user says, which the engine puts into the model's own form."""

    id: str
    prompt: str
    compressed: bool = False
    ratio: float | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """A generated text without special tokens, the number of tokens generated for it, special ones left out, and its share of the wall time.

    Stored lengths are counted in the text instead: the same text may have been generated in other, more tokens than its tokenizer gives it.
    `text` is empty where `finish_reason` says that nothing usable was written. `usage` is what a server said about it: tokens, money, model.
    """

    id: str
    text: str
    num_tokens: int
    finish_reason: FinishReason
    seconds: float
    usage: dict[str, Any] = field(default_factory=dict)


class Engine(Protocol):
    """Whatever writes texts: a model on this machine, or a server."""

    def generate(self, requests: Sequence[Request], sampling: Sampling, on_output: Callable[[Output], None]) -> None:
        """Generate all requests; `on_output` is called for each as soon as it ends. A request that it is not called for was not answered."""


def seed_of(request: Request, sampling: Sampling) -> bytes:
    """32 bytes that seed the sampling of one text, whatever is generated beside it."""
    return hashlib.sha256(f"{sampling.seed}/{request.id}".encode()).digest()


def rows_of_batch(lengths: Iterable[int], *, max_rows: int, max_tokens: int) -> int:
    """How many of the next rows, of these expected lengths in tokens, make one batch: rows times the longest stay within `max_tokens`.

    At least one row is taken; no more lengths are read than are needed.
    """
    longest = count = 0
    for each in itertools.islice(lengths, max_rows):
        longest = max(longest, each)
        if count and (count + 1) * longest > max_tokens:
            break
        count += 1
    return count


def room(num_prompt_tokens: int, max_new_tokens: int, context_length: int | None) -> int:
    """Most tokens that can be written behind a prompt; 0 where the prompt alone fills the context."""
    return max_new_tokens if context_length is None else max(0, min(max_new_tokens, context_length - num_prompt_tokens))
