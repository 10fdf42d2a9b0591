"""The calculations and numbers of a chain of thought: how many steps a solution has, and what of a chain a rewrite keeps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

_DIGITS = r"\d+(?:,\d{3})*(?:\.\d+)?"
# Quantifiers are possessive and bounded: a text without an end of its calculation would otherwise be tried in exponentially many ways.
_NUMBER = rf"(?>\({{0,3}}+[-−]?+\s*+\\?+[$£€]?+\s*+{_DIGITS}(?:\s*+\\?%)?+)"
_TERM = rf"{_NUMBER}[\s)]*+(?:(?!x\b)[A-Za-z]++\s*+){{0,2}}+"
"""A number, and up to two words after it, as in 3 red apples."""
_SIGN = r"(?>[-+*/×÷−·]|\\times\b|\\cdot\b|\\div\b|(?<![A-Za-z])x\b)"
MOST_SIGNS = 20
"""Signs in one calculation."""
_CALCULATION = re.compile(rf"(?<![\d.,])({_TERM}(?:{_SIGN}\s*+{_TERM}){{1,{MOST_SIGNS}}}+)=\s*+({_NUMBER})", re.ASCII)
_ANNOTATION = re.compile(r"<<[^<>\n]*>>")
"""The calculator's annotations of GSM8K, which repeat the calculation before them."""
_SIGNS = {"×": "*", "\\times": "*", "\\cdot": "*", "·": "*", "x": "*", "÷": "/", "\\div": "/", "−": "-"}


class Calculation(NamedTuple):
    """Numbers and signs in sorted order, so that 2 + 9 and 9 + 2 are the same, and the result."""

    numbers: tuple[Fraction, ...]
    signs: tuple[str, ...]
    result: Fraction


def calculations(text: str) -> list[Calculation]:
    """Every calculation "number sign number ... = number" of a text without repetitions, in order; words between numbers and signs do not count."""
    found = []
    for match in _CALCULATION.finditer(_ANNOTATION.sub("", text)):
        signs = tuple(sorted(_SIGNS.get(sign, sign) for sign in re.findall(_SIGN, _without_first_sign(match[1]))))
        found.append(Calculation(tuple(sorted(_values(match[1]))), signs, _values(match[2])[0]))
    return list(dict.fromkeys(found))


def numbers(text: str) -> set[Fraction]:
    """The distinct numbers of a text, whatever their form."""
    return set(_values(_ANNOTATION.sub("", text)))


def num_steps(solution: str) -> int:
    """Steps of a worked solution: its distinct calculations, or, if it has none, its lines but for the last of several, which states the answer."""
    num_lines = sum(bool(line.strip()) for line in solution.splitlines())
    return len(calculations(solution)) or max(min(1, num_lines), num_lines - 1)


def share_kept(before: Sequence[object] | set[Fraction], after: Sequence[object] | set[Fraction]) -> float | None:
    """Share in [0, 1] of the distinct elements of `before` that are in `after`; None if there are none."""
    wanted = set(before)
    return len(wanted & set(after)) / len(wanted) if wanted else None


def _values(text: str) -> list[Fraction]:
    return [Fraction(digits.replace(",", "")) for digits in re.findall(_DIGITS, text, re.ASCII)]


def _without_first_sign(text: str) -> str:
    """The left side of a calculation without the sign of its first number."""
    return re.sub(r"^[\s(]*[-−]", "", text)
