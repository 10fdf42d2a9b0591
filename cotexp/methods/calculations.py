"""The calculations and numbers of a chain of thought: how many steps a solution has, and what of a chain a rewrite keeps."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

_DIGITS = r"\d+(?:,\d{3})*(?:\.\d+)?"
# Quantifiers are possessive and bounded: a text without an end of its calculation would otherwise be tried in exponentially many ways.
_NUMBER = rf"(?>\({{0,3}}+[-−]?+\s*+\\?+[$£€]?+\s*+{_DIGITS}(?:\s*+\\?%)?+)"
_TERM = rf"{_NUMBER}[ \t)]*+(?:(?!x\b)[A-Za-z]++[ \t)]*+){{0,2}}+"
"""A number, and up to two words after it, as in 3 red apples. It ends with its line: a sign that begins the next line is the mark of a list."""
_SIGN = r"(?>[-+*/×÷−·]|\\times\b|\\cdot\b|\\div\b|(?<![A-Za-z])x\b|(?<=[\d)])(?=\())"
"""The last is the sign that 2(3 + 4) leaves out."""
MOST_SIGNS = 20
"""Signs in one calculation."""
_MORE_TERMS = rf"(?:{_SIGN}\s*+{_TERM})"
_LEFT = rf"{_TERM}{_MORE_TERMS}{{1,{MOST_SIGNS}}}+"
_RIGHT = rf"\s*+=\s*+{_TERM}{_MORE_TERMS}{{0,{MOST_SIGNS}}}+"
_CHAIN = re.compile(rf"(?<![\d.,^_])(?<![+*/×÷·])(?<![+*/×÷·] ){_LEFT}(?:{_RIGHT}){{1,{MOST_SIGNS}}}+", re.ASCII)
_UNREAD = re.compile(r"<<[^<>\n]*>>|(?:\\\\\s*)?&\s*(?==)")
"""The calculator's annotations of GSM8K, which repeat the calculation before them, and the marks of aligned equations in LaTeX."""
_SIGNS = {"×": "*", "\\times": "*", "\\cdot": "*", "·": "*", "x": "*", "": "*", "÷": "/", "\\div": "/", "−": "-"}
_OPERATIONS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


class Calculation(NamedTuple):
    """Numbers and signs in sorted order, so that 2 + 9 and 9 + 2 are the same, and the result."""

    numbers: tuple[Fraction, ...]
    signs: tuple[str, ...]
    result: Fraction


def calculations(text: str) -> list[Calculation]:
    """Every calculation "number sign number ... = number" of a text without repetitions, in order; words between numbers and signs do not count.

    In a chain of equations each is one: 3 + 4 = 7 * 2 = 14 goes on with its result, 8 * (2 + 7) = 8 * 9 = 72 writes it in another way.
    """
    found = []
    for match in _CHAIN.finditer(_UNREAD.sub("", text)):
        sides = match[0].split("=")
        for side, result in zip(sides, _results(sides), strict=False):
            if signs := _signs(side):
                found.append(Calculation(tuple(sorted(_values(side))), tuple(sorted(signs)), result))
    return list(dict.fromkeys(found))


def numbers(text: str) -> set[Fraction]:
    """The distinct numbers of a text, whatever their form."""
    return set(_values(_UNREAD.sub("", text)))


def num_steps(solution: str) -> int:
    """Steps of a worked solution: its distinct calculations, or, if it has none, its lines but for the last of several, which states the answer."""
    num_lines = sum(bool(line.strip()) for line in solution.splitlines())
    return len(calculations(solution)) or max(min(1, num_lines), num_lines - 1)


def share_kept(before: Sequence[object] | set[Fraction], after: Sequence[object] | set[Fraction]) -> float | None:
    """Share in [0, 1] of the distinct elements of `before` that are in `after`; None if there are none."""
    wanted = set(before)
    return len(wanted & set(after)) / len(wanted) if wanted else None


def _values(text: str) -> list[Fraction]:
    # By way of Decimal, which reads a number of any length.
    return [Fraction(Decimal(digits.replace(",", ""))) for digits in re.findall(_DIGITS, text, re.ASCII)]


def _signs(side: str) -> list[str]:
    """The signs between the numbers of one side of an equation, not that of its first number."""
    return [_SIGNS.get(sign, sign) for sign in re.findall(_SIGN, re.sub(r"^[\s(]*[-−]", "", side), re.ASCII)]


def _results(sides: Sequence[str]) -> list[Fraction]:
    """What each side of a chain of equations but the last comes to, as the text states it.

    That is the first number of the next side if the chain goes on with it. Where the next side is the same in another way, which shows in its value,
    it is what that side comes to.
    """
    results: list[Fraction] = []
    for side, following in reversed(list(pairwise(sides))):
        first = _values(following)[0]
        value, other = _value(side), _value(following) if _signs(following) else None
        if value is not None and other is not None and abs(value - other) < abs(abs(value) - first):
            first = results[0] if results else abs(other)
        results.insert(0, first)
    return results


def _value(side: str) -> Fraction | None:
    """The value of one side of an equation; None if it cannot be computed, as with a bracket that is missing."""
    tokens = [each[0] for each in re.finditer(rf"{_DIGITS}|{_SIGN}|%|[()]", side, re.ASCII)]
    written = "".join("/100" if each == "%" else _SIGNS.get(each, each.replace(",", "")) for each in tokens)
    unclosed = written.count("(") - written.count(")")
    try:
        return _computed(ast.parse(written[max(0, unclosed) : min(0, unclosed) or None], mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError):
        return None


def _computed(tree: ast.AST) -> Fraction:
    match tree:
        case ast.Constant():
            return Fraction(str(tree.value))
        case ast.BinOp():
            return _OPERATIONS[type(tree.op)](_computed(tree.left), _computed(tree.right))
        case ast.UnaryOp():
            return -_computed(tree.operand)
    raise ValueError
