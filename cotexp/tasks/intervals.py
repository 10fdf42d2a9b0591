"""Sets of real numbers: intervals, unions, and solutions of inequalities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cotexp.tasks.formula_tree import Apply, Group, Node, Relation, Symbol
from cotexp.tasks.values import bare, constant_of, is_name, symbols_of

TURNED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "!=": "!="}
"""Sign -> the sign after its sides are swapped."""


def is_set(node: Node) -> bool:
    """Whether a formula can only be a set of numbers: a union, the real numbers, an open-ended interval, inequalities joined by a word."""
    if isinstance(node, Apply):
        return node.name in ("cup", "cap", "minus")
    if isinstance(node, Symbol):
        return node.name in ("reals", "integers", "naturals", "empty")
    if isinstance(node, Group) and node.kind == "list":
        return _is_condition(node)
    return isinstance(node, Group) and node.kind in ("(]", "[)")


def _is_condition(node: Group) -> bool:
    """Inequalities joined by a word, or by a comma if one of them excludes a number: 0 < x < 5, x \\ne 2."""
    signs = [member.signs for member in node.members if isinstance(member, Relation)]
    joined = node.joined_by != "," or ("!=",) in signs
    return node.kind == "list" and joined and len(signs) == len(node.members) and not any("=" in sign for sign in signs)


def set_of(node: Node) -> tuple[str, Any] | None:
    """(name of the variable or "", sympy set); None if it is not a set of real numbers with known ends."""
    import sympy

    if isinstance(node, Group) and node.kind in ("()", "(]", "[)", "[]") and len(node.members) == 2:
        left, right = (constant_of(member) for member in node.members)
        if left is None or right is None or (left < right) is not sympy.true:
            return None
        if (node.kind[0] == "[" and not left.is_finite) or (node.kind[1] == "]" and not right.is_finite):
            return None  # no interval contains infinity
        return "", sympy.Interval(left, right, node.kind[0] == "(", node.kind[1] == ")")
    if isinstance(node, Group) and node.kind == "{}":
        ends = [constant_of(member) for member in node.members]
        return None if None in ends else ("", sympy.FiniteSet(*ends))
    if isinstance(node, Group) and _is_condition(node):
        return _joined([set_of(member) for member in node.members], "cup" if node.joined_by == "or" else "cap")
    if isinstance(node, Apply) and node.name in ("cup", "cap", "minus"):
        return _joined([set_of(bare(operand)) for operand in node.operands], node.name)
    if isinstance(node, Symbol):
        known = {"reals": sympy.S.Reals, "integers": sympy.S.Integers, "naturals": sympy.S.Naturals, "empty": sympy.S.EmptySet}
        return ("", known[node.name]) if node.name in known else None
    return _set_of_relation(node) if isinstance(node, Relation) else None


def _joined(parts: Sequence[tuple[str, Any] | None], name: str) -> tuple[str, Any] | None:
    import sympy

    known = [part for part in parts if part is not None]
    names = {bounds[0] for bounds in known if bounds[0]}
    if len(known) < len(parts) or len(names) > 1:
        return None
    sets = [bounds[1] for bounds in known]
    result = sets[0] - sets[1] if name == "minus" else (sympy.Union if name == "cup" else sympy.Intersection)(*sets)
    return (names.pop() if names else ""), result


def _set_of_relation(node: Relation) -> tuple[str, Any] | None:
    """The solutions of x < 3, 2 <= x < 5, x != 2 or |x| < 3."""
    import sympy

    if node.signs == ("in",) and is_name(node.sides[0]):
        numbers = set_of(bare(node.sides[1]))
        return None if numbers is None else (str(symbols_of(node.sides[0])), numbers[1])
    if node.signs == ("!=",) and is_name(node.sides[0]) and (end := constant_of(node.sides[1])) is not None:
        return str(symbols_of(node.sides[0])), sympy.S.Reals - sympy.FiniteSet(end)
    if any(sign not in ("<", "<=", ">", ">=") for sign in node.signs):
        return None
    names = {symbol for side in node.sides for symbol in symbols_of(side)}
    numbers = sympy.S.Reals
    for sign, left, right in zip(node.signs, node.sides[:-1], node.sides[1:], strict=True):
        part = _half_line(sign, left, right)
        if part is None:
            return None
        numbers = numbers.intersect(part)
    return (str(names), numbers) if len(names) < 2 else None


def _half_line(sign: str, left: Node, right: Node) -> Any:
    import sympy

    empty_left = left == Symbol("")
    if (is_name(right) or isinstance(right, Apply)) and not is_name(left) and not empty_left and symbols_of(right):
        left, right, sign = right, left, TURNED[sign]
    end = constant_of(right)
    if end is None:
        return None
    is_absolute = isinstance(left, Apply) and left.name == "abs" and is_name(left.operands[0])
    if not (is_name(left) or empty_left or is_absolute):
        return None
    is_open = sign in ("<", ">")
    if sign in ("<", "<="):
        return sympy.Interval(-end if is_absolute else -sympy.oo, end, is_open if is_absolute else True, is_open)
    above = sympy.Interval(end, sympy.oo, is_open, True)
    return sympy.Union(above, sympy.Interval(-sympy.oo, -end, True, is_open)) if is_absolute else above
