"""Items of a sentence for the reader of numbers: quantities, words, signs, and unreadable parts."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from cotexp.tasks.units import Unit


class Quantity(NamedTuple):
    """`plain`: the value in plain characters, as written if nothing changed it. `is_letter`: a lone letter is its magnitude ("3k")."""

    value: Fraction
    plain: str
    unit: Unit | None = None
    unit_name: str = ""
    is_percent: bool = False
    is_fraction: bool = False
    is_letter: bool = False


class Word(NamedTuple):
    text: str
    spaced: bool = True


class Sign(NamedTuple):
    """An operator, "=", a separator or a bracket."""

    kind: str
    text: str
    spaced: bool


class Stop(NamedTuple):
    """Something that changes a value in an unknown way."""

    text: str


Item = Quantity | Word | Sign | Stop


def plain_digits(value: Fraction) -> str:
    """A number in plain digits if these terminate, such as "1080" or "0.25"; otherwise as a fraction such as "1/3"."""
    if value.denominator == 1:
        return str(value.numerator)
    places = next((count for count in range(value.denominator.bit_length()) if 10**count % value.denominator == 0), None)
    if places is None:
        return f"{value.numerator}/{value.denominator}"
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"
