"""Rotary positions whose frequencies depend on the longest text of a batch. Texts shorter and longer than a limit must not share a batch.

LongRoPE has other factors beyond `original_max_position_embeddings`. Dynamic scaling (dynamic NTK) changes with every length beyond its limit,
and keeps the longest length that it has seen. Here every text is read with the frequencies of its length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, slots=True)
class RopeLimit:
    """`length`: tokens up to which frequencies are constant. `grows`: whether they change with every length beyond."""

    length: int
    grows: bool

    @classmethod
    def of(cls, model: Any) -> RopeLimit | None:
        """The limit of a model; None if its frequencies never change."""
        config = model.config.get_text_config()
        own = getattr(config, "rope_parameters", None) or {}
        every = [each for each in own.values() if isinstance(each, dict)] or [own]
        lengths = {
            each.get("original_max_position_embeddings", config.max_position_embeddings) if kind == "longrope" else config.max_position_embeddings
            for each in every
            if (kind := each.get("rope_type")) in ("longrope", "dynamic")
        }
        grows = len(lengths) > 1 or any(each.get("rope_type") == "dynamic" for each in every)
        return cls(min(lengths), grows) if lengths else None

    def side(self, num_tokens: int) -> int:
        """The side of the limit on which a text of this length is. Texts may share a batch if their sides are equal."""
        return 0 if num_tokens <= self.length else num_tokens if self.grows else 1

    def side_of_row(self, num_prompt_tokens: int, most_tokens: int) -> int:
        """The side of a prompt with up to `most_tokens` tokens written after it.

        Rows that cross the limit while they are written may share a batch only if they cross it in the same step.
        """
        if num_prompt_tokens + most_tokens <= self.length:
            return 0
        return -1 if num_prompt_tokens > self.length and not self.grows else num_prompt_tokens

    def restart(self, model: Any) -> None:
        """Reset the longest length that the model has seen, by reading one token."""
        if self.grows:
            start = torch.zeros(1, 1, dtype=torch.long, device=model.device)
            model(input_ids=start, use_cache=False)
