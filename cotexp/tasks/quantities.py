"""Quantities in a sequence of tokens: a number with everything that changes its value (sign, fraction, magnitude, factorial, second unit).

A number that is not read completely becomes a `Stop`, which makes the whole statement unreadable, because a part of it would be another number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from fractions import Fraction

from cotexp.tasks.number_words import number_in_words_at
from cotexp.tasks.sentence_items import Item, Quantity, Sign, Stop, Word, plain_digits
from cotexp.tasks.text_tokens import MOST_DIGITS, Token
from cotexp.tasks.units import MAGNITUDES, NUMBERS, UNITS
from cotexp.tasks.word_lists import ATTACHED, CHANGING

_OWN_LETTERS = {"a", "i", "A", "I"}
_LETTER_MAGNITUDES = {"k": 10**3, "K": 10**3, "M": 10**6, "B": 10**9, "MM": 10**6, "Mn": 10**6, "mn": 10**6, "bn": 10**9, "Bn": 10**9, "tn": 10**12}
_HAN = {"百": 10**2, "千": 10**3, "万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8, "만": 10**4, "억": 10**8}
_PARTS = {"half": Fraction(1, 2), "quarter": Fraction(1, 4), "third": Fraction(1, 3)}
MOST_FACTORIAL = 60


def items(tokens: Sequence[Token]) -> list[Item]:
    """The items of a sentence: quantities, including compounds such as "2 hours and 30 minutes", and other tokens."""
    result: list[Item] = []
    at = 0
    while at < len(tokens):
        read = _quantity(tokens, at, result)
        if read is not None:
            item, at = read
            result.append(item)
            continue
        token = tokens[at]
        if token.kind == "word" and token.text.lower() not in ("π", "pi"):
            result.append(Word(token.text, token.spaced))
        elif token.kind in ("word", "bad", "bang", "degree", "percent", "number"):
            result.append(Stop(token.text))
        elif token.kind != "currency":
            result.append(Sign(token.kind, token.text, token.spaced))
        at += 1
    return _compounds(result)


# --- one quantity --------------------------------------------------------------------------------------------------------


def _quantity(tokens: Sequence[Token], at: int, before: Sequence[Item]) -> tuple[Quantity | Stop, int] | None:
    """The quantity that begins at a token, and the place of its end; None if none begins there."""
    negative, start = _sign(tokens, at, before)
    currency = ""
    while start < len(tokens) and tokens[start].kind == "currency":
        currency, start = tokens[start].text, start + 1
    if not negative and currency and start < len(tokens) and _is_minus(tokens[start]):
        negative, start = True, start + 1
    if start >= len(tokens):
        return None
    spoken = number_in_words_at(tokens, start)
    if spoken is not None:
        value, end = spoken
        part = _part(tokens, end) if value.denominator == 1 else None
        value, end = (value + part[0], part[1]) if part else (value, end)
        if end < len(tokens) and tokens[end].text.lower() in ("quarter", "quarters", "point"):
            return Stop(tokens[end].text), end + 1
        quantity = Quantity(value, plain_digits(value))
    elif tokens[start].kind == "number":
        if before and isinstance(before[-1], Word) and not tokens[start].spaced and not currency and len(before[-1].text) == 1:
            return Stop(tokens[start].text), start + 1
        quantity, end = _simple(tokens, start)
    else:
        return None
    return _with_modifiers(quantity, tokens, end, currency=currency, negative=negative)


def _sign(tokens: Sequence[Token], at: int, before: Sequence[Item]) -> tuple[bool, int]:
    """Whether the token is a minus sign, and the place of its operand. After a quantity it is an operator."""
    token = tokens[at]
    operand = bool(before) and (isinstance(before[-1], Quantity | Stop) or (isinstance(before[-1], Sign) and before[-1].kind == "close"))
    glued = bool(before) and isinstance(before[-1], Word) and not token.spaced
    if _is_minus(token) and not operand and not glued and at + 1 < len(tokens):
        tight = not tokens[at + 1].spaced or tokens[at + 1].kind in ("number", "currency")
        after_word = bool(before) and isinstance(before[-1], Word) and tokens[at + 1].spaced
        if tight and not after_word and tokens[at + 1].kind in ("number", "currency"):
            return True, at + 1
    if token.kind == "operator" and token.text == "+" and not operand and not glued and at + 1 < len(tokens) and tokens[at + 1].kind == "number":
        return False, at + 1
    if token.kind == "word" and token.text.lower() in ("negative", "minus") and not operand and at + 1 < len(tokens):
        return True, at + 1
    return False, at


def _is_minus(token: Token) -> bool:
    return token.kind == "operator" and token.text in "-−–"


def _simple(tokens: Sequence[Token], at: int) -> tuple[Quantity, int]:
    """A number, a fraction "a/b", or a mixed one."""
    token = tokens[at]
    assert token.value is not None
    quantity = Quantity(token.value, token.plain or plain_digits(token.value), is_fraction=token.text == "fraction")
    end = at + 1
    over = _denominator(tokens, end) if not quantity.is_fraction else None
    if over is not None and quantity.value is not None:
        bottom, end = over
        assert bottom.value is not None
        return Quantity(token.value / bottom.value, f"{token.plain}/{bottom.plain}", is_fraction=True), end
    if quantity.is_fraction or token.value.denominator != 1:
        return quantity, end
    part = _part(tokens, end)
    if part is None:
        return quantity, end
    value = token.value + part[0]
    return Quantity(value, plain_digits(value)), part[1]


def _denominator(tokens: Sequence[Token], at: int) -> tuple[Token, int] | None:
    """The denominator after a slash, and the place of its end. None if it is zero or if another slash follows."""
    if at + 1 < len(tokens) and tokens[at].kind == "operator" and tokens[at].text == "/":
        second = at + 1 + (tokens[at + 1].kind == "currency")
        if (
            second < len(tokens)
            and tokens[second].kind == "number"
            and tokens[second].text != "fraction"
            and tokens[second].value
            and tokens[second].plain
        ):
            after = tokens[second + 1] if second + 1 < len(tokens) else None
            if after is None or after.kind != "operator" or after.text not in "/^":
                return tokens[second], second + 1
    return None


def _part(tokens: Sequence[Token], at: int) -> tuple[Fraction, int] | None:
    """The fraction of a mixed number after its whole part: "1/2", "½", "and 1/2", "and a half"."""
    joined = at < len(tokens) and tokens[at].kind == "word" and tokens[at].text.lower() == "and"
    at += joined
    if at >= len(tokens):
        return None
    if tokens[at].kind == "number":
        part, end = (tokens[at].value, at + 1) if tokens[at].text == "fraction" else (None, at)
        if part is None and (over := _denominator(tokens, at + 1)) is not None and tokens[at].value is not None and tokens[at].value.denominator == 1:  # type: ignore[union-attr]
            assert tokens[at].value is not None
            part, end = tokens[at].value / over[0].value, over[1]  # type: ignore[operator]
        return (part, end) if part is not None and 0 < part < 1 else None
    words = [token.text.lower() if token.kind == "word" else "" for token in tokens[at : at + 2]] + ["", ""]
    if joined and words[0] in ("a", "one") and words[1] in _PARTS:
        return _PARTS[words[1]], at + 2
    if joined and words[0] in ("two", "three") and words[1].removesuffix("s") in _PARTS:
        part = _PARTS[words[1].removesuffix("s")] * NUMBERS[words[0]]
        return (part, at + 2) if part < 1 else None
    return None


# --- after the number -----------------------------------------------------------------------------------------------------


def _with_modifiers(quantity: Quantity, tokens: Sequence[Token], at: int, *, currency: str, negative: bool) -> tuple[Quantity | Stop, int]:
    """The quantity with factorial, magnitudes, sign and unit. Unknown text directly after it makes it a `Stop`."""
    value, changed, is_letter = quantity.value, quantity.plain == "", False
    if at < len(tokens) and tokens[at].kind == "bang" and not tokens[at].spaced:
        if value.denominator != 1 or not 0 <= value <= MOST_FACTORIAL:
            return Stop("!"), at + 1
        value, changed, at = Fraction(math.factorial(int(value))), True, at + 1
    while at < len(tokens) and (factor := _magnitude(tokens[at], currency)) is not None:
        value, changed, is_letter, at = value * factor, True, is_letter or (len(tokens[at].text) == 1 and tokens[at].text.isascii()), at + 1
        if at < len(tokens) and tokens[at].kind == "separator" and tokens[at].text == "." and tokens[at - 1].text.lower() == "doz":
            at += 1
    if at < len(tokens) and tokens[at].kind == "word" and tokens[at].text.lower() in MAGNITUDES:
        return Stop(tokens[at].text), at + 1
    value = -value if negative else value
    text = plain_digits(value) if changed else f"{'-' if negative else ''}{quantity.plain}"
    if len(text) > MOST_DIGITS + 10:
        return Stop(""), at
    read = Quantity(value, text, UNITS.get(currency), currency, is_fraction=quantity.is_fraction, is_letter=is_letter)
    return _with_unit(read, tokens, at)


def _magnitude(token: Token, currency: str) -> int | None:
    if token.kind != "word":
        return None
    if not token.spaced and token.text in _LETTER_MAGNITUDES:
        return _LETTER_MAGNITUDES[token.text]
    if not token.spaced and token.text == "m" and currency:
        return 10**6
    if token.text.lower() in MAGNITUDES:
        return MAGNITUDES[token.text.lower()]
    if token.text[0] in _HAN and token.text[1:2] not in ("克", "米", "瓦", "卡", "帕"):
        factor = 1
        for sign in token.text:
            if sign not in _HAN:
                break
            factor *= _HAN[sign]
        return factor
    return None


def _with_unit(quantity: Quantity, tokens: Sequence[Token], at: int) -> tuple[Quantity | Stop, int]:
    if at >= len(tokens):
        return quantity, at
    token, after = tokens[at], tokens[at + 1] if at + 1 < len(tokens) else None
    if token.kind == "percent":
        return quantity._replace(is_percent=True, unit=None, unit_name="%"), at + 1
    if token.kind == "degree":
        is_split = after is not None and after.kind == "number"
        return (Stop("°"), at + 1) if is_split else (quantity._replace(unit_name="°"), at + 1 + _is_scale(after))
    if token.kind in ("bad", "bang"):
        return Stop(token.text), at + 1
    if token.kind == "open" and not token.spaced and token.text == "(":
        return Stop("("), at + 1
    if token.kind == "currency" and (after is None or after.kind != "number"):
        return quantity._replace(unit=UNITS.get(token.text), unit_name=token.text), at + 1
    if token.kind == "operator" and token.text == "/" and after is not None and after.kind == "word":
        return quantity._replace(unit_name="/"), at + 2
    if token.kind != "word":
        return quantity, at
    return _with_word(quantity, tokens, at)


def _is_scale(token: Token | None) -> bool:
    return token is not None and token.kind == "word" and token.text in ("C", "F", "K")


def _with_word(quantity: Quantity, tokens: Sequence[Token], at: int) -> tuple[Quantity | Stop, int]:
    token = tokens[at]
    word = token.text.lower()
    unit = UNITS.get(token.text) or (UNITS.get(word) if len(word) > 1 else None)
    following = [token.text.lower() for token in tokens[at : at + 3]]
    if word in CHANGING or re.fullmatch(r"r\d+", word) or following[:2] == ["below", "zero"] or following == ["to", "the", "power"]:
        return Stop(word), at + 1
    if unit is not None and (len(token.text) > 1 or _is_unit_letter(tokens, at)):
        return quantity._replace(unit=unit, unit_name=token.text), at + 1
    if len(token.text) == 1 and token.text not in _OWN_LETTERS and token.text.isascii() and token.text != "x":
        return Stop(token.text), at + 1
    if not token.spaced and token.text.isascii() and word not in ATTACHED and len(token.text) < 4:
        return Stop(token.text), at + 1
    return quantity, at


def _is_unit_letter(tokens: Sequence[Token], at: int) -> bool:
    """Whether a single letter is a unit: nothing after it, such as an operator, makes it a variable."""
    after = tokens[at + 1] if at + 1 < len(tokens) else None
    return after is None or not ((after.kind == "operator" and after.text in "+-*^×−") or (after.kind == "open" and not after.spaced))


# --- compounds -----------------------------------------------------------------------------------------------------------


def _compounds(row: Sequence[Item]) -> list[Item]:
    """Joined quantities of one kind in descending units: "18 dollars and 50 cents" is 18.5 dollars."""
    result: list[Item] = []
    at = 0
    while at < len(row):
        item = row[at]
        if isinstance(item, Quantity) and result and (first := _first_of_compound(result)) is not None:
            whole = result[first]
            assert isinstance(whole, Quantity)
            combined = _joined(whole, item)
            if combined is not None:
                del result[first:]
                item = combined
        result.append(item)
        at += 1
    return result


def _first_of_compound(result: Sequence[Item]) -> int | None:
    """The place of the quantity that only "and" or a comma separates from the next one."""
    at = len(result) - 1
    while at >= 0 and ((isinstance(item := result[at], Word) and item.text.lower() == "and") or (isinstance(item, Sign) and item.text == ",")):
        at -= 1
    return at if at >= 0 and isinstance(result[at], Quantity) else None


def _joined(whole: Quantity, part: Quantity) -> Quantity | None:
    if part.unit_name == "m" and whole.unit is not None and whole.unit.kind == "time":
        part = part._replace(unit=UNITS["min"])
    if whole.unit is None or part.unit is None or whole.unit.kind != part.unit.kind or part.value < 0:
        return None
    if part.unit.size >= whole.unit.size or whole.value.denominator != 1:
        return None
    share = part.value * part.unit.size / whole.unit.size
    value = whole.value - share if whole.plain.startswith("-") else whole.value + share
    return Quantity(value, plain_digits(value), whole.unit, whole.unit_name)
