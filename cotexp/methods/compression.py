"""Multi-round compression: when the rounds of a chain of thought end, and which round is kept.

Source: MACC (EMNLP 2025, arXiv 2509.22144). A rewrite that is longer than its input ("token elasticity") ends the rounds, and the
text before it is kept. All rules are functions of the rounds that exist, so another rule needs no new text for them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cotexp.compression_settings import Macc, NoCompression, ReferenceRounds, Rewriting, SingleRound, Truncation
from cotexp.records import Compressed, FinishReason, Rationale, Round, RoundOutcome, StopReason


@dataclass(frozen=True, slots=True)
class Stop:
    """The rounds are over: keep round `kept_round` (0 = the original text)."""

    kept_round: int
    reason: StopReason


def decide(original: Rationale, rounds: Sequence[Round], rule: Macc | SingleRound, *, deterministic: bool) -> Stop | None:
    """Where the rounds so far end under `rule`, or None while another round is needed.

    `rounds` are rounds 1, 2, ... of `original`, whose lengths count the chain of thought alone, in tokens of the target model. Rounds
    beyond the end are ignored. `deterministic`: whether the compressor would answer an unchanged text with the same text again.
    """
    macc = Macc(stop="fixed_k", fixed_k=1) if isinstance(rule, SingleRound) else rule
    stop_at_fixed_point = macc.fixed_point == "stop" or (macc.fixed_point == "auto" and deterministic)
    texts = [original.cot.strip(), *(each.text for each in rounds)]
    lengths = [original.num_cot_tokens, *(each.num_tokens for each in rounds)]
    for number, each in enumerate(rounds, 1):
        if each.outcome != "ok":
            return Stop(_kept_before(macc, lengths[:number]), "failed")
        if (reason := _broken_rule(macc, each, lengths[: number + 1])) is not None:
            return Stop(_kept_before(macc, lengths[:number]), reason)
        if macc.stop == "fixed_k" and number == macc.fixed_k:
            return Stop(number, "fixed_k")
        if stop_at_fixed_point and texts[number] == texts[number - 1]:
            return Stop(_kept_before(macc, lengths[:number]), "fixed_point")
        if number == macc.max_rounds:
            return Stop(_kept_before(macc, lengths[: number + 1]), "limit")
    return None


def _broken_rule(rule: Macc, last: Round, lengths: Sequence[int]) -> StopReason | None:
    """Why the last round must not be kept, or None. `lengths` ends with the last round's."""
    if rule.stop == "patience":
        rounds_since_shortest = len(lengths) - 1 - _shortest(lengths)
        return "patience" if rounds_since_shortest >= (rule.patience or 1) else None
    if rule.stop == "fixed_k":
        return None
    if lengths[-1] > lengths[-2]:
        return "rebound"
    if rule.stop == "min_tokens" and lengths[-1] < (rule.min_tokens or 0):
        return "min_tokens"
    if rule.stop == "answer_kept" and not last.answer_kept:
        return "answer_lost"
    return None


def _kept_before(rule: Macc, lengths: Sequence[int]) -> int:
    """The round that is kept of those whose `lengths` are given: the last one, or the shortest under stop=patience."""
    return _shortest(lengths) if rule.stop == "patience" else len(lengths) - 1


def _shortest(lengths: Sequence[int]) -> int:
    return min(range(len(lengths)), key=lambda number: (lengths[number], number))


def keep(original: Rationale, rounds: Sequence[Round], rule: Macc | SingleRound, *, deterministic: bool) -> Compressed | None:
    """What training sees of `original` once its rounds are over; None when a failed round drops it (failed_round=drop)."""
    stop = decide(original, rounds, rule, deterministic=deterministic)
    assert stop is not None, f"rounds of {original.id} are not over"
    if stop.reason == "failed" and rule.failed_round == "drop":
        return None
    kept = rounds[stop.kept_round - 1] if stop.kept_round else None
    needed = next(n for n in range(len(rounds) + 1) if decide(original, rounds[:n], rule, deterministic=deterministic))
    return Compressed(
        rationale_id=original.id,
        text=kept.text if kept else original.cot.strip(),
        kept_round=stop.kept_round,
        num_tokens=kept.num_tokens if kept else original.num_cot_tokens,
        num_tokens_original=original.num_cot_tokens,
        stop_reason=stop.reason,
        num_rounds_run=needed,
    )


_REFUSAL = re.compile(
    r"(i['’]m|i am) (sorry|unable|not able)|sorry,|i (can['’]?t|cannot|can not|won['’]t) (help|assist|provide|comply|rewrite|simplify)|as an ai\b",
    re.I,
)


def outcome_of(text: str, finish_reason: FinishReason) -> RoundOutcome:
    """Whether a rewrite can be used; any other outcome is a failed round. A refusal that nobody marked is known by its first words."""
    if finish_reason != "stop" and finish_reason != "budget":
        return finish_reason
    if not text:
        return "empty"
    return "refused" if _REFUSAL.match(text) else "ok"


def rewrite_prompt(rule: Rewriting | ReferenceRounds, *, question: str, text: str, answer: str) -> str:
    """The compressor's prompt for one round."""
    return rule.prompt.format(question=question, rationale=text, answer=answer)


def truncate(original: Rationale, rule: Truncation, *, cut: Callable[[str, int], str]) -> Compressed:
    """`original` cut after `rule.ratio` of its tokens; `cut(text, n)` gives the text of its first n tokens."""
    length = round(original.num_cot_tokens * rule.ratio)
    return Compressed(
        rationale_id=original.id,
        text=cut(original.cot.strip(), length).strip(),
        kept_round=1,
        num_tokens=length,
        num_tokens_original=original.num_cot_tokens,
        stop_reason="none",
        num_rounds_run=0,
    )


def needs_rounds(rule: Macc | SingleRound | Truncation | NoCompression | ReferenceRounds) -> bool:
    """Whether this compression asks a compressor."""
    return isinstance(rule, Rewriting)
