"""Finds the option of multiple choice that has a given text or amount."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from cotexp.tasks.readings import one_reading
from cotexp.tasks.text_tokens import without_formatting
from cotexp.tasks.units import UNITS


def letter_of_text(text: str, options: Mapping[str, str]) -> str | None:
    """The option with this text, with or without its letter; None if no option or more than one fits.

    Case counts only if options differ in it, such as "Ww" and "WW". Spaces, LaTeX, separators of thousands, "the" and a unit that only
    one of the two has do not count.
    """
    if len(text) > 1000 or not options:
        return None
    for form in (_folded, _canonical):
        for fold in (str, str.lower):
            folded = form(fold(text))
            fitting = [
                letter
                for letter, option in options.items()
                if option and folded and folded in {form(fold(spelling)) for spelling in _spellings(letter, option)}
            ]
            if len(fitting) == 1:
                return fitting[0]
    if (amount := _amount(text)) is None:
        return None
    amounts = {letter: amount_of_option for letter, option in options.items() if (amount_of_option := _amount(option)) is not None}
    near = [
        letter
        for letter, option in amounts.items()
        if option.value == amount.value and (option.unit == amount.unit or "" in (option.unit, amount.unit))
    ]
    return near[0] if len(near) == 1 else None


def _spellings(letter: str, option: str) -> tuple[str, ...]:
    """An option's text without its article ("bank" for "a bank"), or after its letter."""
    return option, re.sub(r"^(?:an?|the)\s+", "", option, flags=re.IGNORECASE), f"{letter} {option}", f"{letter}) {option}", f"({letter}) {option}"


def _folded(text: str) -> str:
    """A text for comparison: single spaces, no punctuation at its ends."""
    return " ".join(text.split()).strip(" .,:;!?*_\"'$()[]{}")


@lru_cache(maxsize=4096)
def _canonical(text: str) -> str:
    """A text without parts that do not change it: formatting of LaTeX, spaces next to signs, separators of thousands, leading articles."""
    bare = re.sub(r"\\[dtc]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}", r"\1/\2", without_formatting(re.sub(r"\\[dtc]?frac\s*(\d)\s*(\d)", r"\1/\2", text)))
    bare = re.sub(r"(?<=\d)[,\u2009\u202f](?=\d{3}(?!\d))", "", " ".join(bare.split()))
    bare = re.sub(r"(\d+)\.0+(?!\d)|((?<=\d)\.\d*?[1-9])0+(?!\d)", lambda match: match[1] or match[2], bare)
    bare = re.sub(r"\bper\s?cent(?:age)?\b", "%", re.sub(r"\b([Rr]s)\.", r"\1", bare), flags=re.IGNORECASE)
    bare = re.sub(r"\s*([:/%=+*×÷^<>≤≥√,;°-])\s*", r"\1", bare.replace("−", "-"))
    bare = re.sub(r"(?<=\d)\s+(?=[A-Za-z])|(?<=[A-Za-z$£€₹])\s+(?=\d)", "", bare)
    return re.sub(r"^the\s+", "", bare.strip(" .,:;!?*_\"'$()[]{}"), flags=re.IGNORECASE) or bare


class _Amount(NamedTuple):
    value: object
    unit: str


@lru_cache(maxsize=4096)
def _amount(text: str) -> _Amount | None:
    """A text that is one number and its unit."""
    reading = one_reading(text)
    if reading.value is None or re.search(r"[:=]|\bor\b|\band\b", text):
        return None
    spelled = without_formatting(text).replace("$", " dollars ").replace("₹", " rupees ")
    words = re.sub(r"\\[A-Za-z]+|[\d.,{}\s$\\/()-]|[½⅓¼¾]", " ", spelled).lower().split()
    units = [_unit_name(word) for word in words if word not in ("a", "an", "the", "about", "approximately")]
    return _Amount(reading.value, " ".join(units)) if len(words) <= 3 else None


def _unit_name(word: str) -> str:
    unit = UNITS.get(word)
    name = {"rs": "rupee", "inr": "rupee", "usd": "dollar"}.get(word, word.removesuffix("s"))
    return f"{unit.kind}:{unit.size}" if unit and unit.kind != "money" else name
