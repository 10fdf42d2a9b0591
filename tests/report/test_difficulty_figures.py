"""Figures of rationale difficulty, from a whole run of the pipeline."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest

from cotexp import report
from cotexp.config.command_line import check_command_line
from cotexp.jobs import pipeline
from cotexp.methods import selection
from cotexp.report import difficulty
from cotexp.stages import rationales, scores
from cotexp.stages.context import Context

PNG = b"\x89PNG"
NUM_QUESTIONS = 30
"""Of which four are held back for validation."""


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with questions, and rationales by two teachers: anna is right, bert wrong and now and then without a stated answer."""
    folder = tmp_path_factory.mktemp("difficulty")
    numbers = range(3, 3 + NUM_QUESTIONS)
    questions = [{"question": f"What is {n} plus 4?", "answer": n + 4} for n in numbers]
    tests = [{"question": f"What is {n} plus 5?", "answer": n + 5} for n in range(2)]
    written = [{"question": f"What is {n} plus 4?", "source": "anna", "text": f"{n} + 4 = {n + 4}. The answer is {n + 4}."} for n in numbers]
    for n in numbers:
        closing = f" The answer is {n + 5}." if n % 5 else ""
        written.append({"question": f"What is {n} plus 4?", "source": "bert", "text": f"I count up to {n + 5} in small steps.{closing}"})
    for name, rows in (("questions", questions), ("tests", tests), ("written", written)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    return folder


def run(outputs: Path, model: Path, *overrides: str) -> tuple[Context, Path]:
    given = [
        *("experiment=none", "tracking=none", "model=hf", f"model.path={model}", "compression=none", "selection=morsd", "selection.k=1"),
        *("task=custom", f"task.file={outputs / 'questions.jsonl'}", f"task.test_file={outputs / 'tests.jsonl'}", "task.num_validation=4"),
        *("teacher=recorded", f"teacher.files=[{outputs / 'written.jsonl'}]", "trainer.max_epochs=0.1", "evaluation.modes=[full]"),
        *("evaluation.max_new_tokens=4", "evaluation.latency=false", f"paths.outputs={outputs / 'outputs'}", *overrides),
    ]
    context = pipeline.prepare(check_command_line(given, multirun=False)[0])
    return context, pipeline.run(context).folder


@pytest.fixture(scope="module")
def finished(outputs: Path, random_model: Path) -> tuple[Context, Path]:
    return run(outputs, random_model)


@pytest.mark.slow
def test_every_scored_rationale_of_the_run_is_read_with_its_teacher_and_label(finished: tuple[Context, Path]) -> None:
    context, folder = finished
    found = difficulty.read(folder)
    num_train = NUM_QUESTIONS - 4
    written = [each for each in rationales.make(context) if each.question_id in {one.id for one in context.questions.train}]
    usable = selection.usable(written)
    assert len(written) == 2 * num_train
    assert len(found) == len(usable) < len(written), "those without a stated answer are not scored"
    assert {each.source for each in found if each.correct} == {"anna"}
    assert {each.source for each in found if not each.correct} == {"bert"}
    scored = scores.make(context, written)
    expected = [(each.source, each.num_tokens, scored[each.id].rd("plain"), scored[each.id].rd("masked")) for each in usable]
    assert sorted((each.source, each.num_tokens, each.rd["plain"], each.rd["masked"]) for each in found) == sorted(expected)


@pytest.mark.slow
def test_the_report_holds_the_figures_and_the_selection(finished: tuple[Context, Path]) -> None:
    _, folder = finished
    report.write(folder)
    text = (folder / "results.md").read_text()
    for name in ("difficulty_by_teacher.png", "difficulty_by_length.png", "selection.png", "training_curve.png"):
        assert f"figures/{name}" in text
        assert (folder / "figures" / name).read_bytes().startswith(PNG)
    assert "| order lowest plain RD: first 1 of each question |" in text


@pytest.mark.slow
def test_rationales_that_other_runs_added_to_the_ledgers_are_left_out(finished: tuple[Context, Path], outputs: Path, random_model: Path) -> None:
    _, folder = finished
    _, smaller = run(outputs, random_model, "task.num_train=5", "selection.rd=hidden")
    assert {each.num_tokens for each in difficulty.read(smaller)} <= {each.num_tokens for each in difficulty.read(folder)}
    assert 5 < len(difficulty.read(smaller)) <= 10
    report.write(smaller)
    assert (smaller / "figures" / "difficulty_by_length.png").read_bytes().startswith(PNG), "few points have no running median"


@pytest.mark.slow
def test_a_run_that_scores_nothing_has_no_such_figure(outputs: Path, random_model: Path) -> None:
    _, folder = run(outputs, random_model, "selection=correct", "selection.k=null")
    assert difficulty.read(folder) == []
    report.write(folder)
    assert not (folder / "figures" / "difficulty_by_teacher.png").exists()
    assert (folder / "figures" / "selection.png").exists()


def scored(source: str, count: int) -> list[difficulty.Scored]:
    return [difficulty.Scored(source, True, 10 + number, {"plain": 1.0}) for number in range(count)]


def test_teachers_stand_by_size_and_the_smallest_share_a_row() -> None:
    few = difficulty.grouped([*scored("a", 1), *scored("b", 2)])
    assert [(name, len(own)) for name, own in few.items()] == [("b", 2), ("a", 1)]
    many = difficulty.grouped([each for number in range(1, 11) for each in scored(f"t{number}", number)])
    assert len(many) == difficulty.MOST_SOURCES
    assert next(iter(many)) == "t10"
    assert len(many[difficulty.OTHERS]) == 1 + 2 + 3


def test_a_running_median_is_of_bins_with_equal_numbers_of_points() -> None:
    points = [(float(number), float(number % 7)) for number in range(60)]
    found = difficulty.running_median(points[::-1], fewest_points=20)
    parts = (points[:20], points[20:40], points[40:])
    assert found == [(statistics.median(x for x, _ in part), statistics.median(y for _, y in part)) for part in parts]
    assert difficulty.running_median(points[:19], fewest_points=20) == []


def test_points_of_the_same_length_share_a_bin_of_the_running_median() -> None:
    points = [(10.0, float(number)) for number in range(50)] + [(20.0, 100.0)] * 20 + [(30.0, 7.0)] * 5
    assert difficulty.running_median(points, fewest_points=20) == [(10.0, 24.5), (20.0, 100.0)], "the last bin takes in what is too little"


def test_the_kind_that_selects_stands_beside_the_plain_one() -> None:
    assert difficulty.kinds("plain") == difficulty.kinds("masked") == ("plain", "masked")
    assert difficulty.kinds("hidden") == ("plain", "hidden")
