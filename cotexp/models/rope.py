"""Rotary positions whose frequencies depend on the longest text of a batch, so that texts on two sides of a length must not meet in one.

LongRoPE takes other factors from `original_max_position_embeddings` on; dynamic scaling changes with every length beyond its limit and
remembers the longest text that it saw. A text means its own alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, slots=True)
class RopeLimit:
    """The tokens up to which frequencies stay the same, and whether they change with every length beyond."""

    length: int
    grows: bool

    @classmethod
    def of(cls, model: Any) -> RopeLimit | None:
        """None where frequencies never change."""
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
        """Texts read in one pass may share a batch where this is equal."""
        return 0 if num_tokens <= self.length else num_tokens if self.grows else 1

    def side_of_row(self, num_prompt_tokens: int, most_tokens: int) -> int:
        """The same for prompts that up to so many tokens are written behind: those that reach the limit only while they are written must
        reach it in the same step.
        """
        if num_prompt_tokens + most_tokens <= self.length:
            return 0
        return -1 if num_prompt_tokens > self.length and not self.grows else num_prompt_tokens

    def restart(self, model: Any) -> None:
        """Make the model forget the longest text that it saw; one token is read."""
        if self.grows:
            start = torch.zeros(1, 1, dtype=torch.long, device=model.device)
            model(input_ids=start, use_cache=False)
