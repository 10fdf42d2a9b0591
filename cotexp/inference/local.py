"""Generation with any causal or encoder-decoder transformers model on this machine.

In float32 a row's text is the same alone, in any batch and in any order: rows are padded with exact masks, and sampling draws
from a generator of the row's own. Axes: B rows, T tokens, V vocabulary.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from transformers import DynamicCache

from cotexp.inference.engine import Output, Request
from cotexp.model_settings import Sampling
from cotexp.models.loading import LoadedModel, decoder_inputs, generation_stop_ids


@dataclass(slots=True)
class LocalEngine:
    """Generates in batches with one loaded model."""

    loaded: LoadedModel
    stop_ids: set[int] = field(init=False)
    special_ids: set[int] = field(init=False)

    def __post_init__(self) -> None:
        self.stop_ids = generation_stop_ids(self.loaded)
        self.special_ids = set(self.loaded.tokenizer.all_special_ids)

    def encode(self, request: Request) -> list[int]:
        """Ids of the prompt in the model's own form."""
        return self.loaded.encoder.prompt(request.prompt, compressed=request.compressed)

    @torch.inference_mode()
    def generate(self, requests: Sequence[Request], sampling: Sampling, on_output: Callable[[Output], None]) -> None:
        """Generate all requests as one batch; `on_output` is called for each row when it ends."""
        started, size = time.perf_counter(), len(requests)
        rows = list(requests)
        written: list[list[int]] = [[] for _ in rows]
        uniform_BT = _uniform_draws(rows, sampling)
        kind = _SourceRows if self.loaded.model.config.is_encoder_decoder else _PromptRows
        decoding = kind(self.loaded, [self.encode(each) for each in rows])
        logits_BV = decoding.first_logits()
        for step in range(sampling.max_new_tokens):
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
                decoding.keep(kept)
                uniform_BT = uniform_BT[kept.cpu()] if uniform_BT is not None else None
                rows, written = [rows[i] for i in going_on], [written[i] for i in going_on]
                tokens = [tokens[i] for i in going_on]
            logits_BV = decoding.next_logits(torch.tensor(tokens, device=self.loaded.device).unsqueeze(1))


class _PromptRows:
    """What a causal model keeps of the rows it goes on with: prompts, padded on the left, and all that was written, in its cache."""

    def __init__(self, loaded: LoadedModel, prompts: list[list[int]]) -> None:
        self.model, self.cache = loaded.model, DynamicCache(config=loaded.model.config)
        self.ids_BT, self.mask_BT = _padded(loaded, prompts, left=True)
        self.positions_BT = (self.mask_BT.cumsum(dim=1) - 1).clamp(min=0)

    def first_logits(self) -> torch.Tensor:
        """(B, V) behind the prompts."""
        return self._logits(self.ids_BT)

    def next_logits(self, tokens_B1: torch.Tensor) -> torch.Tensor:
        """(B, V) behind one more token of each row."""
        self.mask_BT = torch.cat([self.mask_BT, self.mask_BT.new_ones(len(tokens_B1), 1)], dim=1)
        self.positions_BT = self.positions_BT[:, -1:] + 1
        return self._logits(tokens_B1)

    def keep(self, rows: torch.Tensor) -> None:
        """Go on with these rows alone, given by number."""
        self.cache.batch_select_indices(rows)
        self.mask_BT, self.positions_BT = self.mask_BT[rows], self.positions_BT[rows]

    def _logits(self, ids_BT: torch.Tensor) -> torch.Tensor:
        output = self.model(
            input_ids=ids_BT,
            attention_mask=self.mask_BT,
            position_ids=self.positions_BT,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits_BV: torch.Tensor = output.logits[:, -1]
        return logits_BV


class _SourceRows:
    """The same for an encoder-decoder model: its sources, read once, and what its decoder wrote and looked up, in its cache."""

    def __init__(self, loaded: LoadedModel, sources: list[list[int]]) -> None:
        self.model = loaded.model
        self.ids_BT, self.mask_BT = _padded(loaded, sources, left=False)
        self.start_B1 = decoder_inputs(self.model, torch.full_like(self.ids_BT[:, :1], loaded.encoder.eos_id))

    def first_logits(self) -> torch.Tensor:
        """(B, V) behind the decoder's start token."""
        output = self.model(input_ids=self.ids_BT, attention_mask=self.mask_BT, decoder_input_ids=self.start_B1, use_cache=True)
        self.cache, self.states_BTD = output.past_key_values, output.encoder_last_hidden_state
        logits_BV: torch.Tensor = output.logits[:, -1]
        return logits_BV

    def next_logits(self, tokens_B1: torch.Tensor) -> torch.Tensor:
        """(B, V) behind one more token of each row."""
        output = self.model(
            encoder_outputs=(self.states_BTD,),
            attention_mask=self.mask_BT,
            decoder_input_ids=tokens_B1,
            past_key_values=self.cache,
            use_cache=True,
        )
        logits_BV: torch.Tensor = output.logits[:, -1]
        return logits_BV

    def keep(self, rows: torch.Tensor) -> None:
        """Go on with these rows alone, given by number."""
        self.cache.batch_select_indices(rows)
        self.mask_BT, self.states_BTD = self.mask_BT[rows], self.states_BTD[rows]


def _padded(loaded: LoadedModel, prompts: list[list[int]], *, left: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """(ids, mask), each of shape (B, T) on the model's device."""
    longest = max(map(len, prompts))
    pad = loaded.tokenizer.pad_token_id if loaded.tokenizer.pad_token_id is not None else loaded.encoder.eos_id
    ids, mask = [], []
    for each in prompts:
        filling = longest - len(each)
        ids.append([pad] * filling + each if left else each + [pad] * filling)
        mask.append([0] * filling + [1] * len(each) if left else [1] * len(each) + [0] * filling)
    return torch.tensor(ids).to(loaded.device), torch.tensor(mask).to(loaded.device)


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
