"""Which formulas are equal: pairs of every kind, both ways, and what is never guessed."""

from __future__ import annotations

import itertools
from fractions import Fraction

import pytest
from growth import is_linear, repeated
from hypothesis import given, settings
from hypothesis import strategies as st

from cotexp.tasks.equality import formulas_equal, is_formula, kind_of, plainly_equal

SAME = [
    *[
        ("\\frac{5}{2}", each)
        for each in ("2.5", "2\\frac12", "2 1/2", "2½", "2\\ \\frac{1}{2}", "\\frac{10}{4}", "5/2", "2.50", "x=\\frac52", "5 \\div 2")
    ],
    *[("\\frac{1}{3}", each) for each in ("0.\\overline{3}", "0.\\bar{3}", "0.\\overline{33}", "\\frac{2}{6}", "3^{-1}")],
    *[("\\frac{1}{6}", each) for each in ("0.1\\overline{6}", "0.1\\overline{66}")],
    ("1", "0.\\overline{9}"),
    ("0.\\overline{12}", "\\frac{4}{33}"),
    *[("4\\sqrt{2}", each) for each in ("4\\sqrt(2)", "4√2", "4 \\cdot 2^{1/2}", "\\sqrt{32}", "2^{5/2}", "4\\sqrt2", "\\frac{8}{\\sqrt{2}}")],
    *[("1.6 \\times 10^{-19}", each) for each in ("1.6\\cdot10^{-19}", "1.6e-19", "16 \\times 10^{-20}", "1.6000001 \\times 10^{-19}")],
    ("2^{100}", "1267650600228229401496703205376"),
    ("\\frac{1}{20!}", "\\frac{21}{21!}"),
    ("720", "6!"),
    ("10", "\\binom{5}{2}"),
    ("5000000", "5\\text{ million}"),
    ("5000", "5\\text{k}"),
    ("60", "5\\text{ dozen}"),
    ("x^2", "x²"),
    ("x^2+4d", "4d+x^2"),
    ("2x(x+1)", "2x^2+2x"),
    ("\\sqrt{\\frac{1}{n}}", "\\frac{1}{\\sqrt{n}}"),
    ("x-3", "\\frac{x^2-9}{x+3}"),
    ("\\sin^2 x", "1-\\cos^2 x"),
    ("\\frac12", "\\sin 30^\\circ"),
    ("3", "\\log_2 8"),
    ("6-5i", "-5i+6"),
    ("2\\pi", "2π"),
    ("(1,2)", "\\left(1,\\,2\\right)"),
    ("(1,2)", "\\left( \\frac22, 2.0 \\right)"),
    ("(x,y)=(1,2)", "(1,2)"),
    ("\\{1,2\\}", "\\{2,1\\}"),
    ("\\{1,2\\}", "\\{2,1,2\\}"),
    ("1,2", "2,1"),
    ("1,2", "\\{1,2\\}"),
    ("3,5", "x=3 \\text{ or } x=5"),
    ("3,5", "x=3, x=5"),
    ("3,5", "5 and 3"),
    ("3", "3, 3"),
    ("\\pm 2", "2, -2"),
    ("1 \\pm \\sqrt{2}", "1-\\sqrt2, 1+\\sqrt2"),
    ("x = \\pm 2", "2,-2"),
    ("A,B", "\\text{B, A}"),
    ("(-\\infty,3)", "x<3"),
    ("(-\\infty,3)", "3>x"),
    ("[2,5)", "2\\le x<5"),
    ("2 \\le x < 5", "x \\in [2,5)"),
    ("(-\\infty,2)\\cup(2,\\infty)", "x\\ne 2"),
    ("(-\\infty,2)\\cup(2,\\infty)", "\\mathbb{R}\\setminus\\{2\\}"),
    ("(-\\infty,-2]\\cup[3,\\infty)", "x \\le -2 \\text{ or } x \\ge 3"),
    ("(-3,3)", "|x|<3"),
    ("(2,5)", "2<x<5"),
    ("\\leq 5", "≤5"),
    ("\\emptyset", "\\{\\}"),
    ("\\emptyset", "\\varnothing"),
    ("x^2=5", "5=x^2"),
    ("x^2=5", "x^2-5=0"),
    ("2x+3y=6", "4x+6y-12=0"),
    ("y=2x+3", "2x+3"),
    ("f(x)=2x+3", "2x+3"),
    ("7", "3+4=7"),
    ("7", "x=3+4=7"),
    ("50", "\\angle ABC = 50^\\circ"),
    ("12", "AB = 12"),
    ("12", "\\text{Area} = 12"),
    ("204_5", "204_{5}"),
    ("413", "413_{10}"),
    ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{bmatrix} 1 \\\\ \\frac42 \\end{bmatrix}"),
    ("18", "\\( 18 \\)"),
    ("18", "\\[18\\]"),
    ("18", "$18$"),
    ("18\\text{ cm}", "18 \\text{ centimeters}"),
    ("18\\text{ cm}^2", "18 \\text{ square centimeters}"),
    ("18", "18\\ \\frac{\\text{km}}{\\text{h}}"),
    ("18 \\text{ eggs}", "18 \\text{ brown eggs}"),
    ("18", "\\textdollar 18"),
    ("18", "\\underline{18}"),
    ("18", "\\mathit{18}"),
    ("18", "\\color{red}18"),
    ("10:30", "10{:}30"),
    ("\\text{Evelyn}", "evelyn"),
    ("\\text{even}", "\\text{Even}"),
    ("3^{-100}", "\\frac{1}{3^{100}}"),
    ("6.02\\times10^{23}", "602\\times10^{21}"),
    ("1.2\\times10^{-5}", "0.000012"),
    ("5\\text{ h}", "5"),
    ("8", "4+4=8"),
    ("9", "f(x)=9"),
    ("9", "y=9"),
    ("n=9k", "n=9k"),
    ("n=9k", "9k=n"),
    ("0.\\overline{45}", "\\frac{5}{11}"),
    ("0.4\\overline{5}", "\\frac{41}{90}"),
    ("[1,3]", "1 \\leq x \\leq 3"),
    ("1 \\leq x \\leq 3", "[1,3]"),
    ("x>-1", "(-1,\\infty)"),
    ("x<1 \\text{ or } x>3", "(-\\infty,1)\\cup(3,\\infty)"),
    ("\\sqrt{\\frac{2}{n}}", "\\frac{\\sqrt2}{\\sqrt n}"),
    ("7\\sqrt(3)", "7\\sqrt{3}"),
    ("$5$", "5"),
    ("\\[x=2\\]", "2"),
    ("7000000000", "7\\text{ billion}"),
    ("7", "7 \\text{ percent}"),
    ("7", "7_{10}"),
    ("7", "x\\approx7"),
    ("7", "x \\in \\{7\\}"),
    ("7", "\\{7\\}"),
    ("7", "[7]"),
    ("7", "(7)"),
    ("\\frac{3}{2}", "1\u00bd"),
    ("\\frac{3}{2}", "1\\frac12"),
    ("\\frac{7}{4}", "1\u00be"),
    ("\\theta", "\u03b8"),
    ("\\pi r^2", "\u03c0r\u00b2"),
    ("\\ge 4", "\u22654"),
    ("x\\neq 3", "x\u22603"),
    ("2\\cdot 3^4", "162"),
    ("\\frac{\\sqrt{3}}{3}", "\\frac{1}{\\sqrt{3}}"),
    ("x^{-1}", "\\frac{1}{x}"),
    ("\\sqrt[3]{2}", "2^{1/3}"),
    *[("3:2", each) for each in ("3 : 2", "3{:}2", "3 \\text{ to } 2", "x = 3:2", "x:y = 3:2")],
    ("5:00", "05\\!:\\!00"),
    *[("10\\sqrt{2}", each) for each in ("10\\sqrt{2} \\approx 14.14", "x = 10\\sqrt2 ≈ 14.1", "AB = \\sqrt{200} \\approx 14.142")],
    ("14.14", "10\\sqrt{2} \\approx 14.14"),
    ("5.1", "x \\approx 5.1"),
    *[("12", each) for each in ("\\text{twelve}", "Twelve")],
    ("42", "\\text{forty-two}"),
    ("-3", "\\text{negative three}"),
    *[("\\frac12", each) for each in ("\\text{one half}", "one-half", "\\sin(30^\\circ)", "{1 \\over 2}")],
    ("\\frac34", "three quarters"),
    ("204_5", "204_{\\text{five}}"),
    ("204_5", "(204)_5"),
    ("120", "{10 \\choose 3}"),
    ("0.\\overline{12}", ".\\overline{12}"),
    ("1, 2, \\ldots, n", "1,2,\\dots,n"),
    ("\\sum_{k=1}^{n} k", "\\sum_{k=1}^n k"),
    ("\\begin{pmatrix}-1&0\\\\0&-1\\end{pmatrix}", "-\\begin{pmatrix}1&0\\\\0&1\\end{pmatrix}"),
    ("\\begin{pmatrix}1/5\\\\2\\end{pmatrix}", "\\frac15\\begin{bmatrix}1\\\\[6pt]10\\\\\\end{bmatrix}"),
    ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\left(\\begin{array}{c}1\\\\2\\end{array}\\right)"),
    ("(1,2,3)", "\\langle 1,2,3\\rangle"),
    ("\\{1,2\\}", "\\lbrace 2,1\\rbrace"),
    ("(-\\infty,\\infty)", "\\text{all real numbers}"),
    ("(3,\\infty)", "\\{x \\mid x>3\\}"),
    ("x>3", "\\{x \\in \\mathbb{R} : x>3\\}"),
    ("(0,9)\\cup(9,36)", "0<x<36, x\\ne 9"),
    ("(-\\infty,1)\\cup(1,2)\\cup(2,\\infty)", "x\\ne 1, x\\ne 2"),
    ("-4", "(1+i)^4"),
    ("-i", "i^3"),
    ("\\overline{z}", "\\bar{z}"),
    ("a<b<c", "c>b>a"),
    ("C,E", "\\text{C and E}"),
    ("\\text{even}", "\\textrm{even}"),
    ("9.8\\text{ m/s}^2", "9.8\\,\\frac{\\text{m}}{\\text{s}^2}"),
    ("20\\text{ cents}", "20¢"),
    ("12", "12\\"),
    ("\\pm\\sqrt{3}\\pm\\sqrt{2}", "\\pm\\sqrt3\\pm\\sqrt2"),
]
DIFFERENT = [
    # values nearer to each other than any absolute tolerance
    ("\\frac{1}{3^{60}}", "\\frac{1}{3^{61}}"),
    ("2^{-80}", "2^{-81}"),
    ("\\frac{1}{500!}", "\\frac{1}{501!}"),
    ("1.6 \\times 10^{-19}", "9.1 \\times 10^{-31}"),
    ("0.0000001", "0.0000004"),
    ("10^{30}+1", "10^{30}"),
    ("\\sqrt{10^{40}+1}", "10^{20}"),
    ("\\pi", "\\frac{355}{113}"),
    ("x + 10^{-60}", "x"),
    # letters
    *[("3", each) for each in ("3t", "3n", "3x", "3k", "3\\pi", "3i", "3e", "-3", "3!", "3^2", "3%0")],
    *[(each, "3") for each in ("3t", "3n", "3g", "3m")],
    ("4g", "4h"),
    ("x^2+4d", "x^2+4"),
    ("2x", "2X"),
    ("x_1", "x_2"),
    ("|x|", "x"),
    ("\\sqrt{x^2}", "x"),
    ("\\sqrt{x}", "\\sqrt{y}"),
    # bases and repeating decimals
    ("204_5", "204_6"),
    ("413", "413_5"),
    ("413_5", "413"),
    ("0.\\overline{12}", "0.\\overline{21}"),
    ("0.\\overline{6}", "0.\\overline{9}"),
    ("0.\\overline{6}", "0.6"),
    # pairs, sets, lists, intervals
    ("(1,2)", "\\{1,2\\}"),
    ("\\{1,2\\}", "(1,2)"),
    ("(1,2)", "(2,1)"),
    ("(1,2)", "[1,2]"),
    ("(2,5)", "\\{2,5\\}"),
    ("(1,2)", "(1,2,3)"),
    ("(1,200)", "1200"),
    ("3,5", "3"),
    ("3", "3,5"),
    ("3,5", "3,5,7"),
    ("2,2,3", "2,3,3"),
    ("1,2", "x=2, y=1"),
    ("(-\\infty,3)", "x \\le 3"),
    ("(-\\infty,3)", "x>3"),
    ("x<3", "y<3"),
    ("[2,5)", "2<x\\le 5"),
    ("x \\ne 2", "x = 2"),
    ("1, 2, \\ldots, n", "1, 3, 5, \\ldots, 2n-1"),
    ("1,2,3,\\dots", "1,2,3"),
    # equations
    *[
        ("5", each)
        for each in ("x^2=5", "2x=5", "|x|=5", "x+y=5", "-x=5", "x+1=5", "\\frac1x=5", "\\sqrt{x}=5", "3+5=5", "\\log x=5", "x>5", "x\\ne5")
    ],
    ("0", "x^2-4=0"),
    ("3", "n=3k"),
    ("3", "n = 3k, k \\in \\mathbb{Z}"),
    ("x=5", "y=5"),
    ("x^2=5", "x^2=7"),
    ("y=2x+3", "y=2x"),
    ("2x<3", "2x>3"),
    # words that change a number
    *[
        ("5", f"5\\text{{ {each}}}")
        for each in (
            "or more",
            "million",
            "thousand",
            "hundred",
            "dozen",
            "squared",
            "hours 30 minutes",
            "k",
            "doz.",
            "pi",
            "to 6",
            "out of 7",
            "percent of 8",
        )
    ],
    *[
        ("5", f"\\text{{{each} }}5")
        for each in ("at least", "more than", "less than", "not", "no solution, not", "minus", "negative", "half of", "twice", "double")
    ],
    ("5", "5 \\text{ hours } 30 \\text{ minutes}"),
    ("5", "5\\sqrt{}"),
    ("4", "4\\sqrt(2)"),
    ("5", "5\\%0"),
    # units that both name
    ("18\\text{ cm}", "18\\text{ m}"),
    ("18\\text{ cm}", "18\\text{ cm}^2"),
    ("18^\\circ", "18\\%"),
    ("\\$18", "18\\text{ cents}"),
    ("18\\text{ km/h}", "18\\text{ km}"),
    # decimals
    ("18", "18.0001"),
    ("0.5", "50\\%"),
    ("0.333", "\\frac13"),
    ("10:30", "1030"),
    ("\\text{Evelyn}", "\\text{Briana}"),
    ("12", "1 2"),
    ("1/2x", "\\frac{x}{3}"),
    ("\\frac{1}{7^{40}}", "7^{-41}"),
    ("6.02\\times10^{23}", "6.03\\times10^{23}"),
    ("1.2\\times10^{-5}", "0.000013"),
    ("7s", "7"),
    ("2y", "2"),
    ("5h", "5"),
    ("a^2+3b", "a^2+3"),
    ("12x", "12"),
    ("12", "12x"),
    ("6k", "6"),
    ("8l", "8"),
    ("8m", "8g"),
    ("1101_2", "1101_3"),
    ("1101_2", "1101"),
    ("\\{4,9\\}", "(4,9)"),
    ("(4,9)", "4,9"),
    ("9", "y^2=9"),
    ("9", "3y=9"),
    ("9", "y-1=9"),
    ("9", "a+b=9"),
    ("9", "4+4=9"),
    ("9", "n=9k"),
    ("9", "\\frac{y}{2}=9"),
    ("9", "y^3=9"),
    ("9", "\\sin y=9"),
    ("0.\\overline{45}", "0.\\overline{54}"),
    ("\\frac{41}{90}", "0.4555\\ldots"),
    ("(1,3)", "1 \\leq x \\leq 3"),
    ("x>-1", "(-1,\\infty]"),
    ("2, 4, 6, \\ldots", "2, 4, 6"),
    ("7", "7\\sqrt(3)"),
    ("7", "7\u221a3"),
    ("7", "\\text{at most }7"),
    ("7", "7\\text{ or fewer}"),
    ("7", "\\text{about }7"),
    ("7", "7\\text{ billion}"),
    ("7", "\\text{triple }7"),
    ("7", "7\\text{ cubed}"),
    ("7", "7\\text{ weeks }2\\text{ days}"),
    ("7", "7\\text{ lb }3\\text{ oz}"),
    ("7", "\\text{a third of }7"),
    ("7", "7\\text{ score}"),
    ("7", "\\text{opposite of }7"),
    ("7", "7\\text{ factorial}"),
    ("7", "7\\text{ sqrt}"),
    ("7", "\\text{over }7"),
    ("7", "\\sim 7"),
    ("7", "7+"),
    ("7", "\\ge 7"),
    ("7", "7\\ldots"),
    ("7", "7?"),
    ("7", "\\text{none}, 7"),
    ("7", "7'"),
    ("7", "7\\cdot"),
    ("7", "7\\text{ e}"),
    ("7", "7\\text{ mod }9"),
    ("7", "7 \\pmod 9"),
    ("7", "\\frac{7}{}"),
    ("7", "7^{}"),
    ("7", "\\overline{7}"),
    ("7", "x \\to 7"),
    ("7", "7;8"),
    ("7", "7/8"),
    ("7", "7:8"),
    ("7", "7 \\text{ eggs and } 3 \\text{ hens}"),
    ("7", "7\\text{ eggs}, 3\\text{ hens}"),
    ("\\sqrt[3]{2}", "\\sqrt{2}"),
    *[("3:2", each) for each in ("2:3", "3:2:1", "3.2", "1.5", "3", "x:y = 2:3")],
    ("10:30", "10"),
    *[("14.14", each) for each in ("10\\sqrt{2}", "10\\sqrt{2} \\approx 14.15")],
    *[("\\pi", each) for each in ("3.14", "\\frac{22}{7} \\approx \\pi", "\\pi \\approx 3.2", "\\pi + 1 \\approx 4.14", "-\\pi \\approx 3.14")],
    ("3", "\\pi \\approx 3"),
    ("3", "\\sqrt{10} \\approx 3"),
    *[("2", f"2\\text{{ {each}}}") for each in ("fifths", "sixths", "halves", "tens", "hundreds", "dozens", "millions")],
    *[("2", each) for each in ("\\text{two or three}", "\\text{twenty}", "\\text{two hundred}", "\\text{two-thirds}", "\\text{one and a half}")],
    ("0", "0k"),
    ("x+y=0", "x+y=0z"),
    ("0.56 = 56\\%", "0.06 = 56\\%"),
    ("\\$\\frac23 \\approx \\$0.67", "\\$\\frac23 \\approx \\$0.65"),
    ("\\$36", "36\\%"),
    ("\\$36", "€36"),
    ("\\sin 40^\\circ", "\\sin 40"),
    ("\\sin 40", "\\sin(40^\\circ)"),
    ("9.8\\text{ m/s}^2", "9.8\\text{ m}^2\\text{/s}"),
    ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "2\\begin{pmatrix}1\\\\2\\end{pmatrix}"),
    ("(3,\\infty)", "\\{x \\mid x\\ge 3\\}"),
    ("(3,\\infty)", "\\{x \\in \\mathbb{Z} : x>3\\}"),
    ("3", "\\{x \\mid x>3\\}"),
    ("(3,\\infty)", "\\{x \\mid y>3\\}"),
    ("(0,9)\\cup(9,36)", "0<x<36, x\\ne 8"),
    ("a<b<c", "c<b<a"),
    ("204_5", "(204)_6"),
    ("204_5", "204_{\\text{six}}"),
    ("1, 2, \\ldots, n", "1,2,\\dots,m"),
    ("\\text{all real numbers}", "\\text{all positive real numbers}"),
]


