"""The figure of questions won and lost: what it counts, and when it is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest
from run_folders import MORSD, write_run

from cotexp.report import won_lost
from cotexp.report.arm_rows import ArmRow, ComparedArms, measure_arms
from cotexp.report.arms import arms_of
from cotexp.report.finished_runs import find_runs
from cotexp.report.style import picture


def rows(outputs: Path) -> list[ArmRow]:
    arms, _ = arms_of(find_runs(["exp"], outputs, mode=None).runs)
    return measure_arms([ComparedArms(arms, next(arm for arm in arms if arm.label == "selection=random"))])


def drawn(rows: list[ArmRow]) -> Any:
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure = plt.figure(layout="constrained")
    won_lost.drawings(rows)[0].draw(figure)
    plt.close(figure)
    return figure


def test_the_bars_are_the_questions_on_which_one_side_is_better(tmp_path: Path) -> None:
    """Two questions lost, eight won."""
    write_run(tmp_path, "a", "11" + "0" * 8 + "1" * 30)
    write_run(tmp_path, "b", "00" + "1" * 8 + "1" * 30, selection=MORSD)
    counts, differences = drawn(rows(tmp_path)).axes
    assert [bar.get_width() for bar in counts.patches] == [8, -2]
    assert [text.get_text() for text in counts.texts] == ["8", "2"]
    assert [label.get_text() for label in counts.get_yticklabels()] == ["selection=morsd"]
    assert counts.get_xlabel() == "questions lost | won (of 40)"
    assert differences.lines[-1].get_xdata()[0] == pytest.approx(15)
    assert differences.lines[-1].get_markerfacecolor() == "white", "within noise"


def test_a_question_that_one_seed_wins_and_another_loses_counts_for_nobody(tmp_path: Path) -> None:
    for seed, (random, morsd) in enumerate((("1000", "0110"), ("0000", "1110"))):
        write_run(tmp_path, f"a{seed}", random, seed=seed)
        write_run(tmp_path, f"b{seed}", morsd, seed=seed, selection=MORSD)
    counts, _ = drawn(rows(tmp_path)).axes
    assert [bar.get_width() for bar in counts.patches] == [2, 0]


def test_the_figure_names_the_baseline_of_each_budget_of_training(tmp_path: Path) -> None:
    for budget in (1000, 2000):
        trainer = {"name": "single", "max_tokens": budget}
        write_run(tmp_path, f"a{budget}", "1010", trainer=trainer)
        write_run(tmp_path, f"b{budget}", "0110", selection=MORSD, trainer=trainer)
    arms, _ = arms_of(find_runs(["exp"], tmp_path, mode=None).runs)
    by_budget = [[arm for arm in arms if f"max_tokens={budget}" in arm.label] for budget in (1000, 2000)]
    found = measure_arms([ComparedArms(own, next(arm for arm in own if "random" in arm.label)) for own in by_budget])
    assert "(that which shares the arm's other settings)" in won_lost.drawings(found)[0].description


def test_without_a_comparison_there_is_no_figure(tmp_path: Path) -> None:
    write_run(tmp_path, "a", "10")
    assert won_lost.drawings(rows_of_one(tmp_path)) == []


def rows_of_one(outputs: Path) -> list[ArmRow]:
    arms, _ = arms_of(find_runs(["exp"], outputs, mode=None).runs)
    return measure_arms([ComparedArms(arms, arms[0])])


@pytest.mark.slow
def test_lost_and_won_differ_without_colour(tmp_path: Path) -> None:
    """The lost ones are hatched on white; the won ones are filled."""
    write_run(tmp_path, "a", "1100")
    write_run(tmp_path, "b", "0111", selection=MORSD)
    found = rows(tmp_path)
    assert [bool(bar.get_hatch()) for bar in drawn(found).axes[0].patches] == [False, True]
    assert picture(won_lost.drawings(found)[0]).png.startswith(b"\x89PNG")
