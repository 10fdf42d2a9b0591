"""Rounds of rewrites: the end of the rounds of a chain of thought, and the kept round.

Source: MACC (EMNLP 2025, arXiv 2509.22144). A rewrite that is longer than its input ("token elasticity") ends the rounds, and the
text before it is kept. All rules are functions of the rounds that exist, so another rule needs no new text for them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cotexp.records import Compressed, FinishReason, Rationale, Round, RoundOutcome, StopReason


@dataclass(frozen=True, slots=True)
class Stop:
    """The end of the rounds; round `kept_round` is kept (0 = the original text)."""

    kept_round: int
    reason: StopReason


@dataclass(frozen=True, slots=True)
class StopRule:
    """When the rounds of a chain end: after `max_rounds`, or by the rule that `stop` names (see `Macc`)."""

    stop: str
    max_rounds: int | None = None
    fixed_k: int | None = None
    patience: int | None = None
    min_tokens: int | None = None
    fixed_point: str = "auto"


ONE_ROUND = StopRule("fixed_k", fixed_k=1)


def stop_of(original: Rationale, rounds: Sequence[Round], rule: StopRule, *, deterministic: bool) -> Stop | None:
    """The end of the rounds so far under `rule`; None while another round is needed.

    `rounds` are rounds 1, 2, ... of `original`, whose lengths count only the chain of thought, in tokens of the target model. Rounds
    beyond the end are ignored. `deterministic`: whether the compressor always rewrites the same text in the same way.
    """
    stop_at_fixed_point = rule.fixed_point == "stop" or (rule.fixed_point == "auto" and deterministic)
    texts = [original.cot.strip(), *(each.text for each in rounds)]
    lengths = [original.num_cot_tokens, *(each.num_tokens for each in rounds)]
    for number, each in enumerate(rounds, 1):
        if each.outcome != "ok":
            return Stop(_kept_before(rule, lengths[:number]), "failed")
        if (reason := _broken_rule(rule, each, lengths[: number + 1])) is not None:
            return Stop(_kept_before(rule, lengths[:number]), reason)
        if rule.stop == "fixed_k" and number == rule.fixed_k:
            return Stop(number, "fixed_k")
        if stop_at_fixed_point and texts[number] == texts[number - 1]:
            return Stop(_kept_before(rule, lengths[:number]), "fixed_point")
        if number == rule.max_rounds:
            return at_limit(original, rounds[:number], rule)
    return None


def at_limit(original: Rationale, rounds: Sequence[Round], rule: StopRule) -> Stop:
    """What is kept of rounds that could all be kept, if there are no more of them."""
    return Stop(_kept_before(rule, [original.num_cot_tokens, *(each.num_tokens for each in rounds)]), "limit")


def _broken_rule(rule: StopRule, last: Round, lengths: Sequence[int]) -> StopReason | None:
    """The reason why the last round must not be kept, or None. `lengths` ends with the last round's."""
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


def _kept_before(rule: StopRule, lengths: Sequence[int]) -> int:
    """The kept round among those with these `lengths`: the last one, or the shortest under stop=patience."""
    return _shortest(lengths) if rule.stop == "patience" else len(lengths) - 1


def _shortest(lengths: Sequence[int]) -> int:
    return min(range(len(lengths)), key=lambda number: (lengths[number], number))


Decide = Callable[..., Stop | None]
"""`decide(chain, rounds, deterministic=...)`: the end of the rounds; None while another one is needed."""

Last = Callable[[Rationale, Sequence[Round]], Stop]
"""The end of rounds of which there are no more."""


def keep(original: Rationale, rounds: Sequence[Round], decide: Decide, *, deterministic: bool, last: Last | None = None) -> Compressed:
    """The compressed form of `original` for training, after its rounds are over. Rounds beyond those that `decide` needs do not count.

    `last` ends rounds that are all there are, as recorded ones, before `decide` does.
    """
    stop = decide(original, rounds, deterministic=deterministic) or (last(original, rounds) if last else None)
    assert stop is not None, f"rounds of {original.id} are not over"
    kept = rounds[stop.kept_round - 1] if stop.kept_round else None
    needed = next((n for n in range(len(rounds) + 1) if decide(original, rounds[:n], deterministic=deterministic)), len(rounds))
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
    """The outcome of a rewrite; any but "ok" is a failed round. A refusal that the server does not mark is recognised by its first words."""
    if finish_reason != "stop" and finish_reason != "budget":
        return finish_reason
    if not text:
        return "empty"
    return "refused" if _REFUSAL.match(text) else "ok"
