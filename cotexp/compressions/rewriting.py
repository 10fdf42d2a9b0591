"""What compressions by a compressor share: its prompt, and how the rounds of a chain end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from cotexp.compressions.base import Compression, Tools
from cotexp.methods.rounds import ONE_ROUND, Stop, StopRule, at_limit, keep, stop_of
from cotexp.records import Compressed, Question, Rationale, Round
from cotexp.settings.base import IF_SET, bad_placeholders, setting
from cotexp.settings.models import ScratchModel
from cotexp.tasks.answers import split_solution

DEFAULT_REWRITE_PROMPT = (
    "Simplify the solution below by one small step: drop a little redundant wording, keep every calculation in order, and add no "
    "information. Write only the shorter solution.\n\nQuestion: {question}\n\nSolution: {rationale}\n\nFinal answer: {answer}"
)


class ToRewrite(NamedTuple):
    """What the prompt of round `number` is made of: the question and how its task asks it, the text of the round before with its tokens, the
    tokens of the chain as written, and the final answer.
    """

    question: str
    asked: str
    text: str
    answer: str
    number: int
    num_tokens: int
    num_tokens_original: int


def wrong_prompt(prompt: str, *, has_budget: bool = False) -> Iterator[str]:
    """The rules that the prompt of one round breaks."""
    yield from bad_placeholders(prompt, {"question", "rationale", "answer", "budget"}, {"rationale", *(["budget"] if has_budget else [])})
    if not has_budget and "{budget}" in prompt.replace("{{", ""):
        yield "budget_ratio must be set, such as to 0.8, if prompt contains {budget}; got None"


@dataclass(slots=True, kw_only=True)
class Rewriting(Compression):
    """A compressor rewrites each chain, round by round; one round by default."""

    asks_compressor: ClassVar[bool] = True

    prompt: str = setting(
        DEFAULT_REWRITE_PROMPT, "Prompt of one round; {question}, {rationale}, {answer} and, with budget_ratio, {budget} are replaced."
    )
    budget_ratio: float | None = setting(
        None, "Share of the tokens of the round before that {budget} in the prompt asks for; by default no budget.", above=0, high=1, keyed=IF_SET
    )
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
        yield from wrong_prompt(self.prompt, has_budget=self.budget_ratio is not None)

    def run_contradictions(self, settings: Any) -> Iterator[str]:
        if isinstance(settings.model, ScratchModel) and settings.compressor.is_student:
            yield "compressor must not be 'self' with a model made from scratch; use compressor=tiny or another model"

    @property
    def decides_rounds(self) -> dict[str, Any]:
        """The settings that decide the texts of the rounds, for their key."""
        budget = {"budget_ratio": self.budget_ratio} if self.budget_ratio is not None else {}
        return {"prompt": self.prompt, "prompt_answer": self.prompt_answer} | budget

    def rewrite_prompt(self, before: ToRewrite) -> str:
        """The compressor's prompt for one round."""
        budget = max(1, int(before.num_tokens * (self.budget_ratio or 1)))
        return self.prompt.format(question=before.question, rationale=before.text, answer=before.answer, budget=budget)

    def chain_in(self, written: str, question: Question) -> str:
        """The chain of thought in what the compressor wrote, without a sentence that states the answer: the chain's own is put after it."""
        return split_solution(written, question.answer_type, question.options)[0].strip()

    def decide(self, chain: Rationale, rounds: Sequence[Round], *, deterministic: bool) -> Stop | None:
        """Where the rounds so far end, and which one is kept; None while another round is needed."""
        return stop_of(chain, rounds, self.stop_rule, deterministic=deterministic)

    def last(self, chain: Rationale, rounds: Sequence[Round]) -> Stop:
        """Which round is kept if there are no more than these, and `decide` would go on."""
        return at_limit(chain, rounds, self.stop_rule)

    def compress(self, chains: Sequence[Rationale], tools: Tools) -> list[Compressed]:
        last = self.last if tools.rounds_are_recorded else None
        with_rounds = [chain for chain in chains if tools.rounds[chain.id] or not tools.rounds_are_recorded]
        kept = [keep(chain, tools.rounds[chain.id], self.decide, deterministic=tools.deterministic, last=last) for chain in with_rounds]
        return [each for each in kept if each.stop_reason != "failed" or self.failed_round == "keep_previous"]
