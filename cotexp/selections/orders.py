"""The orders in which the rationales of a question are kept: the third filter of a selection. A new one is a line here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

from cotexp.records import Rationale, Score


class Candidate(NamedTuple):
    """A rationale, what the student makes of it if that was asked for, and the settings that orders read."""

    rationale: Rationale
    scored: Score | None
    rd_kind: str
    seed: int

    @property
    def score(self) -> Score:
        assert self.scored is not None, "an order that needs scores says so below"
        return self.scored

    @property
    def rd(self) -> float:
        """Rationale Difficulty of the kind that the settings name."""
        return self.score.rd(self.rd_kind)


class Order(NamedTuple):
    """`rank` puts the lowest first. `needs_scores`: the student must score the rationales; `needs_ranks`: and rank their tokens; `reads_rd`: the
    setting `rd` counts."""

    rank: Callable[[Candidate], Any]
    needs_scores: bool = False
    needs_ranks: bool = False
    reads_rd: bool = False


def spread(text: str, seed: int) -> bytes:
    """A number that looks random and follows from text and seed."""
    return hashlib.sha256(f"{seed}/{text}".encode()).digest()


ORDERS: dict[str, Order] = {
    "sample": Order(lambda each: each.rationale.sample),
    "random": Order(lambda each: spread(each.rationale.id, each.seed)),
    "shortest": Order(lambda each: each.rationale.num_tokens),
    "longest": Order(lambda each: -each.rationale.num_tokens),
    "lowest_perplexity": Order(lambda each: each.score.perplexity, needs_scores=True),
    "lowest_rank_surprisal": Order(lambda each: each.score.rank_surprisal, needs_scores=True, needs_ranks=True),
    "lowest_rd": Order(lambda each: each.rd, needs_scores=True, reads_rd=True),
    "highest_rd": Order(lambda each: -each.rd, needs_scores=True, reads_rd=True),
}
"""Choice of `selection.order` -> how it ranks."""
