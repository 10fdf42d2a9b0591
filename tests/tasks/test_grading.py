"""When an extracted answer equals the gold answer."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cotexp.tasks.answers import extract
from cotexp.tasks.grading import numbers_equal


@pytest.mark.parametrize("text", ["18", "$18", "18 dollars", "\\text{18 eggs}", "18.", "18.00", "018"])
def test_an_integer_is_equal_in_any_dress(text: str) -> None:
    assert numbers_equal(text, "18")


@pytest.mark.parametrize("text", ["0.18", "1800", "18.0000001", "-18", "1.8", "17.9999999", "18, 19", "", "eggs"])
def test_another_number_or_none_is_not_equal(text: str) -> None:
    assert not numbers_equal(text, "18")


@pytest.mark.parametrize("text", ["2.04", "20400", "2040", "20.4"])
def test_shifted_decimal_points_are_other_answers(text: str) -> None:
    assert not numbers_equal(text, "204")


def test_no_answer_never_equals_anything() -> None:
    assert not numbers_equal(None, "18")
    assert not numbers_equal(None, "")
    assert not numbers_equal("", "")
    assert not numbers_equal("eggs", "eggs")


def test_thousands_are_equal_however_grouped() -> None:
    assert numbers_equal("10{,}080", "10080")
    assert numbers_equal("10,080", "10080")
    assert numbers_equal("10080", "10,080")


@pytest.mark.parametrize("text", ["The answer is 18/100.", "The answer is 18/2."])
def test_a_fraction_is_not_its_numerator(text: str) -> None:
    assert not numbers_equal(extract(text).text, "18")


@settings(deadline=None)
@given(st.integers(-(10**12), 10**12), st.integers(-(10**12), 10**12))
def test_integers_are_equal_only_to_themselves(ours: int, theirs: int) -> None:
    assert numbers_equal(str(ours), str(theirs)) == (ours == theirs)
    assert numbers_equal(f"{theirs:,}", str(theirs))


@settings(deadline=None)
@given(st.integers(1, 10**9).filter(lambda n: n % 1000), st.integers(-2000, 2000))
def test_decimals_are_equal_within_a_millionth_of_the_gold_answer(thousandths: int, parts: int) -> None:
    gold, difference = Fraction(thousandths, 1000), Fraction(parts, 10**9) * 1000
    ours = Fraction(round((gold + difference) * 10**9), 10**9)
    if ours < 0:
        return
    text = f"{int(ours)}.{round((ours - int(ours)) * 10**9):09d}"
    assert numbers_equal(text, f"{thousandths // 1000}.{thousandths % 1000:03d}") == (abs(ours - gold) <= gold / 10**6)
