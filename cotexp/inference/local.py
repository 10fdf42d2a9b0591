"""Generation with any causal or encoder-decoder transformers model on this machine.

In float32 a row's text is the same alone, in any batch and in any order: rows are padded with exact masks, and sampling draws
from a generator of the row's own. Axes: B rows, T tokens, V vocabulary.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import Cache, DynamicCache, StaticCache

from cotexp.inference.engine import Output, Request, room, seed_of
from cotexp.model_settings import Sampling
from cotexp.models.loading import LoadedModel, decoder_inputs, generation_stop_ids
from cotexp.sections import ConfigError, RunFailed

log = logging.getLogger(__name__)

STATIC_BLOCK = 256
"""Caches of fixed size are multiples of so many tokens, so that a compiled step serves many batches."""


class _Row(NamedTuple):
    """A request, the ids of its prompt, and the most tokens that it may write."""

    request: Request
    prompt: list[int]
    room: int


@dataclass(slots=True)
class LocalEngine:
    """Generates in batches with one loaded model; with `compile` by compiled steps over a cache of fixed size.

    Raises: ConfigError where such a step is asked of an encoder-decoder model.
    """

    loaded: LoadedModel
    compile: bool = False
    stop_ids: set[int] = field(init=False)
    special_ids: set[int] = field(init=False)

    def __post_init__(self) -> None:
        self.stop_ids = generation_stop_ids(self.loaded)
        self.special_ids = set(self.loaded.tokenizer.all_special_ids)
        if self.compile and self.is_encoder_decoder:
            raise ConfigError("model.compile must be false for an encoder-decoder model, whose steps are not compiled; got true")

    @property
    def is_encoder_decoder(self) -> bool:
        return bool(self.loaded.model.config.is_encoder_decoder)

    def encode(self, request: Request) -> list[int]:
        """Ids of the prompt in the model's own form."""
        return self.loaded.encoder.prompt(request.prompt, compressed=request.compressed, ratio=request.ratio)

    def generate(self, requests: Sequence[Request], sampling: Sampling, on_output: Callable[[Output], None]) -> None:
        """Generate all requests as one batch, or in ever smaller ones where it does not fit the GPU; `on_output` is called as each row ends.

        A prompt that fills the model's context ends at once as "overflow"; a text ends as "length" where the context is full.
        Raises: RunFailed when a single text does not fit the GPU.
        """
        waiting, started, size = self._rows(requests, sampling), time.perf_counter(), len(requests)
        for each in waiting:
            if not each.room:
                on_output(Output(each.request.id, "", 0, "overflow", 0.0))
        waiting = [each for each in waiting if each.room]
        while waiting:
            batch, ended = waiting[:size], set()

            def on_end(row: _Row, written: list[int], stopped: bool, ended: set[str] = ended) -> None:
                ended.add(row.request.id)
                length = sum(each not in self.special_ids for each in written)
                seconds = (time.perf_counter() - started) / len(requests)
                on_output(Output(row.request.id, self.loaded.encoder.decode(written), length, "stop" if stopped else "length", seconds))

            fits = self._write(batch, sampling, on_end)
            waiting = [each for each in waiting if each.request.id not in ended]
            if not fits:
                size = self._smaller(batch, len(batch) - len(ended))

    def _rows(self, requests: Sequence[Request], sampling: Sampling) -> list[_Row]:
        rows, context = [], self.loaded.context_length
        for each in requests:
            prompt = self.encode(each)
            own_context = self.is_encoder_decoder and len(prompt) <= (context or len(prompt))  # source and text do not share one
            rows.append(_Row(each, prompt, room(0 if own_context else len(prompt), sampling.max_new_tokens, context)))
        return rows

    def _smaller(self, batch: Sequence[_Row], num_left: int) -> int:
        """How many rows to try next, after so many of `batch` were left when memory ran out."""
        if len(batch) == 1:
            raise RunFailed(
                f"out of GPU memory with one text alone ({len(batch[0].prompt)} tokens read, up to {batch[0].room} written); "
                "lower max_new_tokens, set model.dtype=bfloat16 or take a smaller model; nothing already computed is lost"
            )
        if self.loaded.device.type == "cuda":
            torch.cuda.empty_cache()
        size = max(1, num_left // 2)
        log.warning("out of GPU memory with %d texts at once: going on with %d; a lower max_batch_tokens avoids this", len(batch), size)
        return size

    @torch.inference_mode()
    def _write(self, rows: list[_Row], sampling: Sampling, on_end: Callable[[_Row, list[int], bool], None]) -> bool:
        """Write one batch; `on_end(row, ids, stopped)` is called for each row when it ends. False when GPU memory ran out."""
        try:
            written: list[list[int]] = [[] for _ in rows]
            uniform_BT = _uniform_draws([each.request for each in rows], sampling)
            decoding = self._decoding(rows)
            logits_BV = decoding.first_logits()
            for step in range(max(each.room for each in rows)):
                tokens = _choose(logits_BV.float(), sampling, uniform_BT[:, step] if uniform_BT is not None else None).tolist()
                going_on = []
                for index, token in enumerate(tokens):
                    stopped = token in self.stop_ids
                    if not stopped:
                        written[index].append(token)
                    if stopped or step + 1 == rows[index].room:
                        on_end(rows[index], written[index], stopped)
                    else:
                        going_on.append(index)
                if not going_on:
                    break
                if len(going_on) < len(rows):
                    kept = torch.tensor(going_on, device=self.loaded.device)
                    decoding.keep(kept)
                    uniform_BT = uniform_BT[kept.cpu()] if uniform_BT is not None else None
                    rows, written = [rows[i] for i in going_on], [written[i] for i in going_on]
                    tokens = [tokens[i] for i in going_on]
                logits_BV = decoding.next_logits(torch.tensor(tokens, device=self.loaded.device).unsqueeze(1))
        except torch.OutOfMemoryError:
            return False
        return True

    def _decoding(self, rows: Sequence[_Row]) -> _PromptRows | _SourceRows:
        prompts = [each.prompt for each in rows]
        if self.is_encoder_decoder:
            return _SourceRows(self.loaded, prompts)
        if self.compile:
            return _StaticPromptRows(self.loaded, prompts, max(each.room for each in rows))
        return _PromptRows(self.loaded, prompts)


class _PromptRows:
    """What a causal model keeps of the rows it goes on with: prompts, padded on the left, and all that was written, in its cache."""

    def __init__(self, loaded: LoadedModel, prompts: list[list[int]]) -> None:
        self.model = self.step = loaded.model
        self.cache: Cache = DynamicCache(config=loaded.model.config)
        self.ids_BT, self.mask_BT = _padded(loaded, prompts, left=True)
        self.positions_BT = (self.mask_BT.cumsum(dim=1) - 1).clamp(min=0)

    def first_logits(self) -> torch.Tensor:
        """(B, V) behind the prompts."""
        return self._logits(self.model, self.ids_BT)

    def next_logits(self, tokens_B1: torch.Tensor) -> torch.Tensor:
        """(B, V) behind one more token of each row."""
        self.mask_BT = torch.cat([self.mask_BT, self.mask_BT.new_ones(len(tokens_B1), 1)], dim=1)
        self.positions_BT = self.positions_BT[:, -1:] + 1
        return self._logits(self.step, tokens_B1)

    def keep(self, rows: torch.Tensor) -> None:
        """Go on with these rows alone, given by number."""
        self.cache.batch_select_indices(rows)
        self.mask_BT, self.positions_BT = self.mask_BT[rows], self.positions_BT[rows]

    def _logits(self, model: Any, ids_BT: torch.Tensor) -> torch.Tensor:
        output = model(
            input_ids=ids_BT,
            attention_mask=self.mask_BT,
            position_ids=self.positions_BT,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits_BV: torch.Tensor = output.logits[:, -1]
        return logits_BV


class _StaticPromptRows(_PromptRows):
    """The same over a cache of fixed size, so that steps can be compiled: sizes of batches are powers of two.

    A row that ended stays in the batch, unread, until half of the batch can go; `slots_B` says where the others stand.
    """

    def __init__(self, loaded: LoadedModel, prompts: list[list[int]], most_tokens: int) -> None:
        super().__init__(loaded, [*prompts, *prompts[:1] * (_power_of_two(len(prompts)) - len(prompts))])
        self.length = self.ids_BT.shape[1]
        total = -(-(self.length + most_tokens) // STATIC_BLOCK) * STATIC_BLOCK
        self.cache = StaticCache(config=loaded.model.config, max_cache_len=total)
        self.mask_BT = torch.nn.functional.pad(self.mask_BT, (0, total - self.length))
        self.slots_B = torch.arange(len(prompts), device=loaded.device)
        self.last_position = (loaded.context_length or total) - 1
        self.step = loaded.model.get_compiled_call(None)

    def first_logits(self) -> torch.Tensor:
        return super().first_logits()[self.slots_B]

    def next_logits(self, tokens_B1: torch.Tensor) -> torch.Tensor:
        self.mask_BT[:, self.length] = 1
        self.length += 1
        self.positions_BT = (self.positions_BT[:, -1:] + 1).clamp(max=self.last_position)
        ids_B1 = tokens_B1.new_zeros(len(self.mask_BT), 1)
        ids_B1[self.slots_B] = tokens_B1
        return self._logits(self.step, ids_B1)[self.slots_B]

    def keep(self, rows: torch.Tensor) -> None:
        self.slots_B = self.slots_B[rows]
        size = _power_of_two(len(self.slots_B))
        if size < len(self.mask_BT):
            kept = torch.cat([self.slots_B, self.slots_B[:1].expand(size - len(self.slots_B))])
            self.cache.reorder_cache(kept)
            self.mask_BT, self.positions_BT = self.mask_BT[kept], self.positions_BT[kept]
            self.slots_B = torch.arange(len(self.slots_B), device=kept.device)


def _power_of_two(number: int) -> int:
    """The smallest one that is at least `number`."""
    return 1 << (number - 1).bit_length()


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
        key = int.from_bytes(seed_of(each, sampling)[:16], "big")
        draws.append(np.random.Generator(np.random.Philox(key)).random(sampling.max_new_tokens))
    return torch.from_numpy(np.stack(draws))


def _choose(logits_BV: torch.Tensor, sampling: Sampling, uniform_B: torch.Tensor | None) -> torch.Tensor:
    """(B,) the likeliest tokens, or those at which the cumulative probability passes the row's uniform draw."""
    if uniform_B is None:
        return logits_BV.argmax(dim=-1)
    cumulative_BV = torch.softmax(logits_BV.double() / sampling.temperature, dim=-1).cumsum(dim=-1)
    threshold_B1 = (uniform_B.to(cumulative_BV.device) * cumulative_BV[:, -1]).unsqueeze(1)
    return torch.searchsorted(cumulative_BV, threshold_B1, right=True).squeeze(1).clamp(max=logits_BV.shape[1] - 1)
