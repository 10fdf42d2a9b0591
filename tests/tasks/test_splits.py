"""Draws: disjoint splits that depend on the seed and the questions alone."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from cotexp.records import Question
from cotexp.settings.base import ConfigError
from cotexp.tasks import BenchmarkTask, StoriesTask, load_questions
from cotexp.tasks.splits import QuestionSets, draw, make_question, normal_text


def question(text: str, answer: str = "1", **more: object) -> Question:
    return make_question("t", text=text, answer=answer, answer_type="decimal", **more)  # type: ignore[arg-type]


TRAIN = [question(f"train {n}", references=["solved"] if n % 2 else []) for n in range(40)]
TEST = [question(f"test {n}") for n in range(10)]


def drawn(
    train: Iterable[Question] = TRAIN, validation: list[Question] | None = None, test: Iterable[Question] = TEST, **more: object
) -> QuestionSets:
    task = BenchmarkTask(name="t", **{"num_validation": 5, **more})  # type: ignore[arg-type]
    return draw(task, train=list(train), validation=validation, test=list(test))


def ids(questions: Iterable[Question]) -> list[str]:
    return [each.id for each in questions]


def test_splits_are_disjoint_and_nothing_is_lost() -> None:
    sets = drawn()
    assert len(sets.train) == 35
    assert len(sets.validation) == 5
    assert {*ids(sets.train), *ids(sets.validation)} == set(ids(TRAIN))
    assert sets.test == TEST, "the whole test split keeps the file's order"
    assert sets.dropped == {}


def test_a_draw_does_not_depend_on_the_order_of_the_file() -> None:
    assert drawn(reversed(TRAIN)) == drawn()


def test_a_larger_draw_holds_every_question_of_a_smaller_one_and_validation_stays() -> None:
    small, large = drawn(num_train=10, num_test=4), drawn(num_train=20, num_test=8)
    assert large.train[:10] == small.train
    assert large.test[:4] == small.test
    assert large.validation == small.validation == drawn().validation
    assert {*ids(small.train)}.isdisjoint(ids(small.validation))


def test_seeds_draw_different_questions() -> None:
    first, second = drawn(num_train=10, num_test=4, seed=0), drawn(num_train=10, num_test=4, seed=1)
    assert set(ids(first.train)) != set(ids(second.train))
    assert ids(first.test) != ids(second.test)


def test_counts_larger_than_a_split_take_all_of_it() -> None:
    sets = drawn(num_train=1000, num_test=1000)
    assert (len(sets.train), len(sets.test)) == (35, 10)


def test_a_validation_file_takes_nothing_from_training() -> None:
    held = [question(f"held {n}") for n in range(8)]
    sets = drawn(validation=held)
    assert len(sets.train) == 40
    assert len(sets.validation) == 5
    assert {*ids(sets.validation)} <= {*ids(held)}


def test_holding_back_all_training_questions_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"task\.num_validation must leave training questions: t has 40, and 40 would be held back"):
        drawn(num_validation=40)


def test_a_task_without_training_questions_has_no_validation_questions() -> None:
    sets = drawn(train=[])
    assert (sets.train, sets.validation, sets.test) == ([], [], TEST)


def test_repeated_training_questions_are_dropped_and_counted() -> None:
    again = [question("TRAIN  0"), question("train 1", references=["other words"]), question("train 2", answer="other answer")]
    sets = drawn([*TRAIN, *again])
    assert sets.dropped == {"duplicates": 2}
    assert {*ids(sets.train), *ids(sets.validation)} == {*ids(TRAIN), again[2].id}


def test_training_and_validation_questions_of_the_test_split_are_dropped_and_counted() -> None:
    leaked = [question("Test  3"), question("TEST 4", answer="wrong")]
    sets = drawn([*TRAIN, *leaked])
    assert sets.dropped == {"overlap": 2}
    assert {*ids(sets.train), *ids(sets.validation)} == set(ids(TRAIN))
    held = [question(f"held {n}") for n in range(5)]
    sets = drawn([*TRAIN, held[0]], validation=[*held, question("test 1")], num_validation=9)
    assert set(ids(sets.validation)) == set(ids(held))
    assert set(ids(sets.train)) == set(ids(TRAIN)), "a training question of the validation file is dropped"
    assert sets.dropped == {"overlap": 2}


def test_overlap_is_dropped_whatever_part_of_the_test_split_is_drawn() -> None:
    assert all(drawn([*TRAIN, question("test 3")], num_test=1, seed=seed).dropped == {"overlap": 1} for seed in range(5))


def test_repeated_test_questions_all_stay_with_ids_of_their_own() -> None:
    sets = drawn(test=[*TEST, TEST[0], TEST[1], TEST[0]])
    assert len(sets.test) == 13
    assert ids(sets.test)[10:] == [f"{TEST[0].id}-2", f"{TEST[1].id}-2", f"{TEST[0].id}-3"]
    assert [each.text for each in sets.test[10:]] == ["test 0", "test 1", "test 0"]


def test_options_are_part_of_a_question_but_their_order_is_not() -> None:
    def choice(answer: str, *options: str) -> Question:
        return make_question("t", text="Which?", answer=answer, answer_type="choice", options=dict(zip("ABC", options, strict=False)))

    first, turned, other = choice("A", "x", "y"), choice("B", "y", "x"), choice("A", "x", "z")
    assert normal_text(first) == normal_text(turned) != normal_text(other)
    assert len({first.id, turned.id, other.id}) == 3
    assert drawn([*TRAIN, first, turned, other]).dropped == {"duplicates": 1}
    assert drawn([*TRAIN, turned], test=[first]).dropped == {"overlap": 1}


def test_worked_examples_are_taken_from_training_before_validation() -> None:
    sets = drawn(few_shot=3)
    assert len(sets.shots) == 3
    assert all(each.references for each in sets.shots)
    assert set(ids(sets.shots)).isdisjoint([*ids(sets.train), *ids(sets.validation)])
    assert len(sets.train) == 32
    assert drawn(few_shot=2).shots == sets.shots[:2]
    assert drawn(few_shot=3, few_shot_file="x.jsonl").shots == []


def test_too_few_worked_solutions_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"task\.few_shot must be at most 20.*task\.few_shot_file"):
        drawn(few_shot=21)


def test_an_id_is_the_tasks_name_and_a_hash_of_text_answer_options_and_solutions() -> None:
    assert question("Q", "1").id == question("Q", "1", references=[""]).id
    assert question("Q", "1").id.startswith("t-")
    others = (question("Q", "2"), question("R", "1"), question("Q", "1", references=["x"]))
    assert len({question("Q", "1").id, *(each.id for each in others)}) == 4


def test_worked_examples_of_a_generated_task_come_before_its_training_questions() -> None:
    plain, shown = (load_questions(StoriesTask(num_train=6, num_validation=2, num_test=2, few_shot=count)) for count in (0, 2))
    assert plain.shots == []
    assert shown.shots == plain.train[:2]
    assert shown.train[:4] == plain.train[2:]
    assert len(shown.train) == 6
    assert (shown.validation, shown.test) == (plain.validation, plain.test)
    assert {each.answer_type for each in plain.train} == {"integer"}
