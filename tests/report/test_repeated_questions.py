"""A question that two tasks ask counts once over all tasks, in every place that pools them; each task keeps all of its own questions."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from run_folders import MORSD, write_run

from cotexp.commands.compare import Side, print_comparison
from cotexp.methods.comparison import POOLED, compare_answers
from cotexp.methods.statistics import counted_once
from cotexp.report import arm_notes, question_groups
from cotexp.report.arm_rows import ArmRow, ComparedArms, measure_arms, shortest
from cotexp.report.arms import arms_of
from cotexp.report.expected_runs import ExpectedArm, of_same_content
from cotexp.report.finished_runs import find_runs
from cotexp.stages.grades import predictions_of_run
from cotexp.tasks.splits import repeated
from cotexp.tracking.ablation import deltas

FIRST = {"easy": "1100", "mixed": "001110"}
SECOND = {"easy": "1111", "mixed": "110100"}
TEXTS = {"easy-2": "How many?", "mixed-0": "how   MANY?", "easy-3": "Which?\n(A) one\n(B) two", "mixed-1": "Which?\n(A) two\n(B) one"}
"""The first two questions of mixed are the last two of easy; the options of one are in another order."""
OPTIONS = {"easy-3": {"A": "one", "B": "two"}, "mixed-1": {"A": "two", "B": "one"}}
COUNTED = ["easy-0", "easy-1", "easy-2", "easy-3", "mixed-2", "mixed-3", "mixed-4", "mixed-5"]


def with_texts(folder: Path, texts: Mapping[str, str] = TEXTS, tokens: Mapping[str, int] | None = None) -> Path:
    """The run with the texts of its questions, by default each its own, the options of its answers, and these lengths of its answers."""
    outputs, content = folder.parents[2], json.loads((folder / "questions.json").read_text())
    names = [each.split("/")[0] for ids in content["test"].values() for each in ids]
    content["questions"] = {each: {"text": texts.get(each, each), "answer": "7"} for each in names}
    (folder / "questions.json").write_text(json.dumps(content))
    for stage, entry in json.loads((folder / "stages.json").read_text()).items():
        if stage.startswith("predictions/"):
            path = outputs / entry["path"] / "rows-w.jsonl"
            rows = [json.loads(line) for line in path.read_text().splitlines()]
            for row in rows:
                row |= {"options": OPTIONS.get(row["question_id"], {}), "num_tokens": (tokens or {}).get(row["question_id"], 20)}
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two runs of both tasks; the second writes ten tokens more on the questions that mixed repeats, one less on the others."""
    lengths = {each: 30 if each in ("mixed-0", "mixed-1") else 19 for each in (*COUNTED, "mixed-0", "mixed-1")}
    return with_texts(write_run(tmp_path, "a", FIRST)), with_texts(write_run(tmp_path, "b", SECOND, selection=MORSD), tokens=lengths)


def marks(labels: Mapping[str, str]) -> np.ndarray:
    """The marks of the counted questions."""
    return np.array([labels[name][int(number)] == "1" for name, number in (each.split("-") for each in COUNTED)], dtype=float)


def rows_of(outputs: Path) -> dict[str, ArmRow]:
    arms, _ = arms_of(find_runs(["exp"], outputs, mode=None).runs)
    return {row.label: row for row in measure_arms([ComparedArms(arms, next(arm for arm in arms if arm.label == "selection=random"))])}


def test_the_answers_of_a_run_name_the_question_of_an_earlier_task_with_the_same_text(folders: tuple[Path, Path]) -> None:
    answers = predictions_of_run(folders[0])["full"]
    assert {each.question_id: each.same_as for each in answers if each.same_as} == {"mixed-0": "easy-2", "mixed-1": "easy-3"}
    assert [each.question_id for each in counted_once(answers)] == COUNTED


def test_a_text_that_one_task_holds_twice_is_repeated_only_in_a_later_task() -> None:
    texts = {"a": {"a-0": "x", "a-1": "x"}, "b": {"b-0": "x", "b-1": "y"}, "c": {"c-0": "y", "c-1": "z"}}
    assert repeated(texts) == {"b-0": "a-0", "c-0": "b-1"}


