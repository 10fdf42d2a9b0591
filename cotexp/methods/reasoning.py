"""Texts of reasoning models: the thinking, up to a mark such as `</think>`, and the answer part. Both are separate chains of thought.

Source: MACC, second-hand: both parts are compressed separately and joined again. A text without a closing mark has one part. The marks
depend on the model family: tags, tokens, or channels such as gpt-oss's `analysis` and `final`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from cotexp.records import Compressed, Rationale

OPEN, CLOSE = "<think>", "</think>"
AFTER_THINKING = f"\n{CLOSE}\n\n"
"""Stands between thinking and what is scored after it."""
THINKING = "thinking"
"""Suffix of the id of the thinking part."""

_NAME = (
    r"(?:(?!end)[a-z]{1,12}[:_|])?(?:think|thinking|thoughts?|reason|reasoning|analysis|reflection|scratchpad|cot|rationale|antthinking"
    r"|(?:inner|internal)_(?:monologue|thoughts?)|chain_of_thought)(?:_[a-z0-9_]{1,60})?"
)
_CLOSING = (
    rf"<[ ]?/[ ]?{_NAME}[ ]?>|<\|[ ]?/[ ]?{_NAME}[ ]?\|>|(?-i:\[(?:/|END_)"
    rf"(?:THINK|THINKING|REASONING|think|thinking|reasoning)\])|◁[ ]?/[ ]?{_NAME}[ ]?▷"
    rf"|&lt;/{_NAME}&gt;"
    r"|<\|(?:end_of_(?:thought|thinking)|end_thinking|inner_suffix|(?:think|thought)_end)\|>|<unused95>|<channel\|>"
    r"|<\|im_start\|>[ ]?answer(?=\n)|<\|channel\|>[ ]?final[^<\n]{0,200}<\|message\|>|assistantfinal|^here(?:'s| is) my response:"
)
_OPENING = (
    rf"<[ ]?{_NAME}(?:[ ][a-z]+=[\"'][^\"'<>]{{0,40}}[\"'])?[ ]?>|<\|[ ]?{_NAME}[ ]?\|>|(?-i:\[(?:BEGIN_THINKING|THINK|think)\])|◁[ ]?{_NAME}[ ]?▷"
    rf"|&lt;{_NAME}&gt;|<\|im_start\|>[ ]?think(?=\n)"
    r"|<\|(?:begin_of_(?:thought|thinking)|inner_prefix|(?:think|thought)_start)\|>|<unused94>thought|<\|channel>thought"
    r"|<\|channel\|>[ ]?(?:analysis|commentary)[^<\n]{0,200}<\|message\|>|\A\s*analysis(?=[A-Z0-9\"'(\\$])|assistantanalysis|assistantcommentary"
)
_MARK = re.compile(rf"(?<![`'\"])(?:(?P<close>{_CLOSING})|{_OPENING})", re.IGNORECASE | re.MULTILINE)
_TURN = re.compile(r"(?:<\|end\|>)?\s?(?:<\|start\|>)?(?:assistant)?\Z")
"""Marks between a channel's text and the name of the next channel."""
_TOKEN = re.compile(r"<\|[^<>|\s]{1,40}\|>|<｜[^<>｜\s]{1,40}｜>|</?s>|<(?:bos|eos|pad|start_of_turn|end_of_turn)>")
"""A mark of the model that a decoder left in a text, such as `<|end|>`."""

MOST_BETWEEN = 40
"""Most characters of a turn's mark between two channels."""


class Thought(NamedTuple):
    """The place of the thinking in a text: `opening` is the end of the first opening mark (0 without one, as if the template writes it), `end`
    and `answer` are the start and the end of the last closing mark; both are the text's length for thinking that never ends.
    """

    opening: int
    end: int
    answer: int


def thought_in(text: str) -> Thought | None:
    """The thinking in a text, between the marks of any family; None if there is none. A mark within quotes does not count."""
    opening, closing, unclosed = None, None, False
    for match in _MARK.finditer(text):
        is_opening = match["close"] is None
        opening = match if opening is None and is_opening and closing is None else opening
        closing = closing if is_opening else match
        unclosed = is_opening
    if opening is None and closing is None:
        return None
    begin = 0 if opening is None else opening.end()
    if unclosed or closing is None:
        return Thought(begin, len(text), len(text))
    last = max(begin, closing.start() - MOST_BETWEEN)
    between = _TURN.search(text, last, closing.start())
    return Thought(begin, between.start() if between else closing.start(), closing.end())


