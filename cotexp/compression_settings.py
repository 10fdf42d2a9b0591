"""How chains of thought become short: a class per value of the slot `compression`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cotexp.sections import Section, bad_placeholders, setting


@dataclass(slots=True, kw_only=True)
class NoCompression(Section):
    """Train on the full chains of thought alone."""

    name: str = setting("none", "Name of the compression.", choices=("none",))


@dataclass(slots=True, kw_only=True)
class Truncation(Section):
    """Cut every chain of thought after a share of its tokens."""

    name: str = setting("truncate", "Name of the compression.", choices=("truncate",))
    ratio: float = setting(0.5, "Share of the tokens that is kept.", above=0, high=1)


DEFAULT_REWRITE_PROMPT = (
    "Simplify the solution below by one small step: drop a little redundant wording, keep every calculation in order, and add no "
    "information. Write only the shorter solution.\n\nQuestion: {question}\n\nSolution: {rationale}\n\nFinal answer: {answer}"
)


@dataclass(slots=True, kw_only=True)
class Rewriting(Section):
    """What single- and multi-round compression share."""

    prompt: str = setting(DEFAULT_REWRITE_PROMPT, "Prompt of one round; {question}, {rationale} and {answer} are replaced.")
    prompt_answer: str = setting("model", "Whose final answer the prompt holds.", choices=("model", "gold"))
    failed_round: str = setting(
        "keep_previous", "What a failed rewrite means: keep the round before, or drop the sample.", choices=("keep_previous", "drop")
    )

    def contradictions(self) -> Iterator[str]:
        yield from bad_placeholders(self.prompt, {"question", "rationale", "answer"}, {"rationale"})


@dataclass(slots=True, kw_only=True)
class Macc(Rewriting):
    """Rewrite round by round until the text grows again (MACC)."""

    name: str = setting("macc", "Name of the compression.", choices=("macc",))
    max_rounds: int | None = setting(None, "Round limit T (MACC studies 2 to 10, second-hand); by default compressor.rounds.", low=1, most=100)
    stop: str = setting(
        "rebound",
        "Rule that ends the rounds besides the limit.",
        choices=("rebound", "fixed_k", "patience", "min_tokens", "answer_kept"),
    )
    fixed_k: int | None = setting(None, "Number of rounds for stop=fixed_k.", low=1, most=100)
    patience: int | None = setting(None, "Rounds without a new shortest text before stop=patience ends.", low=1, most=100)
    min_tokens: int | None = setting(None, "For stop=min_tokens: a rewrite below this many tokens ends the rounds and is not kept.", low=1)
    fixed_point: str = setting(
        "auto", "Whether an unchanged text ends the rounds; auto: if the compressor does not sample.", choices=("auto", "stop", "continue")
    )

    def contradictions(self) -> Iterator[str]:
        yield from Rewriting.contradictions(self)
        for rule in ("fixed_k", "patience", "min_tokens"):
            value = getattr(self, rule)
            if self.stop == rule and value is None:
                yield f"{rule} must be set when stop={rule}; got None"
            if self.stop != rule and value is not None:
                yield f"{rule} is read only when stop={rule}; got {rule}={value} with stop={self.stop}"
        if self.fixed_k is not None and self.max_rounds is not None and self.fixed_k > self.max_rounds:
            yield f"fixed_k must not exceed max_rounds ({self.max_rounds}); got {self.fixed_k}"


@dataclass(slots=True, kw_only=True)
class SingleRound(Rewriting):
    """One rewrite, kept whatever its length."""

    name: str = setting("single_round", "Name of the compression.", choices=("single_round",))


@dataclass(slots=True, kw_only=True)
class C3ot(SingleRound):
    """One rewrite; long and short chains are asked for by two instructions instead of the mark (C3oT). Both texts are ours: its own are not known."""

    name: str = setting("c3ot", "Name of the compression.", choices=("c3ot",))
    instruction: str = setting("Reason in as few words as you can.", "Asks for a short chain, on a line of its own behind the task's prompt.")
    long_instruction: str = setting("Reason in full detail.", "Asks for a full chain, on a line of its own behind the task's prompt.")

    def contradictions(self) -> Iterator[str]:
        yield from SingleRound.contradictions(self)
        for name in ("instruction", "long_instruction"):
            if not getattr(self, name).strip():
                yield f"{name} must not be blank; got {getattr(self, name)!r}"
        if self.instruction.strip() == self.long_instruction.strip():
            yield f"long_instruction must differ from instruction, or nothing tells the two forms apart; got {self.long_instruction!r}"


@dataclass(slots=True, kw_only=True)
class PromptOnly(Section):
    """Nothing is trained: the model before fine-tuning is told to be brief."""

    name: str = setting("prompt_only", "Name of the compression.", choices=("prompt_only",))
    instruction: str = setting("???", "What it is told, on a line of its own behind the task's prompt.")

    def contradictions(self) -> Iterator[str]:
        if not self.instruction.strip():
            yield f"instruction must not be blank; got {self.instruction!r}"


@dataclass(slots=True, kw_only=True)
class TokenSkip(Section):
    """Drop the least important tokens of every chain, down to a ratio that the prompt names (TokenSkip)."""

    name: str = setting("tokenskip", "Name of the compression.", choices=("tokenskip",))
    ratios: list[float] = setting(
        [0.9, 0.8, 0.7, 0.6, 0.5],
        "Shares of its tokens that a chain is pruned to, one drawn for each (TokenSkip's; its ratio 1 is the full form, asked for without a ratio).",
        above=0,
        high=1,
    )
    importance: str = setting(
        "surprisal",
        "What ranks the tokens: their surprisal under the model before fine-tuning (ours), or LLMLingua-2's classifier (TokenSkip).",
        choices=("surprisal", "llmlingua2"),
    )
    classifier: str = setting(
        "microsoft/llmlingua-2-xlm-roberta-large-meetingbank",
        "LLMLingua-2's model, a folder or hub id; read only with importance=llmlingua2. Keys hold its weights instead.",
        keyed=False,
        is_path=True,
    )
    protect: bool = setting(True, "Whether numbers and operators are never dropped (ours).")

    def contradictions(self) -> Iterator[str]:
        if not self.ratios or len(set(self.ratios)) < len(self.ratios):
            yield f"ratios must name at least one ratio, and none twice; got {self.ratios}"
        if 1 in self.ratios:
            yield f"ratios must lie below 1: chains in full form are mixture.full_ratio's share; got {self.ratios}"


@dataclass(slots=True, kw_only=True)
class ReferenceRounds(Section):
    """The task's own shorter solutions are the rounds; makes training data for a compressor."""

    name: str = setting("reference", "Name of the compression.", choices=("reference",))
    prompt: str = setting(DEFAULT_REWRITE_PROMPT, "Prompt of one round; {question}, {rationale} and {answer} are replaced.")
