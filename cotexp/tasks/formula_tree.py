"""The nodes of the syntax tree of a formula, which `grammar` reads."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Number:
    """An exact value; `is_decimal`: it has a decimal point, so it may be rounded."""

    value: Fraction
    is_decimal: bool = False


@dataclass(frozen=True, slots=True)
class Symbol:
    """A variable, a constant such as `\\pi`, or the name before an equals sign."""

    name: str


@dataclass(frozen=True, slots=True)
class Apply:
    """A function or operator on operands: "+", "*", "/", "^", "neg", "sqrt", "!", "abs", "sin", "cup", ..."""

    name: str
    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class InBase:
    """Digits with a base: 204_5."""

    digits: str
    base: int


@dataclass(frozen=True, slots=True)
class Group:
    """Several values. Kinds: "(]" and the like for values in brackets, "{}" a set, "list" values next to each other,
    ":" a ratio or a time, "matrix" its rows.

    `joined_by` is "or" or "and" for a list with this word.
    """

    kind: str
    members: tuple[Node, ...]
    joined_by: str = ","


@dataclass(frozen=True, slots=True)
class Relation:
    """Sides and the signs between them: = < > <= >= != in, or only "~", between a value and its rounded form."""

    signs: tuple[str, ...]
    sides: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Quantity:
    """A value with the name of its unit."""

    value: Node
    unit: str


Node = Number | Symbol | Apply | InBase | Group | Relation | Quantity


def times(one: Node, other: Node) -> Node:
    """A product. A number times a matrix multiplies the entries."""
    if isinstance(other, Group) and other.kind == "matrix" and not isinstance(one, Group):
        return Group(
            "matrix",
            tuple(Group("row", tuple(Apply("*", (one, member)) for member in row.members)) for row in other.members if isinstance(row, Group)),
        )
    return Apply("*", (one, other))


def negative(node: Node) -> Node:
    return times(Number(Fraction(-1)), node) if isinstance(node, Group) and node.kind == "matrix" else Apply("neg", (node,))
