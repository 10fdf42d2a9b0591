"""The part of the grammar that reads units: a currency before a value, words and their powers after it."""

from __future__ import annotations

import re

from cotexp.tasks.formula_tree import Apply, Node, Number
from cotexp.tasks.latex import RELATIONS
from cotexp.tasks.numerals import ReadArgument
from cotexp.tasks.token_reader import TokenReader
from cotexp.tasks.unit_words import Unsure, check_before, unit_of

_CURRENCY = {"$": "$", "\\$": "$", "€": "€", "£": "£"}
_UNIT_FRACTION = re.compile(r"\\[dt]?frac\{\0(?:\^\{?(?P<top>[23])\}?)?\}\{\0(?:\^\{?(?P<bottom>[23])\}?)?\}")


def currency(reader: TokenReader) -> str | None:
    """The unit before a number."""
    if (sign := reader.take(*_CURRENCY)) is not None:
        return _CURRENCY[sign]
    here = reader.here()
    if here.kind == "text" and reader.here(1).kind in ("number", "command", "sign") and reader.here(1).text not in RELATIONS:
        unit = check_before(here.text)
        reader.place += 1
        return unit
    return None


def with_unit(reader: TokenReader, value: Node, before: str | None, argument: ReadArgument) -> Node:
    """`value` times the factor in the words after it; the reader keeps the unit for the whole relation."""
    unit = before or reader.unit
    words = _trailing_words(reader, argument)
    if words:
        named = unit_of(words)
        if named.factor != 1:
            value = Apply("*", (value, Number(named.factor)))
        if named.name and unit and named.name != unit:
            raise Unsure("two units")
        unit = named.name or unit
    reader.unit = unit
    return value


def _trailing_words(reader: TokenReader, argument: ReadArgument) -> str:
    """Text after a value, with its power: `\\text{ cm}^2`, `\\frac{\\text{km}}{\\text{h}}`."""
    words = ""
    while True:
        here = reader.here()
        if here.kind == "text" and here.text.strip(" ,").lower() not in ("and", "or", "to"):
            words += f" {here.text}"
            reader.place += 1
            if reader.next_is("^"):
                reader.place += 1
                power = argument()
                if not isinstance(power, Number | Apply):
                    raise Unsure("a unit's power")
                words += f"^{power.value if isinstance(power, Number) else -1}"
        elif here.text == "\\frac" and (unit := _unit_fraction(reader)):
            words += unit
        elif words and reader.next_is("/") and reader.here(1).kind == "text":
            words += "/"
            reader.place += 1
        else:
            return words


def _unit_fraction(reader: TokenReader) -> str | None:
    """`\\frac{\\text{km}}{\\text{h}}`."""
    spelled = "".join("\0" if token.kind == "text" else token.text for token in reader.tokens[reader.place : reader.place + 15])
    match = _UNIT_FRACTION.match(spelled)
    if match is None:
        return None
    count, names, end = 0, [], reader.place
    while count < match.end():
        token = reader.tokens[end]
        count, end = count + (1 if token.kind == "text" else len(token.text)), end + 1
        names += [token.text] if token.kind == "text" else []
    reader.place = end
    powers = [f"^{power}" if power else "" for power in (match["top"], match["bottom"])]
    return f" {names[0]}{powers[0]} / {names[1]}{powers[1]}"
