"""Truncation: every chain is cut at a share of its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cotexp.compressions.base import Compression, Tools
from cotexp.records import Compressed, Rationale
from cotexp.settings.base import setting


@dataclass(slots=True, kw_only=True)
class Truncation(Compression):
    """Cut every chain of thought after a share of its tokens."""

    name: str = setting("truncate", "Name of the compression.", choices=("truncate",))
    ratio: float = setting(0.5, "Share of the tokens that is kept.", above=0, high=1)

    def compress(self, chains: Sequence[Rationale], tools: Tools) -> list[Compressed]:
        cut = tools.encoder().cut
        lengths = {each.id: round(each.num_cot_tokens * self.ratio) for each in chains}
        return [
            Compressed(
                rationale_id=chain.id,
                text=cut(chain.cot.strip(), lengths[chain.id]).strip(),
                kept_round=1,
                num_tokens=lengths[chain.id],
                num_tokens_original=chain.num_cot_tokens,
                stop_reason="none",
                num_rounds_run=0,
            )
            for chain in chains
        ]
