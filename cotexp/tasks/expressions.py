"""The part of the grammar below relations: sums, products, powers, functions, brackets, and numbers in all spellings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from cotexp.tasks.formula_tree import Apply, Group, Node, Number, Relation, Symbol, negative, times
from cotexp.tasks.latex import FUNCTIONS, GREEK, Token
from cotexp.tasks.latex_units import currency, with_unit
from cotexp.tasks.numerals import number
from cotexp.tasks.token_reader import DEEPEST, TokenReader
from cotexp.tasks.unit_words import Unsure
from cotexp.tasks.values import symbols_of

_SETS = {"\\mathbbR": "reals", "\\mathbbZ": "integers", "\\mathbbN": "naturals", "\\emptyset": "empty", "\\varnothing": "empty"}
_CLOSING = {"(": ")", "[": "]", "\\{": "\\}", "\\langle": "\\rangle", "\\lfloor": "\\rfloor", "\\lceil": "\\rceil", "\\lvert": "\\rvert"}
_BETWEEN = {"|": "abs", "\\vert": "abs", "\\lvert": "abs", "\\lfloor": "floor", "\\lceil": "ceil"}
_BEGIN_FACTOR = ("(", "[", "\\{", "{", "\\sqrt", "\\binom", "\\lfloor", "\\lceil", "\\overline", *FUNCTIONS, *GREEK)
_MATRICES = ("pmatrix", "bmatrix", "Bmatrix", "matrix")


@dataclass(slots=True, kw_only=True)
class Expressions(TokenReader):
    """Reads expressions. `read_list` and `read_relation` read the content of brackets, up to one of several closing signs, and of a matrix."""

    read_list: Callable[[Expressions, tuple[str, ...]], Node]
    read_relation: Callable[[Expressions], Node]

    # --- expressions

    def sum(self) -> Node:
        unit_before = currency(self)
        node: Node | None = None
        while True:
            sign = self.take("+", "-", "\\pm", "\\mp")
            if sign is None and node is not None:
                break
            unit_before = unit_before or currency(self)
            term = self.term()
            if sign in ("\\pm", "\\mp"):
                node = Apply("pm", (term,) if node is None else (node, term))
            elif node is None:
                node = negative(term) if sign == "-" else term
            else:
                node = Apply("+", (node, Apply("neg", (term,)) if sign == "-" else term))
        return with_unit(self, node, unit_before, self.argument)

    def term(self) -> Node:
        """A product or quotient. A denominator that continues without a sign (1/2x) is ambiguous and is refused."""
        node = self.factor()
        divided = False
        while True:
            if self.take("*", "\\cdot", "\\times", "\\ast"):
                node, divided = times(node, self.signed_factor()), False
            elif self.take("/", "\\div"):
                node, divided = Apply("/", (node, self.signed_factor())), True
            elif self.starts_factor():
                if divided or self.here().kind == "number" or (isinstance(node, Number) and node.value == 0):
                    raise Unsure("a factor without a sign")
                node = times(node, self.factor())
            else:
                return node

    def signed_factor(self) -> Node:
        return Apply("neg", (self.factor(),)) if self.take("-") else self.factor()

    def starts_factor(self) -> bool:
        here = self.here()
        if here.kind in ("number", "letter"):
            return True
        if here.text == "\\frac" and here.kind == "command":
            return self.here(2).kind != "text"
        return here.kind == "begin" or self.next_is(*_BEGIN_FACTOR)

    def factor(self) -> Node:
        self.depth += 1
        if self.depth > DEEPEST:
            raise Unsure("nested too deep")
        node = self.postfix(self.primary())
        self.depth -= 1
        return node

    def postfix(self, node: Node) -> Node:
        while True:
            if self.next_is("^"):
                self.place += 1
                if self.take("\\circ", "\\degree", "\\prime"):
                    node = self.degrees(node)
                elif self.next_is("{") and self.here(1).text in ("\\circ", "\\degree"):
                    self.place += 2
                    self.must("}")
                    node = self.degrees(node)
                elif self.next_is("{") and self.here(1).kind == "text" and self.here(1).text in ("th", "st", "nd", "rd"):
                    self.place += 2
                    self.must("}")
                else:
                    node = Apply("^", (node, self.argument(whole_number=True)))
            elif self.take("\\circ", "\\degree"):
                node = self.degrees(node)
            elif self.take("\\%", "%"):
                self.set_unit("%")
            elif self.take("!"):
                if self.next_is("!"):
                    raise Unsure("a double factorial")
                node = Apply("!", (node,))
            else:
                return node

    def degrees(self, node: Node) -> Node:
        self.set_unit("°")
        return Apply("degrees", (node,))

    # --- parts of an expression

    def primary(self) -> Node:
        here = self.here()
        if here.kind == "number":
            return number(self, self.argument)
        if here.kind == "letter" or here.text in GREEK:
            return self.letter()
        if here.kind == "begin":
            return self.matrix()
        if here.kind in ("command", "sign"):
            if here.text in _READERS:
                return _READERS[here.text](self)
            if here.text in _SETS:
                self.place += 1
                return Symbol(_SETS[here.text])
            if here.text in FUNCTIONS:
                return self.function()
        raise Unsure(f"{here.text!r} cannot be read here")

    def letter(self) -> Node:
        name = self.here().text
        self.place += 1
        if self.next_is("_"):
            self.place += 1
            name += "_" + "".join(token.text for token in self.argument_tokens())
        while self.take("'", "\\prime"):
            name += "'"
        if name in ("f", "g") and self.next_is("("):
            inside = self.brackets()
            return Apply(f"call {name}", inside.members if isinstance(inside, Group) else (inside,))
        return Symbol(name)

    def argument(self, *, whole_number: bool = False) -> Node:
        """A braced expression, or else the next digit; with `whole_number` the next number (2^10)."""
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
        if self.next_is("}"):
            raise Unsure("empty braces")
        node = self.sum()
        if self.take("\\over"):
            node = Apply("/", (node, self.sum()))
        elif self.take("\\choose"):
            node = Apply("binom", (node, self.sum()))
        self.must("}")
        return node

    def brackets(self) -> Node:
        opening = self.here().text
        self.place += 1
        closings = (")", "]") if opening in "([" else (_CLOSING[opening],)
        if opening == "\\{" and self.take("\\}"):
            return Symbol("empty")
        condition = self.named_member() if opening == "\\{" else None
        inside = self.read_list(self, closings)
        closing = self.take(*closings)
        if closing is None:
            raise Unsure("a bracket is missing")
        if isinstance(inside, Group) and inside.kind == "list":
            return Group({"\\{": "{}", "\\langle": "()"}.get(opening, opening + closing), inside.members)
        if opening == "\\{":
            if condition and condition not in symbols_of(inside):
                raise Unsure("a condition on something else")
            return inside if condition else Group("{}", (inside,))
        if opening + closing not in ("()", "[]") or isinstance(inside, Relation):
            raise Unsure("brackets around one value")
        return inside

    def named_member(self) -> str | None:
        """Read the name before the condition of a set: `\\{x \\mid`, `\\{x \\in \\mathbb{R} :`."""
        name, place = self.here(), self.place + 1
        if self.here(1).text == "\\in" and self.here(2).text == "\\mathbbR":
            place += 2
        if name.kind != "letter" or place >= len(self.tokens) or self.tokens[place].text not in ("\\mid", "|", ":", "\\vert"):
            return None
        self.place = place + 1
        return name.text

    def between(self) -> Node:
        opening = self.here().text
        self.place += 1
        node = self.sum()
        self.must(_CLOSING.get(opening, opening))
        return Apply(_BETWEEN[opening], (node,))

    def fraction(self) -> Apply:
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
        node: Node = Apply(name, (argument, *base))
        return node if power is None else Apply("^", (node, power))

    def plain_argument(self) -> Node:
        """The argument of a function without brackets: in `\\sin 2x`, up to a sign, a bracket or another function."""
        node = self.in_degrees()
        while self.starts_factor() and not self.next_is("(", "[", "\\{", *FUNCTIONS) and self.here().kind != "number":
            node = Apply("*", (node, self.in_degrees()))
        return node

    def in_degrees(self) -> Node:
        """A factor of an angle, whose degrees are not the unit of the whole."""
        outer, self.unit = self.unit, None
        node = self.signed_factor()
        self.unit = outer
        return node

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
                rows[-1].append(self.read_relation(self))
        self.place += 1
        rows = [row for row in rows if row]
        if not rows or len({len(row) for row in rows}) > 1:
            raise Unsure("a matrix with rows of several lengths")
        return Group("matrix", tuple(Group("row", tuple(row)) for row in rows))


_READERS: dict[str, Callable[[Expressions], Node]] = {
    ".": lambda reader: number(reader, reader.argument),
    "{": Expressions.braces,
    **dict.fromkeys(("(", "[", "\\{", "\\langle"), Expressions.brackets),
    **dict.fromkeys(_BETWEEN, Expressions.between),
    **dict.fromkeys(("\\frac", "\\dfrac", "\\tfrac", "\\cfrac", "\\binom", "\\dbinom", "\\tbinom"), Expressions.fraction),
    "\\sqrt": Expressions.root,
    **dict.fromkeys(("\\overline", "\\bar"), Expressions.conjugate),
}
"""Command or sign -> the function that reads the expression after it."""
