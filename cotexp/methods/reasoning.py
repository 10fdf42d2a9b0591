"""Reasoning models write in two parts: what they think, up to `</think>`, and the answer part. Each is a chain of thought of its own.

Source: MACC, second-hand: both parts are compressed separately and joined again. A text without `</think>` has one part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from cotexp.records import Compressed, Rationale

OPEN, CLOSE = "<think>", "</think>"
THINKING = "thinking"
"""Ends the id of the part that is thought."""


class Parts(NamedTuple):
    """A chain of thought, cut; the five pieces join to it. `thinking` and `chain` are without white space at their ends."""

    opening: str
    thinking: str
    middle: str
    chain: str
    end: str

    @classmethod
    def of(cls, cot: str) -> Parts:
        """The last `</think>` ends the thinking, as it does where answers are read."""
        before, mark, after = cot.rpartition(CLOSE)
        head = before[: len(before) - len(before.lstrip())]
        if before.lstrip().startswith(OPEN):
            head += OPEN
        inner = before[len(head) :]
        thinking, chain = inner.strip(), after.strip()
        begin = len(inner) - len(inner.lstrip())
        lead = len(after) - len(after.lstrip()) if chain else len(after)
        middle = inner[begin + len(thinking) :] + mark + after[:lead]
        return cls(head + inner[:begin], thinking, middle, chain, after[lead + len(chain) :])


def lengths(cot: str, count: Callable[[str], int]) -> tuple[int, int]:
    """(tokens of thinking and chain, tokens of the thinking alone), without the marks between them."""
    parts = Parts.of(cot)
    num_thinking = count(parts.thinking) if parts.thinking else 0
    return num_thinking + count(parts.chain), num_thinking


def without_thinking(text: str) -> str:
    """What a model says behind its thinking: of a compressor that reasons, the rewrite."""
    return text.rpartition(CLOSE)[2].strip()


def chains(rationales: Sequence[Rationale]) -> list[Rationale]:
    """What is compressed: each rationale as it is, or its two parts as rationales of their own, those without any text left out."""
    return [part for each in rationales for part in _chains_of(each)]


def _chains_of(rationale: Rationale) -> list[Rationale]:
    parts = Parts.of(rationale.cot)
    if CLOSE not in rationale.cot or not (parts.thinking or parts.chain):
        return [rationale]
    length = rationale.num_thinking_tokens
    thinking = replace(rationale, id=f"{rationale.id}/{THINKING}", cot=parts.thinking, num_cot_tokens=length)
    chain = replace(rationale, cot=parts.chain, num_cot_tokens=rationale.num_cot_tokens - length, num_thinking_tokens=0)
    return [each for each in (thinking, chain) if each.cot]


def before_answer_part(chain: Rationale, chain_of: Mapping[str, Rationale]) -> str:
    """What stands between question and chain: of the answer part of a rationale whose thinking is one of the chains too, that thinking."""
    thinking = chain_of.get(f"{chain.id}/{THINKING}")
    return f"{thinking.cot}\n{CLOSE}\n\n" if thinking else ""


def joined(rationales: Sequence[Rationale], kept: Sequence[Compressed]) -> list[Compressed]:
    """One compressed chain per rationale from those of its parts; without any part that had to be dropped, it is dropped whole.

    Lengths are sums; rounds and the reason to stop are those of the thinking.
    """
    by_id = {each.rationale_id: each for each in kept}
    found = (_joined(each, by_id) for each in rationales)
    return [each for each in found if each is not None]


def _joined(rationale: Rationale, kept: Mapping[str, Compressed]) -> Compressed | None:
    wanted = _chains_of(rationale)
    own = [kept[each.id] for each in wanted if each.id in kept]
    if len(own) < len(wanted):
        return None
    if wanted[0] is rationale:
        return own[0]
    parts = Parts.of(rationale.cot)
    texts = {each.rationale_id: each.text for each in own}
    return replace(
        own[0],
        rationale_id=rationale.id,
        text=f"{parts.opening}{texts.get(f'{rationale.id}/{THINKING}', '')}{parts.middle}{texts.get(rationale.id, '')}",
        num_tokens=sum(each.num_tokens for each in own),
        num_tokens_original=sum(each.num_tokens_original for each in own),
    )
