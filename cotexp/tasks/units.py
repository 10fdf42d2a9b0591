"""Units that a quantity may have, what they measure, and words that multiply: "million", "dozen"."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple


class Unit(NamedTuple):
    """What a unit measures, and how many of the smallest unit of its kind it is."""

    kind: str
    size: Fraction


_TABLE = {
    "time": {
        **dict.fromkeys(("week", "weeks", "wk", "wks"), 604800),
        **dict.fromkeys(("day", "days"), 86400),
        **dict.fromkeys(("hour", "hours", "hr", "hrs", "h"), 3600),
        **dict.fromkeys(("minute", "minutes", "min", "mins"), 60),
        **dict.fromkeys(("second", "seconds", "sec", "secs", "s"), 1),
    },
    "years": {**dict.fromkeys(("year", "years", "yr", "yrs"), 12), **dict.fromkeys(("month", "months"), 1)},
    "length": {
        **dict.fromkeys(("mile", "miles", "mi"), 63360),
        **dict.fromkeys(("yard", "yards", "yd", "yds"), 36),
        **dict.fromkeys(("foot", "feet", "ft"), 12),
        **dict.fromkeys(("inch", "inches", "in"), 1),
    },
    "metre": {
        **dict.fromkeys(("km", "kms", "kilometer", "kilometers", "kilometre", "kilometres"), 1_000_000),
        **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), 1000),
        **dict.fromkeys(("cm", "cms", "centimeter", "centimeters", "centimetre", "centimetres"), 10),
        **dict.fromkeys(("mm", "millimeter", "millimeters", "millimetre", "millimetres"), 1),
    },
    "pound": {
        **dict.fromkeys(("pound", "pounds", "lb", "lbs"), 16),
        **dict.fromkeys(("ounce", "ounces", "oz"), 1),
    },
    "gram": {
        **dict.fromkeys(("ton", "tons", "tonne", "tonnes"), 1_000_000_000),
        **dict.fromkeys(("kg", "kgs", "kilo", "kilos", "kilogram", "kilograms"), 1_000_000),
        **dict.fromkeys(("g", "gram", "grams"), 1000),
        **dict.fromkeys(("mg", "milligram", "milligrams"), 1),
    },
    "litre": {
        **dict.fromkeys(("l", "L", "liter", "liters", "litre", "litres"), 1000),
        **dict.fromkeys(("ml", "mL", "mls", "milliliter", "milliliters", "millilitre", "millilitres"), 1),
    },
    "gallon": {
        **dict.fromkeys(("gallon", "gallons", "gal"), 16),
        **dict.fromkeys(("quart", "quarts"), 4),
        **dict.fromkeys(("pint", "pints"), 2),
        **dict.fromkeys(("cup", "cups"), 1),
    },
    "money": {
        **dict.fromkeys(("dollar", "dollars", "usd", "buck", "bucks", "euro", "euros", "rupee", "rupees", "$", "€", "£", "₹"), 100),
        **dict.fromkeys(("cent", "cents", "¢", "pence", "p", "c", "paise"), 1),
    },
}
UNITS = {name: Unit(kind, Fraction(size)) for kind, names in _TABLE.items() for name, size in names.items()}
MAGNITUDES = (
    {"hundred": 10**2, "thousand": 10**3, "thousands": 10**3, "million": 10**6, "millions": 10**6, "billion": 10**9, "billions": 10**9}
    | {"trillion": 10**12, "trillions": 10**12, "lakh": 10**5, "lakhs": 10**5, "crore": 10**7, "crores": 10**7, "dozen": 12, "dozens": 12, "doz": 12}
    | {"mil": 10**6, "mln": 10**6, "mn": 10**6, "bn": 10**9, "bln": 10**9}
)
