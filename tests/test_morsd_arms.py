"""Every arm of the grids that leave out MoRSD's filters and reverse its order selects what its settings say, on five rationales of one question."""

from __future__ import annotations

import dataclasses
import math

import pytest
import sample_records

from cotexp.commands import declared_reports
from cotexp.methods.selection import select
from cotexp.selections.base import Selection

OWN = [
    sample_records.rationale("q", 0, cot="Four and two are six apples.\n"),
    sample_records.rationale("q", 1, cot="Four and two are six apples.\n"),
    sample_records.rationale("q", 2, cot="Here somebody goes wrong altogether.\n", correct=False),
    sample_records.rationale("q", 3, cot="First we count what Ann was given.\n"),
    sample_records.rationale("q", 4, cot="Another way is to add all numbers at once.\n"),
]
"""The second repeats the first, the third is wrong."""
RD = {"plain": (0.5, 0.1, 0.2, 0.9, 0.3), "masked": (0.2, 0.1, 0.1, 0.4, 0.9), "hidden": (0.7, 0.1, 0.1, 0.2, 0.3)}
SCORES = {
    each.id: sample_records.score(each.id, **{f"answer_nll_{kind}": 3.0 + math.log(values[number]) for kind, values in RD.items()})
    for number, each in enumerate(OWN)
}
SEEDS = range(40)


def arms_of(sweep: str) -> list[Selection]:
    points = declared_reports.grid(("experiment=morsd/weak_teacher", f"sweep={sweep}", "seed=0", "selection.k=1"))
    return [point.settings.selection for point in points]


def samples_of(arm: Selection) -> set[int]:
    """Which rationales the arm keeps, over all seeds of a random order."""
    return {each.sample for seed in SEEDS for each in select({"q": OWN}, SCORES, arm, seed=seed)[0]}


@pytest.mark.slow
def test_each_filter_is_on_and_off_and_each_arm_selects_accordingly() -> None:
    kept = {(each.accuracy, each.diversity is not None, each.order): samples_of(each) for each in arms_of("morsd/filters")}
    assert kept == {
        (True, True, "lowest_rd"): {4},
        (False, True, "lowest_rd"): {2},
        (True, False, "lowest_rd"): {1},
        (False, False, "lowest_rd"): {1},
        (True, True, "random"): {0, 3, 4},
        (False, True, "random"): {0, 2, 3, 4},
        (True, False, "random"): {0, 1, 3, 4},
        (False, False, "random"): {0, 1, 2, 3, 4},
    }


@pytest.mark.slow
def test_the_lowest_and_the_highest_difficulty_of_each_kind_are_kept() -> None:
    kept = {(each.order, each.rd): samples_of(each) for each in arms_of("morsd/difficulty")}
    assert kept == {
        ("lowest_rd", "plain"): {4},
        ("highest_rd", "plain"): {3},
        ("lowest_rd", "masked"): {0},
        ("highest_rd", "masked"): {4},
        ("lowest_rd", "hidden"): {3},
        ("highest_rd", "hidden"): {0},
    }


@pytest.mark.slow
def test_all_arms_of_one_number_train_on_the_same_question_and_equally_often() -> None:
    points = [
        point.settings
        for sweep in ("morsd/filters", "morsd/difficulty")
        for point in declared_reports.grid(("experiment=morsd/weak_teacher", f"sweep={sweep}", "seed=0", "selection.k=1"))
    ]
    assert {point.trainer.max_steps for point in points} == {200}
    assert {point.selection.common_diversity for point in points} == {0.95}
    assert all(point.selection.equal_questions for point in points)
    for k, is_trained in ((2, True), (3, True), (4, False)):
        kept = [len(select({"q": OWN}, SCORES, dataclasses.replace(point.selection, k=k), seed=0)[0]) for point in points]
        assert set(kept) == {k if is_trained else 0}, "three correct ones differ"