def answer_begin(text: str) -> int:
    """The place at which a reasoning model's answer part begins: after its thinking; the end of a text whose thinking never ends."""
    thought = thought_in(text)
    return 0 if thought is None else thought.answer


class Parts(NamedTuple):
    """A chain of thought in five pieces, which join to it. `thinking` and `chain` are without white space at their ends."""

    opening: str
    thinking: str
    middle: str
    chain: str
    end: str

    @classmethod
    def of(cls, cot: str) -> Parts:
        """The pieces of a chain. The last closing mark ends the thinking, as in grading; thinking that never ends is not a separate part."""
        thought = thought_in(cot)
        if thought is None or thought.end == len(cot):
            thought = Thought(0, 0, 0)
        inner, after = cot[thought.opening : thought.end], cot[thought.answer :]
        thinking, chain = inner.strip(), after.strip()
        begin = thought.opening + len(inner) - len(inner.lstrip()) if thinking else thought.opening
        lead = thought.answer + (len(after) - len(after.lstrip()) if chain else len(after))
        return cls(cot[:begin], thinking, cot[begin + len(thinking) : lead], chain, cot[lead + len(chain) :])


def length(text: str, count: Callable[[str], int]) -> int:
    """Tokens of a text without leading white space, which no chain of thought has and which would change the first token."""
    return count(text.lstrip())


def lengths(cot: str, count: Callable[[str], int]) -> tuple[int, int]:
    """(tokens of thinking and chain, tokens of only the thinking), without the marks between them."""
    parts = Parts.of(cot)
    num_thinking = count(parts.thinking) if parts.thinking else 0
    return num_thinking + count(parts.chain), num_thinking


def without_thinking(text: str) -> str:
    """The text after the thinking, such as the rewrite of a compressor that reasons; empty if the thinking never ends."""
    return _TOKEN.sub("", text[answer_begin(text) :]).strip() if thought_in(text) else text.strip()


def chains(rationales: Sequence[Rationale]) -> list[Rationale]:
    """The chains to compress: each rationale, or its two non-empty parts as separate rationales."""
    return [part for each in rationales for part in _chains_of(each)]


def _chains_of(rationale: Rationale) -> list[Rationale]:
    parts = Parts.of(rationale.cot)
    if not parts.middle.strip() or not (parts.thinking or parts.chain):
        return [rationale]
    length = rationale.num_thinking_tokens
    thinking = replace(rationale, id=f"{rationale.id}/{THINKING}", cot=parts.thinking, num_cot_tokens=length)
    chain = replace(rationale, cot=parts.chain, num_cot_tokens=rationale.num_cot_tokens - length, num_thinking_tokens=0)
    return [each for each in (thinking, chain) if each.cot]


def before_answer_part(chain: Rationale, chain_of: Mapping[str, Rationale]) -> str:
    """The text between question and chain: the thinking, for the answer part of a rationale whose thinking is also one of the chains."""
    thinking = chain_of.get(f"{chain.id}/{THINKING}")
    return f"{thinking.cot}{AFTER_THINKING}" if thinking else ""


def joined(rationales: Sequence[Rationale], kept: Sequence[Compressed]) -> list[Compressed]:
    """One compressed chain per rationale, joined from its parts. A rationale with a dropped part is dropped.

    Lengths are sums; rounds and stop reason are those of the thinking.
    """
    by_id = {each.rationale_id: each for each in kept}
    found = (_joined(each, by_id) for each in rationales)
    return [each for each in found if each is not None]


def _joined(rationale: Rationale, kept: Mapping[str, Compressed]) -> Compressed | None:
    wanted = _chains_of(rationale)
    compressed = [kept[each.id] for each in wanted if each.id in kept]
    if len(compressed) < len(wanted):
        return None
    if wanted[0] is rationale:
        return compressed[0]
    parts = Parts.of(rationale.cot)
    texts = {each.rationale_id: each.text for each in compressed}
    return replace(
        compressed[0],
        rationale_id=rationale.id,
        text=f"{parts.opening}{texts.get(f'{rationale.id}/{THINKING}', '')}{parts.middle}{texts.get(rationale.id, '')}",
        num_tokens=sum(each.num_tokens for each in compressed),
        num_tokens_original=sum(each.num_tokens_original for each in compressed),
    )
