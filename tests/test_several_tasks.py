"""Training and evaluation over two tasks at once, whole: `python run.py` with the embedded model."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import forked
import pytest

from cotexp.config import command_line
from cotexp.jobs import pipeline, planning
from cotexp.stages import grades
from cotexp.tasks import StoriesTask, load_questions

ROOT = Path(__file__).resolve().parent.parent
MODES = ("base", "full", "compress")
NUM_TEST = 16
"""Test questions of each task under debug=fast."""


def arguments(folder: Path, *overrides: str) -> list[str]:
    own = [f"task.file={folder / 'file.jsonl'}", f"task.test_file={folder / 'test.jsonl'}"]
    return ["debug=fast", "task=custom", *own, "task.train=[custom,stories]", "tracking=none", f"paths.outputs={folder / 'outputs'}", *overrides]


BOTH = "evaluation.tasks=[custom,stories]"
SAMPLED = (BOTH, "evaluation.temperature=0.7", "evaluation.modes=[compress]", "evaluation.latency=false")


def run(folder: Path, *overrides: str) -> str:
    done = forked.run(["run.py", *arguments(folder, *overrides)], cwd=ROOT, env={**os.environ, "COLUMNS": "200"})
    assert done.returncode == 0, done.stderr
    return done.stdout


class Run:
    """A finished run: what it printed, its folder and its metrics."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.folder = Path(next(line for line in text.splitlines() if line.startswith("Results, ")).split(": ")[1])
        self.metrics: dict[str, float] = json.loads((self.folder / "metrics.json").read_text())
        self.stages: dict[str, dict[str, str]] = json.loads((self.folder / "stages.json").read_text())


def rows(folder: Path, one: Run, stage: str) -> list[dict[str, Any]]:
    """Every stored line of a stage of a run, duplicates included."""
    files = sorted((folder / "outputs" / one.stages[stage]["path"]).glob("rows-*.jsonl"))
    return [json.loads(line) for path in files for line in path.read_text().splitlines()]


