"""The part of the grammar that reads numbers: whole and decimal, repeating, mixed, of another base, times a power of ten."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

from cotexp.tasks.formula_tree import InBase, Node, Number
from cotexp.tasks.token_reader import TokenReader
from cotexp.tasks.unit_words import Unsure, number_in_words

_TWO_NUMBERS = re.compile(r"(?:\{ number \}|number) (?:\{ number \}|number)|number(?! \{)")
"""The text after `\\frac` if both of its parts are numbers: {1}{2}, 1{2}, {1}2, 1 2, 12."""


ReadArgument = Callable[..., Node]
"""Reads the argument of a command: `argument(whole_number=True)` reads all digits of a number without braces."""


def number(reader: TokenReader, argument: ReadArgument) -> Node:
    """The number at the reader's place. Raises: Unsure if it cannot be read completely."""
    if reader.next_is("."):  # .\overline{3}
        if (repeating := _repeating(reader, "0")) is None:
            raise Unsure("a point")
        return repeating
    text = reader.here().text
    reader.place += 1
    if reader.next_is("_"):
        return _in_base(reader, text, argument)
    if repeating := _repeating(reader, text):
        return repeating
    if scientific := _scientific(reader, text):
        return scientific
    value = Number(Fraction(text), "." in text)
    if "." in text:
        return value
    if reader.next_is("\\frac", "\\dfrac", "\\tfrac", "\\cfrac"):
        return _mixed_in_latex(reader, value, argument) or value
    return _mixed_in_digits(reader, value) or value


def _in_base(reader: TokenReader, digits: str, argument: ReadArgument) -> Node:
    reader.place += 1
    if reader.here(1).kind == "text" and reader.next_is("{") and (named := number_in_words(reader.here(1).text)) is not None:
        reader.place += 2
        reader.must("}")
        base: Node = Number(named)
    else:
        base = argument(whole_number=True)
    if not isinstance(base, Number) or base.value.denominator != 1 or not 2 <= base.value <= 36 or "." in digits:
        raise Unsure("a base")
    number = int(base.value)
    if any(int(digit) >= number for digit in digits):
        raise Unsure("a digit that its base does not have")
    return Number(Fraction(digits)) if number == 10 else InBase(digits.lstrip("0") or "0", number)


def _repeating(reader: TokenReader, text: str) -> Node | None:
    """0.1\\overline{6}: the bar is over whole digits after the decimal point."""
    if reader.next_is(".") and reader.here(1).text in ("\\overline", "\\bar", "\\dot"):
        reader.place += 1
    elif "." not in text or not reader.next_is("\\overline", "\\bar", "\\dot"):
        return None
    reader.place += 1
    bar = reader.argument_tokens()
    if len(bar) != 1 or bar[0].kind != "number" or "." in bar[0].text:
        raise Unsure("a repeating decimal")
    before, _, places = text.partition(".")
    digits = bar[0].text
    scale = 10 ** len(places)
    return Number(Fraction(before or "0") + Fraction(places or "0") / scale + Fraction(int(digits), scale * (10 ** len(digits) - 1)))


def _scientific(reader: TokenReader, text: str) -> Node | None:
    """1.6e-19, 5e3; but 2e-5 may be 2e minus 5."""
    letter, sign, digits = reader.here(), reader.here(1), reader.here(2)
    if letter.kind != "letter" or letter.text not in "eE":
        return None
    if sign.kind == "number" and "." not in sign.text and ("." in text or letter.text == "E" or len(sign.text) <= 2):
        reader.place += 2
        return _power_of_ten(text, sign.text)
    if sign.text in ("+", "-") and digits.kind == "number" and ("." in text or letter.text == "E") and "." not in digits.text:
        reader.place += 3
        return _power_of_ten(text, sign.text + digits.text)
    return None


def _mixed_in_latex(reader: TokenReader, whole: Number, argument: ReadArgument) -> Node | None:
    """2\\frac{1}{2} is two and a half; None if no fraction of numbers follows. It looks ahead, so that nested fractions are read once."""
    kinds = " ".join(token.text if token.text in ("{", "}") else token.kind for token in reader.tokens[reader.place + 1 : reader.place + 7])
    if not _TWO_NUMBERS.match(kinds):
        return None
    reader.place += 1
    top, bottom = argument(), argument()
    if not (isinstance(top, Number) and isinstance(bottom, Number)):
        raise Unsure("a mixed number")
    if top.value >= bottom.value or top.value.denominator != 1 or bottom.value.denominator != 1:
        raise Unsure("a mixed number or a product")
    return Number(whole.value + top.value / bottom.value)


def _mixed_in_digits(reader: TokenReader, whole: Number) -> Node | None:
    """2 1/2 is two and a half; None if no fraction follows."""
    top, slash, bottom = reader.here(), reader.here(1), reader.here(2)
    if top.kind != "number" or slash.text != "/" or bottom.kind != "number" or "." in top.text + bottom.text:
        return None
    if not 0 < int(top.text) < int(bottom.text):
        raise Unsure("a mixed number")
    reader.place += 3
    return Number(whole.value + Fraction(int(top.text), int(bottom.text)))


def _power_of_ten(text: str, exponent: str) -> Number:
    if abs(int(exponent)) > 400:
        raise Unsure("a huge power of ten")
    return Number(Fraction(text) * Fraction(10) ** int(exponent), "." in text or int(exponent) < 0)
