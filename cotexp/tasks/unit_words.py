"""The meaning of words next to a number: a unit, a factor such as "million", or something that changes the value.

Unknown words ("eggs") are units of no known kind. If a word may change the value, the reading is unsure.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

from cotexp.tasks import word_lists
from cotexp.tasks.units import MAGNITUDES, NAMES, NUMBERS


class Unsure(ValueError):
    """A text that cannot be read completely."""


class UnitReading(NamedTuple):
    """The words after a number: a factor ("million"), and the unit's canonical name; None for an unknown unit."""

    factor: Fraction
    name: str | None


FACTORS = {"k": 10**3, "score": 20} | {name: MAGNITUDES[name] for name in ["hundred", "thousand", "million", "billion", "trillion", "dozen", "doz"]}
_IN_PARTS = "half third fourth fifth sixth seventh eighth ninth tenth"
_PARTS = {word: value for value, word in enumerate(_IN_PARTS.split(), 2)} | {
    "quarter": 4,
    "halve": 2,
    "hundredth": 100,
    "thousandth": 1000,
    "millionth": 10**6,
}
_OTHER_VALUE = word_lists.words(
    "about above add added almost and approximately approx around at below besides best better between beyond bigger but by combined cubed decreased "
    "divided double doubled either exceeding except fewer first from greater higher increased infinitely infinity larger less "
    "lower many mod modulo more most minus multiplied negative neither no nor not of off or over past per-cent pi plus range remainder "
    "roughly second-power set short smaller some squared than through till times to triple twice under until up upto vs with without "
    "nil none "
    "cube root square-root sqrt factorial power prime sin cos tan log ln exp e pm am"
).union(NUMBERS, _PARTS)
"""Words that turn the number next to them into another value, one of several or a bound; and functions."""
_BEFORE = word_lists.words("usd rs a an the is equals exactly total answer value only just so thus")
_PIECES = re.compile(r"[A-Za-z]+|[$€£¢°%]|\^\s*\{?\s*[-−]?\d\s*\}?|[/²³]|[^\sA-Za-z]")
_SINGLE = frozenset("k m g s h l L N J W")


def unit_of(words: str) -> UnitReading:
    """The unit in the words after a number.

    Raises: Unsure if they may change the number: "or more", "hours 30 minutes", "squared", "k" of a variable.
    """
    pieces = _PIECES.findall(words.replace("\\", " "))
    factor, power, per = Fraction(1), "", False  # `power`: that of the next name
    names: list[str] = []
    for piece in pieces:
        lower = piece.lower().rstrip(".")
        one = lower.removesuffix("s")
        if {lower, one} & set(FACTORS) and not names:
            factor *= FACTORS.get(lower) or FACTORS[one]
        elif lower in ("square", "sq", "cubic"):
            power = "3" if lower == "cubic" else "2"
        elif lower in ("squared", "cubed") and names:
            names[-1] += "^3" if lower == "cubed" else "^2"
        elif lower == "per" or piece == "/":
            per = True
            names.append("/")
        elif piece[0] == "^" or piece in "²³":
            if not names:
                raise Unsure(f"{words!r} is a power of nothing")
            exponent = {"²": "2", "³": "3"}.get(piece, "") or re.sub(r"[^\d−-]", "", piece)
            names[-1] += f"^{exponent}" if exponent != "1" else ""
        elif piece in ".,;:()'’-":
            continue
        elif (
            lower in _OTHER_VALUE
            or (one in _OTHER_VALUE and lower not in NAMES)
            or re.fullmatch(r"[^A-Za-z$€£¢°%]", piece)
            or (len(piece) == 1 and piece.isalpha() and piece not in _SINGLE and not per)
        ):
            raise Unsure(f"{words!r} may change the value")
        else:
            names.append(_name(piece) + (f"^{power}" if power else ""))
            power = ""
    return UnitReading(factor, _joined(names))


def number_in_words(words: str) -> Fraction | None:
    """The value of "twelve", "Forty-two", "negative three", "one half"; None for other words."""
    pieces = re.split(r"[\s-]+", words.strip().lower())
    sign = 1
    if pieces[0] in ("negative", "minus"):
        sign, pieces = -1, pieces[1:]
    parts = _PARTS.get(pieces[-1].removesuffix("s")) if pieces else None
    if parts is not None:
        pieces = pieces[:-1]
        if pieces in ([], ["a"], ["an"]):
            return Fraction(sign, parts)
    values = [NUMBERS.get(piece) for piece in pieces]
    if not values or None in values or len(values) > 2:
        return None
    if len(values) == 2 and not (values[0] in range(20, 100, 10) and values[1] in range(1, 10)):
        return None
    return sign * Fraction(sum(value for value in values if value is not None), parts or 1)


def _name(piece: str) -> str:
    for spelling in (piece, piece.lower(), piece.lower().removesuffix("s"), piece.lower().removesuffix("es")):
        if spelling in NAMES:
            return NAMES[spelling]
    return "?"


def _joined(names: list[str]) -> str | None:
    """The joined name of the parts; None if a part is not a known unit."""
    if not names or {name.partition("^")[0] for name in names} & {"?", "unit"} or names == ["/"]:
        return None
    name = " ".join(names)
    return {"mi / h": "mph"}.get(name, name)


def check_before(words: str) -> str | None:
    """The unit in the words before a number, which is a currency; None if there is none.

    Raises: Unsure if they may change the number: "at least", "minus", "half of".
    """
    unit = None
    for piece in _PIECES.findall(words.replace("\\", " ")):
        name = NAMES.get(piece) or NAMES.get(piece.lower())
        if name in ("$", "€", "rupee") or piece == "£":
            unit = name
        elif piece.lower() not in _BEFORE and piece not in ".,:":
            raise Unsure(f"{words!r} may change the value")
    return unit


def units_agree(one: str | None, other: str | None) -> bool:
    """Whether units agree: they disagree only if both are given and differ in kind or size."""
    return one is None or other is None or one == other
