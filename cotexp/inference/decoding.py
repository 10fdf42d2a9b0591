"""The state of a batch between two decoding steps, kept by the generation hooks of the model's architecture.

Therefore every kind of state (keys and values, recurrent states, both) is handled as in transformers. Axes: B rows, T tokens, V vocabulary.
"""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from transformers import Cache, GenerationConfig, StaticCache
from transformers.cache_utils import DynamicLayer
from transformers.generation.configuration_utils import GenerationMode
from transformers.modeling_outputs import BaseModelOutput

from cotexp.models.loading import LoadedModel, decoder_inputs

STATIC_BLOCK = 256
"""Sizes of fixed-size caches are multiples of this number of tokens, so that one compiled step fits many batches."""


class Rows(Protocol):
    """The rows of one batch that are still decoded."""

    def first_logits(self) -> torch.Tensor:
        """Logits after the prompts, (B, V)."""

    def next_logits(self, tokens_B1: torch.Tensor) -> torch.Tensor:
        """Logits after one more token of each row, (B, V)."""

    def keep(self, rows: torch.Tensor) -> None:
        """Continue with only these rows, given by number."""


class PromptRows:
    """Rows of a causal model: prompts, padded on the left, and the tokens written after them.

    `leave`: ended rows may leave the batch. Otherwise they stay and their logits are ignored; `slots_B` holds the places of the other rows.
    `most_positions` bounds the positions of ended rows.
    """

    def __init__(self, loaded: LoadedModel, prompts: Sequence[list[int]], *, leave: bool = True, most_positions: int | None = None) -> None:
        self.model = self.step = loaded.model
        self.leave, self.most_positions = leave, most_positions
        self.slots_B = torch.arange(len(prompts), device=loaded.device)
        self.ids_BT, mask_BT = padded(loaded, prompts, left=True)
        positions_BT = (mask_BT.cumsum(dim=1) - 1).clamp(min=0)
        self.inputs: dict[str, Any] = {"use_cache": True}
        self.inputs |= accepted(loaded.model, attention_mask=mask_BT, position_ids=positions_BT, logits_to_keep=1)
        self._prepare_cache()

    def _prepare_cache(self) -> None:
        """Add a cache that grows, under the name that the model expects. Some models make their own in the first pass."""
        plain = GenerationConfig(use_cache=True)
        self.model._prepare_cache_for_generation(plain, self.inputs, GenerationMode.GREEDY_SEARCH, *self.ids_BT.shape)

    def first_logits(self) -> torch.Tensor:
        return self._logits(self.model, is_first_iteration=True)

    def next_logits(self, tokens_B1: torch.Tensor) -> torch.Tensor:
        if len(tokens_B1) < len(self.ids_BT):
            tokens_B1 = tokens_B1.new_zeros(len(self.ids_BT), 1).index_copy(0, self.slots_B, tokens_B1)
        self.ids_BT = torch.cat([self.ids_BT, tokens_B1], dim=1)
        return self._logits(self.step, next_sequence_length=1)

    def _logits(self, model: Any, **which: Any) -> torch.Tensor:
        output = model(**self.model.prepare_inputs_for_generation(self.ids_BT, **which, **self.inputs), return_dict=True)
        self.inputs = self.model._update_model_kwargs_for_generation(output, self.inputs, self.model.config.is_encoder_decoder)
        if self.most_positions and "position_ids" in self.inputs:
            self.inputs["position_ids"].clamp_(max=self.most_positions - 1)
        logits_BV: torch.Tensor = output.logits[:, -1]
        return logits_BV if len(self.slots_B) == len(logits_BV) else logits_BV[self.slots_B]

    def keep(self, rows: torch.Tensor) -> None:
        self.slots_B = self.slots_B[rows]
        size = self._size(len(self.slots_B))
        if size < len(self.ids_BT):
            kept = torch.cat([self.slots_B, self.slots_B[:1].expand(size - len(self.slots_B))])
            self.inputs = {name: _selected(each, kept) for name, each in self.inputs.items()}
            self.ids_BT = self.ids_BT[kept]
            self.slots_B = torch.arange(len(self.slots_B), device=kept.device)

    def _size(self, num_rows: int) -> int:
        """Rows in the next batch, of which `num_rows` are not ended."""
        return num_rows if self.leave else len(self.ids_BT)

    def join(self, others: PromptRows) -> None:
        """Continue with the rows of another batch as well, whose prompts have been read. Columns that no row uses are dropped.

        Raises: ValueError if the rows have more state than attention mask, positions, and keys and values of all tokens.
        """
        rows = (self, others)
        layers = [each.inputs["past_key_values"].layers for each in rows]
        by_column = {name for each in rows for name, value in each.inputs.items() if isinstance(value, torch.Tensor)}
        if not by_column <= {"attention_mask", "position_ids"} or any(type(each) is not DynamicLayer for each in itertools.chain(*layers)):
            raise ValueError("the rows of this model cannot join those of a batch")
        unused = int(self.inputs["attention_mask"].argmax(dim=1).min())
        width = max(self.ids_BT.shape[1] - unused, others.ids_BT.shape[1])
        for name in by_column:
            self.inputs[name] = torch.cat([_of_width(each.inputs[name], width + 1, dim=1) for each in rows])
        for own, added in zip(*layers, strict=True):
            own.keys = torch.cat([_of_width(each.keys, width, dim=2) for each in (own, added)])
            own.values = torch.cat([_of_width(each.values, width, dim=2) for each in (own, added)])
        self.ids_BT = torch.cat([_of_width(each.ids_BT, width, dim=1) for each in rows])
        self.slots_B = torch.arange(len(self.ids_BT), device=self.slots_B.device)