def stored(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (folder / "outputs" / "store").rglob("*") if path.is_file() and path.name != "lock"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Questions that the embedded model can answer, as a user's own files: stories of another seed."""
    folder = tmp_path_factory.mktemp("several")
    sets = load_questions(StoriesTask(seed=5, num_train=40, num_test=20, num_validation=1))
    for name, questions in (("file", sets.train), ("test", sets.test)):
        lines = [json.dumps({"question": each.text, "answer": each.answer}) + "\n" for each in questions]
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def only_own(folder: Path) -> tuple[Run, dict[Path, int]]:
    """The run that evaluates the user's task alone, and the store behind it."""
    one = Run(run(folder, "evaluation.tasks=[custom]"))
    return one, stored(folder)


@pytest.fixture(scope="module")
def both(folder: Path, only_own: tuple[Run, dict[Path, int]]) -> Run:
    return Run(run(folder, BOTH))


@pytest.mark.slow
def test_both_tasks_are_trained_on_and_each_is_measured_in_every_mode(folder: Path, both: Run) -> None:
    metrics = both.metrics
    assert (metrics["questions/num_train"], metrics["questions/num_validation"], metrics["questions/num_test"]) == (48, 16, 2 * NUM_TEST)
    for task in ("custom", "stories"):
        assert len(rows(folder, both, f"rationales/{task}")) == len(rows(folder, both, f"grades/rationales/{task}")) == 24 + 8
        assert {row["question_id"].split("-")[0] for row in rows(folder, both, f"rationales/{task}")} == {task}
        assert rows(folder, both, f"rounds/{task}")
    for mode in MODES:
        of_tasks = [metrics[f"eval/{mode}/{task}/accuracy"] for task in ("custom", "stories")]
        assert metrics[f"eval/{mode}/accuracy"] == pytest.approx(sum(of_tasks) / 2)
        assert [metrics[f"eval/{mode}/{task}/num_questions"] for task in ("custom", "stories")] == [NUM_TEST, NUM_TEST]
        assert metrics[f"eval/{mode}/num_questions"] == 2 * NUM_TEST
        for name in ("accuracy_low", "accuracy_high", "accuracy_lenient", "accuracy_math_verify", "num_tokens", "num_cot_tokens"):
            assert {f"eval/{mode}/{task}{name}" for task in ("", "custom/", "stories/")} <= metrics.keys()
    assert metrics["eval/base/stories/accuracy"] > 0.5, "the embedded model solves its task"
    assert metrics["eval/base/custom/accuracy"] > 0.5, "and the same task under another name, with the same prompt"


@pytest.mark.slow
def test_the_table_has_a_row_for_all_tasks_and_for_each(both: Run) -> None:
    first_table = (both.folder / "results.md").read_text().partition("\n| ")[2].partition("\n\n")[0]
    table = [line for line in first_table.splitlines() if line.startswith("| ")]
    labels = [line.split(" | ")[0].removeprefix("| ") for line in table]
    assert len(labels) == 9
    assert [label.split(": ")[0] for label in labels[3:]] == ["custom"] * 3 + ["stories"] * 3
    assert labels[0] == "base, full chain of thought"
    for label in labels:
        assert label in both.text
    assert "Round 1, " in (both.folder / "examples.md").read_text()


@pytest.mark.slow
def test_another_task_to_evaluate_on_computes_its_own_rows_and_nothing_else(folder: Path, only_own: tuple[Run, dict[Path, int]], both: Run) -> None:
    one, before = only_own
    kept = {name: stage for name, stage in both.stages.items() if name in one.stages}
    assert kept == one.stages
    assert {name for name in both.stages if name not in one.stages} == {
        f"{kind}/{mode}/stories" for kind in ("predictions", "grades") for mode in MODES
    }
    assert {path: time for path, time in stored(folder).items() if path in before} == before, "no file of the first run was touched"
    for mode in MODES:
        for kind in ("predictions", "grades"):
            assert len(rows(folder, both, f"{kind}/{mode}/stories")) == len(rows(folder, both, f"{kind}/{mode}/custom")) == NUM_TEST
        for name in ("accuracy", "num_tokens", "accuracy_math_verify"):
            assert both.metrics[f"eval/{mode}/custom/{name}"] == one.metrics[f"eval/{mode}/custom/{name}"] == one.metrics[f"eval/{mode}/{name}"]


@pytest.mark.slow
def test_the_same_command_again_computes_nothing_and_a_plan_agrees(folder: Path, both: Run) -> None:
    before = stored(folder)
    again = run(folder, BOTH)
    assert "already finished" in again
    assert [line for line in again.splitlines() if "│" in line] == [line for line in both.text.splitlines() if "│" in line]
    assert stored(folder) == before
    (settings,) = command_line.check_command_line(arguments(folder, BOTH), multirun=False)
    planned = planning.plan(pipeline.make_context(settings, plan=True))
    assert {each.name for each in planned} == set(both.stages)
    assert {each.name: each.num_missing for each in planned if each.num_missing != 0} == {}


@pytest.mark.slow
def test_the_stored_predictions_of_the_run_give_its_metrics(both: Run) -> None:
    found = grades.predictions_of_run(both.folder)
    assert list(found) == list(MODES)
    for mode, own in found.items():
        for task in ("custom", "stories"):
            labels = [each.strict for each in own if each.task == task]
            assert len(labels) == NUM_TEST
            assert both.metrics[f"eval/{mode}/{task}/accuracy"] == pytest.approx(sum(labels) / NUM_TEST)


@pytest.mark.slow
def test_a_finished_run_says_what_was_asked_and_the_gold_answer(both: Run, folder: Path) -> None:
    asked = json.loads((both.folder / "questions.json").read_text())["questions"]
    lines = [line for name in ("file.jsonl", "test.jsonl") for line in (folder / name).read_text().splitlines()]
    own = {each["question"]: each["answer"] for each in map(json.loads, lines)}
    shown = [each for each in asked.values() if each["text"] in own]
    assert len(shown) > NUM_TEST, "training questions as well"
    assert all(each["answer"] == own[each["text"]] for each in shown)
    answered = [each for answers in grades.predictions_of_run(both.folder).values() for each in answers]
    assert all(asked[each.question_id]["answer"] == each.gold for each in answered)


@pytest.mark.slow
def test_several_sampled_answers_give_avg_at_k_and_more_of_them_extend_the_same_rows(folder: Path, both: Run) -> None:
    two = Run(run(folder, *SAMPLED, "evaluation.num_samples=2"))
    assert two.stages["checkpoint"] == both.stages["checkpoint"], "sampling trains nothing anew"
    assert "Accuracy is avg@2" in two.text
    assert "sampled at temperature 0.7" in " ".join(two.text.split())
    first = {task: rows(folder, two, f"predictions/compress/{task}") for task in ("custom", "stories")}
    for task, own in first.items():
        assert {row["sample"] for row in own} == {0, 1}
        assert len(own) == 2 * NUM_TEST
        assert two.metrics[f"eval/compress/{task}/num_samples"] == 2
        assert two.metrics[f"eval/compress/{task}/num_questions"] == NUM_TEST
        labels = {row["id"]: row["strict"] for row in rows(folder, two, f"grades/compress/{task}")}
        assert two.metrics[f"eval/compress/{task}/accuracy"] == pytest.approx(sum(labels.values()) / (2 * NUM_TEST))
    by_question: dict[str, set[str]] = {}
    for row in first["custom"] + first["stories"]:
        by_question.setdefault(row["question_id"], set()).add(row["text"])
    assert max(map(len, by_question.values())) == 2, "two samples of one question may differ"
    three = Run(run(folder, *SAMPLED, "evaluation.num_samples=3"))
    for task, own in first.items():
        after = rows(folder, three, f"predictions/compress/{task}")
        assert [row for row in after if row in own] == own
        assert {row["sample"] for row in after if row not in own} == {2}
        assert len(after) == 3 * NUM_TEST
