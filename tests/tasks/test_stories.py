"""Procedural stories: disjoint splits, right solutions, levels that shorten."""

from __future__ import annotations

import operator
import re
from itertools import pairwise
from statistics import mean

import pytest

from cotexp.records import Question
from cotexp.settings.base import ConfigError
from cotexp.tasks import StoriesTask, load_questions, prompt_for
from cotexp.tasks.answers import extract, split_solution
from cotexp.tasks.grading import numbers_equal
from cotexp.tasks.stories import NUM_LEVELS, SPLITS, Difficulty, generate

EASY = Difficulty(min_operations=2, max_operations=4, max_value=60, max_operand=9)
OPERATIONS = {"+": operator.add, "-": operator.sub, "*": operator.mul}
EQUATION = re.compile(r"(\d+) ([-+*]) (\d+) = (\d+)")
ADDING, TAKING = {"buys", "finds", "gets", "wins"}, {"loses", "sells", "gives", "drops"}


def arithmetic(question: Question) -> tuple[int, ...] | tuple[object, ...]:
    """Start and operations, read from the question's words alone."""
    first, *events, _ = re.split(r"(?<=[.?]) ", question.text)
    start = int(re.fullmatch(r"\w+ has (\d+) \w+\.", first)[1])  # type: ignore[index]
    result: list[object] = [start]
    for event in events:
        verb, number, times = re.fullmatch(r"\w+ (\w+)(?: away)? (\d+) (times as many|more)? ?\w+\.", event).groups()  # type: ignore[union-attr]
        assert verb in ADDING | TAKING
        result.append(("*" if times == "times as many" else "+" if verb in ADDING else "-", int(number)))
    return tuple(result)


def totals(question: Question) -> list[int]:
    """The running totals by the question's words."""
    start, *steps = arithmetic(question)
    values = [int(str(start))]
    for sign, number in steps:  # type: ignore[misc]
        values.append(OPERATIONS[sign](values[-1], number))  # type: ignore[has-type]
    return values


@pytest.fixture(scope="module")
def questions() -> list[Question]:
    return [each for split in SPLITS for each in generate(split, count=100, seed=0, difficulty=EASY)]


def test_splits_share_no_arithmetic_and_no_question_whatever_the_seeds() -> None:
    by_split = {split: [each for seed in range(4) for each in generate(split, count=150, seed=seed, difficulty=EASY)] for split in SPLITS}
    calculations = {split: {arithmetic(each) for each in found} for split, found in by_split.items()}
    texts = {split: {each.text for each in found} for split, found in by_split.items()}
    for ours, theirs in (("train", "validation"), ("train", "test"), ("validation", "test")):
        assert not calculations[ours] & calculations[theirs]
        assert not texts[ours] & texts[theirs]
    assert all(len(found) > 100 for found in calculations.values())


def test_questions_and_ids_of_a_split_do_not_repeat(questions: list[Question]) -> None:
    assert len({each.text for each in questions}) == len({each.id for each in questions}) == len(questions) == 300


@pytest.mark.parametrize("split", SPLITS)
def test_the_first_questions_are_the_same_for_a_larger_count(split: str) -> None:
    assert generate(split, count=60, seed=1, difficulty=EASY)[:25] == generate(split, count=25, seed=1, difficulty=EASY)


def test_another_seed_gives_other_questions() -> None:
    first, second = (generate("train", count=50, seed=seed, difficulty=EASY) for seed in (0, 1))
    assert len({each.text for each in first} & {each.text for each in second}) < 5


@pytest.mark.slow
def test_every_reference_solution_is_right_at_every_level(questions: list[Question]) -> None:
    for question in questions:
        expected = totals(question)
        assert question.answer == str(expected[-1])
        assert len(question.references) == NUM_LEVELS
        for reference in question.references:
            chain, closing = split_solution(reference)
            equations = EQUATION.findall(chain)
            assert [int(before) for before, *_ in equations] == expected[:-1], reference
            assert [int(after) for *_, after in equations] == expected[1:], reference
            assert all(OPERATIONS[sign](int(before), int(number)) == int(after) for before, sign, number, after in equations), reference
            assert [(sign, int(number)) for _, sign, number, _ in equations] == list(arithmetic(question)[1:]), reference
            assert closing == f"The answer is \\boxed{{{question.answer}}}."
            assert numbers_equal(extract(reference).text, question.answer)


def test_every_level_is_shorter_in_words_on_average_and_longer_for_no_question(questions: list[Question]) -> None:
    lengths = [[len(reference.split()) for reference in question.references] for question in questions]
    for row in lengths:
        assert row == sorted(row, reverse=True)
        assert row[0] > 2 * row[-1]
    means = [mean(column) for column in zip(*lengths, strict=True)]
    assert all(later < earlier for earlier, later in pairwise(means))


@pytest.mark.parametrize(
    "difficulty",
    [Difficulty(1, 1, 30, 5), Difficulty(3, 3, 12, 4), Difficulty(2, 8, 99, 50)],
    ids=["one operation", "small totals", "widest"],
)
def test_difficulty_bounds_are_respected(difficulty: Difficulty) -> None:
    found = generate("train", count=200, seed=0, difficulty=difficulty)
    counts = set()
    for question in found:
        _, *steps = arithmetic(question)
        counts.add(len(steps))
        assert all(1 <= total <= difficulty.max_value for total in totals(question))
        assert all(2 <= number <= difficulty.max_operand for sign, number in steps if sign != "*")  # type: ignore[misc]
    assert counts == set(range(difficulty.min_operations, difficulty.max_operations + 1))


@pytest.mark.slow
def test_a_difficulty_that_leaves_too_few_questions_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"only \d+ different test questions, but 5000 are requested"):
        generate("test", count=5000, seed=0, difficulty=Difficulty(1, 1, 10, 2))


def test_the_settings_of_the_task_reach_the_questions(small_task: StoriesTask) -> None:
    sets = load_questions(small_task)
    assert (len(sets.train), len(sets.validation), len(sets.test)) == (40, 8, 16)
    narrow = load_questions(StoriesTask(num_train=20, num_validation=2, num_test=2, min_operations=5, max_operations=5, max_value=20))
    assert {len(arithmetic(each)) for each in narrow.train} == {6}
    assert {max(totals(each)) <= 20 for each in narrow.train} == {True}


def test_the_prompt_holds_the_question_and_single_braces(small_task: StoriesTask) -> None:
    question = Question(id="q", text="How many {eggs}?", answer="1", task="stories")
    assert prompt_for(small_task, question) == "How many {eggs}?\nLet's think step by step, and put the final answer in \\boxed{}."
