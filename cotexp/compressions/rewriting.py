"""What compressions by a compressor share: its prompt, and how the rounds of a chain end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from cotexp.compressions.base import Compression, Tools
from cotexp.methods.rounds import ONE_ROUND, Stop, StopRule, keep, stop_of
from cotexp.records import Compressed, Rationale, Round
from cotexp.settings.base import bad_placeholders, setting
from cotexp.settings.models import ScratchModel

DEFAULT_REWRITE_PROMPT = (
    "Simplify the solution below by one small step: drop a little redundant wording, keep every calculation in order, and add no "
    "information. Write only the shorter solution.\n\nQuestion: {question}\n\nSolution: {rationale}\n\nFinal answer: {answer}"
)


def wrong_prompt(prompt: str) -> Iterator[str]:
    """The rules that the prompt of one round breaks."""
    yield from bad_placeholders(prompt, {"question", "rationale", "answer"}, {"rationale"})


@dataclass(slots=True, kw_only=True)
class Rewriting(Compression):
    """A compressor rewrites each chain, round by round; one round by default."""

    asks_compressor: ClassVar[bool] = True

    prompt: str = setting(DEFAULT_REWRITE_PROMPT, "Prompt of one round; {question}, {rationale} and {answer} are replaced.")
    prompt_answer: str = setting("model", "Whose final answer the prompt holds.", choices=("model", "gold"))
    failed_round: str = setting(
        "keep_previous", "What a failed rewrite means: keep the round before, or drop the sample.", choices=("keep_previous", "drop")
    )

    @property
    def stop_rule(self) -> StopRule:
        """When the rounds end."""
        return ONE_ROUND

    @property
    def most_rounds(self) -> int:
        """The round limit."""
        return self.stop_rule.max_rounds or 1

    def contradictions(self) -> Iterator[str]:
        yield from wrong_prompt(self.prompt)

    def run_contradictions(self, settings: Any) -> Iterator[str]:
        if isinstance(settings.model, ScratchModel) and settings.compressor.is_student:
            yield "compressor must not be 'self' with a model made from scratch; use compressor=tiny or another model"

    def rewrite_prompt(self, *, question: str, text: str, answer: str) -> str:
        """The compressor's prompt for one round."""
        return self.prompt.format(question=question, rationale=text, answer=answer)

    def decide(self, chain: Rationale, rounds: Sequence[Round], *, deterministic: bool) -> Stop | None:
        """Where the rounds so far end, and which one is kept; None while another round is needed."""
        return stop_of(chain, rounds, self.stop_rule, deterministic=deterministic)

    def compress(self, chains: Sequence[Rationale], tools: Tools) -> list[Compressed]:
        kept = [keep(chain, tools.rounds[chain.id], self.decide, deterministic=tools.deterministic) for chain in chains]
        return [each for each in kept if each.stop_reason != "failed" or self.failed_round == "keep_previous"]
