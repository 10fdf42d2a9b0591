"""LaTeX as strings: what does not change a formula, and its tokens."""

from __future__ import annotations

import pytest

from cotexp.tasks.latex import normalised, parts_of, stripped, tokens
from cotexp.tasks.unit_words import Unsure


def test_the_marks_around_a_formula_are_no_part_of_it() -> None:
    for dressed in ("$5$", "$$5$$", "\\(5\\)", "\\[ 5 \\]", " 5. ", "$\\(5\\)$", "**5**", "5\\,.", "$5\\;\\,.$ "):
        assert stripped(dressed) == "5"
    assert stripped("$3$ or $5$") == "$3$ or $5$"


def test_spellings_of_one_formula_have_one_string() -> None:
    for one, other in (("\\dfrac12", "\\frac{1}{2}"), ("10{,}080", "10080"), ("10{:}30", "10:30"), ("\\text{ Evelyn }", "Evelyn"), ("5\\%", "5")):
        assert normalised(one) == normalised(other)
    assert normalised("1 2") != normalised("12")


def test_letters_are_variables_unless_they_are_a_word_behind_a_space() -> None:
    kinds = {
        "12mn": "number letter letter",
        "12 dollars": "number text",
        "3xyz": "number letter letter letter",
        "2 pi": "number command",
        "3 km": "number text",
    }
    assert {each: " ".join(token.kind for token in tokens(each)) for each in kinds} == kinds


def test_a_formula_of_thousands_of_characters_is_refused() -> None:
    with pytest.raises(Unsure):
        tokens("1+" * 5_000 + "1")


def test_parts_stand_between_commas_outside_of_brackets() -> None:
    assert parts_of("5, -3") == ["5", "-3"]
    assert parts_of("(1, 4), \\{3, 8\\}") == ["(1, 4)", "\\{3, 8\\}"]
    assert parts_of("1,200") == ["1,200"]
