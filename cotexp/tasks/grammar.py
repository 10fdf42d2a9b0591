"""A small grammar of LaTeX answers: numbers, expressions, pairs, sets, intervals, equations, inequalities and lists of them.

Every token must be read; nothing is dropped or guessed, unlike in parsers that look for a formula somewhere in a text. For syntax that the
grammar does not know it raises `Unsure`, and such a formula equals only its own spelling.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from cotexp.tasks.expressions import Expressions
from cotexp.tasks.formula_tree import Apply, Group, Node, Quantity, Relation, Symbol
from cotexp.tasks.latex import RELATIONS, tokens
from cotexp.tasks.token_reader import DEEPEST
from cotexp.tasks.unit_words import Unsure
from cotexp.tasks.values import is_name, symbols_of

_NAME = re.compile(
    r"(?:m )?\\(?:angle|measuredangle|triangle)(?: [A-Z]){1,3}|(?:\\overline|\\vec|\\overrightarrow|\\widehat) (?:\{(?: [A-Za-z])+ \}|[A-Za-z])"
    r"|[A-Z](?: [A-Z])+|[A-Za-z] \( (?:[A-Za-z]|-? ?\d+)(?: , (?:[A-Za-z]|-? ?\d+))* \)|\[(?: [A-Z]){3,6} \]"
)


MOST_MEMBERS = 60
"""Longer lists are compared only as strings, because the time for matching grows with the square."""


def read(latex: str) -> Node:
    """The tree of a whole formula. Raises: Unsure if a part of it cannot be read."""
    reader = Expressions(tokens=tokens(latex), read_list=list_of, read_relation=relation)
    tree = list_of(reader, ())
    if reader.place < len(reader.tokens):
        raise Unsure(f"{reader.tokens[reader.place].text!r} cannot be read here")
    return tree


def _rounded(signs: list[str], sides: list[Node], units: Sequence[str | None]) -> Node:
    """`x \\approx 5.1` is x = 5.1; in `x = \\sqrt{26} \\approx 5.1` the last side is another form of the one before it."""
    sides = [Quantity(side, unit) if unit and not isinstance(side, Quantity) else side for side, unit in zip(sides, units, strict=True)]
    *before, last = sides
    if set(signs[:-1]) - {"="}:
        raise Unsure("several roundings")
    if len(before) == 1 and is_name(before[0]):
        return Relation(("=",), (before[0], last))
    return Relation(("~",), (before[0] if len(before) == 1 else Relation(tuple(signs[:-1]), tuple(before)), last))


def list_of(reader: Expressions, until: tuple[str, ...]) -> Node:
    """Items with commas, semicolons, "and" or "or" between them."""
    reader.depth += 1
    if reader.depth > DEEPEST:
        raise Unsure("nested too deep")
    members, joined = [relation(reader)], ","
    while not reader.next_is(*until) and reader.place < len(reader.tokens):
        comma = reader.take(",", ";")
        while reader.take(","):
            pass
        word = reader.word("and", "or")
        if comma is None and word is None:
            break
        joined = word or joined
        members.append(relation(reader))
        if len(members) > MOST_MEMBERS:
            raise Unsure("too many values")
    reader.depth -= 1
    return members[0] if len(members) == 1 else Group("list", tuple(members), joined)


def relation(reader: Expressions) -> Node:
    reader.take("\\approx")
    name = _assigned_name(reader)
    outer, reader.unit = reader.unit, None
    sides = [name if name is not None else Symbol("") if reader.next_is(*RELATIONS) else _ratio(reader)]
    units, signs = [reader.unit], []
    while (sign := reader.take(*RELATIONS)) is not None:
        signs.append(RELATIONS[sign])
        reader.unit = None
        sides.append(_ratio(reader))
        units.append(reader.unit)
    reader.unit = outer
    if "~" in signs:
        return _rounded(signs, sides, units)
    sides[-1] = Quantity(sides[-1], units[-1]) if units[-1] else sides[-1]
    if not signs:
        return sides[0]
    if any(unit for unit in units[:-1]) and len(set(units)) > 1 and signs != ["="]:
        raise Unsure("units in a relation")
    return Relation(tuple(signs), tuple(sides))


def _assigned_name(reader: Expressions) -> Symbol | None:
    """A name of more than one letter before an equals sign: `f(x) =`, `AB =`, `\\angle ABC =`, `\\text{Area} =`."""
    end = reader.place
    while end < len(reader.tokens) and end - reader.place < 14 and not (reader.tokens[end].kind == "sign" and reader.tokens[end].text in "=,;"):
        end += 1
    if end >= len(reader.tokens) or reader.tokens[end].text != "=" or end == reader.place:
        return None
    name_tokens = reader.tokens[reader.place : end]
    spelled = " ".join(token.text.strip() for token in name_tokens)
    if not _NAME.fullmatch(spelled) and not all(token.kind == "text" for token in name_tokens):
        return None
    reader.place = end
    return Symbol(f"name {spelled}")


def _ratio(reader: Expressions) -> Node:
    """Numbers with colons between them: 3:2, or a time such as 10:30. "3 to 2" is read in the same way."""
    members = [_union(reader)]
    while reader.take(":") or reader.word("to"):
        members.append(_union(reader))
    if len(members) == 1:
        return members[0]
    if all(is_name(member) for member in members):
        return Symbol("name " + ":".join(member.name for member in members if isinstance(member, Symbol)))
    if any(symbols_of(member) for member in members):
        raise Unsure("a colon")
    return Group(":", tuple(members))


def _union(reader: Expressions) -> Node:
    node = reader.sum()
    while (sign := reader.take("\\cup", "\\cap", "\\setminus", "\\backslash")) is not None:
        node = Apply("minus" if sign in ("\\setminus", "\\backslash") else sign[1:], (node, reader.sum()))
    return node
