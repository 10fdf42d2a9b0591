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

from cotexp.records import AnswerType
from cotexp.tasks.statement import sentence_starts

# --- notation: the same calculation, however it is set -----------------------------------------------------------------------

_ONE_CHARACTER = str.maketrans(
    {
        **dict.fromkeys("−–‐‑－", "-"),
        **dict.fromkeys("×·⋅∗∙✕✖", "*"),
        **dict.fromkeys("÷⁄∕", "/"),
        "＋": "+",
        **dict.fromkeys("＝≈", "="),
        **{half: rf"\frac{parts}" for half, parts in zip("½⅓⅔¼¾", ("12", "13", "23", "14", "34"), strict=True)},
    }
)
_EMPHASIS = r"(?<![\w)*])\*{2,3}(?=[^\s*])|(?<=[^\s*])\*{2,3}(?![\d(*])|(?<!\w)_{1,3}(?=[^\s_])|(?<=[^\s_])_{1,3}(?![\w{\\])|`"
"""Marks of bold and italic text, and not the power 2**3 or the index x_1."""
_PLAIN = [
    (re.compile(pattern, re.ASCII), plain)
    for pattern, plain in (
        (r"<<[^<>\n]*>>|\\(?:left|right|displaystyle)(?![A-Za-z])|</?[A-Za-z]{1,6}>", ""),  # GSM8K's annotations repeat the calculation before them
        (r"(?<=\d)(?:\{,\}(?:\\!)?|,\\!|\\[,!;])(?=\d{3}(?!\d))", ","),
        (r"(?:\\\\\s*)?&\s*(?==)", ""),  # aligned equations
        (r"\\\\", "\n"),
        (r"\\(?:times|cdot|ast)(?![A-Za-z])|\\\*", "*"),
        (r"\\div(?![A-Za-z])", "/"),
        (r"\\approx(?![A-Za-z])", "="),
        (_EMPHASIS, ""),
        (r"(=\s*+)\*(?=[^\s*])([^*\n]{1,40})\*(?!\*)", r"\1\2"),
        (r"\\?[$£€₹¥]|\b(?:Rs\.?|USD)(?![A-Za-z])|\\[()\[\],;:! ]|\\q?quad(?![A-Za-z])|[~&]", " "),
        (r"(?<![\w.)])\.(?=\d)", "0."),
        (r"(?<=\d)[xX](?=\d)", "*"),
    )
]
_WORDS_OF_FORMULA = re.compile(r"(?<![_^])\\(?:text(?:bf|it|rm|sf)?|math(?:bf|it|rm|sf)|mbox|fbox|boxed|emph|underline)\s*\{([^{}]*)\}")
_PART = r"\s*(?:\{([^{}]*)\}|(\d))"
_FRACTION = re.compile(rf"(?<![_^])\\[dtcs]?frac{_PART}{_PART}", re.ASCII)
MOST_NESTED = 4
"""Formulas inside each other, such as a fraction in bold in a box."""
_LAYOUT = [
    (re.compile(r"[^\S\n]+"), " "),
    (re.compile(r"(?m)^ ?(?:[-*+•]|\d{1,3}[.)]) (?=\S)"), ""),  # the mark of a list
]
_ASIDE = re.compile(r" \([A-Za-z]{2}[^()\n=+*/]*\) ?")
"""Words in brackets, as in 3 (from the first 2 days) + 4."""


def _plain(text: str) -> str:
    """The text in plain notation: without Markdown and LaTeX around numbers, signs and units, with its signs and fractions as on a keyboard."""
    text = text.translate(_ONE_CHARACTER)
    for pattern, plain in _PLAIN:
        text = pattern.sub(plain, text)
    for _ in range(MOST_NESTED):
        text = _FRACTION.sub(_quotient, _WORDS_OF_FORMULA.sub(_content, text))
    for pattern, plain in _LAYOUT:
        text = pattern.sub(plain, text)
    return text


def _content(found: re.Match[str]) -> str:
    """What stands in a box, in bold or as text of a formula; mere words say nothing, but for the unit in 5/hour."""
    content = found[1].strip()
    if found.string[found.start() - 1 : found.start()] == "/":
        return content
    return f" {content} " if re.search(r"[\d(]", content) else " "


def _quotient(found: re.Match[str]) -> str:
    """A fraction as the bracket (a/b), so that what divides by it, or follows it, reads the whole."""
    parts = [part.strip() for part in found.groups() if part is not None]
    above, below = (part if re.fullmatch(r"[\w.,]+", part) else f"({part})" for part in parts)
    return f"{' ' if found.string[found.start() - 1 : found.start()].isdigit() else ''}({above}/{below})"