@pytest.mark.parametrize(("gold", "answer"), SAME)
def test_formulas_of_the_same_value_are_equal(gold: str, answer: str) -> None:
    assert formulas_equal(gold, answer)


@pytest.mark.parametrize(("gold", "answer"), DIFFERENT)
def test_formulas_of_another_value_or_kind_are_not(gold: str, answer: str) -> None:
    assert not formulas_equal(gold, answer)
    assert not plainly_equal(gold, answer)


UNREADABLE = [
    "1/2x",
    "\\frac{1}{2",
    "2 \\frac{3}{2}",
    "a \\equiv 3 \\pmod 5",
    "\\sum_{n=1}^{5} n",
    "1, 2, \\ldots, n",
    "3 \\pm",
    "\\foo{3}",
    "",
    "()",
    "5\\sqrt{}",
    "9_5",
]


@pytest.mark.parametrize("formula", UNREADABLE)
def test_what_cannot_be_read_whole_equals_its_own_spelling_only(formula: str) -> None:
    assert not is_formula(formula)
    assert formulas_equal(formula, formula)
    assert not any(formulas_equal(other, formula) or formulas_equal(formula, other) for other in ("3", "5", "x", "\\frac12"))


def test_the_kind_of_a_formula_is_that_of_its_value() -> None:
    kinds = {"28": "value", "28_9": "InBase", "x=3": "Relation", "(1,2)": "()", "\\{1\\}": "{}", "8:34 \\text{ p.m.}": None, "2-b": "value"}
    assert {each: kind_of(each) for each in kinds} == kinds


