"""Log-probabilities of given tokens, for many texts that follow one prompt and share prefixes.

A causal model reads all texts of an item as one packed row, the tree of their prefixes in depth-first order. Each token has the position of
its text and attends only to its prefix, so every distinct prefix is computed once. Each distinct text has its own row for models that
cannot be masked in this way (sliding windows shorter than the texts, recurrence, position biases), and for encoder-decoder models.

A text beyond the length at which rotary frequencies change also has its own row: it is scored with the frequencies of its whole length. A text
that was generated across that length used both kinds, so its score is not the sum of the log-probabilities at generation.
Axes: B rows, T tokens, K tokens seen, N tokens read, V vocabulary, S tokens of a prompt, D width.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache
from transformers.modeling_outputs import BaseModelOutput

from cotexp.inference.engine import rows_of_batch
from cotexp.inference.prefix_tree import Row, row_of
from cotexp.models import head
from cotexp.models.embeddings import num_embeddings
from cotexp.models.loading import LoadedModel
from cotexp.models.rope import RopeLimit
from cotexp.settings.base import ConfigError, RunFailed

_Sized = TypeVar("_Sized")
Measure = Callable[[head.Hidden, torch.Tensor], torch.Tensor]
"""What is read of N tokens that come next, one number each: (hidden states before them, their ids) -> (N,)."""


class Text(NamedTuple):
    """A text after a prompt. `read` holds the indices into `ids`, ascending, whose log-probability is requested."""

    ids: list[int]
    read: list[int]


class Item(NamedTuple):
    """A prompt of at least one token, and the texts that may follow it."""

    id: str
    prompt_ids: list[int]
    texts: list[Text]


class _Work(NamedTuple):
    """The rows of an item, and its results by text and place."""

    item: Item
    rows: list[Row]
    scores: list[list[float]]


_Job = tuple[_Work, Row, torch.Tensor | None]


@dataclass(slots=True)
class Scorer:
    """Scores in batches with one loaded model, causal or encoder-decoder.

    `max_batch_tokens` bounds the tokens of one forward pass, padding included; None: 512 on a CPU and 8192 elsewhere. A longer packed row is
    read in pieces, and any other longer text alone. The bound changes results only by rounding. Which rows may share a pass is probed first.

    Raises: ConfigError for a model whose scores of a text differ from those of one pass over the text alone.
    """

    loaded: LoadedModel
    max_batch_tokens: int | None = None
    budget: int = field(init=False)
    rope_limit: RopeLimit | None = field(init=False)
    padded: bool = field(init=False, default=True)
    together: bool = field(init=False, default=True)
    packs: bool = field(init=False)

    def __post_init__(self) -> None:
        self.budget = self.max_batch_tokens or (512 if self.loaded.device.type == "cpu" else 8192)
        self.rope_limit = RopeLimit.of(self.loaded.model)
        self._probe_batching()
        self.packs = self._takes_masks() and self._difference(packed=True) < self._rounding()

    @torch.inference_mode()
    def score(self, items: Sequence[Item], on_item: Callable[[str, list[list[float]]], None], measure: Measure = head.log_probabilities) -> None:
        """Call `on_item(id, scores)` once for each item as soon as it is scored, in any order.

        `scores` follows the item's texts, and each text's `read`: log p(token | prompt, the text's tokens before it) in nats, never above 0.
        With `measure=head.ranks`, each token's place among all tokens instead.
        Raises: RunFailed, before anything is computed, for a text that the model's context cannot hold.
        """
        config = self.loaded.model.config.get_text_config()
        windows = [size for name in ("sliding_window", "attention_chunk_size") if (size := getattr(config, name, None))]
        most = min([*windows, self.rope_limit.length if self.rope_limit else math.inf])  # tokens that every layer treats alike
        parts: dict[bool, list[Item]] = {True: [], False: []}
        for each in items:
            parts[self._length(each) <= most and self.packs].append(each)
        for packed, of_kind in parts.items():
            for work in self._finished(of_kind, measure, packed=packed):
                on_item(work.item.id, work.scores)

    def fits(self, item: Item) -> bool:
        """Whether the model's context can hold the item."""
        return self._needed(item) <= self._limit()

    def _needed(self, item: Item) -> int:
        """Tokens of the context that the item needs."""
        lengths = [len(each.ids) for each in item.texts] or [0]
        if self.loaded.model.config.is_encoder_decoder:
            return max(len(item.prompt_ids), *lengths)
        return len(item.prompt_ids) + max(lengths)

    def _limit(self) -> float:
        """Tokens of the model's context."""
        limit = getattr(self.loaded.model.config.get_text_config(), "max_position_embeddings", None)
        return math.inf if limit is None or limit < 1 else limit

    def _length(self, item: Item) -> int:
        """Tokens of the context that the item needs. Raises: RunFailed if the model's is shorter."""
        length, limit = self._needed(item), self._limit()
        if length > limit:
            raise RunFailed(
                f"{item.id}: scoring needs a context of {length} tokens, the model has {limit}; leave this question or its long texts out"
            )
        return length

    def _takes_masks(self) -> bool:
        """Whether the model declares that its attention follows any mask and positions."""
        model, config = self.loaded.model, self.loaded.model.config.get_text_config()
        return (
            not config.is_encoder_decoder
            and getattr(model, "_supports_attention_backend", False)
            and config._attn_implementation in ("sdpa", "eager")
            and "position_ids" in inspect.signature(model.forward).parameters
            and set(getattr(config, "layer_types", None) or ()) <= {"full_attention", "sliding_attention", "chunked_attention"}
        )

    def _probe_batching(self) -> None:
        """Probe whether rows of different length, or of equal length, may share a pass."""
        for self.padded, self.together in ((True, True), (False, True), (False, False)):
            difference = self._difference(packed=False)
            if difference < self._rounding():
                return
        if not difference < 10 * self._rounding():
            name = type(self.loaded.model).__name__
            raise ConfigError(f"model.path: {name} cannot be scored: its prediction of a token depends on later tokens; take a causal model")

    def _rounding(self) -> float:
        """Largest difference in nats between two ways to compute the same scores."""
        return 1e-3 if torch.finfo(self.loaded.model.dtype).bits >= 32 else 0.15

    @torch.inference_mode()
    def _difference(self, *, packed: bool) -> float:
        """Nats by which scores in a batch differ from one pass per text. In 16 bits it is the mean, since rounding may select another expert."""
        vocabulary = num_embeddings(self.loaded.model)
        first, second, third = torch.linspace(vocabulary // 8, vocabulary - 1, 12).long().view(3, 4).tolist()
        texts = [[*second, *third], [*second[:2], *third], second, [*third, *second]]
        item = Item("", first, [Text(each, list(range(len(each)))) for each in texts])
        try:
            found = torch.tensor([value for each in next(self._finished([item], head.log_probabilities, packed=packed)).scores for value in each])
        except (RuntimeError, ValueError, TypeError, AttributeError, LookupError):
            return math.inf
        differences = (found - torch.cat([self._plain(first, each) for each in texts])).abs()
        return float(differences.max() if self._rounding() < 0.1 else differences.mean())

    def _plain(self, prompt_ids: list[int], ids: list[int]) -> torch.Tensor:
        """(N,) the log-probabilities of a text's tokens, from one pass over the text alone."""
        config, device = self.loaded.model.config, self.loaded.device
        if config.is_encoder_decoder:
            start = torch.tensor([[config.decoder_start_token_id, *ids]], device=device)
            inputs = {"input_ids": torch.tensor([prompt_ids], device=device), "decoder_input_ids": start}
        else:
            inputs = {"input_ids": torch.tensor([prompt_ids + ids], device=device)}
        logits_TV = self.loaded.model(**inputs, use_cache=False).logits[0, -len(ids) - 1 : -1]
        return torch.log_softmax(logits_TV.float(), dim=-1).gather(1, torch.tensor(ids, device=device)[:, None])[:, 0].cpu()

    def _finished(self, items: Sequence[Item], measure: Measure, *, packed: bool) -> Iterator[_Work]:
        works = [self._work(item, packed=packed) for item in items]
        yield from (each for each in works if not each.rows)
        for group in _batches([each for each in works if each.rows], lambda each: sum(len(row.ids_T) for row in each.rows), self.budget):
            memories = self._encoded(group) if self.loaded.model.config.is_encoder_decoder else [None] * len(group)
            jobs = [(work, row, memory_SD) for work, memory_SD in zip(group, memories, strict=True) for row in work.rows]
            for compatible in self._compatible(jobs, packed=packed):
                for batch in _batches(compatible, lambda job: len(job[1].ids_T), self.budget):
                    self._run(measure, *zip(*batch, strict=True), packed=packed)
            yield from group

    def _compatible(self, jobs: Sequence[_Job], *, packed: bool) -> list[list[_Job]]:
        """Groups of rows that may share a pass."""
        groups: dict[tuple[int, ...], list[_Job]] = {}
        for number, (work, row, memory_SD) in enumerate(jobs):
            lengths = (len(row.ids_T), 0 if memory_SD is None else len(memory_SD))
            group = () if packed or self.padded else lengths if self.together else (number,)
            groups.setdefault((row.side, *group), []).append((work, row, memory_SD))
        return list(groups.values())

    def _work(self, item: Item, *, packed: bool) -> _Work:
        config = self.loaded.model.config
        root = [config.decoder_start_token_id] if config.is_encoder_decoder else item.prompt_ids
        assert item.prompt_ids, f"{item.id}: nothing precedes the first token"
        seen = sorted((*self._path(root, text), number) for number, text in enumerate(item.texts) if text.read)
        rows: list[tuple[int, list[tuple[list[int], int]]]] = []
        for side, path, number in seen:
            if not rows or not (packed or (side == rows[-1][0] and path[: len(rows[-1][1][-1][0])] == rows[-1][1][-1][0])):
                rows.append((side, []))
            rows[-1][1].append((path, number))
        scores = [[0.0] * len(text.read) for text in item.texts]
        return _Work(item, [row_of(paths, len(root), item.texts, side) for side, paths in rows], scores)

    def _path(self, root: list[int], text: Text) -> tuple[int, list[int]]:
        """(side, number of tokens to read of a text): up to the last requested one, or all if rotary frequencies depend on the length."""
        side = self.rope_limit.side(len(root) + len(text.ids)) if self.rope_limit else 0
        return side, root + (text.ids if side else text.ids[: text.read[-1]])

    def _encoded(self, works: list[_Work]) -> list[torch.Tensor]:
        """The encoder's output for each prompt, of shape (S, D)."""
        prompts = [torch.tensor(each.item.prompt_ids) for each in works]
        if not self.padded and len(works) > 1:
            return [memory_SD for each in works for memory_SD in self._encoded([each])]
        memory_BSD = self.loaded.model.get_encoder()(input_ids=self._padded(prompts), attention_mask=self._lengths_mask(prompts)).last_hidden_state
        return [memory_SD[: len(ids)] for memory_SD, ids in zip(memory_BSD, prompts, strict=True)]

    def _run(self, measure: Measure, works: Sequence[_Work], rows: Sequence[Row], memories: Sequence[torch.Tensor | None], *, packed: bool) -> None:
        """Compute the requested scores of these rows, and store them in their works."""
        if self.rope_limit:
            self.rope_limit.restart(self.loaded.model)
        ids_BT = self._padded([each.ids_T for each in rows])
        length = step = ids_BT.shape[1]
        inputs: dict[str, Any] = {"use_cache": False}
        if packed:
            positions_BT, ends_BT = (self._padded([getattr(each, name) for each in rows]) for name in ("positions_T", "ends_T"))
            step = max(1, self.budget // len(rows))
            if step < length:
                inputs = {"use_cache": True, "past_key_values": DynamicCache()}
        elif memories[0] is not None:
            memory = BaseModelOutput(last_hidden_state=self._padded(memories))
            inputs |= {"encoder_outputs": memory, "attention_mask": self._lengths_mask(memories)}
        for first in range(0, length, step):
            last = min(first + step, length)
            inputs["input_ids" if memories[0] is None else "decoder_input_ids"] = ids_BT[:, first:last]
            if packed:
                inputs |= {"position_ids": positions_BT[:, first:last], "attention_mask": self._tree_mask(ends_BT[:, :last], first)}
            reads = [(b, each) for b, row in enumerate(rows) for each in row.reads if first <= each.column < last]
            found = self._measured(inputs, [(b, each.column - first, each.token) for b, each in reads], measure)
            for (b, read), value in zip(reads, found, strict=True):
                for text, place in read.places:
                    works[b].scores[text][place] = value

    def _tree_mask(self, ends_BK: torch.Tensor, first: int) -> torch.Tensor:
        """(B, 1, T, K) additive attention mask of tokens `first` to K: 0 for a token's prefix and itself, else the least number."""
        keys_K = torch.arange(ends_BK.shape[1], device=ends_BK.device)
        queries_T1 = keys_K[first:, None]
        ends_B1K = torch.maximum(ends_BK, keys_K + 1)[:, None]
        seen_BTK = (keys_K <= queries_T1) & (queries_T1 < ends_B1K)
        zero = torch.zeros((), dtype=self.loaded.model.dtype, device=ends_BK.device)
        return zero.where(seen_BTK, torch.finfo(zero.dtype).min)[:, None]

    def _measured(self, inputs: dict[str, Any], reads: list[tuple[int, int, int]], measure: Measure) -> list[float]:
        """The measure of each (row, column, next token)."""
        rows_N, columns_N, tokens_N = torch.tensor(reads, device=self.loaded.device, dtype=torch.long).reshape(-1, 3).unbind(dim=1)
        states = head.hidden(self.loaded.model, inputs, rows_N, columns_N)
        return measure(states, tokens_N).tolist() if reads else []

    def _padded(self, rows: Sequence[Any]) -> torch.Tensor:
        """The rows, right-padded with zeros, on the model's device."""
        return pad_sequence(list(rows), batch_first=True).to(self.loaded.device)

    def _lengths_mask(self, rows: Sequence[Any]) -> torch.Tensor:
        return self._padded([torch.ones(len(each), dtype=torch.long) for each in rows])


def _batches(things: list[_Sized], length: Callable[[_Sized], int], budget: int) -> Iterator[list[_Sized]]:
    """Batches whose padded size stays within the budget, longest first; a longer element forms its own batch."""
    rest = sorted(things, key=length, reverse=True)
    while rest:
        size = rows_of_batch(map(length, rest), max_rows=len(rest), max_tokens=budget)
        yield rest[:size]
        rest = rest[size:]
