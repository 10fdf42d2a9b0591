"""The shortest chain among all rounds that keeps its answer: our control of MACC's stop rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from cotexp.compressions.rewriting import Rewriting
from cotexp.methods.rounds import Stop
from cotexp.records import Rationale, Round
from cotexp.settings.base import setting


@dataclass(slots=True, kw_only=True)
class ShortestCorrect(Rewriting):
    """Rewrite up to the round limit, then keep the shortest chain that still leads to the answer of the original (ours)."""

    rounds_end: ClassVar[str] = "the limit, then the shortest that keeps its answer"

    name: str = setting("shortest_correct", "Name of the compression.", choices=("shortest_correct",))
    max_rounds: int | None = setting(None, "Round limit; by default compressor.rounds.", low=1, most=100)

    @property
    def most_rounds(self) -> int:
        return self.max_rounds or 1

    def complete(self, settings: Any) -> None:
        self.max_rounds = self.max_rounds or settings.compressor.rounds

    def decide(self, chain: Rationale, rounds: Sequence[Round], *, deterministic: bool) -> Stop | None:
        """Rounds end at the limit, at a failed rewrite, or at an unchanged text of a compressor that does not sample."""
        previous = chain.cot.strip()
        for number, each in enumerate(rounds, 1):
            if each.outcome != "ok":
                return Stop(_shortest_correct(chain, rounds[: number - 1]), "failed")
            if deterministic and each.text == previous:
                return Stop(_shortest_correct(chain, rounds[: number - 1]), "fixed_point")
            if number == self.most_rounds:
                return self.last(chain, rounds[:number])
            previous = each.text
        return None

    def last(self, chain: Rationale, rounds: Sequence[Round]) -> Stop:
        return Stop(_shortest_correct(chain, rounds), "limit")


def _shortest_correct(chain: Rationale, rounds: Sequence[Round]) -> int:
    """Number of the shortest round whose answer is kept, the earliest of equal ones; 0 is the chain as it was written."""
    lengths = {0: chain.num_cot_tokens} | {number: each.num_tokens for number, each in enumerate(rounds, 1) if each.answer_kept}
    return min(lengths, key=lambda number: (lengths[number], number))
