"""Equations in a row of items: "x = 18", "9 + 9 = 18", "60% of 30 = 18". A side gives a number only if nothing else in it changes that number."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from cotexp.tasks.sentence_items import Item, Quantity, Sign, Stop, Word
from cotexp.tasks.word_lists import BOUND_BEFORE, EQUALS, MODIFIERS, NOT, STOP_ANYWHERE


class Side(NamedTuple):
    """One side of an equation. Kinds: "value" (a number), "sum" (it can be computed), "words", "aside" (words with a number that is not the
    answer), "name" (a variable), "letters" (m+n), "several" (numbers next to each other) and "unread".
    """

    kind: str
    quantity: Quantity | None = None
    value: Fraction | None = None
    begins: bool = False


_WORD_OPERATORS = {"times": "×", "plus": "+", "minus": "-", "x": "×", "multiplied": "×", "divided": "/"}


def with_operators(row: list[Item]) -> list[Item]:
    """The row with words as operators: "times" between two quantities, "of" after a share. A slash between units is not an operator."""
    row = [item for at, item in enumerate(row) if not (_is_rate(row[at - 1 : at + 2]) or (isinstance(item, Word) and _is_rate(row[at - 2 : at + 1])))]
    row = [item for at, item in enumerate(row) if not _is_hyphen(row, at)]
    followings = _next_items(row)
    for at in range(1, len(row) - 1):
        item, before, following = row[at], row[at - 1], followings[at]
        if not isinstance(item, Word) or not isinstance(following, Quantity):
            continue
        word = item.text.lower()
        operand = isinstance(before, Quantity) or (isinstance(before, Word) and at > 1 and isinstance(row[at - 2], Quantity))
        if word in _WORD_OPERATORS and operand:
            row[at] = Sign("operator", _WORD_OPERATORS[word], True)
        elif word == "of" and isinstance(before, Quantity) and (before.is_percent or before.is_fraction):
            row[at] = Sign("operator", "of", True)
    return row


def _next_items(row: Sequence[Item]) -> list[Item | None]:
    """The next item that is not a filler, for each item."""
    following_items: list[Item | None] = []
    following: Item | None = None
    for item in reversed(row):
        following_items.append(following)
        if not (isinstance(item, Word) and item.text.lower() in ("the", "by", "of", "a")):
            following = item
    return following_items[::-1]


def _is_hyphen(row: Sequence[Item], at: int) -> bool:
    """Whether a "-" joins a number and a word, as in "6-year-old"."""
    item = row[at]
    if not (isinstance(item, Sign) and item.text == "-" and not item.spaced and 0 < at < len(row) - 1 and isinstance(row[at - 1], Quantity)):
        return False
    after = row[at + 1]
    return isinstance(after, Word) and not after.spaced and len(after.text) > 1


def _is_rate(three: Sequence[Item]) -> bool:
    if len(three) < 3:
        return False
    before, slash, after = three
    named = isinstance(before, Word) or (isinstance(before, Quantity) and bool(before.unit_name))
    return isinstance(slash, Sign) and slash.text == "/" and named and isinstance(after, Word)


# --- sides ---------------------------------------------------------------------------------------------------------------


def _sides(row: Sequence[Item]) -> list[list[Item]]:
    """The sides of "=", "is" or the colon of a label."""
    sides: list[list[Item]] = [[]]
    for at, item in enumerate(row):
        is_verb = isinstance(item, Word) and item.text.lower() in EQUALS and bool(sides[-1])
        is_label = isinstance(item, Sign) and item.kind == "colon" and not any(isinstance(item, Quantity | Stop) for item in sides[-1])
        if (isinstance(item, Sign) and item.kind == "equals") or is_verb or is_label:
            if at + 1 < len(row) and isinstance(after := row[at + 1], Word) and after.text.lower() == "to" and is_verb:
                sides.append([])
                continue
            if sides[-1]:
                sides.append([])
            continue
        if isinstance(item, Sign) and item.kind == "colon" and sides[-1]:
            sides[-1].append(Stop(":"))
            continue
        sides[-1].append(item)
    return [row for row in sides if row] if len(sides) > 1 else sides


def _side(row: Sequence[Item], *, is_whole: bool) -> Side:
    if row and isinstance(row[0], Word) and row[0].text.lower() == "to":
        row = row[1:]
    row = _bare(row)
    quantities = [item for item in row if isinstance(item, Quantity)]
    signs = [item for item in row if isinstance(item, Sign)]
    words = [item for item in row if isinstance(item, Word)]
    if any(isinstance(item, Stop) for item in row) or any(item.text.lower() in STOP_ANYWHERE for item in words):
        return Side("unread")
    pairs = ((one.text.lower(), other) for one, other in pairwise(row) if isinstance(one, Word) and isinstance(other, Quantity))
    if any(word in ("below", "under") and other.value == 0 for word, other in pairs):
        return Side("unread")
    if not quantities:
        return _side_of_words(row, words, signs)
    first = next(at for at, item in enumerate(row) if isinstance(item, Quantity))
    if any(sign.kind == "operator" for sign in signs):
        return _sum(row)
    if any(isinstance(item, Word) and item.text.lower() in BOUND_BEFORE for item in row[:first][-3:]):
        return Side("unread")
    if any(isinstance(item, Word) and len(item.text) == 1 and item.text.lower() not in ("a", "i") for item in row[:first]):
        return Side("unread")
    if _begins_bound(row[first + 1 :]):
        return Side("unread")
    if not is_whole:
        row = _head(row, first)
    if len([item for item in row if isinstance(item, Quantity)]) > 1:
        return Side("several")
    tail = row[first + 1 :]
    if tail and isinstance(tail[0], Word) and _is_variable(tail[0]):
        return Side("unread")
    quantity = row[first]
    assert isinstance(quantity, Quantity)
    return Side("value", quantity, quantity.value, begins=first == 0)


def _bare(row: Sequence[Item]) -> list[Item]:
    """A side without brackets around all of it, and without punctuation at its end."""
    row = list(row)
    while row and isinstance(row[-1], Sign) and row[-1].kind in ("separator", "colon"):
        row.pop()
    while len(row) > 2 and isinstance(row[0], Sign) and row[0].kind == "open" and isinstance(row[-1], Sign) and row[-1].kind == "close":
        depth = 0
        for at, item in enumerate(row):
            depth += isinstance(item, Sign) and {"open": 1, "close": -1}.get(item.kind, 0)
            if depth == 0 and at < len(row) - 1:
                return row
        row = row[1:-1]
    return row


def _side_of_words(row: Sequence[Item], words: Sequence[Word], signs: Sequence[Sign]) -> Side:
    operators = [sign.text for sign in signs if sign.kind == "operator"]
    if operators:
        letters = [word.text for word in words]
        is_sum = len(row) == len(words) + len(operators) and all(len(letter) == 1 for letter in letters) and set(operators) == {"+"}
        return Side("letters" if is_sum and not {"x", "y", "z"} & set(letters) and len(letters) == len(operators) + 1 else "unread")
    if any(sign.kind in ("open", "close") for sign in signs) and words and len(words[0].text) == 1:
        return Side("unread")
    if len(words) == 1 and len(words[0].text) == 1:
        return Side("name")
    if any(word.text.lower() in NOT for word in words):
        return Side("unread")
    return Side("words")


def _head(row: Sequence[Item], first: int) -> list[Item]:
    """A side up to the modifier after its first quantity. It contains all quantities that are next to each other or joined by "and"."""
    for at in range(first + 1, len(row)):
        item = row[at]
        if isinstance(item, Word) and item.text.lower() in MODIFIERS:
            tail = row[at + 1 :]
            joined = any(isinstance(item, Word) and item.text.lower() == "and" for item in tail)
            article = bool(tail) and isinstance(tail[0], Word) and tail[0].text.lower() in ("the", "these", "those", "his", "her", "their", "all")
            numbers = [item for item in tail if isinstance(item, Quantity)]
            if item.text.lower() in ("to", "than", "through") and (
                isinstance(tail[0], Quantity) if tail and item.text.lower() != "than" else numbers
            ):
                return [*row, *numbers]
            if item.text.lower() == "of" and numbers and not article:
                return [*row[:at], Sign("operator", "of", True), *tail, *numbers]
            return list(row) if joined and numbers else list(row[:at])
    return list(row)


def _is_variable(word: Word) -> bool:
    return len(word.text) == 1 and word.text.isascii() and word.text not in ("a", "i", "I", "A")


def _begins_bound(tail: Sequence[Item]) -> bool:
    words = [item.text.lower() if isinstance(item, Word) else "" for item in tail[:4]]
    return any(" ".join(words[at : at + 2]) in _BOUNDS_AFTER for at in range(2)) or words == ["give"]


_BOUNDS_AFTER = frozenset(("at least", "at most", "and up", "and above", "and over", "and more", "and counting", "or more"))


def _sum(row: Sequence[Item]) -> Side:
    """A calculation, and its value if all of it can be read."""
    if any(isinstance(item, Word) and _is_variable(item) for item in row):
        return Side("unread")
    return Side("sum", None, _computed([item for item in row if not isinstance(item, Word)]))


_OPERATORS = {"+": (1, operator.add), "-": (1, operator.sub), "×": (2, operator.mul), "/": (2, operator.truediv)}
"""Operator -> its precedence (higher binds more tightly) and its function."""
_SPELLED = {"−": "-", "–": "-", "*": "×", "·": "×", "⋅": "×", "÷": "/", "of": "×"}
"""Other spellings of operators."""


def _computed(row: Sequence[Item]) -> Fraction | None:
    """The value of a calculation of numbers, + - × ÷ and brackets; None for anything else."""
    rest = list(reversed(row))
    try:
        value = _calculation(rest, 1, is_alone=len(row) == 1)
    except (IndexError, ValueError, ZeroDivisionError, RecursionError):
        return None
    return None if rest else value


def _calculation(rest: list[Item], lowest_rank: int, *, is_alone: bool) -> Fraction:
    """The value of an operand and all operators after it with at least this precedence. Takes its items from the end of `rest`.

    Raises: IndexError, ValueError or ZeroDivisionError if the items are not a calculation.
    """
    item = rest.pop()
    if isinstance(item, Quantity):
        value = item.value / 100 if item.is_percent and not is_alone else item.value
    elif isinstance(item, Sign) and item.kind == "open":
        value = _calculation(rest, 1, is_alone=is_alone)
        if not isinstance(closing := rest.pop(), Sign) or closing.kind != "close":
            raise ValueError("a bracket is missing")
    else:
        raise ValueError("an operand is missing")
    while rest and isinstance(sign := rest[-1], Sign) and sign.kind == "operator":
        rank, compute = _OPERATORS.get(_SPELLED.get(sign.text, sign.text), (0, operator.add))
        if rank < lowest_rank:
            break
        rest.pop()
        value = compute(value, _calculation(rest, rank + 1, is_alone=is_alone))
    return value


# --- equations -----------------------------------------------------------------------------------------------------------


def equation(row: Sequence[Item], *, is_whole: bool) -> Side:
    """The result of a clause: the last side of a chain of equations whose sides agree, or the value of a variable or a label."""
    sides = [_side(side, is_whole=is_whole) for side in _sides(row)]
    if len(sides) == 1:
        return sides[0]
    if any(side.kind in ("unread", "several") for side in sides):
        return Side("unread")
    last = sides[-1]
    if last.kind == "sum" and sides[0].kind == "value" and sides[0].value == last.value:
        last = sides[0]  # "18 = 9 + 9"
    if last.quantity is not None and last.quantity.is_letter and sides[0].kind in ("name", "letters"):
        return Side("unread")  # "n = 3k"
    if last.kind == "name" and len(sides) == 2 and sides[0].kind == "value":
        return sides[0]  # "18 = x"
    if last.kind != "value":
        return Side("unread" if last.kind != "words" else "words")
    numeric = [side for side in sides if side.value is not None]
    if not all(_agree(side, last) for side in numeric):
        return Side("unread")
    return last._replace(begins=True)


def _agree(one: Side, last: Side) -> bool:
    """Whether two sides are equal up to rounding, a percent sign or another unit."""
    if one.value is None or last.value is None or last.quantity is None:
        return True
    if one.quantity is not None and one.quantity.unit != last.quantity.unit and one.quantity.unit_name != last.quantity.unit_name:
        return True
    places = len(last.quantity.plain.partition(".")[2])
    if one.value.denominator == last.value.denominator == 1:
        return one.value == last.value or (last.quantity.is_percent and one.value * 100 == last.value)
    for scale in (Fraction(1), Fraction(100)) if last.quantity.is_percent else (Fraction(1),):
        difference = abs(one.value * scale - last.value)
        if difference < max(Fraction(1, 10**places), abs(last.value) / 100):
            return True
    return False
