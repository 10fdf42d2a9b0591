"""Which tokens pruning keeps: protected ones always, numbers and characters whole, lengths as asked for."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotexp.methods.pruning import Unit, draw_ratio, importances_of_words, keep, units

CHAIN = "At first, Ann has 128 shells.\nThen Ann gets 3 more (1,000.5 in all), so we add 3: 128 + 3 = 131."
RATIOS = [0.9, 0.8, 0.7, 0.6, 0.5]


def by_character(text: str) -> list[tuple[int, int]]:
    """The spans of a tokenizer whose tokens are single characters."""
    return [(place, place + 1) for place in range(len(text))]


def pieces_of(text: str, own: list[Unit]) -> list[str]:
    return [text[each.first : each.end] for each in own]


def test_a_text_is_cut_into_numbers_words_and_signs_with_the_white_space_before_them() -> None:
    assert pieces_of(CHAIN, units(CHAIN, by_character(CHAIN), protect=True))[:12] == [
        *("At", " first", ",", " Ann", " has", " 128", " shells", ".", "\nThen", " Ann", " gets", " 3")
    ]


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("costs $1,250.50 now", " $1,250.50"),
        ("it’s twenty-five", " twenty-five"),
        ('so "Then it', ' "Then'),
        (r"is \frac{12}{3}", r" \frac"),
        ("no日本", "本"),
        ("ends \n", " \n"),
    ],
)
def test_what_reads_as_one_goes_as_one(text: str, whole: str) -> None:
    assert whole in pieces_of(text, units(text, by_character(text), protect=True))


def test_numbers_and_operators_are_protected_and_nothing_else() -> None:
    text = "We add 2.5*4 - 1/2 x 3 = 9 (all twenty-five and/or **bold** box x) 5% off, 3:4"
    own = units(text, by_character(text), protect=True)
    protected = [text[each.first : each.end].strip() for each in own if each.protected]
    assert protected == ["2.5", "*", "4", "-", "1", "/", "2", "x", "3", "=", "9", "(", ")", "5", "%", "3", ":", "4"]
    assert not any(each.protected for each in units(text, by_character(text), protect=False))


def test_tokens_that_share_a_character_or_a_word_stand_in_one_unit() -> None:
    """ "é" in two tokens, as byte-level tokenizers have it, "128" digit by digit, a lone space whose span was trimmed to nothing."""
    text = "An é has 128"
    spans = [(0, 2), (2, 3), (3, 4), (3, 4), (4, 8), (9, 9), (9, 10), (10, 11), (11, 12)]
    assert units(text, spans, protect=True) == [Unit(0, 1, False), Unit(1, 4, False), Unit(4, 5, False), Unit(5, 9, True)]


def test_the_most_important_units_that_fit_are_kept_in_order() -> None:
    own = [Unit(0, 1, False), Unit(1, 3, False), Unit(3, 4, True), Unit(4, 7, False), Unit(7, 8, False)]
    importances = [1.0, 4.0, 2.0, 0.0, 9.0, 0.0, 0.0, 1.0]
    assert keep(own, importances, 0.5).tokens == [0, 1, 2, 3], "means are 1, 3, protected, 3, 1: of equal ones the first, then what fits"
    assert keep(own, importances, 0.75).tokens == [1, 2, 3, 4, 5, 6]
    assert keep(own, importances, 1.0).tokens == list(range(8))


def test_protected_tokens_stay_even_where_they_exceed_the_ratio_and_that_is_told() -> None:
    own = [Unit(0, 3, True), Unit(3, 4, False)]
    assert keep(own, [0.0, 0.0, 0.0, 9.0], 0.5) == ([0, 1, 2], True)
    assert keep(own, [0.0, 0.0, 0.0, 9.0], 0.75) == ([0, 1, 2], False)


TEXTS = st.lists(st.sampled_from(["Ann", " has", " 12", "8", "\n", "  ", ".", " é", "日本", " + ", "\\frac{", "3:4", "'s", "$", "(", "7.5"])).map(
    "".join
)


@given(text=TEXTS, ratio=st.floats(0.05, 0.95), data=st.data())
def test_any_chain_keeps_every_number_whole_and_has_the_length_asked_for(tokenizer: Any, text: str, ratio: float, data: st.DataObject) -> None:
    text = text.strip()
    found = tokenizer(text, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True)
    ids = found["input_ids"]
    own = units(text, found["offset_mapping"], protect=True)
    assert [token for each in own for token in range(each.first, each.end)] == list(range(len(ids))), "every token stands in one unit"
    importances = data.draw(st.lists(st.floats(0, 9), min_size=len(ids), max_size=len(ids)))
    kept = keep(own, importances, ratio)
    pruned = tokenizer.decode([ids[each] for each in kept.tokens])
    assert "�" not in pruned
    assert re.findall(r"\d+(?:[.,]\d+)*", pruned) == re.findall(r"\d+(?:[.,]\d+)*", text)
    wanted = round(ratio * len(ids))
    assert len(kept.tokens) > wanted if kept.exceeded else len(kept.tokens) <= wanted
    left = [each for each in own if each.first not in kept.tokens]
    assert all(each.length > wanted - len(kept.tokens) for each in left), "nothing that fits is left out"


@pytest.fixture(scope="module")
def tokenizer(random_model: Path) -> Any:
    """A byte-level one that cuts numbers after two digits."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(random_model)


def test_ratios_are_drawn_evenly_and_depend_on_the_chain_and_the_seed() -> None:
    drawn = [draw_ratio(f"q{number}/0", RATIOS, 0) for number in range(1000)]
    assert all(160 < drawn.count(each) < 240 for each in RATIOS)
    assert drawn == [draw_ratio(f"q{number}/0", RATIOS, 0) for number in range(1000)]
    assert drawn != [draw_ratio(f"q{number}/0", RATIOS, 1) for number in range(1000)]


def test_importances_of_words_go_to_the_tokens_that_write_them() -> None:
    text = "Ann has 128, has 3."
    spans = [(0, 3), (3, 7), (8, 10), (10, 12), (12, 16), (16, 16), (17, 18), (18, 19)]
    words = [("Ann", 0.1), ("has", 0.2), ("lost", 1.0), ("128", 0.9), (",", 0.3), ("has", 0.4), ("3", 0.8), (".", 0.5)]
    assert importances_of_words(text, words, spans) == [0.1, 0.2, 0.9, 0.9, 0.4, 0.0, 0.8, 0.5]


def test_a_longer_ratio_keeps_what_a_shorter_one_keeps_where_all_units_are_single_tokens() -> None:
    own = [Unit(place, place + 1, place % 5 == 0) for place in range(40)]
    importances = [float((place * 17) % 23) for place in range(40)]
    kept = [set(keep(own, importances, ratio).tokens) for ratio in sorted(RATIOS)]
    assert all(smaller < larger for smaller, larger in pairwise(kept))
