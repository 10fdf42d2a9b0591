"""TALE: each question is answered anew under a smaller and smaller budget of tokens, and the shortest right answer is learnt from.

Source: Token-Budget-Aware LLM Reasoning (arXiv 2412.18547) and its published script of the search: the budget begins with the length of the
answer without one and is halved while the answer is right and shorter than the one before. Learning from the answers under the budgets that were
found is TALE-PT. `compression=budget` is the same prompt with one budget and without training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from cotexp.compressions.base import StoredSettings
from cotexp.compressions.budget import TALE_PROMPT
from cotexp.compressions.rewriting import Rewriting, ToRewrite
from cotexp.methods.rounds import Stop
from cotexp.records import Rationale, Round
from cotexp.settings.base import bad_placeholders, setting
from cotexp.settings.models import ScratchModel


@dataclass(slots=True, kw_only=True)
class Tale(Rewriting):
    """Answer each question again under half the budget, as long as the answer is right and shorter, and learn from the last such answer (TALE-PT)."""

    answers_anew: ClassVar[bool] = True
    rounds_end: ClassVar[str] = "a wrong answer, or one that is no shorter"

    name: str = setting("tale", "Name of the compression.", choices=("tale",))
    prompt: str = setting(TALE_PROMPT, "What the model is told on a new line after the task's prompt; {budget} is replaced by the round's budget.")
    budget_ratio: float | None = setting(0.5, "Share of the budget before that a round's budget is (TALE halves it).", above=0, high=0.99)
    max_rounds: int | None = setting(None, "Round limit, which TALE does not have; by default compressor.rounds.", low=1, most=100)

    @property
    def most_rounds(self) -> int:
        return self.max_rounds or 1

    def complete(self, settings: Any) -> None:
        self.max_rounds = self.max_rounds or settings.compressor.rounds

    def contradictions(self) -> Iterator[str]:
        yield from bad_placeholders(self.prompt, {"budget"}, {"budget"})
        if self.budget_ratio is None:
            yield "budget_ratio must be a number, TALE's is 0.5; got None"
        if self.prompt_answer != "model":
            yield f"prompt_answer is not read with compression=tale, whose prompt holds no answer; got {self.prompt_answer}"

    def run_contradictions(self, settings: Any) -> Iterator[str]:
        if isinstance(settings.model, ScratchModel):
            yield "compression must not be 'tale' with a model made from scratch, which cannot answer yet"
        elif not settings.compressor.is_student:
            yield f"compressor must be 'self' with compression=tale: the model itself answers under each budget; got {settings.compressor.name!r}"

    def budget(self, number: int, num_tokens: int) -> int:
        """The budget of round `number` for a chain of so many tokens, rounded down each time."""
        for _ in range(number):
            num_tokens = int(num_tokens * (self.budget_ratio or 0))
        return num_tokens

    def rewrite_prompt(self, before: ToRewrite) -> str:
        words = self.prompt.format(budget=self.budget(before.number, before.num_tokens_original))
        return f"{before.asked}\n{words}"

    def decide(self, chain: Rationale, rounds: Sequence[Round], *, deterministic: bool) -> Stop | None:
        """The search ends with an answer that cannot be used, is not the chain's own right one, or has no shorter chain; or with a budget of 0."""
        if not chain.correct:
            return Stop(0, "answer_lost")
        lengths = [chain.num_cot_tokens, *(each.num_tokens for each in rounds)]
        for number, each in enumerate(rounds, 1):
            if each.outcome != "ok":
                return Stop(number - 1, "failed")
            if not each.answer_kept:
                return Stop(number - 1, "answer_lost")
            if lengths[number] >= lengths[number - 1]:
                return Stop(number - 1, "rebound")
        is_over = len(rounds) >= self.most_rounds or not self.budget(len(rounds) + 1, chain.num_cot_tokens)
        return Stop(len(rounds), "limit") if is_over else None

    @classmethod
    def disclosures(cls, settings: StoredSettings) -> Iterator[str]:
        yield (
            "Our choice beside TALE: lengths and the first budget count the chain of thought alone; budgets are searched for training questions, the "
            "answer under the last one is trained on with the `<compress>` mark beside full chains; a chain whose answer is wrong stays as it is."
        )
