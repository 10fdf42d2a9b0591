"""Generation with any causal or encoder-decoder transformers model on this machine.

In float32 a row's text does not depend on its batch or its order: rows are padded with exact masks, and each row is sampled with its own random
generator. Axes: B rows, T tokens, V vocabulary.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from transformers.generation.logits_process import LogitsProcessor, MinPLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from cotexp.inference import batching
from cotexp.inference.batching import Batching
from cotexp.inference.decoding import PromptRows, Rows, SourceRows, StaticPromptRows, widest
from cotexp.inference.engine import EncodedRequest, Output, Request, room, seed_of
from cotexp.models.loading import LoadedModel, generation_stop_ids
from cotexp.models.rope import RopeLimit
from cotexp.settings.base import ConfigError, RunFailed
from cotexp.settings.sampling import Sampling

log = logging.getLogger(__name__)


OnEnd = Callable[[EncodedRequest, list[int], bool], None]
"""Called with a row, its written ids, and whether the model ended the text."""


@dataclass(slots=True)
class LocalEngine:
    """Generates in batches with one loaded model. With `compile`, steps are compiled and use a cache of fixed size.

    Raises: ConfigError for a model that cannot be decoded step by step, or not by compiled steps if these are requested.
    """

    loaded: LoadedModel
    compile: bool = False
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
        self.batching = batching.probe(self.loaded, compiled=self.compile)

    @property
    def is_encoder_decoder(self) -> bool:
        return bool(self.loaded.model.config.is_encoder_decoder)

    def encode(self, request: Request) -> list[int]:
        """Ids of the prompt in the model's chat form."""
        return self.loaded.encoder.prompt(request.prompt, compressed=request.compressed, ratio=request.ratio)

    def generate(self, requests: Sequence[Request], sampling: Sampling, on_output: Callable[[Output], None]) -> None:
        """Generate all requests in one batch, or in several if rows cannot share one; `on_output` is called when a row ends.

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
        size = len(waiting)
        while waiting:
            batch, ended = waiting[:size], set[str]()

            def note(row: EncodedRequest, written: list[int], stopped: bool, ended: set[str] = ended) -> None:
                ended.add(row.request.id)
                on_end(row, written, stopped)

            fits = self._write(batch, sampling, note)
            waiting = [each for each in waiting if each.request.id not in ended]
            if not fits:
                size = self._smaller(batch, len(batch) - len(ended))

    def _rows(self, requests: Sequence[Request], sampling: Sampling) -> list[EncodedRequest]:
        rows, context = [], self.loaded.context_length
        for each in requests:
            prompt = self.encode(each)
            own_context = self.is_encoder_decoder and len(prompt) <= (context or len(prompt))  # source and text do not share a context
            rows.append(EncodedRequest(each, prompt, room(0 if own_context else len(prompt), sampling.max_new_tokens, context)))
        return rows

    def _smaller(self, batch: Sequence[EncodedRequest], num_left: int) -> int:
        """Rows of the next batch, after memory ran out with `num_left` rows of `batch` left."""
        if len(batch) == 1:
            raise RunFailed(
                f"out of GPU memory with a single text ({len(batch[0].prompt)} tokens read, up to {batch[0].room} written); "
                "lower max_new_tokens, set model.dtype=bfloat16 or take a smaller model; nothing already computed is lost"
            )
        if self.loaded.device.type == "cuda":
            torch.cuda.empty_cache()
        size = max(1, num_left // 2)
        log.warning("out of GPU memory with %d texts at once: continuing with %d; a lower max_batch_tokens avoids this", len(batch), size)
        return size

    @torch.inference_mode()
    def _write(self, rows: list[EncodedRequest], sampling: Sampling, on_end: OnEnd) -> bool:
        """Write one batch, and call `on_end(row, ids, stopped)` when a row ends. Returns false when GPU memory ran out."""
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


def _uniform_draws(requests: Sequence[Request], sampling: Sampling) -> torch.Tensor | None:
    """(B, T) numbers in [0, 1), each row from a generator seeded by (seed, id); None for greedy decoding."""
    if sampling.temperature == 0:
        return None
    draws = []
    for each in requests:
        key = int.from_bytes(seed_of(each, sampling)[:16], "big")
        draws.append(np.random.Generator(np.random.Philox(key)).random(sampling.max_new_tokens))
    return torch.from_numpy(np.stack(draws))


def _restricted(scores_BV: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """The scores, -inf for tokens that top_k, top_p and min_p exclude, as in `generate` of transformers."""
    makers: dict[str, Callable[..., LogitsProcessor]] = {"top_k": TopKLogitsWarper, "top_p": TopPLogitsWarper, "min_p": MinPLogitsWarper}
    for name, value in sampling.restrictions.items():
        scores_BV = makers[name](value)(None, scores_BV)
    return scores_BV


def _choose(logits_BV: torch.Tensor, sampling: Sampling, uniform_B: torch.Tensor | None) -> torch.Tensor:
    """(B,) the most probable tokens, or those at which the cumulative probability passes the row's uniform draw."""
    if uniform_B is None:
        return logits_BV.argmax(dim=-1)
    scores_BV = _restricted(logits_BV.double() / sampling.temperature, sampling)
    cumulative_BV = torch.softmax(scores_BV, dim=-1).cumsum(dim=-1)
    threshold_B1 = (uniform_B.to(cumulative_BV.device) * cumulative_BV[:, -1]).unsqueeze(1)
    return torch.searchsorted(cumulative_BV, threshold_B1, right=True).squeeze(1).clamp(max=logits_BV.shape[1] - 1)
