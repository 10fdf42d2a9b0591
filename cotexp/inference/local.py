"""Generation with any causal transformers model on this machine.

In float32 a row's text is the same alone, in any batch and in any order: rows are left-padded with exact masks, and sampling draws
from a generator of the row's own. Axes: B rows, T tokens, V vocabulary.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import torch
from transformers import DynamicCache

from cotexp.models.loading import LoadedModel, generation_stop_ids
from cotexp.settings import Sampling


class Request(NamedTuple):
    """A text to be generated. `id` also seeds its sampling."""

    id: str
    prompt_ids: list[int]


class Output(NamedTuple):
    """A generated text without special tokens, its length in tokens, and its share of the batch's wall time."""

    id: str
    text: str
    num_tokens: int
    finish_reason: Literal["stop", "length"]
    seconds: float


@dataclass(slots=True)
class LocalEngine:
    """Generates in batches with one loaded model."""

    loaded: LoadedModel
    stop_ids: set[int] = field(init=False)
    special_ids: set[int] = field(init=False)

    def __post_init__(self) -> None:
        self.stop_ids = generation_stop_ids(self.loaded)
        self.special_ids = set(self.loaded.tokenizer.all_special_ids)

    @torch.inference_mode()
    def generate(self, requests: Sequence[Request], sampling: Sampling, on_output: Callable[[Output], None]) -> None:
        """Generate all requests as one batch; `on_output` is called for each row when it ends."""
        started, size = time.perf_counter(), len(requests)
        rows = list(requests)
        written: list[list[int]] = [[] for _ in rows]
        uniform_BT = _uniform_draws(rows, sampling)
        input_ids, attention_mask, positions = self._left_padded([each.prompt_ids for each in rows])
        cache = DynamicCache(config=self.loaded.model.config)
        for step in range(sampling.max_new_tokens):
            logits_BV = self.loaded.model(
                input_ids=input_ids,
                attention_mask=attention_mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits[:, -1]
            tokens = _choose(logits_BV.float(), sampling, uniform_BT[:, step] if uniform_BT is not None else None).tolist()
            going_on = []
            for index, token in enumerate(tokens):
                stopped = token in self.stop_ids
                if not stopped:
                    written[index].append(token)
                if stopped or step + 1 == sampling.max_new_tokens:
                    seconds = (time.perf_counter() - started) / size
                    text = self.loaded.encoder.decode(written[index])
                    length = sum(each not in self.special_ids for each in written[index])
                    on_output(Output(rows[index].id, text, length, "stop" if stopped else "length", seconds))
                else:
                    going_on.append(index)
            if not going_on:
                return
            if len(going_on) < len(rows):
                kept = torch.tensor(going_on, device=self.loaded.device)
                cache.batch_select_indices(kept)
                attention_mask, positions = attention_mask[kept], positions[kept]
                uniform_BT = uniform_BT[kept.cpu()] if uniform_BT is not None else None
                rows, written = [rows[i] for i in going_on], [written[i] for i in going_on]
                tokens = [tokens[i] for i in going_on]
            input_ids = torch.tensor(tokens, device=self.loaded.device).unsqueeze(1)
            attention_mask = torch.cat([attention_mask, attention_mask.new_ones(len(rows), 1)], dim=1)
            positions = positions[:, -1:] + 1

    def _left_padded(self, prompts: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(ids, mask, positions), each of shape (B, T) on the model's device."""
        longest = max(map(len, prompts))
        pad = self.loaded.tokenizer.pad_token_id if self.loaded.tokenizer.pad_token_id is not None else self.loaded.encoder.eos_id
        ids = torch.tensor([[pad] * (longest - len(each)) + each for each in prompts])
        mask = torch.tensor([[0] * (longest - len(each)) + [1] * len(each) for each in prompts])
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        return ids.to(self.loaded.device), mask.to(self.loaded.device), positions.to(self.loaded.device)


def _uniform_draws(requests: Sequence[Request], sampling: Sampling) -> torch.Tensor | None:
    """(B, T) numbers in [0, 1), row by row from a generator seeded by (seed, id); None for greedy decoding."""
    if sampling.temperature == 0:
        return None
    draws = []
    for each in requests:
        digest = hashlib.sha256(f"{sampling.seed}/{each.id}".encode()).digest()
        draws.append(np.random.Generator(np.random.Philox(int.from_bytes(digest[:16], "big"))).random(sampling.max_new_tokens))
    return torch.from_numpy(np.stack(draws))


def _choose(logits_BV: torch.Tensor, sampling: Sampling, uniform_B: torch.Tensor | None) -> torch.Tensor:
    """(B,) the likeliest tokens, or those at which the cumulative probability passes the row's uniform draw."""
    if uniform_B is None:
        return logits_BV.argmax(dim=-1)
    cumulative_BV = torch.softmax(logits_BV.double() / sampling.temperature, dim=-1).cumsum(dim=-1)
    threshold_B1 = (uniform_B.to(cumulative_BV.device) * cumulative_BV[:, -1]).unsqueeze(1)
    return torch.searchsorted(cumulative_BV, threshold_B1, right=True).squeeze(1).clamp(max=logits_BV.shape[1] - 1)
