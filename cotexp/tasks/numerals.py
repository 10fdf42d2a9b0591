"""The part of the grammar that reads numbers: whole and decimal, repeating, mixed, of another base, times a power of ten."""

from __future__ import annotations

import re
from fractions import Fraction

from cotexp.tasks.cursor import Cursor
from cotexp.tasks.nodes import Apply, InBase, Node, Number
from cotexp.tasks.words import Unsure, number_in_words

_TWO_NUMBERS = re.compile(r"(?:\{ number \}|number) (?:\{ number \}|number)|number(?! \{)")
"""What follows `\\frac` where both of its parts are numbers: {1}{2}, 1{2}, {1}2, 1 2, 12."""


class Numerals(Cursor):
    """Reads numbers; arguments and fractions are read by `argument` and `fraction`."""

    __slots__ = ()

    def argument(self, *, whole_number: bool = False) -> Node:
        raise NotImplementedError

    def fraction(self) -> Apply:
        raise NotImplementedError

    def number(self) -> Node:
        if self.next_is("."):  # .\overline{3}
            if (repeating := self.repeating("0")) is None:
                raise Unsure("a point")
            return repeating
        text = self.here().text
        self.place += 1
        if self.next_is("_"):
            return self.in_base(text)
        if repeating := self.repeating(text):
            return repeating
        if scientific := self.scientific(text):
            return scientific
        value = Number(Fraction(text), "." in text)
        return value if "." in text else self.mixed(value) or value

    def in_base(self, digits: str) -> Node:
        self.place += 1
        if self.here(1).kind == "text" and self.next_is("{") and (named := number_in_words(self.here(1).text)) is not None:
            self.place += 2
            self.must("}")
            base: Node = Number(named)
        else:
            base = self.argument(whole_number=True)
        if not isinstance(base, Number) or base.value.denominator != 1 or not 2 <= base.value <= 36 or "." in digits:
            raise Unsure("a base")
        number = int(base.value)
        if any(int(each) >= number for each in digits):
            raise Unsure("a digit that its base does not have")
        return Number(Fraction(digits)) if number == 10 else InBase(digits.lstrip("0") or "0", number)

    def repeating(self, text: str) -> Node | None:
        """0.1\\overline{6}: the bar stands over whole digits behind the decimal point."""
        if self.next_is(".") and self.here(1).text in ("\\overline", "\\bar", "\\dot"):
            self.place += 1
        elif "." not in text or not self.next_is("\\overline", "\\bar", "\\dot"):
            return None
        self.place += 1
        bar = self.argument_tokens()
        if len(bar) != 1 or bar[0].kind != "number" or "." in bar[0].text:
            raise Unsure("a repeating decimal")
        before, _, places = text.partition(".")
        digits = bar[0].text
        scale = 10 ** len(places)
        return Number(Fraction(before or "0") + Fraction(places or "0") / scale + Fraction(int(digits), scale * (10 ** len(digits) - 1)))

    def scientific(self, text: str) -> Node | None:
        """1.6e-19, 5e3; but 2e-5 may be 2e minus 5."""
        letter, sign, digits = self.here(), self.here(1), self.here(2)
        if letter.kind != "letter" or letter.text not in "eE":
            return None
        if sign.kind == "number" and "." not in sign.text and ("." in text or letter.text == "E" or len(sign.text) <= 2):
            self.place += 2
            return _power_of_ten(text, sign.text)
        if sign.text in ("+", "-") and digits.kind == "number" and ("." in text or letter.text == "E") and "." not in digits.text:
            self.place += 3
            return _power_of_ten(text, sign.text + digits.text)
        return None

    def mixed(self, whole: Number) -> Node | None:
        """2\\frac{1}{2} and 2 1/2 are two and a half; None where no fraction follows."""
        return self.mixed_in_latex(whole) if self.next_is("\\frac", "\\dfrac", "\\tfrac", "\\cfrac") else self.mixed_in_digits(whole)

    def mixed_in_latex(self, whole: Number) -> Node | None:
        """Looks before it reads, so that nested fractions are read once."""
        kinds = " ".join(each.text if each.text in ("{", "}") else each.kind for each in self.tokens[self.place + 1 : self.place + 7])
        if not _TWO_NUMBERS.match(kinds):
            return None
        top, bottom = self.fraction().operands
        if not (isinstance(top, Number) and isinstance(bottom, Number)):
            raise Unsure("a mixed number")
        if top.value >= bottom.value or top.value.denominator != 1 or bottom.value.denominator != 1:
            raise Unsure("a mixed number or a product")
        return Number(whole.value + top.value / bottom.value)

    def mixed_in_digits(self, whole: Number) -> Node | None:
        top, slash, bottom = self.here(), self.here(1), self.here(2)
        if top.kind != "number" or slash.text != "/" or bottom.kind != "number" or "." in top.text + bottom.text:
            return None
        if not 0 < int(top.text) < int(bottom.text):
            raise Unsure("a mixed number")
        self.place += 3
        return Number(whole.value + Fraction(int(top.text), int(bottom.text)))


def _power_of_ten(text: str, exponent: str) -> Number:
    if abs(int(exponent)) > 400:
        raise Unsure("a huge power of ten")
    return Number(Fraction(text) * Fraction(10) ** int(exponent), "." in text or int(exponent) < 0)