class StaticPromptRows(PromptRows):
    """`PromptRows` with a cache of fixed size, so that steps can be compiled. Sizes of batches are powers of two.

    An ended row stays in the batch until half of the batch can leave.
    """

    def __init__(
        self, loaded: LoadedModel, prompts: Sequence[list[int]], most_tokens: int, *, most_positions: int | None = None, compiled: bool = True
    ) -> None:
        total = max(map(len, prompts)) + most_tokens
        self.total = -(-total // STATIC_BLOCK) * STATIC_BLOCK
        filled = [*prompts, *[prompts[0]] * (_power_of_two(len(prompts)) - len(prompts))]
        super().__init__(loaded, filled, most_positions=most_positions or self.total)
        self.slots_B = self.slots_B[: len(prompts)]
        if compiled:
            self.step = loaded.model.get_compiled_call(None)

    def _prepare_cache(self) -> None:
        self.inputs["past_key_values"] = StaticCache(config=self.model.config, max_cache_len=self.total)

    def _size(self, num_rows: int) -> int:
        return _power_of_two(num_rows)


def _of_width(values: torch.Tensor, width: int, *, dim: int) -> torch.Tensor:
    """The last `width` columns, preceded by columns of zeros if there are fewer."""
    columns = values.shape[dim]
    if columns >= width:
        return values.narrow(dim, columns - width, width)
    return torch.cat([values.new_zeros([*values.shape[:dim], width - columns, *values.shape[dim + 1 :]]), values], dim=dim)


def _power_of_two(number: int) -> int:
    """The smallest power of two that is at least `number`."""
    return 1 << (number - 1).bit_length()


def _selected(value: Any, kept: torch.Tensor) -> Any:
    """An input of the next step for the kept rows."""
    if isinstance(value, Cache):
        value.reorder_cache(kept)  # type: ignore[arg-type]  # declared torch.LongTensor, which no tensor is an instance of
    if isinstance(value, BaseModelOutput):
        return BaseModelOutput(last_hidden_state=value["last_hidden_state"][kept])
    return value[kept] if isinstance(value, torch.Tensor) else value


class SourceRows(PromptRows):
    """Rows of an encoder-decoder model: sources, padded on the right and encoded once, and the tokens that its decoder wrote."""

    def __init__(self, loaded: LoadedModel, sources: Sequence[list[int]], *, leave: bool = True) -> None:
        self.model = self.step = loaded.model
        self.leave, self.most_positions = leave, None
        self.slots_B = torch.arange(len(sources), device=loaded.device)
        ids_BT, mask_BT = padded(loaded, sources, left=False)
        states_BTD = self.model.get_encoder()(input_ids=ids_BT, attention_mask=mask_BT).last_hidden_state
        self.ids_BT = decoder_inputs(self.model, torch.full_like(ids_BT[:, :1], loaded.encoder.eos_id))
        self.inputs = {"use_cache": True, "attention_mask": mask_BT, "encoder_outputs": BaseModelOutput(last_hidden_state=states_BTD)}
        self._prepare_cache()


def padded(loaded: LoadedModel, prompts: Sequence[list[int]], *, left: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """(ids, attention mask) of shape (B, T) on the model's device."""
    longest = max(map(len, prompts))
    pad = loaded.tokenizer.pad_token_id if loaded.tokenizer.pad_token_id is not None else loaded.encoder.eos_id
    ids, mask = [], []
    for each in prompts:
        filling = longest - len(each)
        ids.append([pad] * filling + each if left else each + [pad] * filling)
        mask.append([0] * filling + [1] * len(each) if left else [1] * len(each) + [0] * filling)
    return torch.tensor(ids).to(loaded.device), torch.tensor(mask).to(loaded.device)


def widest(model: Any) -> float:
    """Most tokens of a row, padding included: some architectures (GPT-Neo, GPT-J) have causal masks of fixed size. Infinite for others."""
    masks = (each for each in model.buffers() if each.dim() == 4 and each.shape[-1] == each.shape[-2])
    return min((each.shape[-1] for each in masks), default=math.inf)


def accepted(model: Any, **inputs: Any) -> dict[str, Any]:
    """The inputs that are parameters of the model's forward."""
    names = inspect.signature(model.forward).parameters
    return {name: value for name, value in inputs.items() if name in names}