def test_a_report_counts_it_once_and_each_task_has_all_of_its_questions(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    rows = rows_of(tmp_path)
    random, morsd = rows["selection=random"], rows["selection=morsd"]
    assert [row.num_questions for row in (random, morsd)] == [8, 8]
    assert [row.accuracy for row in (random, morsd)] == pytest.approx([marks(FIRST).mean(), marks(SECOND).mean()])
    assert random.seed_accuracies == pytest.approx([marks(FIRST).mean()])
    assert random.accuracy_of == pytest.approx({"easy": 2 / 4, "mixed": 3 / 6})
    assert morsd.against is not None
    assert morsd.against.paired.difference == pytest.approx((marks(SECOND) - marks(FIRST)).mean())
    assert (morsd.against.paired.num_questions, morsd.against.paired.only_second) == (8, int((marks(SECOND) > marks(FIRST)).sum()))
    assert morsd.num_tokens == 19, "not those of the two repeated ones"
    assert shortest(list(rows.values()), "num_tokens") == {"selection=morsd"}
    assert arm_notes.ONCE in arm_notes.notes(list(rows.values()))


def test_the_tables_by_difficulty_count_it_once(folders: tuple[Path, Path]) -> None:
    by_answer = question_groups.tables(
        [question_groups.Measured("arm", {0: counted_once(predictions_of_run(folders[0])["full"])})],
        question_groups.groups_of_run(folders[0], counted_once(predictions_of_run(folders[0])["full"]), []),
    )
    assert by_answer == [], "no answers of a base model and no steps"
    folder = with_texts(write_run(folders[0].parents[2], "c", FIRST, mode="base", name="other"))
    (table,) = question_groups.of_run(folder, {"base": "base"})
    assert [column.title for column in table.columns] == [f"right (n = {marks(FIRST).sum():.0f})", f"wrong (n = {(1 - marks(FIRST)).sum():.0f})"]


def test_the_differences_that_trackers_get_count_it_once(folders: tuple[Path, Path]) -> None:
    found = deltas(folders[1], folders[0])
    assert found["delta/accuracy"] == pytest.approx((marks(SECOND) - marks(FIRST)).mean())
    assert (found["delta/num_questions"], found["delta/num_tokens"], found["delta/num_tokens_high"]) == (8, -1, -1)


def test_compare_counts_it_once_in_the_row_over_all_tasks_and_says_so(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (predictions_of_run(folder)["full"] for folder in folders)
    found = {row.task: row for row in compare_answers(first, second).rows}
    assert {task: row.paired.num_questions for task, row in found.items()} == {"easy": 4, "mixed": 6, POOLED: 8}
    assert found[POOLED].accuracy_first == pytest.approx(marks(FIRST).mean())
    assert found["mixed"].accuracy_first == pytest.approx(3 / 6)
    print_comparison(Side("a", first), Side("b", second))
    text = " ".join(capsys.readouterr().out.split())
    assert "every question has the same weight, and those that several tasks ask count once (2 left out);" in text


def test_a_repeated_question_is_compared_if_the_task_that_asked_it_first_is_not(tmp_path: Path) -> None:
    labels = {"easy": "10", "mixed": "01", "third": "111"}
    same = {"easy-0": "same", "mixed-0": "same", "third-0": "same"}
    first = predictions_of_run(with_texts(write_run(tmp_path, "a", labels), same))["full"]
    second = [each for each in predictions_of_run(with_texts(write_run(tmp_path, "b", labels), same))["full"] if each.task != "easy"]
    pooled = compare_answers(first, second).rows[-1]
    assert (pooled.task, pooled.paired.num_questions) == (POOLED, 4), "mixed-0 stands for third-0"
    assert pooled.accuracy_first == pytest.approx(np.mean([0, 1, 1, 1]))
    assert compare_answers(second, first).rows[-1].paired.num_questions == 4


def test_a_run_that_did_not_store_the_texts_says_that_they_count_twice(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_run(tmp_path, "old", FIRST)
    with caplog.at_level(logging.WARNING):
        assert len(counted_once(predictions_of_run(folder)["full"])) == 10
    assert f"{folder} does not hold the texts of its questions: over all tasks, a question that two tasks ask counts twice" in caplog.text


def test_a_seed_that_does_not_know_which_questions_are_repeated_is_not_pooled_with_one_that_does(tmp_path: Path) -> None:
    write_run(tmp_path, "a0", FIRST, seed=0, finished=1.0)
    with_texts(write_run(tmp_path, "a1", FIRST, seed=1, finished=2.0))
    [arm], _ = arms_of(find_runs(["exp"], tmp_path, mode=None).runs)
    planned = of_same_content(ExpectedArm(label=arm.label, mode="full", arm=arm), tmp_path)
    assert planned.arm is not None
    assert (planned.arm.seeds, [gap.seed for gap in planned.gaps]) == ([1], [0])
