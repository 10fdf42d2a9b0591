"""Calculations and numbers of chains that were written by hand."""

from __future__ import annotations

from fractions import Fraction

import pytest
from growth import is_linear, repeated

from cotexp.methods.calculations import calculations, has_equation, num_steps, numbers, share_kept
from cotexp.records import AnswerType


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Add 9: 2 + 9 = 11. Add 8: 11 + 8 = 19.", [((2, 9), ("+",), 11), ((8, 11), ("+",), 19)]),
        ("Natalia sold 48/2 = <<48/2=24>>24 clips in May.", [((2, 48), ("/",), 24)]),
        ("3 red apples + 4 apples = 7 apples", [((3, 4), ("+",), 7)]),
        ("$1,200 * 3 = $3,600", [((3, 1200), ("*",), 3600)]),
        (r"so \(4 \times 5 = 20\)", [((4, 5), ("*",), 20)]),
        ("4 x 5 = 20 and 20 ÷ 8 = 2.5", [((4, 5), ("*",), 20), ((8, 20), ("/",), Fraction(5, 2))]),
        ("10 - 3 + 2 = 9", [((2, 3, 10), ("+", "-"), 9)]),
        ("(2 + 3) * 4 = 20", [((2, 3, 4), ("*", "+"), 20)]),
        ("2 + 9 = 11, again 9 + 2 = 11", [((2, 9), ("+",), 11)]),
        ("Now there are 3 toys, and x = 5.", []),
        ("3 + 4 = 7 * 2 = 14", [((3, 4), ("+",), 7), ((2, 7), ("*",), 14)]),
        ("8 * (2 + 7) = 8 * 9 = 72", [((2, 7, 8), ("*", "+"), 72), ((8, 9), ("*",), 72)]),
        ("2 * (3 + 4) = 2 * 7 = 14 - 4 = 10", [((2, 3, 4), ("*", "+"), 14), ((2, 7), ("*",), 14), ((4, 14), ("-",), 10)]),
        ("3 + 4 = 8 * 2 = 16", [((3, 4), ("+",), 8), ((2, 8), ("*",), 16)]),  # as the text states it, also where it is wrong
        ("8 * (2 + 7) = 8 * 9.", [((2, 7, 8), ("*", "+"), 72)]),
        ("3 + 4 = 7 * 2", [((3, 4), ("+",), 7)]),
        ("1 - 11 = -10 + 8 = -2", [((1, 11), ("-",), 10), ((8, 10), ("+",), 2)]),
        ("50% * 40 = 0.5 * 40 = 20", [((40, 50), ("*",), 20), ((Fraction(1, 2), 40), ("*",), 20)]),
        ("10 / 3 = 3.33 * 3 = 9.99", [((3, 10), ("/",), Fraction("3.33")), ((3, Fraction("3.33")), ("*",), Fraction("9.99"))]),
        ("1 / 0 = 4 * 2 = 8", [((0, 1), ("/",), 4), ((2, 4), ("*",), 8)]),
        ("(so 5 + 2 = 7) and (2 * (5 + 2) = 14)", [((2, 5), ("+",), 7), ((2, 2, 5), ("*", "+"), 14)]),
        ("2(3 + 4) = 14", [((2, 3, 4), ("*", "+"), 14)]),
        ("3 apples (2 + 4 = 6)", [((2, 4), ("+",), 6)]),
        ("3 red apples + 4 apples = 7 apples * 2 dollars = 14 dollars", [((3, 4), ("+",), 7), ((2, 7), ("*",), 14)]),
        ("48/2 = <<48/2=24>>24 + 48 = <<24+48=72>>72", [((2, 48), ("/",), 24), ((24, 48), ("+",), 72)]),
        (r"8 \cdot (2 + 7) &= 8 \cdot 9 \\ &= 72", [((2, 7, 8), ("*", "+"), 72), ((8, 9), ("*",), 72)]),
        ("There are 5 boxes\n- 3 * 2 = 6\n- 6 + 4 = 10", [((2, 3), ("*",), 6), ((4, 6), ("+",), 10)]),
        ("12 * 3\n= 36", [((3, 12), ("*",), 36)]),
        ("2^3 + 1 = 9", []),
        ("all * 3 + 1 = 9", []),
        ("His profit is 20/100 = 1/5.", [((20, 100), ("/",), Fraction(1, 5))]),
        ("", []),
    ],
)
def test_a_calculation_is_numbers_signs_and_a_result(text: str, expected: list[object]) -> None:
    assert calculations(text) == expected


