"""Calculations and numbers of chains that were written by hand."""

from __future__ import annotations

from fractions import Fraction

import pytest

from cotexp.methods.calculations import calculations, num_steps, numbers, share_kept


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


def test_the_steps_of_a_solution_are_its_calculations_or_else_its_lines() -> None:
    assert num_steps("2 + 9 = 11\n11 + 8 = 19\nThe answer is 19.") == 2
    assert num_steps("First 3 + 4 = 7.\nTogether 7 * 6 = 42, so \\boxed{42}.") == 2
    assert num_steps("Whales are mammals.\n\nMammals breathe.\nThe answer is yes.") == 2
    assert num_steps("Whales breathe.") == 1
    assert num_steps("") == 0


def test_what_a_rewrite_keeps_of_a_chain() -> None:
    """The rewrite has lost the first of three calculations, and of the numbers 2, 9, 11, 8, 19, 1, 18 the 2, the 9."""
    before = "Gina has 2 shells: 2 + 9 = 11. Then 11 + 8 = 19. Then 19 - 1 = 18."
    after = "8 + 11 = 19; 19 - 1 = 18"
    assert share_kept(calculations(before), calculations(after)) == pytest.approx(2 / 3)
    assert share_kept(numbers(before), numbers(after)) == pytest.approx(5 / 7)
    assert share_kept(calculations("no numbers"), calculations(after)) is None
