"""Equality of two formulas: they must be of the same kind (number, pair, set, interval, equation, ...) and exactly equal.

Rational numbers need no library. Other expressions are equal if sympy proves that their difference is zero; values to fifty digits only show
that expressions differ. There is no absolute tolerance; decimals may differ by a relative 1e-6. Formulas that cannot be read or proved equal
are not equal.
"""

from __future__ import annotations

import functools
from fractions import Fraction

from cotexp.tasks.formula_tree import Group, InBase, Node, Number, Quantity, Relation, Symbol
from cotexp.tasks.grammar import read
from cotexp.tasks.intervals import TURNED, is_set, set_of
from cotexp.tasks.latex import same_spelling
from cotexp.tasks.plus_minus import several
from cotexp.tasks.unit_words import Unsure, units_agree
from cotexp.tasks.values import (
    RELATIVE_TOLERANCE,
    bare,
    constant_of,
    expression_of,
    has_decimal,
    is_name,
    proved_zero,
    rational_of,
    same_constant,
    same_expression,
    symbols_of,
)

_CACHED = 20_000


def formulas_equal(gold: str, answer: str) -> bool:
    """Whether `answer` has the value of `gold`. It may need sympy and a long time: run it in a process with a time limit."""
    return same_spelling(gold, answer) or _equal_as_read(gold, answer, with_sympy=True)


def plainly_equal(gold: str, answer: str) -> bool:
    """As `formulas_equal`, but only by strings and rational numbers, which is fast."""
    return same_spelling(gold, answer) or _equal_as_read(gold, answer, with_sympy=False)


def is_formula(latex: str) -> bool:
    """Whether the grammar reads all of it."""
    return _read(latex) is not None


def kind_of(latex: str) -> str | None:
    """The kind of a formula: "InBase", "Relation", "()", "{}", ... or "value"; None if it cannot be read."""
    node = _read(latex)
    if node is None:
        return None
    node = bare(node)
    if isinstance(node, Group):
        return "value" if node.kind == "list" else node.kind
    return type(node).__name__ if isinstance(node, InBase | Relation) else "value"


def _equal_as_read(gold: str, answer: str, *, with_sympy: bool) -> bool:
    theirs = _read(gold)
    ours = _read(answer) if theirs is not None else None
    if theirs is None or ours is None:
        return False
    try:
        return _Comparison(with_sympy).same(theirs, ours)
    except (Unsure, ArithmeticError, RecursionError):
        return False


@functools.lru_cache(maxsize=_CACHED)
def _read(latex: str) -> Node | None:
    try:
        return read(latex)
    except (Unsure, RecursionError, ValueError):
        return None


