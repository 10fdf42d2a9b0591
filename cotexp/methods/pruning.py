"""Token pruning: drops the least important tokens of a chain of thought.

Source: TokenSkip (Xia et al. 2025): tokens are ranked by importance, and the most important share, the ratio, is kept in order. Ours:
numbers and operators are never dropped. Words are kept or dropped whole, by the mean importance of their tokens and together with the white
space before them, so that numbers and characters of several bytes stay whole and words stay separate.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from typing import NamedTuple

_NUMBER = r"\d+(?:[.,]\d+)*"
UNSPACED = r"\u2E80-\u9FFF\uF900-\uFAFF"
"""Characters of languages that write no spaces, in the form of a regular expression's set: each of them is a word."""
_LETTER = rf"[^\W\d_{UNSPACED}]"
_WORD = rf"\\?{_LETTER}+(?:['’_/-]{_LETTER}+)*"
_OPENING = r"[\"“‘'\[$£€#]*"
_PIECE = re.compile(rf"\s*(?:{_OPENING}(?:{_NUMBER}|{_WORD})|\S|$)")
"""Splits a text into the parts that are kept or dropped whole. Joined, the matches are the text."""

_PROTECTED = re.compile(
    r"\w?[^\w\s]*\d+"  # numbers with the signs directly before them, so that two numbers do not merge
    r"|[+=×÷·√^<>≤≥≠≈%−(){}]"
    r"|(?<!\*)\*(?!\*)"  # except the stars of bold print
    rf"|[-/](?!{_LETTER})"
    rf"|\\{_LETTER}+"
    r"|\bx(?=\s*\d)"
)
"""Numbers and operators."""


class Unit(NamedTuple):
    """The tokens from `first` up to `end`, which are kept or dropped together."""

    first: int
    end: int
    protected: bool

    @property
    def length(self) -> int:
        return self.end - self.first


class Kept(NamedTuple):
    """Indices of the kept tokens, ascending, and whether the protected ones alone exceed the ratio."""

    tokens: list[int]
    exceeded: bool


def units(text: str, spans: Sequence[tuple[int, int]], *, protect: bool) -> list[Unit]:
    """The units of a text whose tokens cover the characters in `spans` (first, end); every token is in exactly one unit.

    Tokens that share a character are in one unit, and a token of only white space is in the unit of the next token.
    """
    borders = {found.end() for found in _PIECE.finditer(text)}
    special = [found.span() for found in _PROTECTED.finditer(text)] if protect else []
    found, first, begin, end, place = [], 0, 0, 0, 0
    for number, (start, stop) in enumerate(spans):
        end = max(end, stop)
        following = spans[number + 1][0] if number + 1 < len(spans) else len(text)
        last = number + 1 == len(spans)
        if last or (start < stop and any(each in borders for each in range(end, following + 1))):
            while place < len(special) and special[place][1] <= begin:
                place += 1
            found.append(Unit(first, number + 1, place < len(special) and special[place][0] < end))
            first, begin = number + 1, end
    return found


def keep(text_units: Sequence[Unit], importances: Sequence[float], ratio: float) -> Kept:
    """The kept tokens, round(ratio * tokens): the protected units, then the most important others that still fit, of equal ones the first.

    `importances` has a number for every token of `text_units`.
    """
    room = round(ratio * len(importances)) - sum(unit.length for unit in text_units if unit.protected)
    exceeded = room < 0
    chosen = [unit for unit in text_units if unit.protected]
    means = {unit: math.fsum(importances[unit.first : unit.end]) / unit.length for unit in text_units if not unit.protected}
    for unit in sorted(means, key=lambda unit: (-means[unit], unit.first)):
        if unit.length <= room:
            chosen.append(unit)
            room -= unit.length
    return Kept([token for unit in sorted(chosen) for token in range(unit.first, unit.end)], exceeded)


def draw_ratio(rationale_id: str, ratios: Sequence[float], seed: int) -> float:
    """The ratio for one chain, drawn uniformly and determined by the arguments."""
    digest = hashlib.sha256(f"ratio/{seed}/{rationale_id}".encode()).digest()
    return ratios[int.from_bytes(digest[:8], "big") % len(ratios)]


def importances_of_words(text: str, words: Sequence[tuple[str, float]], spans: Sequence[tuple[int, int]]) -> list[float]:
    """The importance of each token, whose characters `spans` gives: the largest of the overlapping words, 0 without one.

    `words` are in the order of the text; a word that the text does not contain verbatim is ignored.
    """
    found, place = [], 0
    for word, importance in words:
        start = text.find(word, place)
        if word and start >= 0:
            place = start + len(word)
            found.append((start, place, importance))
    result, first = [], 0
    for start, stop in spans:
        while first < len(found) and found[first][1] <= start:
            first += 1
        touched = 0.0
        for begin, end, importance in found[first:]:
            if begin >= stop:
                break
            touched = max(touched, importance if end > start else 0.0)
        result.append(touched)
    return result