def test_a_long_text_without_a_result_takes_no_long_search() -> None:
    """Without bounds on the search, each of these would be tried in exponentially many ways: the test would not end."""
    for text in (
        "3 a b + " * 500,
        "1 + " * 2000,
        "(" * 3000 + "1",
        "1 " * 3000,
        "1" * 5000,
        "2 x " * 2000,
        "- " * 3000,
        "1 + 1 " * 2000,
        "1 1= " * 2000,
        "2(" * 3000,
    ):
        assert calculations(text) == []


def test_numbers_are_values_and_not_spellings() -> None:
    assert numbers("1,000 and 1000.0 and 2.50 and 2.5 and three") == {1000, Fraction(5, 2)}


def test_a_number_of_any_length_has_a_value() -> None:
    """Python reads no more than 4,300 digits as an integer; a model that repeats itself writes more."""
    assert numbers("1" * 5000 + " and 2") == {Fraction(10**5000 - 1, 9), Fraction(2)}
    assert calculations("9" * 5000 + " - 1 = 3 * 2 = 6")[1:] == [((2, 3), ("*",), 6)]


@pytest.mark.parametrize(
    "text",
    [
        *(
            "16 - 3 - 4 = **9** eggs",
            "**16 - 3 - 4 = 9** eggs",
            "**16** - **3** - **4** = **9**",
            "**Total** = 16 - 3 - 4 = __9__ eggs",
            "= 16 - 3 - 4 = *9*",
        ),
        *("16 – 3 – 4 = 9", "16 − 3 − 4 = 9", "16 - 3 - 4 ＝ 9", "16 - 3 - 4 ≈ 9", "* 16 - 3 - 4 = 9", "1) 16 - 3 - 4 = 9", "16-3-4=`9`"),
        *(
            r"16 - 3 - 4 = \boxed{9}",
            r"16 - 3 - 4 = \boxed{\text{9 eggs}}",
            r"$16 - 3 - 4 = \$9$",
            r"\[16 - 3 - 4 = \mathbf{9}\]",
            r"$16$ - $3$ - $4$ = $9$",
        ),
        r"16 \text{ (total eggs)} - 3 \text{ (from the first 2 days)} - 4 \text{ eggs} = 9 \text{ eggs that she sells}",
        "16 (total eggs) - 3 (from the first 2 days) - 4 eggs per person = 9 eggs",
        r"$16/hour - \$3/\text{hour} - 4 \, \text{dollars/hour} = Rs. 9",
    ],
)
def test_notation_does_not_count(text: str) -> None:
    assert calculations(text) == [((3, 4, 16), ("-", "-"), 9)]


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        (r"\frac{48}{2} = 24", "48 / 2 = 24"),
        (r"\dfrac{48 \text{ km}}{2 \text{ km/h}} = 24 \text{ hours}", "48 / 2 = 24"),
        (r"\frac{10 + 20}{2} = \tfrac{30}{2} = 15", "(10 + 20) / 2 = 30 / 2 = 15"),
        (r"\frac12 \times 8 = 4", "1/2 * 8 = 4"),
        ("½ × 8 = 4", "1/2 * 8 = 4"),
        (r"1\,800 \div 3 = 600.0 and 1{,}800 ÷ 3 = 600", "1800 / 3 = 600"),
        (r"8 \cdot \left( 2 + 7 \right) = 72", "8 * (2 + 7) = 72"),
        (".5*36 = 18", "0.5 * 36 = 18"),
        ("4x5 = 20", "4 * 5 = 20"),
        (r"2 + 3 = 5 \\ 4 \ast 5 = 20", "2 + 3 = 5, 4 * 5 = 20"),
        (r"20/100 = \boxed{\frac{1}{5}}", "20/100 = 1/5"),
    ],
)
def test_a_calculation_in_latex_is_the_one_in_plain_text(text: str, plain: str) -> None:
    assert calculations(text) == calculations(plain) != []
    assert numbers(plain) <= numbers(text)


