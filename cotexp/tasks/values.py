"""Values of formulas and their equality: rational numbers without a library, other expressions by sympy."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from cotexp.tasks.formula_tree import Apply, Group, InBase, Node, Number, Quantity, Relation, Symbol
from cotexp.tasks.unit_words import Unsure

RELATIVE_TOLERANCE = 1e-6
MOST_BITS = 20_000
"""Most binary digits of numbers that are computed."""
_NAMED = "sin cos tan cot sec csc sinh cosh tanh exp"
_CONSTANTS = ("\\pi", "\\infty", "e", "i", "")


def bare(node: Node) -> Node:
    return bare(node.value) if isinstance(node, Quantity) else node


def parts_of(node: Node) -> tuple[Node, ...]:
    if isinstance(node, Apply):
        return node.operands
    if isinstance(node, Group):
        return node.members
    if isinstance(node, Relation):
        return node.sides
    return (node.value,) if isinstance(node, Quantity) else ()


def symbols_of(node: Node) -> set[str]:
    if isinstance(node, Symbol):
        return set() if node.name in _CONSTANTS else {node.name}
    return {symbol for part in parts_of(node) for symbol in symbols_of(part)}


def is_name(node: Node) -> bool:
    return isinstance(node, Symbol) and node.name not in ("\\pi", "\\infty", "") and not node.name.isdigit()


def has_decimal(node: Node) -> bool:
    return (isinstance(node, Number) and node.is_decimal) or any(has_decimal(part) for part in parts_of(node))


def constant_of(node: Node) -> Any:
    """A real constant, or an infinity; None for anything else."""
    if symbols_of(node) or isinstance(node, Group | Relation | InBase):
        return None
    value = expression_of(node)
    return value if value.is_extended_real else None


def rational_of(node: Node) -> Fraction | None:
    """The exact value of a rational number whose powers have at most MOST_BITS; None for anything else."""
    if isinstance(node, Number):
        return node.value
    if not isinstance(node, Apply) or node.name not in ("+", "*", "/", "^", "neg", "!", "degrees"):
        return None
    values = [rational_of(operand) for operand in node.operands]
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


def expression_of(node: Node, *, is_angle: bool = False, positive: bool = False) -> Any:
    """The sympy expression of a tree, with `positive` variables or complex ones. Raises: Unsure if it is not an expression, or too large."""
    import sympy

    exact = rational_of(node) if not is_angle else None
    if exact is not None:
        return sympy.Rational(exact.numerator, exact.denominator)
    if isinstance(node, Number):
        return sympy.Rational(node.value.numerator, node.value.denominator)
    if isinstance(node, Symbol):
        return _symbol(node.name, positive)
    if isinstance(node, Quantity):
        return expression_of(node.value, is_angle=is_angle, positive=positive)
    if not isinstance(node, Apply):
        raise Unsure("no expression")
    if node.name == "degrees":
        value = expression_of(node.operands[0], positive=positive)
        return value * sympy.pi / 180 if is_angle else value
    trigonometric = node.name in ("sin", "cos", "tan", "cot", "sec", "csc")
    operands = [expression_of(operand, is_angle=is_angle or trigonometric, positive=positive) for operand in node.operands]
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
    if name == "conjugate" and first.is_real:
        raise Unsure("a bar over a number")
    if name == "binom":
        if any(operand.is_number and abs(operand) > MOST_BITS // 10 for operand in operands):
            raise Unsure("a binomial coefficient")
        return sympy.binomial(first, last)
    if name.startswith("call "):
        return sympy.Function(name[5:])(*operands)
    return _function(name)(first)


def _function(name: str) -> Any:
    """The sympy function of this name. Raises: Unsure for an unknown one."""
    import sympy

    functions = {
        "abs": sympy.Abs,
        "floor": sympy.floor,
        "ceil": sympy.ceiling,
        "ln": sympy.log,
        "conjugate": sympy.conjugate,
        **{f"arc{function}": getattr(sympy, f"a{function}") for function in ("sin", "cos", "tan")},
        **{function: getattr(sympy, function) for function in _NAMED.split()},
    }
    if name not in functions:
        raise Unsure(f"function {name}")
    return functions[name]


def _check_power(base: Any, exponent: Any) -> None:
    if exponent.is_number and base.is_number and base not in (0, 1, -1):
        size = abs(exponent.evalf(10)) if exponent.is_finite else math.inf
        if not size * max(1, abs(math.log2(abs(complex(base.evalf(10))) or 1))) <= MOST_BITS:
            raise Unsure("a huge power")
    elif exponent.is_number and exponent.is_finite and abs(exponent.evalf(10)) > 200:
        raise Unsure("a huge power")


def same_expression(gold: Node, answer: Node) -> bool:
    one, other = expression_of(gold), expression_of(answer)
    if one == other:
        return True
    if one.free_symbols != other.free_symbols and not _may_vanish(one, other):
        return False
    return _agree_at_points(one, other) and proved_zero(expression_of(gold, positive=True) - expression_of(answer, positive=True))


def _may_vanish(one: Any, other: Any) -> bool:
    """Whether variables that only one of them has may cancel, as in x/x. A single further letter makes another expression."""
    import sympy

    return bool(sympy.simplify(one).free_symbols == sympy.simplify(other).free_symbols)


def same_constant(gold: Node, answer: Node, *, is_decimal: bool) -> bool:
    import sympy

    exact, given = expression_of(gold), expression_of(answer)
    if exact == given or not (exact.is_finite and given.is_finite):
        return bool(exact == given)
    one, other = (value.evalf(50) for value in (exact, given))
    if is_decimal:
        return bool(not exact.is_integer and abs(one - other) <= abs(one) * RELATIVE_TOLERANCE)
    if bool(abs(one - other) > max(abs(one), abs(other)) * sympy.Float("1e-40", 50)):
        return False
    return proved_zero(exact - given)


_POINTS = tuple(Fraction(top, bottom) for top, bottom in ((7, 3), (-5, 7), (13, 11), (-17, 5), (3, 19), (29, 13), (-2, 23), (41, 9)))


def _agree_at_points(gold: Any, answer: Any) -> bool:
    """Whether the values agree at some points: where both are real, and where all variables are positive."""
    import sympy

    names = sorted(gold.free_symbols | answer.free_symbols, key=str)
    for shift in range(len(_POINTS)):
        values = {name: sympy.Rational(*_POINTS[(shift + 3 * place) % len(_POINTS)].as_integer_ratio()) for place, name in enumerate(names)}
        theirs, ours = (formula.subs(values).evalf(30) for formula in (gold, answer))
        if not (ours.is_number and theirs.is_number and ours.is_finite and theirs.is_finite):
            continue
        size = max(abs(ours), abs(theirs))
        counts = (ours.is_real and theirs.is_real) or all(value > 0 for value in values.values())
        if counts and bool(abs(ours - theirs) > size * sympy.Float("1e-20", 30)):
            return False
    return True


def proved_zero(difference: Any) -> bool:
    """Whether sympy proves that it is zero. It assumes positive variables; `_agree_at_points` has checked the others."""
    import sympy

    for step in (sympy.expand, sympy.radsimp, sympy.cancel, sympy.simplify):
        difference = step(difference)
        if difference == 0:
            return True
    return bool(difference.is_number and difference.equals(0) is True)