class _Comparison:
    """One comparison of two trees. Without sympy only rational numbers are equal."""

    def __init__(self, with_sympy: bool) -> None:
        self.with_sympy = with_sympy

    def same(self, gold: Node, answer: Node) -> bool:
        """Whether two formulas of any kind are equal."""
        if gold == answer:
            return True
        if _is_rounding(gold) or _is_rounding(answer):
            return self.same_rounded(gold, answer)
        gold_unit, answer_unit = _unit_of(gold), _unit_of(answer)
        if not units_agree(gold_unit, answer_unit):
            return False
        gold, answer = several(bare(gold)), several(bare(answer))
        if isinstance(gold, Relation) or isinstance(answer, Relation) or is_set(gold) or is_set(answer):
            return self.same_relation(gold, answer)
        if isinstance(gold, Group) or isinstance(answer, Group):
            return self.same_group(gold, answer)
        if isinstance(gold, InBase) or isinstance(answer, InBase):
            return gold == answer
        return self.same_value(gold, answer)

    def same_rounded(self, gold: Node, answer: Node) -> bool:
        """Equality by the exact side. The rounded side counts only against another decimal, and only if it is rounded correctly."""
        theirs, ours = self.forms(gold), self.forms(answer)
        decimal = has_decimal(gold) and has_decimal(answer)
        return any(self.same(one, other) for one in theirs[: 1 + decimal] for other in ours[: 1 + decimal])

    def forms(self, node: Node) -> list[Node]:
        if not _is_rounding(node):
            return [node]
        exact, rounded = (side for side in node.sides)  # type: ignore[union-attr]
        named = self.assigned(exact)
        value, written = constant_of(bare(named[1] if named else exact)) if self.with_sympy else None, rational_of(bare(rounded))
        if value is None or written is None or not value.is_finite:
            return []
        places = next((exponent for exponent in range(30) if 10**exponent % written.denominator == 0), None)
        beyond = abs(value).evalf(30) - expression_of(Number(abs(written)))
        is_right = places is not None and value * expression_of(Number(written)) > 0 and -0.5 <= beyond * 10**places < 1
        return [exact, rounded] if is_right else []

    # --- equations, inequalities, intervals

    def same_relation(self, gold: Node, answer: Node) -> bool:
        ours, theirs = self.assigned(answer), self.assigned(gold)
        if ours and theirs:
            return (None in (theirs[0], ours[0]) or theirs[0] == ours[0]) and self.same(theirs[1], ours[1])
        if ours and not isinstance(gold, Relation):
            return self.same(gold, ours[1])
        if theirs and not isinstance(answer, Relation):
            return self.same(theirs[1], answer)
        if not self.with_sympy:
            return False
        if _is_equation(gold) and _is_equation(answer):
            return self.same_equation(gold, answer)
        one, other = set_of(gold), set_of(answer)
        if one is None or other is None:
            return self.same_inequality(gold, answer)
        if one[0] and other[0] and one[0] != other[0]:
            return False
        return bool(one[1] == other[1] or one[1].symmetric_difference(other[1]).is_empty)

    def assigned(self, node: Node) -> tuple[Node | None, Node] | None:
        """(name, value) of `x = 5`, `f(x) = 2x`, `x = y = 5`, and of a chain of equal numbers (3 + 4 = 7); None for any other relation."""
        if not isinstance(node, Relation):
            return None
        if node.signs == ("in",) and is_name(node.sides[0]):
            return node.sides[0], node.sides[1]
        if set(node.signs) != {"="}:
            return None
        *before, last = node.sides
        if is_name(before[0]) and not _mentions(last, before[0]):
            if all(is_name(part) or self.same(part, last) for part in before[1:]):
                return before[0], last
            return None
        if len(before) == 1 and is_name(last) and not _mentions(before[0], last):
            return last, before[0]
        if len(before) == 1 and isinstance(before[0], Group) and before[0].kind == "()" and all(map(is_name, before[0].members)):
            return before[0], last
        if len(before) > 1 and not symbols_of(last) and self.same(before[-1], last):
            # x + y = 3 + 4 = 7: the sides between the first and the last have no variables
            return None if any(symbols_of(part) for part in before[1:]) else (None, last)
        return (None, last) if not any(symbols_of(part) for part in node.sides) and all(self.same(last, part) for part in before) else None

    def same_equation(self, gold: Node, answer: Node) -> bool:
        """Whether one equation is a multiple of the other."""
        if not (isinstance(gold, Relation) and isinstance(answer, Relation) and len(gold.sides) == len(answer.sides) == 2):
            return gold == answer
        import sympy

        one, other = (expression_of(node.sides[0]) - expression_of(node.sides[1]) for node in (gold, answer))
        if one.free_symbols != other.free_symbols or not one.free_symbols or other == 0:
            return False
        ratio = sympy.cancel(sympy.together(one / other))
        return bool(ratio.is_number and ratio != 0 and ratio.is_finite is not False) or proved_zero(one - other) or proved_zero(one + other)

    def same_inequality(self, gold: Node, answer: Node) -> bool:
        """2x + y < 3 and 3 > y + 2x: one sign, and sides whose difference is the same up to a positive factor."""
        if _ascending(gold) == _ascending(answer):
            return True
        pairs = []
        for node in (gold, answer):
            if not isinstance(node, Relation) or len(node.signs) != 1 or node.signs[0] not in TURNED:
                return False
            left, right = node.sides
            sign = node.signs[0]
            if sign in (">", ">="):
                left, right, sign = right, left, TURNED[sign]
            pairs.append((sign, expression_of(left) - expression_of(right)))
        (one_sign, one), (other_sign, other) = pairs
        if one_sign != other_sign or one.free_symbols != other.free_symbols or other == 0:
            return False
        import sympy

        ratio = sympy.cancel(one / other)
        return bool(ratio.is_number and (ratio.is_positive or (one_sign == "!=" and ratio.is_nonzero)))

    # --- pairs, sets, lists, matrices

    def same_group(self, gold: Node, answer: Node) -> bool:
        if not isinstance(gold, Group) or not isinstance(answer, Group):
            group, single = (gold, answer) if isinstance(gold, Group) else (answer, gold)
            assert isinstance(group, Group)
            return group.kind in ("list", "{}") and all(self.same(single, member) for member in group.members)
        kinds = {gold.kind, answer.kind}
        if kinds == {"list", "()"}:
            return self.same_coordinates(gold, answer)
        if kinds <= {"list", "{}"}:
            return self.same_members(gold, answer, once="{}" in kinds)
        if len(kinds) > 1 or len(gold.members) != len(answer.members):
            return False
        return all(self.same(one, other) for one, other in zip(gold.members, answer.members, strict=True))

    def same_coordinates(self, gold: Group, answer: Group) -> bool:
        """(3, -1) and x = 3, y = -1: all members of the latter have names, which are in alphabetical order."""
        named, pair = (gold, answer) if gold.kind == "list" else (answer, gold)
        values = [self.assigned(member) for member in named.members]
        names = [value[0].name for value in values if value and isinstance(value[0], Symbol)]
        if len(names) < len(named.members) or len(names) != len(pair.members) or names != sorted(set(names)):
            return False
        return all(self.same(one, member[1]) for one, member in zip(pair.members, values, strict=True) if member)

    def same_members(self, gold: Group, answer: Group, *, once: bool) -> bool:
        """Whether both hold the same values, in any order; with `once`, duplicates count once, as in sets. Named values keep the order."""
        theirs, ours = list(gold.members), list(answer.members)
        names = [{str(pair[0]) for member in group if (pair := self.assigned(member)) and pair[0] is not None} for group in (theirs, ours)]
        if sorted(map(len, names))[0] == 0 and max(map(len, names)) > 1:  # x = 1, y = 2 against 1, 2
            return len(theirs) == len(ours) and all(self.same(one, other) for one, other in zip(theirs, ours, strict=True))
        if once:
            theirs, ours = self.different(theirs), self.different(ours)
        if len(theirs) != len(ours):
            return False
        for member in theirs:
            match = next((place for place, other in enumerate(ours) if self.same(member, other)), None)
            if match is None:
                return False
            del ours[match]
        return True

    def different(self, members: list[Node]) -> list[Node]:
        distinct: list[Node] = []
        for member in members:
            if not any(self.same(other, member) for other in distinct):
                distinct.append(member)
        return distinct

    # --- values

    def same_value(self, gold: Node, answer: Node) -> bool:
        if gold == answer:
            return True
        one, other = rational_of(gold), rational_of(answer)
        is_decimal = has_decimal(gold) or has_decimal(answer)
        if one is not None and other is not None:
            return one == other or (is_decimal and one.denominator != 1 and abs(one - other) <= abs(one) * Fraction(RELATIVE_TOLERANCE))
        if not self.with_sympy:
            return False
        return same_constant(gold, answer, is_decimal=is_decimal) if not symbols_of(gold) | symbols_of(answer) else same_expression(gold, answer)


def _unit_of(node: Node) -> str | None:
    if isinstance(node, Relation) and node.signs == ("=",):
        return _unit_of(node.sides[-1])
    return node.unit if isinstance(node, Quantity) else None


def _mentions(node: Node, name: Node) -> bool:
    return bool(symbols_of(node) & symbols_of(name))


def _ascending(node: Node) -> Node:
    """The relation c > b > a as a < b < c."""
    if not isinstance(node, Relation) or not set(node.signs) <= {">", ">="}:
        return node
    return Relation(tuple(TURNED[sign] for sign in reversed(node.signs)), node.sides[::-1])


def _is_rounding(node: Node) -> bool:
    return isinstance(node, Relation) and node.signs == ("~",)


def _is_equation(node: Node) -> bool:
    return isinstance(node, Relation) and set(node.signs) == {"="}