@pytest.mark.slow
@settings(max_examples=300)
@given(st.text(alphabet="\\{}[]()^_$,.~ 0123abx%=<|!+-*/√½", max_size=40) | st.text(max_size=30))
def test_any_text_equals_itself_and_is_compared_without_an_error(latex: str) -> None:
    assert plainly_equal(latex, latex)
    assert plainly_equal(latex, "17") in (True, False)


@settings(max_examples=200)
@given(st.fractions(max_denominator=10**6), st.fractions(max_denominator=10**6))
def test_fractions_are_equal_exactly_when_their_values_are(one: Fraction, other: Fraction) -> None:
    def spelled(value: Fraction, factor: int) -> str:
        return f"{'-' if value < 0 else ''}\\frac{{{abs(value.numerator) * factor}}}{{{value.denominator * factor}}}"

    assert plainly_equal(spelled(one, 1), spelled(other, 6)) == (one == other)
    assert plainly_equal(spelled(one, 1), spelled(one, 6))


@pytest.mark.slow
@pytest.mark.parametrize(
    "unit",
    [" ", "\\text{", "^{", "\\frac{1}", "1 ", "1,", "9", "{", "(", "a ", "\\sqrt{", "\\,", "-", "!", "\\pm ", "x=", "_", "2\\frac{", "1,2 or "],
)
def test_no_repeated_piece_takes_long_to_be_read(unit: str) -> None:
    for before, after in itertools.product(["", "5^"], ["", "}x"]):
        for length in (1_900, 100_000):
            assert is_linear(lambda text: plainly_equal("1,2,3", text), repeated(unit, before, after), length)
