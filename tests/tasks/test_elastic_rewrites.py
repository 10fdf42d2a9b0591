"""Pairs that teach a compressor: notches that shorten and keep every calculation, and rewrites that grow where nothing is redundant."""

from __future__ import annotations

import random
import re
from collections import Counter
from statistics import mean

import pytest

from cotexp.records import Question
from cotexp.tasks.elasticity import MOST_PER_NOTCH, Step, elastic_rewrites
from cotexp.tasks.stories import Difficulty, generate

EASY = Difficulty(min_operations=2, max_operations=4, max_value=60, max_operand=9)
EQUATION = re.compile(r"\d+ [-+*] \d+ = \d+")


@pytest.fixture(scope="module")
def questions() -> list[Question]:
    return generate("train", count=200, seed=0, difficulty=EASY, elastic=True)


def calculations(text: str) -> list[str]:
    return EQUATION.findall(text)


def complete(question: Question) -> list[str]:
    return calculations(question.references[0])


def shrinking(question: Question) -> list[tuple[str, str]]:
    return [(before, after) for before, after in question.rewrites if len(after) < len(before)]


def growing(question: Question) -> list[tuple[str, str]]:
    return [(before, after) for before, after in question.rewrites if len(after) > len(before)]


def test_every_rewrite_is_complete_whatever_went_in(questions: list[Question]) -> None:
    for question in questions:
        assert all(calculations(after) == complete(question) for _, after in question.rewrites)
        assert len(shrinking(question)) + len(growing(question)) == len(question.rewrites)


def test_the_notches_lead_from_the_full_solution_to_the_shortest_one_and_lose_no_calculation(questions: list[Question]) -> None:
    for question in questions:
        way = shrinking(question)
        assert way[0][0] == question.references[0].rsplit("\n", 1)[0]
        assert way[-1][1] == question.references[6].rsplit("\n", 1)[0], "each step is its operation and its calculation"
        assert [after for _, after in way[:-1]] == [before for before, _ in way[1:]]
        assert all(calculations(before) == complete(question) for before, _ in way)


def test_a_notch_leaves_out_one_or_two_redundancies_in_any_order(questions: list[Question]) -> None:
    first = Counter()
    for question in questions:
        for before, after in shrinking(question):
            left = [len(re.findall(r"At first|so we|Now there", text)) for text in (before, after)]
            assert 1 <= left[0] - left[1] <= MOST_PER_NOTCH
        before, after = shrinking(question)[0]
        first.update(kind for kind in ("At first", "so we", "Now there") if before.count(kind) > after.count(kind))
    assert min(first[kind] for kind in ("At first", "so we", "Now there")) >= 20, first


def test_longer_solutions_take_more_notches_and_equal_ones_different_numbers(questions: list[Question]) -> None:
    notches: dict[int, list[int]] = {}
    for question in questions:
        notches.setdefault(len(complete(question)), []).append(len(shrinking(question)))
    assert mean(notches[2]) + 0.8 < mean(notches[3]) < mean(notches[4]) - 0.8
    assert all(len(set(numbers)) >= 3 for numbers in notches.values())


def test_the_shortest_form_and_a_form_without_a_step_grow(questions: list[Question]) -> None:
    for question in questions:
        (shortest, told), (gappy, mended) = growing(question)
        assert shortest == shrinking(question)[-1][1]
        assert told.count("so we") == len(complete(question))
        assert "At first" not in told
        assert "Now there" not in told
        (missing,) = (Counter(complete(question)) - Counter(calculations(gappy))).elements()
        assert f": {missing}." in mended


def test_a_solution_of_one_step_never_lacks_it() -> None:
    pairs = elastic_rewrites("There are 2.", [Step(full="So we add 3: 2 + 3 = 5.", brief="Add 3: 2 + 3 = 5.", result="That is 5.")], random.Random(0))
    assert all("2 + 3 = 5" in before and "2 + 3 = 5" in after for before, after in pairs)
    assert sum(len(after) > len(before) for before, after in pairs) == 1


def test_the_pairs_change_neither_the_questions_nor_their_references(questions: list[Question]) -> None:
    plain = generate("train", count=200, seed=0, difficulty=EASY)
    assert [(each.id, each.text, each.references) for each in plain] == [(each.id, each.text, each.references) for each in questions]
    assert not any(each.rewrites for each in plain)
    assert generate("train", count=50, seed=0, difficulty=EASY, elastic=True) == questions[:50]
