"""Units and numbers in words: quantities and names of units, factors ("million", "dozen"), and "zero" to "ninety"."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple


class Unit(NamedTuple):
    """The quantity that a unit measures, and its size in the smallest unit of that quantity."""

    kind: str
    size: Fraction


class _UnitNames(NamedTuple):
    """Names of a unit: `words`, which have a plural in sentences, `signs`, and names only in sentences or only in formulas."""

    kind: str
    size: int
    words: str = ""
    signs: str = ""
    in_sentences: str = ""
    in_formulas: str = ""


_UNITS = {
    "s": _UnitNames("time", 1, "second sec", "s"),
    "min": _UnitNames("time", 60, "minute", "min mins"),
    "h": _UnitNames("time", 3600, "hour", "hr hrs h"),
    "day": _UnitNames("time", 86_400, "day"),
    "week": _UnitNames("time", 604_800, "week", "", "wk wks"),
    "month": _UnitNames("years", 1, "month"),
    "year": _UnitNames("years", 12, "year", "yr yrs"),
    "in": _UnitNames("length", 1, "", "inch inches in"),
    "ft": _UnitNames("length", 12, "", "foot feet ft"),
    "yd": _UnitNames("length", 36, "yard yd"),
    "mi": _UnitNames("length", 63_360, "mile", "mi"),
    "mm": _UnitNames("metre", 1, "millimeter millimetre", "mm"),
    "cm": _UnitNames("metre", 10, "cm centimeter centimetre"),
    "m": _UnitNames("metre", 1000, "meter metre", "m"),
    "km": _UnitNames("metre", 1_000_000, "km kilometer kilometre"),
    "oz": _UnitNames("pound", 1, "ounce", "oz"),
    "lb": _UnitNames("pound", 16, "pound", "lb lbs"),
    "mg": _UnitNames("gram", 1, "milligram", "mg"),
    "g": _UnitNames("gram", 1000, "gram", "g", "", "gm"),
    "kg": _UnitNames("gram", 1_000_000, "kg kilo kilogram"),
    "t": _UnitNames("gram", 1_000_000_000, in_sentences="ton tons tonne tonnes"),
    "ml": _UnitNames("litre", 1, "milliliter millilitre", "ml mL", "mls"),
    "l": _UnitNames("litre", 1000, "liter litre", "l L"),
    "cup": _UnitNames("gallon", 1, "cup"),
    "pint": _UnitNames("gallon", 2, "pint"),
    "qt": _UnitNames("gallon", 4, "quart", "", "", "qt"),
    "gal": _UnitNames("gallon", 16, "gallon", "gal"),
    "cent": _UnitNames("money", 1, "cent", "¢", "pence p c paise", "penny pennies"),
    "$": _UnitNames("money", 100, "dollar buck", "$ usd", "", "USD"),
    "€": _UnitNames("money", 100, "euro", "€"),
    "£": _UnitNames("money", 100, "", "", "£"),
    "rupee": _UnitNames("money", 100, "rupee", "", "₹", "rs Rs"),
}
_ONLY_IN_FORMULAS = {
    "ms": "ms millisecond", "%": "% percent", "°": "° degree degrees deg", "rad": "radian rad", "mph": "mph", "N": "N newton", "J": "J joule",
    "W": "W watt", "Hz": "Hz hertz", "unit": "unit",
}  # fmt: skip
UNITS = {
    name: Unit(unit.kind, Fraction(unit.size))
    for unit in _UNITS.values()
    for name in (*unit.words.split(), *(f"{word}s" for word in unit.words.split()), *unit.signs.split(), *unit.in_sentences.split())
}
"""Name of a unit in sentences -> the unit."""
NAMES = {alias: name for name, unit in _UNITS.items() for alias in f"{unit.words} {unit.signs} {unit.in_formulas}".split()} | {
    alias: name for name, aliases in _ONLY_IN_FORMULAS.items() for alias in aliases.split()
}
"""Name of a unit in formulas, without a final "s" -> its canonical name."""
MAGNITUDES = (
    {"hundred": 10**2, "thousand": 10**3, "thousands": 10**3, "million": 10**6, "millions": 10**6, "billion": 10**9, "billions": 10**9}
    | {"trillion": 10**12, "trillions": 10**12, "lakh": 10**5, "lakhs": 10**5, "crore": 10**7, "crores": 10**7, "dozen": 12, "dozens": 12, "doz": 12}
    | {"mil": 10**6, "mln": 10**6, "mn": 10**6, "bn": 10**9, "bln": 10**9}
)
_BELOW_TWENTY = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
NUMBERS = {word: value for value, word in enumerate(_BELOW_TWENTY.split())} | {word: 10 * value for value, word in enumerate(_TENS.split(), 2)}