def test_marks_that_change_a_value_are_no_notation() -> None:
    for text in (
        "2**3 + 1 = 9",
        "2 ** 3 + 1 = 9",
        "x_1 + 2 = 5",
        "x_{1} + 2 = 5",
        r"x_\text{1} + 2 = 5",
        r"\sqrt{16} + 2 = 6",
        r"\frac{x}{3} + 2 = 5",
    ):
        assert calculations(text) == [], text


def test_an_equation_is_one_whether_its_calculation_is_read_or_not() -> None:
    assert all(has_equation(text) for text in ("2 + 3 = 5", "2x + 3 = 9", r"\(3^2 = 9\)", r"\frac{x}{3} &= 5", "7 eggs ≈ 8"))
    assert not any(has_equation(text) for text in ("x = 5", "2 eggs, so x = 5", "x + y = z", "18 eggs", "3 eggs.\n= 5", ""))


PIECES = (
    "\\text{",
    "\\frac{1}",
    "\\frac",
    "{",
    "**",
    "**9",
    "_",
    "= *",
    " (ab",
    "(",
    "\\",
    "$",
    "& ",
    "<<",
    "1/",
    "1 a ",
    "9 = ",
    "1 + 1 = ",
    "/ab",
    "\\boxed{1",
    ".5",
)


@pytest.mark.parametrize("piece", PIECES)
def test_reading_takes_a_time_that_grows_with_the_length(piece: str) -> None:
    def read(text: str) -> None:
        calculations(text)
        has_equation(text)

    assert is_linear(read, repeated(piece), 20_000)


def test_the_steps_of_a_solution_with_a_number_as_answer_are_its_calculations() -> None:
    assert num_steps("2 + 9 = 11\n11 + 8 = 19\nThe answer is 19.") == 2
    assert num_steps("First 3 + 4 = 7.\nTogether 7 * 6 = 42, so \\boxed{42}.", "integer") == 2
    assert num_steps("Half of them left.\nThat is 4.\nThe answer is 4.") == 1, "never lines, which are another unit"
    assert num_steps("") == 0


@pytest.mark.parametrize("answer_type", ["latex", "choice", "boolean"])
def test_the_steps_of_any_other_solution_are_its_sentences_without_the_last(answer_type: AnswerType) -> None:
    assert num_steps("Whales are mammals.\n\nMammals breathe. The answer is yes.", answer_type) == 2
    assert num_steps("Let x = 2y.\nThen 2 + 3 = 5, so\n\\[y = z.\\]\nThe answer is $z$.", answer_type) == 3, (
        "one calculation does not change the unit"
    )
    assert num_steps("Whales breathe.", answer_type) == 1
    assert num_steps(" \n", answer_type) == 0


def test_what_a_rewrite_keeps_of_a_chain() -> None:
    """The rewrite has lost the first of three calculations, and of the numbers 2, 9, 11, 8, 19, 1, 18 the 2, the 9."""
    before = "Gina has 2 shells: 2 + 9 = 11. Then 11 + 8 = 19. Then 19 - 1 = 18."
    after = "8 + 11 = 19; 19 - 1 = 18"
    assert share_kept(calculations(before), calculations(after)) == pytest.approx(2 / 3)
    assert share_kept(numbers(before), numbers(after)) == pytest.approx(5 / 7)
    assert share_kept(calculations("no numbers"), calculations(after)) is None
    assert share_kept(calculations(before), calculations(before.replace("= 1", "= **1").replace(".", "**."))) == 1
