"""Generation with any causal or encoder-decoder transformers model on this machine.

In float32 a row's text does not depend on its batch or its order: rows are padded with exact masks, and each row is sampled with its own random
generator. Axes: B rows, T tokens, V vocabulary.
"""

from __future__ import annotations

import itertools
import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from transformers.generation.logits_process import LogitsProcessor, MinPLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from cotexp.inference import batching
from cotexp.inference.batching import Batching
from cotexp.inference.decoding import PromptRows, Rows, SourceRows, StaticPromptRows, widest
from cotexp.inference.engine import EncodedRequest, Output, Request, refills, room, rows_of_batch, seed_of
from cotexp.models.loading import LoadedModel, generation_stop_ids
from cotexp.models.rope import RopeLimit
from cotexp.settings.base import ConfigError, RunFailed
from cotexp.settings.sampling import Sampling

log = logging.getLogger(__name__)


OnEnd = Callable[[EncodedRequest, list[int], bool], None]
"""Called with a row, its written ids, and whether the model ended the text."""

PLACES_PER_REFILL = 4
"""Waiting rows join a batch when one place of so many is free."""


@dataclass(slots=True)
class _Writing:
    """A row at work, the draws that choose its tokens, and its ids so far."""

    row: EncodedRequest
    draws_T: np.ndarray | None
    written: list[int] = field(default_factory=list)

    @property
    def next_draw(self) -> float:
        """The draw of the next token; 0 for greedy decoding."""
        return 0.0 if self.draws_T is None else float(self.draws_T[len(self.written)])


