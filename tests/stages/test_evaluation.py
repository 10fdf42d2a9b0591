"""Metrics of a run over one task and several, against sums done by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from sample_records import prediction

from cotexp.config import command_line
from cotexp.models.identity import ModelFiles
from cotexp.records import Prediction, Question
from cotexp.stages import grades
from cotexp.stages.context import Context
from cotexp.stages.evaluation import Evaluation
from cotexp.store.store import Store
from cotexp.tasks import QuestionSets


def question(task: str, name: str, text: str = "") -> Question:
    return Question(id=f"{task}-{name}", text=text or f"{task} {name}?", answer="7", task=task)


def answer(one: Question, correct: bool, *, mode: str = "full", sample: int = 0, tokens: int = 10) -> Prediction:
    return prediction(one.id, correct=correct, task=one.task, mode=mode, sample=sample, num_cot_tokens=tokens, extracted="7" if correct else "8")


def context_over(test: list[Question]) -> Context:
    """A context of which only the test questions are read."""
    settings = command_line.check_command_line([], multirun=False)[0]
    sets = QuestionSets(train=[], validation=[], test=test)
    return Context(settings=settings, store=Store(Path("nowhere")), questions=sets, prompts={}, base=ModelFiles(Path("nowhere"), ""), compressor=None)


def metrics_of(test: list[Question], **graded: list[Prediction]) -> grades.Metrics:
    context, made = context_over(test), Evaluation(graded=graded)
    grades.mark_repeated(context, made)
    return grades.metrics(context, made)


SAME = "What is 3 plus 4?"
FIRST = [question("first", "a"), question("first", "b"), question("first", "c", SAME)]
SECOND = [question("second", "a"), question("second", "b"), question("second", "c", "  what IS 3 plus  4?")]
"""Two tasks of three questions; the last one of each is the same but for case and spaces."""


def test_each_task_has_its_metrics_and_the_pooled_ones_hold_a_question_of_two_tasks_once() -> None:
    own = [answer(one, correct) for one, correct in zip([*FIRST, *SECOND], [True, True, False, False, False, True], strict=True)]
    metrics = metrics_of([*FIRST, *SECOND], full=own)
    assert metrics["eval/full/first/accuracy"] == pytest.approx(2 / 3)
    assert metrics["eval/full/second/accuracy"] == pytest.approx(1 / 3)
    assert (metrics["eval/full/first/num_questions"], metrics["eval/full/second/num_questions"]) == (3, 3)
    assert metrics["eval/full/num_questions"] == 5
    assert metrics["eval/full/accuracy"] == pytest.approx(2 / 5), "the second task's right answer to the common question does not count again"


def test_the_task_that_is_evaluated_first_keeps_the_common_question() -> None:
    own = [answer(one, correct) for one, correct in zip([*SECOND, *FIRST], [False, False, True, True, True, False], strict=True)]
    metrics = metrics_of([*SECOND, *FIRST], full=own)
    assert metrics["eval/full/accuracy"] == pytest.approx(3 / 5)


def test_a_question_twice_in_one_task_counts_twice_as_its_official_split_has_it() -> None:
    twice = [question("first", "a", SAME), question("first", "a-2", SAME), question("first", "b")]
    metrics = metrics_of(twice, full=[answer(one, one.text == SAME) for one in twice])
    assert metrics["eval/full/num_questions"] == metrics["eval/full/first/num_questions"] == 3
    assert metrics["eval/full/accuracy"] == metrics["eval/full/first/accuracy"] == pytest.approx(2 / 3)


@pytest.mark.slow
def test_accuracy_over_several_samples_is_the_mean_of_the_shares_of_the_questions() -> None:
    """avg@4 with shares 1, 1/4 and 0 in the first task, and 1/2 in the second, whose common question is not pooled."""
    shares = {"first-a": 4, "first-b": 1, "first-c": 0, "second-a": 2, "second-b": 2, "second-c": 2}
    own = [answer(one, sample < shares[one.id], sample=sample) for one in [*FIRST, *SECOND] for sample in range(4)]
    metrics = metrics_of([*FIRST, *SECOND], full=own)
    assert metrics["eval/full/first/accuracy"] == pytest.approx((1 + 0.25 + 0) / 3)
    assert metrics["eval/full/second/accuracy"] == pytest.approx(0.5)
    assert metrics["eval/full/accuracy"] == pytest.approx((1 + 0.25 + 0 + 0.5 + 0.5) / 5)
    assert metrics["eval/full/num_questions"] == 5
    assert {metrics[f"eval/full{task}/num_samples"] for task in ("", "/first", "/second")} == {4}
    assert 0 <= metrics["eval/full/accuracy_low"] < metrics["eval/full/accuracy"] < metrics["eval/full/accuracy_high"] <= 1


@pytest.mark.slow
def test_compression_and_difference_are_against_the_base_model_on_the_same_questions() -> None:
    base = [answer(one, True, mode="base", tokens=20) for one in [*FIRST, *SECOND]]
    lengths = {"first-a": 10, "first-b": 10, "first-c": 10, "second-a": 5, "second-b": 5, "second-c": 100}
    short = [answer(one, one.task == "first", mode="compress", tokens=lengths[one.id]) for one in [*FIRST, *SECOND]]
    metrics = metrics_of([*FIRST, *SECOND], base=base, compress=short)
    assert metrics["eval/compress/first/compression_ratio"] == pytest.approx(30 / 60)
    assert metrics["eval/compress/second/compression_ratio"] == pytest.approx(110 / 60)
    assert metrics["eval/compress/compression_ratio"] == pytest.approx(40 / 100), "without the question that both tasks ask"
    assert metrics["eval/compress/delta_accuracy_vs_base"] == pytest.approx(-2 / 5)
    assert metrics["eval/compress/delta_accuracy_vs_base_num_questions"] == 5
    assert "eval/base/compression_ratio" not in metrics


def test_every_metric_is_a_number_below_its_mode() -> None:
    own = {mode: [answer(one, True, mode=mode) for one in [*FIRST, *SECOND]] for mode in ("base", "full", "compress")}
    metrics = metrics_of([*FIRST, *SECOND], **own)
    assert {"/".join(name.split("/")[:2]) for name in metrics} == {"eval/base", "eval/full", "eval/compress"}
    assert all(isinstance(value, int | float) for value in metrics.values())
    for mode in own:
        for task in ("", "/first", "/second"):
            assert metrics[f"eval/{mode}{task}/accuracy"] == 1
