"""A small grammar of LaTeX answers: numbers, expressions, pairs, sets, intervals, equations, inequalities and lists of them.

Every token must be read. What the grammar does not know ends in `Unsure`, and such a formula equals nothing but its own spelling: nothing is
dropped or guessed, as parsers do that look for a formula somewhere in a text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from cotexp.tasks.cursor import DEEPEST
from cotexp.tasks.expressions import Expressions
from cotexp.tasks.latex import tokens
from cotexp.tasks.nodes import Apply, Group, Node, Number, Quantity, Relation, Symbol
from cotexp.tasks.values import is_name, symbols_of
from cotexp.tasks.words import Unsure, check_before, unit_of

RELATIONS = {
    "=": "=", "<": "<", ">": ">", "\\lt": "<", "\\gt": ">", "\\le": "<=", "\\leq": "<=", "\\leqslant": "<=", "\\ge": ">=", "\\geq": ">=",
    "\\geqslant": ">=", "\\approx": "~", "\\ne": "!=", "\\neq": "!=", "\\in": "in",
}  # fmt: skip
_CURRENCY = {"$": "$", "\\$": "$", "€": "€", "£": "£"}
_NAME = re.compile(
    r"(?:m )?\\(?:angle|measuredangle|triangle)(?: [A-Z]){1,3}|(?:\\overline|\\vec|\\overrightarrow|\\widehat) (?:\{(?: [A-Za-z])+ \}|[A-Za-z])"
    r"|[A-Z](?: [A-Z])+|[A-Za-z] \( (?:[A-Za-z]|-? ?\d+)(?: , (?:[A-Za-z]|-? ?\d+))* \)|\[(?: [A-Z]){3,6} \]"
)


_UNIT_FRACTION = re.compile(r"\\[dt]?frac\{\0(?:\^\{?(?P<top>[23])\}?)?\}\{\0(?:\^\{?(?P<bottom>[23])\}?)?\}")
MOST_MEMBERS = 60
"""Longer lists are compared as strings only: matching takes time that grows with the square."""


def read(latex: str) -> Node:
    """The whole of a formula. Raises: Unsure when a part of it cannot be read."""
    reader = _Reader(tokens(latex))
    found = reader.list_of(until=())
    if reader.place < len(reader.tokens):
        raise Unsure(f"{reader.tokens[reader.place].text!r} cannot be read here")
    return found


def _rounded(signs: list[str], sides: list[Node], units: Sequence[str | None]) -> Node:
    """`x \\approx 5.1` is x = 5.1; in `x = \\sqrt{26} \\approx 5.1` the last side is another form of what stands before it."""
    sides = [Quantity(each, unit) if unit and not isinstance(each, Quantity) else each for each, unit in zip(sides, units, strict=True)]
    *before, last = sides
    if set(signs[:-1]) - {"="}:
        raise Unsure("several roundings")
    if len(before) == 1 and is_name(before[0]):
        return Relation(("=",), (before[0], last))
    return Relation(("~",), (before[0] if len(before) == 1 else Relation(tuple(signs[:-1]), tuple(before)), last))


class _Reader(Expressions):
    """Recursive descent over tokens: lists, relations and units."""

    __slots__ = ()

    def list_of(self, until: tuple[str, ...]) -> Node:
        """Items with commas, semicolons, "and" or "or" between them."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise Unsure("nested too deep")
        members, joined = [self.relation()], ","
        while not self.next_is(*until) and self.place < len(self.tokens):
            comma = self.take(",", ";")
            while self.take(","):
                pass
            word = self.word("and", "or")
            if comma is None and word is None:
                break
            joined = word or joined
            members.append(self.relation())
            if len(members) > MOST_MEMBERS:
                raise Unsure("too many values")
        self.depth -= 1
        return members[0] if len(members) == 1 else Group("list", tuple(members), joined)

    def relation(self) -> Node:
        self.take("\\approx")
        name = self.assigned_name()
        outer, self.unit = self.unit, None
        sides = [name if name is not None else Symbol("") if self.next_is(*RELATIONS) else self.ratio()]
        units, signs = [self.unit], []
        while (sign := self.take(*RELATIONS)) is not None:
            signs.append(RELATIONS[sign])
            self.unit = None
            sides.append(self.ratio())
            units.append(self.unit)
        self.unit = outer
        if "~" in signs:
            return _rounded(signs, sides, units)
        sides[-1] = Quantity(sides[-1], units[-1]) if units[-1] else sides[-1]
        if not signs:
            return sides[0]
        if any(each for each in units[:-1]) and len(set(units)) > 1 and signs != ["="]:
            raise Unsure("units in a relation")
        return Relation(tuple(signs), tuple(sides))

    def assigned_name(self) -> Symbol | None:
        """The name before an equals sign that is more than one letter: `f(x) =`, `AB =`, `\\angle ABC =`, `\\text{Area} =`."""
        end = self.place
        while end < len(self.tokens) and end - self.place < 14 and not (self.tokens[end].kind == "sign" and self.tokens[end].text in "=,;"):
            end += 1
        if end >= len(self.tokens) or self.tokens[end].text != "=" or end == self.place:
            return None
        own = self.tokens[self.place : end]
        spelled = " ".join(each.text.strip() for each in own)
        if not _NAME.fullmatch(spelled) and not all(each.kind == "text" for each in own):
            return None
        self.place = end
        return Symbol(f"name {spelled}")

    def ratio(self) -> Node:
        """Numbers with colons between them: 3:2, or 10:30 of a clock; "3 to 2" is read alike."""
        members = [self.union()]
        while self.take(":") or self.word("to"):
            members.append(self.union())
        if len(members) == 1:
            return members[0]
        if all(is_name(each) for each in members):
            return Symbol("name " + ":".join(each.name for each in members if isinstance(each, Symbol)))
        if any(symbols_of(each) for each in members):
            raise Unsure("a colon")
        return Group(":", tuple(members))

    def union(self) -> Node:
        found = self.sum()
        while (sign := self.take("\\cup", "\\cap", "\\setminus", "\\backslash")) is not None:
            found = Apply("minus" if sign in ("\\setminus", "\\backslash") else sign[1:], (found, self.sum()))
        return found

    # --- units

    def currency(self) -> str | None:
        """The unit that stands before a number."""
        if (sign := self.take(*_CURRENCY)) is not None:
            return _CURRENCY[sign]
        here = self.here()
        if here.kind == "text" and self.here(1).kind in ("number", "command", "sign") and self.here(1).text not in RELATIONS:
            unit = check_before(here.text)
            self.place += 1
            return unit
        return None

    def with_unit(self, value: Node, before: str | None) -> Node:
        """`value`, times the factor that words behind it name; the unit is kept for the whole relation."""
        unit = before or self.unit
        words = self.trailing_words()
        if words:
            named = unit_of(words)
            if named.factor != 1:
                value = Apply("*", (value, Number(named.factor)))
            if named.name and unit and named.name != unit:
                raise Unsure("two units")
            unit = named.name or unit
        self.unit = unit
        return value

    def trailing_words(self) -> str:
        """Text behind a value, with a power of it: `\\text{ cm}^2`, `\\frac{\\text{km}}{\\text{h}}`."""
        found = ""
        while True:
            here = self.here()
            if here.kind == "text" and here.text.strip(" ,").lower() not in ("and", "or", "to"):
                found += f" {here.text}"
                self.place += 1
                if self.next_is("^"):
                    self.place += 1
                    power = self.argument()
                    if not isinstance(power, Number | Apply):
                        raise Unsure("a unit's power")
                    found += f"^{power.value if isinstance(power, Number) else -1}"
            elif here.text == "\\frac" and (unit := self.unit_fraction()):
                found += unit
            elif found and self.next_is("/") and self.here(1).kind == "text":
                found += "/"
                self.place += 1
            else:
                return found

    def unit_fraction(self) -> str | None:
        """`\\frac{\\text{km}}{\\text{h}}`."""
        spelled = "".join("\0" if each.kind == "text" else each.text for each in self.tokens[self.place : self.place + 15])
        match = _UNIT_FRACTION.match(spelled)
        if match is None:
            return None
        count, names, end = 0, [], self.place
        while count < match.end():
            token = self.tokens[end]
            count, end = count + (1 if token.kind == "text" else len(token.text)), end + 1
            names += [token.text] if token.kind == "text" else []
        self.place = end
        powers = [f"^{each}" if each else "" for each in (match["top"], match["bottom"])]
        return f" {names[0]}{powers[0]} / {names[1]}{powers[1]}"
