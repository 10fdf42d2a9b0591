"""What words beside a number name, and when they may change it."""

from __future__ import annotations

from fractions import Fraction

import pytest

from cotexp.tasks.unit_words import Unsure, check_before, number_in_words, unit_of, units_agree


@pytest.mark.parametrize(
    ("words", "factor", "name"),
    [
        ("cm", 1, "cm"),
        ("centimeters", 1, "cm"),
        ("square feet", 1, "ft^2"),
        ("cm^2", 1, "cm^2"),
        ("cm squared", 1, "cm^2"),
        ("cubic inches", 1, "in^3"),
        ("miles per hour", 1, "mph"),
        ("km/h", 1, "km / h"),
        ("dollars", 1, "$"),
        ("million dollars", 10**6, "$"),
        ("dozen", 12, None),
        ("k", 1000, None),
        ("eggs", 1, None),
        ("brown eggs", 1, None),
        ("units", 1, None),
        ("square units", 1, None),
        ("m/s^2", 1, "m / s^2"),
        ("m^2/s", 1, "m^2 / s"),
        ("square meters per second", 1, "m^2 / s"),
        ("hundreds", 100, None),
    ],
)
def test_a_unit_has_one_name_and_a_word_for_a_size_is_a_factor(words: str, factor: int, name: str | None) -> None:
    assert unit_of(words) == (factor, name)


@pytest.mark.parametrize(
    "words",
    [
        "or more",
        "hours 30 minutes",
        "squared",
        "of 10",
        "to 6",
        "and a half",
        "M",
        "x",
        "pi",
        "percent of 8",
        "times",
        "out of 7",
        "p.m.",
        "fifths",
        "^2",
    ],
)
def test_words_that_may_change_the_number_are_refused(words: str) -> None:
    with pytest.raises(Unsure):
        unit_of(words)


def test_before_a_number_only_currencies_and_empty_words_may_stand() -> None:
    assert (check_before("USD"), check_before("Rs."), check_before("the answer is")) == ("$", "rupee", None)
    for words in ("at least", "not", "half", "minus", "about", "up to", "Tom"):
        with pytest.raises(Unsure):
            check_before(words)


def test_units_matter_only_where_both_are_named() -> None:
    assert units_agree(None, "cm")
    assert units_agree("cm", "cm")
    assert not units_agree("cm", "m")


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("twelve", 12),
        ("Forty-two", 42),
        ("negative three", -3),
        ("zero", 0),
        ("half", Fraction(1, 2)),
        ("a third", Fraction(1, 3)),
        ("three-quarters", Fraction(3, 4)),
        ("two hundred", None),
        ("one and a half", None),
        ("two three", None),
        ("twelve eggs", None),
        ("not three", None),
        ("minus", None),
        ("", None),
    ],
)
def test_a_number_in_words_is_read_whole_or_not_at_all(words: str, value: Fraction | int | None) -> None:
    assert number_in_words(words) == value
