"""The two values of a formula with a plus-minus sign."""

from __future__ import annotations

from cotexp.tasks.formula_tree import Apply, Group, Node, Quantity, Relation
from cotexp.tasks.unit_words import Unsure
from cotexp.tasks.values import parts_of


def several(node: Node) -> Node:
    """The two values of 3 \\pm 2. Raises: Unsure if there is more than one such sign, because they may depend on each other."""
    if isinstance(node, Group) and node.kind in ("list", "{}"):
        members = [member for member_of_node in node.members for member in _members(several(member_of_node))]
        return Group(node.kind, tuple(members), node.joined_by)
    if isinstance(node, Relation) and node.signs == ("=",) and _count_signs(node) == 1:
        return Group("list", tuple(Relation(("=",), (node.sides[0], _with_sign(node.sides[1], sign))) for sign in ("+", "-")))
    count = _count_signs(node)
    if count == 0 or isinstance(node, Group | Relation):
        return node
    if count > 1:
        raise Unsure("several plus-minus signs")
    return Group("list", (_with_sign(node, "+"), _with_sign(node, "-")))


def _members(node: Node) -> tuple[Node, ...]:
    return node.members if isinstance(node, Group) and node.kind == "list" else (node,)


def _count_signs(node: Node) -> int:
    return (isinstance(node, Apply) and node.name == "pm") + sum(_count_signs(part) for part in parts_of(node))


def _with_sign(node: Node, sign: str) -> Node:
    """The tree with one of the two values of its plus-minus sign."""
    if isinstance(node, Quantity):
        return Quantity(_with_sign(node.value, sign), node.unit)
    if not isinstance(node, Apply):
        return node
    operands = tuple(_with_sign(operand, sign) for operand in node.operands)
    if node.name != "pm":
        return Apply(node.name, operands)
    last = operands[-1] if sign == "+" else Apply("neg", (operands[-1],))
    return Apply("+", (operands[0], last)) if len(operands) == 2 else last
