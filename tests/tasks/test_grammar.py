"""How a formula is read, token by token."""

from __future__ import annotations

from fractions import Fraction

import pytest

from cotexp.tasks.formula_tree import Apply, Group, InBase, Node, Number, Quantity, Relation, Symbol
from cotexp.tasks.grammar import read
from cotexp.tasks.unit_words import Unsure

ONE, TWO, FIVE = (Number(Fraction(each)) for each in (1, 2, 5))
X = Symbol("x")


@pytest.mark.parametrize(
    ("latex", "tree"),
    [
        ("5", FIVE),
        ("5.0", Number(Fraction(5), is_decimal=True)),
        ("1,200", Number(Fraction(1200))),
        ("1{,}200", Number(Fraction(1200))),
        ("1\\,200", Number(Fraction(1200))),
        ("10 080", Number(Fraction(10080))),
        ("2\\frac12", Number(Fraction(5, 2))),
        ("2 1/2", Number(Fraction(5, 2))),
        ("0.1\\overline{6}", Number(Fraction(1, 6))),
        ("1.5e3", Number(Fraction(1500), is_decimal=True)),
        ("\\frac12", Apply("/", (ONE, TWO))),
        ("-x", Apply("neg", (X,))),
        ("2x", Apply("*", (TWO, X))),
        ("x^{2}", Apply("^", (X, TWO))),
        ("\\sqrt2", Apply("root", (TWO, TWO))),
        ("\\pm 5", Apply("pm", (FIVE,))),
        ("204_5", InBase("204", 5)),
        ("(1,2)", Group("()", (ONE, TWO))),
        ("[1,2)", Group("[)", (ONE, TWO))),
        ("\\{1,2\\}", Group("{}", (ONE, TWO))),
        ("1, 2", Group("list", (ONE, TWO))),
        ("1 or 2", Group("list", (ONE, TWO), "or")),
        ("(1,200)", Group("()", (ONE, Number(Fraction(200))))),
        ("x=5", Relation(("=",), (X, FIVE))),
        ("2 \\le x < 5", Relation(("<=", "<"), (TWO, X, FIVE))),
        ("AB=5", Relation(("=",), (Symbol("name A B"), FIVE))),
        ("5\\text{ cm}", Quantity(FIVE, "cm")),
        ("\\$5", Quantity(FIVE, "$")),
        ("5 eggs", FIVE),
        ("abc", Apply("*", (Apply("*", (Symbol("a"), Symbol("b"))), Symbol("c")))),
    ],
)
def test_a_formula_has_one_reading(latex: str, tree: Node) -> None:
    assert read(latex) == tree


@pytest.mark.parametrize(
    "latex",
    [
        "",
        "1 2",
        "2\\frac{3}{2}",
        "1/2x",
        "\\frac{1}",
        "(1",
        "1)",
        "5\\sqrt{}",
        "x^",
        "9_5",
        "5\\text{ or more}",
        "1,2,\\ldots",
        "\\sum_1^2 n",
        "x:30",
        "5\\%\\$",
        "(" * 200,
    ],
)
def test_what_can_be_read_in_two_ways_or_not_whole_is_refused(latex: str) -> None:
    with pytest.raises(Unsure):
        read(latex)
