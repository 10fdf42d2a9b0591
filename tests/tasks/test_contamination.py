"""Overlap of train and test, against a slow count by hand."""

from __future__ import annotations

import random

import pytest
from growth import is_linear

from cotexp.records import Question
from cotexp.tasks.contamination import overlap, word_runs
from cotexp.tasks.splits import make_question


def question(text: str) -> Question:
    return make_question("t", text=text, answer="1", answer_type="decimal")


def test_runs_ignore_case_punctuation_and_white_space() -> None:
    assert word_runs("One, TWO -\n three; four!", 3) == {("one", "two", "three"), ("two", "three", "four")}


def test_a_short_text_is_one_run() -> None:
    assert word_runs("One two", 3) == {("one", "two")}
    assert overlap([question("one two three four")], [question("one two"), question("One two?")], 3).rows == []
    assert len(overlap([question("one two")], [question("one two"), question("One two?")], 3).rows) == 2


def test_the_ratio_is_the_share_of_the_test_questions_runs() -> None:
    train = [question("a b c d"), question("x y z")]
    found = overlap(train, [question("a b c e"), question("q r s"), question("A  b c D"), question("x y z x y z")], 3)
    ratios = {row.question.text: row.found_ratio for row in found.rows}
    assert ratios == {"a b c e": 0.5, "A  b c D": 1.0, "x y z x y z": pytest.approx(1 / 3)}
    assert found.num_exact == 1


def test_it_agrees_with_a_slow_search_on_random_texts() -> None:
    rng = random.Random(0)
    texts = [" ".join(rng.choices("abcd", k=rng.randint(3, 9))) for _ in range(60)]
    train, test = texts[:30], texts[30:]
    expected = [each for each in test if any(run in f" {other} " for other in train for run in spaced_runs(each, 4)) and len(each.split()) >= 4]
    found = [row.question.text for row in overlap(map(question, train), [question(each) for each in test], 4).rows if len(row.question.text) >= 7]
    assert found == expected
    assert 0 < len(expected) < len(test)


def spaced_runs(text: str, n: int) -> list[str]:
    words = text.split()
    return [f" {' '.join(words[start : start + n])} " for start in range(len(words) - n + 1)]


@pytest.mark.slow
def test_the_time_grows_with_the_number_of_training_questions() -> None:
    rng = random.Random(0)
    train = [question(" ".join(str(rng.randrange(3000)) for _ in range(60))) for _ in range(7500)]
    found = overlap(train, [*train[:500], question("not in there at all")])
    assert is_linear(lambda some: overlap(some, some[::15]), lambda count: train[:count], len(train))
    assert len(found.rows) == found.num_exact == 500