@dataclass(slots=True)
class LocalEngine:
    """Generates in batches with one loaded model. With `compile`, steps are compiled and use a cache of fixed size.

    `max_batch_tokens`: most tokens of a batch, its rows times the longest expected length; None for any number.
    `refill`: waiting rows take the places of ended ones if the model's state allows it; None: as `refills` says.
    Raises: ConfigError for a model that cannot be decoded step by step, or not by compiled steps if these are requested.
    """

    loaded: LoadedModel
    compile: bool = False
    max_batch_tokens: int | None = None
    refill: bool | None = None
    stop_ids: set[int] = field(init=False)
    special_ids: set[int] = field(init=False)
    rope_limit: RopeLimit | None = field(init=False)
    batching: Batching = field(init=False)

    def __post_init__(self) -> None:
        self.stop_ids = generation_stop_ids(self.loaded)
        self.special_ids = set(self.loaded.tokenizer.all_special_ids)
        if self.compile and self.is_encoder_decoder:
            raise ConfigError("model.compile must be false for an encoder-decoder model, whose steps are not compiled; got true")
        self.rope_limit = RopeLimit.of(self.loaded.model)
        wanted = refills(self.loaded.device.type) if self.refill is None else self.refill
        refill = wanted and not self.rope_limit  # its factors depend on the longest row of a batch so far
        self.batching = batching.probe(self.loaded, compiled=self.compile, refill=refill)

    @property
    def is_encoder_decoder(self) -> bool:
        return bool(self.loaded.model.config.is_encoder_decoder)

    def encode(self, request: Request) -> list[int]:
        """Ids of the prompt in the model's chat form."""
        return self.loaded.encoder.prompt(request.prompt, compressed=request.compressed, ratio=request.ratio)

    def generate(self, requests: Sequence[Request], sampling: Sampling, on_output: Callable[[Output], None]) -> None:
        """Generate all requests, at most `sampling.batch_size` at a time; `on_output` is called when a row ends.

        A prompt that fills the model's context ends as "overflow". A text that reaches the end of the context ends as "length".
        Raises: RunFailed if a single text does not fit the GPU.
        """
        started, rows = time.perf_counter(), self._rows(requests, sampling)
        for each in rows:
            if not each.room:
                on_output(Output(each.request.id, "", 0, "overflow", 0.0))

        def on_end(row: EncodedRequest, written: list[int], stopped: bool) -> None:
            length = sum(each not in self.special_ids for each in written)
            seconds = (time.perf_counter() - started) / len(requests)
            on_output(Output(row.request.id, self.loaded.encoder.decode(written), length, "stop" if stopped else "length", seconds))

        for group in self._groups([each for each in rows if each.room]):
            self._write_all(group, sampling, on_end)

    def _groups(self, rows: Sequence[EncodedRequest]) -> list[list[EncodedRequest]]:
        """Groups of rows that may share a batch."""
        groups: dict[tuple[int, ...], list[EncodedRequest]] = {}
        width = max((len(each.prompt) for each in rows), default=0) + max((each.room for each in rows), default=0)
        padded = self.batching.padded and width <= widest(self.loaded.model)
        for number, each in enumerate(rows):
            company = () if padded else (len(each.prompt),) if self.batching.together else (number,)
            groups.setdefault((self._side(each), *company), []).append(each)
        return list(groups.values())

    def _side(self, row: EncodedRequest) -> int:
        return self.rope_limit.side_of_row(len(row.prompt), row.room) if self.rope_limit else 0

    def _write_all(self, waiting: list[EncodedRequest], sampling: Sampling, on_end: OnEnd) -> None:
        """Write rows that may share a batch, in ever smaller batches if one does not fit the GPU."""
        size = sampling.batch_size
        while waiting:
            writing: list[_Writing] = []
            if not self._write(waiting, writing, size, sampling, on_end):
                size = self._smaller([each.row for each in writing], size)
                waiting = [each.row for each in writing] + waiting

    def _rows(self, requests: Sequence[Request], sampling: Sampling) -> list[EncodedRequest]:
        rows, context = [], self.loaded.context_length
        for each in requests:
            prompt = self.encode(each)
            own_context = self.is_encoder_decoder and len(prompt) <= (context or len(prompt))  # source and text do not share a context
            rows.append(EncodedRequest(each, prompt, room(0 if own_context else len(prompt), sampling.max_new_tokens, context)))
        return rows

    def _smaller(self, batch: Sequence[EncodedRequest], size: int) -> int:
        """Most rows of the next batch, after memory ran out with the rows of `batch`, which could have been `size`."""
        if size == 1:
            raise RunFailed(
                f"out of GPU memory with a single text ({len(batch[0].prompt)} tokens read, up to {batch[0].room} written); "
                "lower max_new_tokens, set model.dtype=bfloat16 or take a smaller model; nothing already computed is lost"
            )
        if self.loaded.device.type == "cuda":
            torch.cuda.empty_cache()
        size = max(1, min(size, len(batch)) // 2)
        log.warning("out of GPU memory with %d texts at once: continuing with %d; a lower max_batch_tokens avoids this", len(batch), size)
        return size

    @torch.inference_mode()
    def _write(self, waiting: list[EncodedRequest], writing: list[_Writing], size: int, sampling: Sampling, on_end: OnEnd) -> bool:
        """Move rows from `waiting` to `writing`, at most `size` at a time, and call `on_end(row, ids, stopped)` when a row ends.

        Returns whether all are written: false when GPU memory ran out.
        """
        decoding: Any = None
        logits_BV = torch.empty(0)
        try:
            while writing or waiting:
                if number := self._number_of_next(writing, waiting, size):
                    new = waiting[:number]
                    del waiting[:number]
                    writing += [_Writing(each, _uniform_draws(each.request, sampling)) for each in new]
                    decoding, logits_BV = self._joined(decoding, logits_BV, new)
                tokens = _choose(logits_BV.float(), sampling, [each.next_draw for each in writing]).tolist()
                going_on = [index for index, token in enumerate(tokens) if self._goes_on(writing[index], token, on_end)]
                if len(going_on) < len(writing):
                    writing[:] = [writing[index] for index in going_on]
                    if not writing:
                        decoding = None
                        continue
                    decoding.keep(torch.tensor(going_on, device=self.loaded.device))
                logits_BV = decoding.next_logits(torch.tensor([[each.written[-1]] for each in writing], device=self.loaded.device))
        except torch.OutOfMemoryError:
            return False
        return True

    def _joined(self, decoding: Any, logits_BV: torch.Tensor, new: Sequence[EncodedRequest]) -> tuple[Any, torch.Tensor]:
        """The batch with new rows, of which the model reads the prompts, and the next logits of all its rows."""
        others = self._decoding(new)
        first_BV = others.first_logits()
        if decoding is None:
            return others, first_BV
        decoding.join(others)
        return decoding, torch.cat([logits_BV, first_BV])

    def _goes_on(self, writing: _Writing, token: int, on_end: OnEnd) -> bool:
        """Add a token to a row. Returns whether the row goes on; otherwise `on_end` has been called."""
        stopped = token in self.stop_ids
        if not stopped:
            writing.written.append(token)
        ends = stopped or len(writing.written) == writing.row.room
        if ends:
            on_end(writing.row, writing.written, stopped)
        return not ends

    def _number_of_next(self, writing: Sequence[_Writing], waiting: Sequence[EncodedRequest], size: int) -> int:
        """How many waiting rows join now: none while fewer than a part of the places are free, because each time costs a pass."""
        if not waiting or (writing and (not self.batching.refill or size - len(writing) < max(1, size // PLACES_PER_REFILL))):
            return 0
        lengths = (each.expected_length for each in itertools.chain((each.row for each in writing), waiting))
        return max(0, rows_of_batch(lengths, max_rows=size, max_tokens=self.max_batch_tokens or sys.maxsize) - len(writing))

    def _decoding(self, rows: Sequence[EncodedRequest]) -> Rows:
        prompts, most = [each.prompt for each in rows], max(each.room for each in rows)
        if self.is_encoder_decoder:
            return SourceRows(self.loaded, prompts, leave=self.batching.leave)
        limit = self.rope_limit
        stays = limit is None or self._side(rows[0]) == 0
        most_positions = min((each for each in (self.loaded.context_length, limit and stays and limit.length) if each), default=None)
        if limit:
            limit.restart(self.loaded.model)
        if self.compile and (limit is None or max(map(len, prompts)) + most <= limit.length):
            return StaticPromptRows(self.loaded, prompts, most, most_positions=most_positions)
        return PromptRows(self.loaded, prompts, leave=self.batching.leave, most_positions=most_positions)


def _uniform_draws(request: Request, sampling: Sampling) -> np.ndarray | None:
    """(T,) numbers in [0, 1) from a generator seeded by (seed, id), one for each token of a row; None for greedy decoding."""
    if sampling.temperature == 0:
        return None
    key = int.from_bytes(seed_of(request, sampling)[:16], "big")
    return np.random.Generator(np.random.Philox(key)).random(sampling.max_new_tokens)


def _restricted(scores_BV: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """The scores, -inf for tokens that top_k, top_p and min_p exclude, as in `generate` of transformers."""
    makers: dict[str, Callable[..., LogitsProcessor]] = {"top_k": TopKLogitsWarper, "top_p": TopPLogitsWarper, "min_p": MinPLogitsWarper}
    for name, value in sampling.restrictions.items():
        scores_BV = makers[name](value)(None, scores_BV)
    return scores_BV


def _choose(logits_BV: torch.Tensor, sampling: Sampling, uniform_B: Sequence[float]) -> torch.Tensor:
    """(B,) the most probable tokens, or those at which the cumulative probability passes the row's uniform draw."""
    if sampling.temperature == 0:
        return logits_BV.argmax(dim=-1)
    scores_BV = _restricted(logits_BV.double() / sampling.temperature, sampling)
    cumulative_BV = torch.softmax(scores_BV, dim=-1).cumsum(dim=-1)
    draws_B = torch.tensor(uniform_B, dtype=torch.double, device=cumulative_BV.device)
    threshold_B1 = (draws_B * cumulative_BV[:, -1]).unsqueeze(1)
    return torch.searchsorted(cumulative_BV, threshold_B1, right=True).squeeze(1).clamp(max=logits_BV.shape[1] - 1)
