"""Word-by-word difference of two texts."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from itertools import groupby
from typing import Literal, NamedTuple

Change = Literal["same", "removed", "added"]

_WORD = re.compile(r"(\d[\d.,]*\d|\w+|[^\w\s]|\A(?=\s))(\s*)")
"""A number, a word, a sign, or an empty text before leading white space, with the white space that follows it."""
MOST_COMPARED = 250_000
"""Product of the two lengths in words. Above it, frequent words are not anchors: two texts of 3,000 words took 4 s with them, 0.1 s without."""


class Piece(NamedTuple):
    change: Change
    text: str


def differences(old: str, new: str) -> list[Piece]:
    """`new` in pieces, with the removed pieces of `old` between them. Without the removed pieces it is exactly `new`.

    A difference only in white space does not count.
    """
    before, after = _WORD.findall(old), _WORD.findall(new)
    often = len(before) * len(after) > MOST_COMPARED
    matcher = SequenceMatcher(None, [word for word, _ in before], [word for word, _ in after], autojunk=often)
    pieces = []
    for kind, start, end, new_start, new_end in matcher.get_opcodes():
        if kind == "equal":
            pieces.append(Piece("same", _text(after[new_start:new_end])))
            continue
        pieces += [Piece("removed", _text(before[start:end])), Piece("added", _text(after[new_start:new_end]))]
    filled = (piece for piece in pieces if piece.text)
    return [Piece(change, "".join(piece.text for piece in group)) for change, group in groupby(filled, key=lambda piece: piece.change)]


def _text(words: list[tuple[str, str]]) -> str:
    return "".join(word + space for word, space in words)
