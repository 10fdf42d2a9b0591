"""Numbers in words: "eighteen", "one hundred and twenty", "half a dozen"."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from cotexp.tasks.text_tokens import Token
from cotexp.tasks.units import MAGNITUDES, NUMBERS, UNITS

_SPOKEN_MAGNITUDES = {name: MAGNITUDES[name] for name in ["hundred", "thousand", "million", "billion", "trillion"]}


def number_in_words_at(tokens: Sequence[Token], at: int) -> tuple[Fraction, int] | None:
    """ "eighteen", "one hundred and twenty", "a million", "half a dozen": a number in words, and the place of its end."""
    words = [token.text.lower() if token.kind == "word" else "" for token in tokens[at : at + 3]] + ["", "", ""]
    if words[0] == "half" and words[1] in ("a", "") and words[2] in MAGNITUDES:
        return Fraction(1, 2), at + 2
    if words[0] == "a" and words[1] == "half" and words[2] in MAGNITUDES:
        return Fraction(1, 2), at + 2
    if words[0] == "a" and words[1] in MAGNITUDES:
        return (Fraction(1), at + 1) if words[1] not in _SPOKEN_MAGNITUDES else _spoken_number(tokens, at)
    return _spoken_number(tokens, at) if words[0].split("-")[0] in NUMBERS else None


def _spoken_number(tokens: Sequence[Token], at: int) -> tuple[Fraction, int] | None:
    """A complete number in words; None for a "one" that may not be a number ("one of the eggs")."""
    total, group, last, end = 0, 0, 0, at
    while end < len(tokens) and tokens[end].kind == "word":
        word = tokens[end].text.lower()
        joined = (
            word == "and"
            and end > at
            and last in _SPOKEN_MAGNITUDES.values()
            and end + 1 < len(tokens)
            and _below_hundred(tokens[end + 1]) is not None
        )
        number = 1 if word == "a" and end == at else _below_hundred(tokens[end])
        if joined:
            end += 1
            continue
        if number is not None and (end == at or (last >= 100 > number) or (last in range(20, 100, 10) and 0 < number < 10)):
            group, last = group + number, number if number < 20 or number % 10 == 0 else 1
        elif word in _SPOKEN_MAGNITUDES and group and last != _SPOKEN_MAGNITUDES[word] and end > at:
            factor = last = _SPOKEN_MAGNITUDES[word]
            if factor == 100:
                group *= factor
            else:
                total, group = total + group * factor, 0
        else:
            break
        end += 1
    if end == at:
        return None
    if end == at + 1 and tokens[at].text.lower() == "one" and not _is_lone(tokens, end):
        return None
    return Fraction(total + group), end


def _below_hundred(token: Token) -> int | None:
    """The number below a hundred in a word such as "seven" or "twenty-one"."""
    tens, _, ones = token.text.lower().partition("-") if token.kind == "word" else ("", "", "")
    if not ones:
        return NUMBERS.get(tens)
    return NUMBERS[tens] + NUMBERS[ones] if NUMBERS.get(tens, 0) >= 20 and 0 < NUMBERS.get(ones, 0) < 10 else None


def _is_lone(tokens: Sequence[Token], at: int) -> bool:
    """Whether only punctuation, a factor or a unit follows. Before other words "one" is often not a number."""
    if at == len(tokens) or tokens[at].kind in ("separator", "close", "percent", "equals", "degree"):
        return True
    word = tokens[at].text.lower()
    return tokens[at].kind == "word" and (word in MAGNITUDES or (len(word) > 1 and word in UNITS and word != "second") or word == "and")