# --- calculations --------------------------------------------------------------------------------------------------------

_DIGITS = r"\d+(?:,\d{3})*(?:\.\d+)?"
# Quantifiers are possessive and bounded: a text without an end of its calculation would otherwise be tried in exponentially many ways.
_NUMBER = rf"(?>\({{0,3}}+-?+\s*+{_DIGITS}(?:\s*+\\?%)?+)"
_WORD = r"(?:/ ?[A-Za-z]{2,}|(?![xX]\b)[A-Za-z]++)(?:/[A-Za-z]++)*+"
_TERM = rf"{_NUMBER}[ \t)]*+(?:{_WORD}[ \t)]*+){{0,4}}+"
"""A number, and up to four words after it, as in 3 red apples. It ends with its line: a sign that begins the next line is the mark of a list."""
_SIGN = r"(?>[-+*]|/(?! ?[A-Za-z])|(?<![A-Za-z])[xX]\b|(?<=[\d)])(?=\())"
"""The last is the sign that 2(3 + 4) leaves out."""
MOST_SIGNS = 20
"""Signs in one calculation."""
_MORE_TERMS = rf"(?:{_SIGN}\s*+{_TERM})"
_LEFT = rf"{_TERM}{_MORE_TERMS}{{1,{MOST_SIGNS}}}+"
_RIGHT = rf"\s*+=\s*+{_TERM}{_MORE_TERMS}{{0,{MOST_SIGNS}}}+"
_CHAIN = re.compile(rf"(?<![\d.,^_])(?<![+*/])(?<![+*/] ){_LEFT}(?:{_RIGHT}){{1,{MOST_SIGNS}}}+", re.ASCII)
_EQUATION = re.compile(r"\d[^=\n,;:]{0,80}=[^=\n,;:]{0,80}\d", re.ASCII)
_SIGNS = {"x": "*", "X": "*", "": "*"}
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
    """Every calculation "number sign number ... = number" of a text without repetitions, in order; words between numbers and signs do not count, nor
    does the notation: Markdown, LaTeX, currencies, and the characters of a sign.

    In a chain of equations each is one: 3 + 4 = 7 * 2 = 14 goes on with its result, 8 * (2 + 7) = 8 * 9 = 72 writes it in another way.
    """
    found = []
    for match in _CHAIN.finditer(_ASIDE.sub(" ", _plain(text))):
        sides = match[0].split("=")
        for side, result in zip(sides, _results(sides), strict=False):
            if signs := _signs(side):
                found.append(Calculation(tuple(sorted(_values(side))), tuple(sorted(signs)), result))
    return list(dict.fromkeys(found))


def numbers(text: str) -> set[Fraction]:
    """The distinct numbers of a text, whatever their form."""
    return set(_values(_plain(text)))


def has_equation(text: str) -> bool:
    """Whether something with digits is said to equal something with digits, also where no calculation of numbers is read, as in 2x + 3 = 9."""
    return _EQUATION.search(_plain(text)) is not None


def num_steps(solution: str, answer_type: AnswerType = "decimal") -> int:
    """Steps of a worked solution, in one unit for all questions with this type of answer; 0 only for an empty one.

    If answers are numbers, its distinct calculations, and 1 if none is read. Otherwise (formulas, choices, yes and no) its sentences and lines, but
    for the last of several, which states the answer: a formula is derived in steps that are no calculations of numbers.
    """
    if not solution.strip():
        return 0
    if answer_type in ("integer", "decimal"):
        return max(1, len(calculations(solution)))
    starts = [*sentence_starts(solution, 0, len(solution)), len(solution)]
    return max(1, sum(bool(solution[begin:end].strip()) for begin, end in pairwise(starts)) - 1)


def share_kept(before: Sequence[object] | set[Fraction], after: Sequence[object] | set[Fraction]) -> float | None:
    """Share in [0, 1] of the distinct elements of `before` that are in `after`; None if there are none."""
    wanted = set(before)
    return len(wanted & set(after)) / len(wanted) if wanted else None


def _values(text: str) -> list[Fraction]:
    # By way of Decimal, which reads a number of any length.
    return [Fraction(Decimal(digits.replace(",", ""))) for digits in re.findall(_DIGITS, text, re.ASCII)]


def _signs(side: str) -> list[str]:
    """The signs between the numbers of one side of an equation, not that of its first number."""
    return [_SIGNS.get(sign, sign) for sign in re.findall(_SIGN, re.sub(r"^[\s(]*-", "", side), re.ASCII)]


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
