"""What changed from one text to another."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cotexp.report.differences import Piece, differences

TEXTS = st.text(alphabet="ab1. ,\n(\u202eé", max_size=40)


@given(TEXTS, TEXTS)
def test_without_what_was_removed_the_pieces_are_the_new_text_and_without_what_was_added_the_words_of_the_old(old: str, new: str) -> None:
    pieces = differences(old, new)
    assert "".join(each.text for each in pieces if each.change != "removed") == new
    assert "".join("".join(each.text for each in pieces if each.change != "added").split()) == "".join(old.split())
    assert all(each.text for each in pieces)


def test_a_number_is_one_word_and_white_space_alone_no_difference() -> None:
    assert differences("So 1,250.5 + 2 = 1,252.5.", "1,250.5  + 2 = 1,252.") == [
        Piece("removed", "So "),
        Piece("same", "1,250.5  + 2 = "),
        Piece("removed", "1,252.5"),
        Piece("added", "1,252"),
        Piece("same", "."),
    ]
    assert differences("a\nb", "a b") == [Piece("same", "a b")]


def test_nothing_against_something_and_nothing_against_nothing() -> None:
    assert differences("", "a b") == [Piece("added", "a b")]
    assert differences("a b", "") == [Piece("removed", "a b")]
    assert differences("", "") == []


def test_of_long_texts_too_it_is_found_what_was_removed_everywhere() -> None:
    old = " ".join(f"step {n} adds {n % 7} and goes on" for n in range(400))
    pieces = differences(old, old.replace(" and goes on", ""))
    assert sum(each == Piece("removed", "and goes on ") for each in pieces) > 350
