"""When two formulas are equal: by what they are (number, pair, set, interval, equation, ...), and then exactly.

Rational numbers need no library. Other expressions are equal when sympy proves that their difference is zero; values to fifty digits only tell
expressions apart. There is no absolute tolerance: decimals may be off by a relative 1e-6. What cannot be read or proved is not equal.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from cotexp.tasks.formulas import Apply, Group, InBase, Node, Number, Quantity, Relation, Symbol, read
from cotexp.tasks.latex import normalised
from cotexp.tasks.words import Unsure, units_agree

if TYPE_CHECKING:
    import sympy

RELATIVE_TOLERANCE = 1e-6
MOST_BITS = 20_000
"""Numbers with more binary digits are not computed."""
_CACHED = 20_000
_LETTER_IN_BRACKETS = re.compile(r"^\(([A-Z])\)$")


def formulas_equal(gold: str, answer: str) -> bool:
    """Whether `answer` has the value of `gold`. May need sympy, and much time: run it where processor time is limited."""
    return same_spelling(gold, answer) or _equal_as_read(gold, answer, with_sympy=True)


def plainly_equal(gold: str, answer: str) -> bool:
    """As `formulas_equal`, but only where strings and rational numbers decide; takes no time."""
    return same_spelling(gold, answer) or _equal_as_read(gold, answer, with_sympy=False)


def same_spelling(gold: str, answer: str) -> bool:
    """Whether the normalised strings are the same; words may differ in their capitals."""
    ours, theirs = (_LETTER_IN_BRACKETS.sub(r"\1", normalised(each)) for each in (answer, gold))
    if ours == theirs:
        return units_agree(_sign_of(gold), _sign_of(answer))
    return ours.casefold() == theirs.casefold() and ours.isalpha() and len(ours) > 2 and not ours.isupper() and not theirs.isupper()


def _sign_of(latex: str) -> str | None:
    return "%" if "%" in latex else "°" if re.search(r"\\circ|\\degree|°", latex) else None


def is_formula(latex: str) -> bool:
    """Whether the whole of it can be read."""
    return _read(latex) is not None


def kind_of(latex: str) -> str | None:
    """What a formula is: "InBase", "Relation", "()", "{}", ... or "value"; None for one that cannot be read."""
    node = _read(latex)
    if node is None:
        return None
    bare = _bare(node)
    if isinstance(bare, Group):
        return "value" if bare.kind == "list" else bare.kind
    return type(bare).__name__ if isinstance(bare, InBase | Relation) else "value"


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
        """Whether two formulas mean the same, whatever they are."""
        gold_unit, answer_unit = _unit_of(gold), _unit_of(answer)
        if not units_agree(gold_unit, answer_unit):
            return False
        gold, answer = _several(_bare(gold)), _several(_bare(answer))
        if isinstance(gold, Relation) or isinstance(answer, Relation) or _is_set(gold) or _is_set(answer):
            return self.same_relation(gold, answer)
        if isinstance(gold, Group) or isinstance(answer, Group):
            return self.same_group(gold, answer)
        if isinstance(gold, InBase) or isinstance(answer, InBase):
            return gold == answer
        return self.same_value(gold, answer)

    # --- equations, inequalities, intervals

    def same_relation(self, gold: Node, answer: Node) -> bool:
        ours, theirs = self.assigned(answer), self.assigned(gold)
        if ours and theirs:
            return _same_name(theirs[0], ours[0]) and self.same(theirs[1], ours[1])
        if ours and not isinstance(gold, Relation):
            return self.same(gold, ours[1])
        if theirs and not isinstance(answer, Relation):
            return self.same(theirs[1], answer)
        if not self.with_sympy:
            return False
        if _is_equation(gold) and _is_equation(answer):
            return self.same_equation(gold, answer)
        one, other = _set_of(gold), _set_of(answer)
        if one is None or other is None:
            return self.same_inequality(gold, answer)
        if one[0] and other[0] and one[0] != other[0]:
            return False
        return bool(one[1] == other[1] or one[1].symmetric_difference(other[1]).is_empty)

    def assigned(self, node: Node) -> tuple[Node | None, Node] | None:
        """(name, value) of `x = 5`, `f(x) = 2x`, `x = y = 5`, and of a chain of equal numbers (3 + 4 = 7); None for any other relation."""
        if not isinstance(node, Relation):
            return None
        if node.signs == ("in",) and _is_name(node.sides[0]):
            return node.sides[0], node.sides[1]
        if set(node.signs) != {"="}:
            return None
        *before, last = node.sides
        if _is_name(before[0]) and not _mentions(last, before[0]):
            if all(_is_name(each) or self.same(each, last) for each in before[1:]):
                return before[0], last
            return None
        if len(before) == 1 and _is_name(last) and not _mentions(before[0], last):
            return last, before[0]
        if _is_tuple(before[0]) and all(_is_name(each) for each in before[0].members) and len(before) == 1:  # type: ignore[union-attr]
            return before[0], last
        if len(before) > 1 and not _symbols(last) and self.same(before[-1], last):
            return None if not self._gives_last_side(before) else (None, last)
        return (None, last) if not any(_symbols(each) for each in node.sides) and all(self.same(last, each) for each in before) else None

    def _gives_last_side(self, before: Sequence[Node]) -> bool:
        """x + y = 3 + 4 = 7: what stands between the first and the last side has no variables."""
        return not any(_symbols(each) for each in before[1:])

    def same_equation(self, gold: Node, answer: Node) -> bool:
        """Whether one equation is the other times a constant."""
        if not (isinstance(gold, Relation) and isinstance(answer, Relation) and len(gold.sides) == len(answer.sides) == 2):
            return gold == answer
        import sympy

        one, other = (_expression(each.sides[0]) - _expression(each.sides[1]) for each in (gold, answer))
        if one.free_symbols != other.free_symbols or other == 0:
            return False
        ratio = sympy.cancel(sympy.together(one / other))
        return bool(ratio.is_number and ratio != 0 and ratio.is_finite is not False) or _proved_zero(one - other) or _proved_zero(one + other)

    def same_inequality(self, gold: Node, answer: Node) -> bool:
        """2x + y < 3 and 3 > y + 2x: one sign, and sides whose difference is the same up to a positive factor."""
        pairs = []
        for node in (gold, answer):
            if not isinstance(node, Relation) or len(node.signs) != 1 or node.signs[0] not in _TURNED:
                return False
            left, right = node.sides
            sign = node.signs[0]
            if sign in (">", ">="):
                left, right, sign = right, left, _TURNED[sign]
            pairs.append((sign, _expression(left) - _expression(right)))
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
            return group.kind in ("list", "{}") and all(self.same(single, each) for each in group.members)
        kinds = {gold.kind, answer.kind}
        if kinds <= {"list", "{}"}:
            return self.same_members(gold, answer, once="{}" in kinds)
        if len(kinds) > 1 or len(gold.members) != len(answer.members):
            return False
        return all(self.same(one, other) for one, other in zip(gold.members, answer.members, strict=True))

    def same_members(self, gold: Group, answer: Group, *, once: bool) -> bool:
        """Whether the same values stand in both, in any order; in a set each counts `once`. Values with names keep the order of bare ones."""
        theirs, ours = list(gold.members), list(answer.members)
        names = [{str(pair[0]) for each in group if (pair := self.assigned(each)) and pair[0] is not None} for group in (theirs, ours)]
        if sorted(map(len, names))[0] == 0 and max(map(len, names)) > 1:  # x = 1, y = 2 beside 1, 2
            return len(theirs) == len(ours) and all(self.same(one, other) for one, other in zip(theirs, ours, strict=True))
        if once:
            theirs, ours = self.different(theirs), self.different(ours)
        if len(theirs) != len(ours):
            return False
        for each in theirs:
            match = next((place for place, other in enumerate(ours) if self.same(each, other)), None)
            if match is None:
                return False
            del ours[match]
        return True

    def different(self, members: list[Node]) -> list[Node]:
        found: list[Node] = []
        for each in members:
            if not any(self.same(other, each) for other in found):
                found.append(each)
        return found

    # --- values

    def same_value(self, gold: Node, answer: Node) -> bool:
        if gold == answer:
            return True
        one, other = _rational(gold), _rational(answer)
        is_decimal = _has_decimal(gold) or _has_decimal(answer)
        if one is not None and other is not None:
            return one == other or (is_decimal and one.denominator != 1 and abs(one - other) <= abs(one) * Fraction(RELATIVE_TOLERANCE))
        if not self.with_sympy:
            return False
        return _same_constant(gold, answer, is_decimal=is_decimal) if not _symbols(gold) | _symbols(answer) else _same_expression(gold, answer)


_TURNED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "!=": "!="}
_CONSTANTS = ("\\pi", "\\infty", "e", "i", "")


def _bare(node: Node) -> Node:
    return _bare(node.value) if isinstance(node, Quantity) else node


def _unit_of(node: Node) -> str | None:
    if isinstance(node, Relation) and node.signs == ("=",):
        return _unit_of(node.sides[-1])
    return node.unit if isinstance(node, Quantity) else None


def _several(node: Node) -> Node:
    """3 \\pm 2 is two values. Raises: Unsure for more than one such sign, since they may go together or not."""
    if isinstance(node, Group) and node.kind in ("list", "{}"):
        members = [each for own in node.members for each in _members(_several(own))]
        return Group(node.kind, tuple(members), node.joined_by)
    if isinstance(node, Relation) and node.signs == ("=",) and _count_signs(node) == 1:
        return Group("list", tuple(Relation(("=",), (node.sides[0], _with_sign(node.sides[1], each))) for each in ("+", "-")))
    count = _count_signs(node)
    if count == 0 or isinstance(node, Group | Relation):
        return node
    if count > 1:
        raise Unsure("several plus-minus signs")
    return Group("list", (_with_sign(node, "+"), _with_sign(node, "-")))


def _members(node: Node) -> tuple[Node, ...]:
    return node.members if isinstance(node, Group) and node.kind == "list" else (node,)


def _parts(node: Node) -> tuple[Node, ...]:
    if isinstance(node, Apply):
        return node.operands
    if isinstance(node, Group):
        return node.members
    if isinstance(node, Relation):
        return node.sides
    return (node.value,) if isinstance(node, Quantity) else ()


def _count_signs(node: Node) -> int:
    return (isinstance(node, Apply) and node.name == "pm") + sum(_count_signs(each) for each in _parts(node))


def _with_sign(node: Node, sign: str) -> Node:
    """The tree with one of the two values of its plus-minus sign."""
    if isinstance(node, Quantity):
        return Quantity(_with_sign(node.value, sign), node.unit)
    if not isinstance(node, Apply):
        return node
    operands = tuple(_with_sign(each, sign) for each in node.operands)
    if node.name != "pm":
        return Apply(node.name, operands)
    last = operands[-1] if sign == "+" else Apply("neg", (operands[-1],))
    return Apply("+", (operands[0], last)) if len(operands) == 2 else last


def _symbols(node: Node) -> set[str]:
    if isinstance(node, Symbol):
        return set() if node.name in _CONSTANTS else {node.name}
    return {each for part in _parts(node) for each in _symbols(part)}


def _mentions(node: Node, name: Node) -> bool:
    return bool(_symbols(node) & _symbols(name))


def _is_name(node: Node) -> bool:
    return isinstance(node, Symbol) and node.name not in ("\\pi", "\\infty", "") and not node.name.isdigit()


def _same_name(gold: Node | None, answer: Node | None) -> bool:
    return gold is None or answer is None or gold == answer


def _is_tuple(node: Node) -> bool:
    return isinstance(node, Group) and node.kind == "()"


def _is_equation(node: Node) -> bool:
    return isinstance(node, Relation) and set(node.signs) == {"="}


def _has_decimal(node: Node) -> bool:
    return (isinstance(node, Number) and node.is_decimal) or any(_has_decimal(each) for each in _parts(node))


# --- sets of real numbers ------------------------------------------------------------------------------------------------


def _is_set(node: Node) -> bool:
    """Whether it can only be a set of numbers: a union, the real numbers, an open-ended interval, inequalities joined by a word."""
    if isinstance(node, Apply):
        return node.name in ("cup", "cap", "minus")
    if isinstance(node, Symbol):
        return node.name in ("reals", "integers", "naturals", "empty")
    if isinstance(node, Group) and node.kind == "list":
        return node.joined_by != "," and all(isinstance(each, Relation) and "=" not in each.signs for each in node.members)
    return isinstance(node, Group) and node.kind in ("(]", "[)")


def _set_of(node: Node) -> tuple[str, Any] | None:
    """(name of the variable or "", sympy set); None where it is no set of real numbers with known ends."""
    import sympy

    if isinstance(node, Group) and node.kind in ("()", "(]", "[)", "[]") and len(node.members) == 2:
        left, right = (_end(each) for each in node.members)
        if left is None or right is None or not (left < right) == True:  # noqa: E712 - sympy's own truth
            return None
        return "", sympy.Interval(left, right, node.kind[0] == "(", node.kind[1] == ")")
    if isinstance(node, Group) and node.kind == "{}":
        ends = [_end(each) for each in node.members]
        return None if None in ends else ("", sympy.FiniteSet(*ends))
    if isinstance(node, Group) and node.kind == "list" and node.joined_by != ",":
        return _joined([_set_of(each) for each in node.members], "cup" if node.joined_by == "or" else "cap")
    if isinstance(node, Apply) and node.name in ("cup", "cap", "minus"):
        return _joined([_set_of(_bare(each)) for each in node.operands], node.name)
    if isinstance(node, Symbol):
        known = {"reals": sympy.S.Reals, "integers": sympy.S.Integers, "naturals": sympy.S.Naturals, "empty": sympy.S.EmptySet}
        return ("", known[node.name]) if node.name in known else None
    return _set_of_relation(node) if isinstance(node, Relation) else None


def _joined(parts: Sequence[tuple[str, Any] | None], name: str) -> tuple[str, Any] | None:
    import sympy

    known = [each for each in parts if each is not None]
    names = {each[0] for each in known if each[0]}
    if len(known) < len(parts) or len(names) > 1:
        return None
    sets = [each[1] for each in known]
    found = sets[0] - sets[1] if name == "minus" else (sympy.Union if name == "cup" else sympy.Intersection)(*sets)
    return (names.pop() if names else ""), found


def _set_of_relation(node: Relation) -> tuple[str, Any] | None:
    """The numbers that x < 3, 2 <= x < 5, x != 2 or |x| < 3 allow."""
    import sympy

    if node.signs == ("in",) and _is_name(node.sides[0]):
        found = _set_of(_bare(node.sides[1]))
        return None if found is None else (str(_symbols(node.sides[0])), found[1])
    if node.signs == ("!=",) and _is_name(node.sides[0]) and (end := _end(node.sides[1])) is not None:
        return str(_symbols(node.sides[0])), sympy.S.Reals - sympy.FiniteSet(end)
    if any(each not in ("<", "<=", ">", ">=") for each in node.signs):
        return None
    names = {each for side in node.sides for each in _symbols(side)}
    found = sympy.S.Reals
    for sign, left, right in zip(node.signs, node.sides[:-1], node.sides[1:], strict=True):
        part = _half_line(sign, left, right)
        if part is None:
            return None
        found = found.intersect(part)
    return (str(names), found) if len(names) < 2 else None


def _half_line(sign: str, left: Node, right: Node) -> Any:
    import sympy

    empty_left = left == Symbol("")
    if (_is_name(right) or isinstance(right, Apply)) and not _is_name(left) and not empty_left and _symbols(right):
        left, right, sign = right, left, _TURNED[sign]
    end = _end(right)
    if end is None:
        return None
    is_absolute = isinstance(left, Apply) and left.name == "abs" and _is_name(left.operands[0])
    if not (_is_name(left) or empty_left or is_absolute):
        return None
    is_open = sign in ("<", ">")
    if sign in ("<", "<="):
        return sympy.Interval(-end if is_absolute else -sympy.oo, end, is_open if is_absolute else True, is_open)
    above = sympy.Interval(end, sympy.oo, is_open, True)
    return sympy.Union(above, sympy.Interval(-sympy.oo, -end, True, is_open)) if is_absolute else above


def _end(node: Node) -> Any:
    """A real constant, or an infinity; None for anything else."""
    if _symbols(node) or isinstance(node, Group | Relation | InBase):
        return None
    value = _expression(node)
    return value if value.is_extended_real else None


# --- values --------------------------------------------------------------------------------------------------------------


def _rational(node: Node) -> Fraction | None:
    """The exact value of a rational number that is small enough to be written down; None for anything else."""
    if isinstance(node, Number):
        return node.value
    if not isinstance(node, Apply) or node.name not in ("+", "*", "/", "^", "neg", "!", "degrees"):
        return None
    values = [_rational(each) for each in node.operands]
    first, last = values[0], values[-1]
    if first is None or last is None:
        return None
    if node.name == "+":
        return first + last
    if node.name == "*":
        return first * last
    if node.name == "/":
        return first / last if last else None
    if node.name in ("neg", "degrees"):
        return -first if node.name == "neg" else first
    if node.name == "!":
        return Fraction(math.factorial(int(first))) if first.denominator == 1 and 0 <= first <= MOST_BITS // 10 else None
    if last.denominator != 1 or (first == 0 and last < 0) or _bits(first) * abs(last) > MOST_BITS:
        return None
    return first ** int(last)


def _bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def _expression(node: Node, *, is_angle: bool = False, positive: bool = False) -> Any:
    """The sympy expression of a tree, with `positive` variables or complex ones. Raises: Unsure for what is no expression, or too large."""
    import sympy

    rational = _rational(node) if not is_angle else None
    if rational is not None:
        return sympy.Rational(rational.numerator, rational.denominator)
    if isinstance(node, Number):
        return sympy.Rational(node.value.numerator, node.value.denominator)
    if isinstance(node, Symbol):
        return _symbol(node.name, positive)
    if isinstance(node, Quantity):
        return _expression(node.value, positive=positive)
    if not isinstance(node, Apply):
        raise Unsure("no expression")
    if node.name == "degrees":
        value = _expression(node.operands[0], positive=positive)
        return value * sympy.pi / 180 if is_angle else value
    trigonometric = node.name in ("sin", "cos", "tan", "cot", "sec", "csc")
    operands = [_expression(each, is_angle=is_angle or trigonometric, positive=positive) for each in node.operands]
    return _applied(node.name, operands)


def _symbol(name: str, positive: bool) -> Any:
    import sympy

    known = {"\\pi": sympy.pi, "\\infty": sympy.oo, "e": sympy.E, "i": sympy.I}
    if name in known:
        return known[name]
    if name in ("", "reals", "integers", "naturals", "empty") or name.startswith("name "):
        raise Unsure("no variable")
    return sympy.Symbol(name, positive=True) if positive else sympy.Symbol(name)


def _applied(name: str, operands: list[Any]) -> Any:
    import sympy

    first, last = operands[0], operands[-1]
    if name == "+":
        return first + last
    if name == "*":
        return first * last
    if name == "/":
        if last == 0:
            raise Unsure("a division by zero")
        return first / last
    if name == "neg":
        return -first
    if name == "^":
        _check_power(first, last)
        return first**last
    if name == "root":
        return sympy.root(first, last)
    if name == "log":
        return sympy.log(first) / sympy.log(last if len(operands) > 1 else sympy.Symbol("base of log", positive=True))
    if name == "!":
        if first.is_number and not (first.is_integer and 0 <= first <= MOST_BITS // 10):
            raise Unsure("a factorial")
        return sympy.factorial(first)
    if name == "binom":
        if any(each.is_number and abs(each) > MOST_BITS // 10 for each in operands):
            raise Unsure("a binomial coefficient")
        return sympy.binomial(first, last)
    if name.startswith("call "):
        return sympy.Function(name[5:])(*operands)
    functions = {
        "abs": sympy.Abs,
        "floor": sympy.floor,
        "ceil": sympy.ceiling,
        "ln": sympy.log,
        "conjugate": sympy.conjugate,
        **{f"arc{each}": getattr(sympy, f"a{each}") for each in ("sin", "cos", "tan")},
        **{each: getattr(sympy, each) for each in "sin cos tan cot sec csc sinh cosh tanh exp".split()},
    }
    if name not in functions:
        raise Unsure(f"function {name}")
    return functions[name](first)


def _check_power(base: Any, exponent: Any) -> None:
    if exponent.is_number and base.is_number and base not in (0, 1, -1):
        size = abs(exponent.evalf(10)) if exponent.is_finite else math.inf
        if not size * max(1, abs(math.log2(abs(float(base.evalf(10))) or 1))) <= MOST_BITS:
            raise Unsure("a huge power")
    elif exponent.is_number and exponent.is_finite and abs(exponent.evalf(10)) > 200:
        raise Unsure("a huge power")


def _same_expression(gold: Node, answer: Node) -> bool:
    one, other = _expression(gold), _expression(answer)
    if one == other:
        return True
    if one.free_symbols != other.free_symbols and not _may_vanish(one, other):
        return False
    return _agree_at_points(one, other) and _proved_zero(_expression(gold, positive=True) - _expression(answer, positive=True))


def _may_vanish(one: Any, other: Any) -> bool:
    """Whether variables that only one of them has may cancel, as in x/x; a bare letter more is another expression."""
    import sympy

    return bool(sympy.simplify(one).free_symbols == sympy.simplify(other).free_symbols)


def _same_constant(gold: Node, answer: Node, *, is_decimal: bool) -> bool:
    import sympy

    exact, given = _expression(gold), _expression(answer)
    if exact == given or not (exact.is_finite and given.is_finite):
        return bool(exact == given)
    one, other = (each.evalf(50) for each in (exact, given))
    if is_decimal:
        return bool(not exact.is_integer and abs(one - other) <= abs(one) * RELATIVE_TOLERANCE)
    if bool(abs(one - other) > max(abs(one), abs(other)) * sympy.Float("1e-40", 50)):
        return False
    return _proved_zero(exact - given)


_POINTS = tuple(Fraction(top, bottom) for top, bottom in ((7, 3), (-5, 7), (13, 11), (-17, 5), (3, 19), (29, 13), (-2, 23), (41, 9)))


def _agree_at_points(gold: Any, answer: Any) -> bool:
    """Whether the values are the same at some points: wherever both are real, and where all variables are positive."""
    import sympy

    names = sorted(gold.free_symbols | answer.free_symbols, key=str)
    for shift in range(len(_POINTS)):
        values = {each: sympy.Rational(*_POINTS[(shift + 3 * place) % len(_POINTS)].as_integer_ratio()) for place, each in enumerate(names)}
        theirs, ours = (each.subs(values).evalf(30) for each in (gold, answer))
        if not (ours.is_number and theirs.is_number and ours.is_finite and theirs.is_finite):
            continue
        size = max(abs(ours), abs(theirs))
        counts = (ours.is_real and theirs.is_real) or all(each > 0 for each in values.values())
        if counts and bool(abs(ours - theirs) > size * sympy.Float("1e-20", 30)):
            return False
    return True


def _proved_zero(difference: Any) -> bool:
    """Whether sympy finds it to be zero; variables are taken for positive, which `_agree_at_points` has made up for."""
    import sympy

    for step in (sympy.expand, sympy.radsimp, sympy.cancel, sympy.simplify):
        difference = step(difference)
        if difference == 0:
            return True
    return bool(difference.is_number and difference.equals(0) is True)
