"""A small grammar of LaTeX answers: numbers, expressions, pairs, sets, intervals, equations, inequalities and lists of them.

Every token must be read. What the grammar does not know ends in `Unsure`, and such a formula equals nothing but its own spelling: nothing is
dropped or guessed, as parsers do that look for a formula somewhere in a text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from cotexp.tasks.latex import Token, tokens
from cotexp.tasks.words import Unsure, check_before, unit_of

DEEPEST = 60
"""Formulas that are nested deeper are no answers."""


@dataclass(frozen=True, slots=True)
class Number:
    """An exact value; `is_decimal`: written with a decimal point, and so perhaps rounded."""

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
    """Several values. Kinds: "(]" and the like for what stands in brackets, "{}" a set, "list" values beside each other, "matrix" its rows.

    `joined_by` is "or" or "and" for a list in such words.
    """

    kind: str
    members: tuple[Node, ...]
    joined_by: str = ","


@dataclass(frozen=True, slots=True)
class Relation:
    """Sides and the signs between them: = < > <= >= != in."""

    signs: tuple[str, ...]
    sides: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Quantity:
    """A value with the name of its unit."""

    value: Node
    unit: str


Node = Number | Symbol | Apply | InBase | Group | Relation | Quantity

RELATIONS = {
    "=": "=", "<": "<", ">": ">", "\\lt": "<", "\\gt": ">", "\\le": "<=", "\\leq": "<=", "\\leqslant": "<=", "\\ge": ">=", "\\geq": ">=",
    "\\geqslant": ">=", "\\approx": "=", "\\ne": "!=", "\\neq": "!=", "\\in": "in",
}  # fmt: skip
FUNCTIONS = {f"\\{name}": name for name in "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh ln log exp".split()}
GREEK = frozenset(
    "\\alpha \\beta \\gamma \\delta \\epsilon \\varepsilon \\zeta \\eta \\theta \\iota \\kappa \\lambda \\mu \\nu \\xi \\rho \\sigma \\tau \\phi "
    "\\varphi \\chi \\psi \\omega \\Gamma \\Delta \\Theta \\Lambda \\Sigma \\Phi \\Psi \\Omega \\pi \\infty \\ell".split()
)
_SETS = {"\\mathbbR": "reals", "\\mathbbZ": "integers", "\\mathbbN": "naturals", "\\emptyset": "empty", "\\varnothing": "empty"}
_CLOSING = {"(": ")", "[": "]", "\\{": "\\}", "\\langle": "\\rangle", "\\lfloor": "\\rfloor", "\\lceil": "\\rceil", "\\lvert": "\\rvert"}
_MATRICES = ("pmatrix", "bmatrix", "Bmatrix", "matrix")
_CURRENCY = ("$", "\\$", "€", "£")


def read(latex: str) -> Node:
    """The whole of a formula. Raises: Unsure when a part of it cannot be read."""
    reader = _Reader(tokens(latex))
    found = reader.list_of(until=())
    if reader.place < len(reader.tokens):
        raise Unsure(f"{reader.tokens[reader.place].text!r} cannot be read here")
    return found


@dataclass(slots=True)
class _Reader:
    """Recursive descent over tokens."""

    tokens: list[Token]
    place: int = 0
    depth: int = 0
    unit: str | None = None

    # --- tokens

    def here(self, ahead: int = 0) -> Token:
        place = self.place + ahead
        return self.tokens[place] if place < len(self.tokens) else Token("end of formula", "")

    def next_is(self, *texts: str) -> bool:
        here = self.here()
        return here.kind in ("sign", "command") and here.text in texts

    def take(self, *texts: str) -> str | None:
        if not self.next_is(*texts):
            return None
        self.place += 1
        return self.tokens[self.place - 1].text

    def must(self, text: str) -> None:
        if self.take(text) is None:
            raise Unsure(f"{text} is missing before {self.here().text!r}")

    def word(self, *words: str) -> str | None:
        here = self.here()
        if here.kind == "text" and here.text.strip(" ,").lower() in words:
            self.place += 1
            return here.text.strip(" ,").lower()
        return None

    # --- lists and relations

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
        self.depth -= 1
        return members[0] if len(members) == 1 else Group("list", tuple(members), joined)

    def relation(self) -> Node:
        self.take("\\approx")
        name = self.assigned_name()
        outer, self.unit = self.unit, None
        sides = [name if name is not None else Symbol("") if self.next_is(*RELATIONS) else self.union()]
        units, signs = [self.unit], []
        while (sign := self.take(*RELATIONS)) is not None:
            signs.append(RELATIONS[sign])
            self.unit = None
            sides.append(self.union())
            units.append(self.unit)
        self.unit = outer
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

    def union(self) -> Node:
        found = self.sum()
        while (sign := self.take("\\cup", "\\cap", "\\setminus", "\\backslash")) is not None:
            found = Apply("minus" if sign in ("\\setminus", "\\backslash") else sign[1:], (found, self.sum()))
        return found

    # --- expressions

    def sum(self) -> Node:
        unit_before = self.currency()
        found: Node | None = None
        while True:
            sign = self.take("+", "-", "\\pm", "\\mp")
            if sign is None and found is not None:
                break
            unit_before = unit_before or self.currency()
            term = self.term()
            if sign in ("\\pm", "\\mp"):
                found = Apply("pm", (term,) if found is None else (found, term))
            elif found is None:
                found = Apply("neg", (term,)) if sign == "-" else term
            else:
                found = Apply("+", (found, Apply("neg", (term,)) if sign == "-" else term))
        return self.with_unit(found, unit_before)

    def currency(self) -> str | None:
        """The unit that stands before a number."""
        if self.take(*_CURRENCY):
            return "$"
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
            if here.kind == "text" and here.text.strip(" ,").lower() not in ("and", "or"):
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
        own = self.tokens[self.place : self.place + 7]
        if [each.text if each.kind != "text" else "text" for each in own[1:]] != ["{", "text", "}", "{", "text", "}"]:
            return None
        self.place += 7
        return f" {own[2].text} / {own[5].text}"

    def term(self) -> Node:
        """Factors; a division whose denominator goes on without a sign (1/2x) is read either way by people, so by nobody here."""
        found = self.factor()
        divided = False
        while True:
            if self.take("*", "\\cdot", "\\times", "\\ast"):
                found, divided = Apply("*", (found, self.signed_factor())), False
            elif self.take("\\div"):
                found, divided = Apply("/", (found, self.signed_factor())), True
            elif self.next_is("/"):
                self.place += 1
                found, divided = Apply("/", (found, self.signed_factor())), True
            elif self.starts_factor():
                if divided or self.here().kind == "number":
                    raise Unsure("a factor without a sign")
                found = Apply("*", (found, self.factor()))
            else:
                return found

    def signed_factor(self) -> Node:
        if self.take("-"):
            return Apply("neg", (self.factor(),))
        return self.factor()

    def starts_factor(self) -> bool:
        here = self.here()
        if here.kind in ("number", "letter"):
            return True
        if here.text == "\\frac" and here.kind == "command":
            own = [each.kind for each in self.tokens[self.place : self.place + 7]]
            return own[2:3] != ["text"]
        return self.next_is("(", "[", "\\{", "{", "\\sqrt", "\\binom", "\\lfloor", "\\lceil", "\\overline", *FUNCTIONS, *GREEK)

    def factor(self) -> Node:
        self.depth += 1
        if self.depth > DEEPEST:
            raise Unsure("nested too deep")
        found = self.postfix(self.primary())
        self.depth -= 1
        return found

    def postfix(self, found: Node) -> Node:
        while True:
            if self.next_is("^"):
                self.place += 1
                if self.take("\\circ", "\\degree", "\\prime"):
                    found = self.degrees(found)
                elif self.next_is("{") and self.here(1).text in ("\\circ", "\\degree"):
                    self.place += 2
                    self.must("}")
                    found = self.degrees(found)
                elif self.next_is("{") and self.here(1).kind == "text" and self.here(1).text in ("th", "st", "nd", "rd"):
                    self.place += 2
                    self.must("}")
                else:
                    found = Apply("^", (found, self.argument(whole_number=True)))
            elif self.take("\\circ", "\\degree"):
                found = self.degrees(found)
            elif self.take("\\%", "%"):
                self.set_unit("%")
            elif self.take("!"):
                if self.next_is("!"):
                    raise Unsure("a double factorial")
                found = Apply("!", (found,))
            else:
                return found

    def degrees(self, found: Node) -> Node:
        self.set_unit("°")
        return Apply("degrees", (found,))

    def set_unit(self, unit: str) -> None:
        if self.unit not in (None, unit):
            raise Unsure("two units")
        self.unit = unit

    # --- what an expression is made of

    def primary(self) -> Node:
        here = self.here()
        if here.kind == "number":
            return self.number()
        if here.kind == "letter":
            return self.letter()
        if here.kind == "begin":
            return self.matrix()
        if here.kind in ("command", "sign"):
            reader = self.readers().get(here.text)
            if reader is not None:
                return reader()
            if here.text in _SETS:
                self.place += 1
                return Symbol(_SETS[here.text])
            if here.text in GREEK:
                return self.letter()
            if here.text in FUNCTIONS:
                return self.function()
        raise Unsure(f"{here.text!r} cannot be read here")

    def readers(self) -> dict[str, Callable[[], Node]]:
        return {
            "(": self.brackets,
            "[": self.brackets,
            "\\{": self.brackets,
            "\\langle": self.brackets,
            "{": self.braces,
            "|": self.absolute,
            "\\vert": self.absolute,
            "\\lvert": self.between,
            "\\lfloor": self.between,
            "\\lceil": self.between,
            "\\frac": self.fraction,
            "\\dfrac": self.fraction,
            "\\tfrac": self.fraction,
            "\\cfrac": self.fraction,
            "\\binom": self.fraction,
            "\\dbinom": self.fraction,
            "\\tbinom": self.fraction,
            "\\sqrt": self.root,
            "\\overline": self.conjugate,
        }

    def number(self) -> Node:
        text = self.here().text
        self.place += 1
        if self.next_is("_"):
            return self.in_base(text)
        if repeating := self.repeating(text):
            return repeating
        if scientific := self.scientific(text):
            return scientific
        value = Number(Fraction(text), "." in text)
        return value if "." in text else self.mixed(value) or value

    def in_base(self, digits: str) -> Node:
        self.place += 1
        base = self.argument(whole_number=True)
        if not isinstance(base, Number) or base.value.denominator != 1 or not 2 <= base.value <= 36 or "." in digits:
            raise Unsure("a base")
        number = int(base.value)
        if any(int(each) >= number for each in digits):
            raise Unsure("a digit that its base does not have")
        return Number(Fraction(digits)) if number == 10 else InBase(digits.lstrip("0") or "0", number)

    def repeating(self, text: str) -> Node | None:
        """0.1\\overline{6}: the bar stands over whole digits behind the decimal point."""
        here = self.here()
        whole = text
        if self.next_is(".") and self.here(1).text in ("\\overline", "\\bar", "\\dot"):
            self.place += 1
        elif "." not in text or not self.next_is("\\overline", "\\bar", "\\dot"):
            return None
        self.place += 1
        bar = self.argument_tokens()
        if here is None or len(bar) != 1 or bar[0].kind != "number" or "." in bar[0].text:
            raise Unsure("a repeating decimal")
        before, _, places = whole.partition(".")
        digits = bar[0].text
        scale = 10 ** len(places)
        return Number(Fraction(before or "0") + Fraction(places or "0") / scale + Fraction(int(digits), scale * (10 ** len(digits) - 1)))

    def scientific(self, text: str) -> Node | None:
        """1.6e-19, 5e3; but 2e-5 may be 2e minus 5."""
        letter, sign, digits = self.here(), self.here(1), self.here(2)
        if letter.kind != "letter" or letter.text not in "eE":
            return None
        if sign.kind == "number" and "." not in sign.text and ("." in text or letter.text == "E" or len(sign.text) <= 2):
            self.place += 2
            return _power_of_ten(text, sign.text)
        if sign.text in ("+", "-") and digits.kind == "number" and ("." in text or letter.text == "E") and "." not in digits.text:
            self.place += 3
            return _power_of_ten(text, sign.text + digits.text)
        return None

    def mixed(self, whole: Number) -> Node | None:
        """2\\frac{1}{2} and 2 1/2 are two and a half."""
        if self.next_is("\\frac", "\\dfrac", "\\tfrac", "\\cfrac"):
            start = self.place
            part = self.fraction() if self.starts_factor() else None
            if part is None:
                return None
            top, bottom = part.operands if isinstance(part, Apply) else (None, None)
            if not (isinstance(top, Number) and isinstance(bottom, Number)):
                self.place = start
                return None
            if top.value >= bottom.value or top.value.denominator != 1 or bottom.value.denominator != 1:
                raise Unsure("a mixed number or a product")
            return Number(whole.value + top.value / bottom.value)
        top, slash, bottom = self.here(), self.here(1), self.here(2)
        if top.kind == "number" and slash.text == "/" and bottom.kind == "number" and "." not in top.text + bottom.text:
            if not 0 < int(top.text) < int(bottom.text):
                raise Unsure("a mixed number")
            self.place += 3
            return Number(whole.value + Fraction(int(top.text), int(bottom.text)))
        return None

    def letter(self) -> Node:
        name = self.here().text
        self.place += 1
        if self.next_is("_"):
            self.place += 1
            name += "_" + "".join(each.text for each in self.argument_tokens())
        while self.take("'", "\\prime"):
            name += "'"
        if name in ("f", "g") and self.next_is("("):
            inside = self.brackets()
            return Apply(f"call {name}", inside.members if isinstance(inside, Group) else (inside,))
        return Symbol(name)

    def argument_tokens(self) -> list[Token]:
        """The tokens of a braced argument, or the one that stands for it."""
        if not self.next_is("{"):
            self.place += 1
            if self.place > len(self.tokens):
                raise Unsure("an argument is missing")
            return [self.tokens[self.place - 1]]
        end, depth = self.place, 0
        while end < len(self.tokens):
            text = self.tokens[end].text
            depth += (text == "{") - (text == "}")
            if depth == 0:
                break
            end += 1
        else:
            raise Unsure("a brace is missing")
        found = self.tokens[self.place + 1 : end]
        self.place = end + 1
        return found

    def argument(self, *, whole_number: bool = False) -> Node:
        """A braced expression; else the next digit, or the next number where people mean `whole_number` (2^10)."""
        if self.next_is("{"):
            return self.braces()
        here = self.here()
        if here.kind == "number" and not whole_number and len(here.text) > 1:
            if "." in here.text:
                raise Unsure("an argument without braces")
            self.tokens[self.place] = Token("number", here.text[1:])
            return Number(Fraction(here.text[0]))
        if here.kind == "number":
            self.place += 1
            return Number(Fraction(here.text), "." in here.text)
        if whole_number and self.take("-"):
            return Apply("neg", (self.argument(whole_number=True),))
        return self.primary()

    def braces(self) -> Node:
        self.must("{")
        found = self.sum() if not self.next_is("}") else None
        if found is None:
            raise Unsure("empty braces")
        self.must("}")
        return found

    def brackets(self) -> Node:
        opening = self.here().text
        self.place += 1
        closings = (")", "]") if opening in "([" else (_CLOSING[opening],)
        if opening == "\\{" and self.take("\\}"):
            return Symbol("empty")
        inside = self.list_of(until=closings)
        closing = self.take(*closings)
        if closing is None:
            raise Unsure("a bracket is missing")
        if isinstance(inside, Group) and inside.kind == "list":
            return Group("{}" if opening == "\\{" else opening + closing, inside.members)
        if opening == "\\{":
            return Group("{}", (inside,))
        if opening + closing not in ("()", "[]") or isinstance(inside, Relation):
            raise Unsure("brackets around one value")
        return inside

    def absolute(self) -> Node:
        bar = self.here().text
        self.place += 1
        found = self.sum()
        self.must(bar)
        return Apply("abs", (found,))

    def between(self) -> Node:
        opening = self.here().text
        self.place += 1
        found = self.sum()
        self.must(_CLOSING[opening])
        return Apply({"\\lvert": "abs", "\\lfloor": "floor", "\\lceil": "ceil"}[opening], (found,))

    def fraction(self) -> Node:
        name = "binom" if self.here().text.endswith("binom") else "/"
        self.place += 1
        top = self.argument()
        return Apply(name, (top, self.argument()))

    def root(self) -> Node:
        self.place += 1
        index: Node = Number(Fraction(2))
        if self.take("["):
            index = self.sum()
            self.must("]")
        if self.here().kind == "number" and len(self.here().text) > 1:
            raise Unsure("a root without braces")
        return Apply("root", (self.argument(), index))

    def conjugate(self) -> Node:
        self.place += 1
        return Apply("conjugate", (self.braces(),))

    def function(self) -> Node:
        name = FUNCTIONS[self.here().text]
        self.place += 1
        base: tuple[Node, ...] = ()
        power: Node | None = None
        while self.next_is("_", "^"):
            if self.take("_"):
                base = (self.argument(whole_number=True),)
            else:
                self.place += 1
                power = self.argument(whole_number=True)
        if power == Apply("neg", (Number(Fraction(1)),)) and name in ("sin", "cos", "tan"):
            name, power = f"arc{name}", None
        if base and name != "log":
            raise Unsure("a function with an index")
        argument = self.brackets() if self.next_is("(") else self.plain_argument()
        found: Node = Apply(name, (argument, *base))
        return found if power is None else Apply("^", (found, power))

    def plain_argument(self) -> Node:
        """What a function without brackets is taken of: `\\sin 2x`, up to a sign, a bracket or another function."""
        found = self.in_degrees()
        while self.starts_factor() and not self.next_is("(", "[", "\\{", *FUNCTIONS) and self.here().kind != "number":
            found = Apply("*", (found, self.in_degrees()))
        return found

    def in_degrees(self) -> Node:
        """A factor of an angle; its degrees are no unit of the whole."""
        outer, self.unit = self.unit, None
        found = self.signed_factor()
        self.unit = outer
        return found

    def matrix(self) -> Node:
        kind = self.here().text
        if kind not in _MATRICES:
            raise Unsure(f"environment {kind}")
        self.place += 1
        rows: list[list[Node]] = [[]]
        while self.here().kind != "end":
            if self.take("\\\\"):
                rows.append([])
            elif not self.take("&"):
                rows[-1].append(self.relation())
        self.place += 1
        rows = [each for each in rows if each]
        if not rows or len({len(each) for each in rows}) > 1:
            raise Unsure("a matrix with rows of several lengths")
        return Group("matrix", tuple(Group("row", tuple(each)) for each in rows))


_NAME = re.compile(
    r"(?:m )?\\(?:angle|measuredangle|triangle)(?: [A-Z]){1,3}|(?:\\overline|\\vec|\\overrightarrow|\\widehat) (?:\{(?: [A-Za-z])+ \}|[A-Za-z])"
    r"|[A-Z](?: [A-Z])+|[A-Za-z] \( (?:[A-Za-z]|-? ?\d+)(?: , (?:[A-Za-z]|-? ?\d+))* \)|\[(?: [A-Z]){3,6} \]"
)


def _power_of_ten(text: str, exponent: str) -> Number:
    if abs(int(exponent)) > 400:
        raise Unsure("a huge power of ten")
    return Number(Fraction(text) * Fraction(10) ** int(exponent), "." in text or int(exponent) < 0)
