"""Grades are a stage of their own: made once, read back with the answers, and made anew without asking a model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cotexp import flow
from cotexp.config import command_line
from cotexp.flow import Walk
from cotexp.inference.engine import Output, Request
from cotexp.jobs import pipeline, planning
from cotexp.records import Grade, Prediction
from cotexp.settings.base import RunFailed
from cotexp.settings.sampling import Sampling
from cotexp.stages import grades, predictions, rationales
from cotexp.stages.context import Context
from cotexp.stages.evaluation import Evaluation
from cotexp.store.specs import Spec
from cotexp.tasks.grading import Answered, grade_all

TEXTS = ("So the answer is {}.", "The answer is 99.", "I am at {} now", "It is \\boxed{{{}}}.")
"""Right, wrong, right for the lenient rule alone, right."""


class Engine:
    """Writes one of a few fixed texts per question, and counts what it was asked."""

    def __init__(self, golds: dict[str, str]) -> None:
        self.golds = golds
        self.loaded = SimpleNamespace(encoder=SimpleNamespace(prompt=lambda text, compressed: [1, 2], count=lambda text: len(text.split())))
        self.asked: list[str] = []

    def generate(self, requests: Sequence[Request], sampling: Sampling, emit: Callable[[Output], None]) -> None:
        for each in requests:
            self.asked.append(each.id)
            gold = self.golds[each.id.rsplit("/", 1)[0]]
            text = TEXTS[sum(map(ord, each.id)) % 4].format(gold)
            emit(Output(each.id, text, len(text.split()), "stop", 0.5))


class Graders:
    """The real grader, with the ids that it was given; after `most` grades it is killed."""

    def __init__(self) -> None:
        self.graded: list[str] = []
        self.most = 10_000

    def __call__(self, texts: Sequence[Answered], *, on_grade: Callable[[Grade], None], **options: Any) -> list[Grade]:
        def count(grade: Grade) -> None:
            if len(self.graded) == self.most:
                raise KeyboardInterrupt
            self.graded.append(grade.id)
            on_grade(grade)

        return grade_all(texts, on_grade=count, **options)


class Setup(SimpleNamespace):
    context: Context
    engine: Engine
    graders: Graders


@pytest.fixture
def setup(tmp_path: Path, random_model: Path, monkeypatch: pytest.MonkeyPatch) -> Setup:
    """Two tasks of four and six test questions, an engine without a model, and a grader that is watched."""
    for name, first, count in (("file", 0, 6), ("test", 50, 4)):
        rows = [
            json.dumps({"question": f"What is {n} plus 1?", "answer": n + 1, "solution": f"{n} + 1 = {n + 1}."}) for n in range(first, first + count)
        ]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(rows))
    (tmp_path / "data" / "strategyqa").mkdir(parents=True)
    for name, first in (("train", 0), ("test", 10)):
        facts = [{"input": f"Is {n} odd?", "target_scores": {"Yes": n % 2, "No": 1 - n % 2}} for n in range(first, first + 6)]
        (tmp_path / "data" / "strategyqa" / f"{name}.jsonl").write_text("\n".join(map(json.dumps, facts)))
    engine, graders = Engine({}), Graders()
    monkeypatch.setattr(predictions, "answering_engine", lambda context, mode: engine)
    monkeypatch.setattr(grades, "grade_all", graders)
    return Setup(context=context_in(tmp_path, random_model, engine), engine=engine, graders=graders)


def context_in(folder: Path, model: Path, engine: Engine) -> Context:
    arguments = [
        *("experiment=none", "tracking=none", "model=hf", f"model.path={model}", "model.device=cpu", "compression=none", "teacher=reference"),
        *("task=custom", f"task.file={folder / 'file.jsonl'}", f"task.test_file={folder / 'test.jsonl'}", "task.solution_field=solution"),
        *("task.num_validation=2", "evaluation.tasks=[custom,strategyqa]", "evaluation.modes=[base]", "evaluation.latency=false"),
        *("evaluation.num_samples=2", "evaluation.temperature=0.5", f"paths.data={folder / 'data'}", f"paths.outputs={folder / 'outputs'}"),
    ]
    context = pipeline.make_context(command_line.check_command_line(arguments, multirun=False)[0])
    engine.golds.update({each.id: each.answer for each in context.questions.test})
    return context


def evaluated(context: Context) -> Evaluation:
    made = Evaluation()
    predictions.add(context, made)
    grades.add(context, made)
    return made


def answered_and_graded(context: Context) -> list[Prediction]:
    return evaluated(context).graded["base"]


def finished(context: Context, monkeypatch: pytest.MonkeyPatch) -> tuple[pipeline.Result, dict[str, list[Prediction]]]:
    """A run of the evaluation alone, with what it computed."""
    computed: dict[str, list[Prediction]] = {}

    def run_stages(context: Context, walk: Walk, folder: Path) -> dict[str, float]:
        made = evaluated(context)
        computed.update(made.graded)
        return grades.metrics(context, made)

    monkeypatch.setattr(flow, "computed", run_stages)
    return pipeline.run(context), computed


def test_an_answer_is_stored_without_labels_and_its_grade_beside_it(setup: Setup) -> None:
    graded = answered_and_graded(setup.context)
    for each in ("custom", "strategyqa"):
        spec = predictions.spec(setup.context, "base", each)
        rows = setup.context.store.ledger(spec).read()
        stored = setup.context.store.ledger(grades.spec(spec, rows[min(rows)]["answer_type"], whole_text=True)).read()
        assert rows.keys() == stored.keys()
        assert not {"strict", "lenient", "math_verify", "extracted"} & set().union(*rows.values())
    by_rule = {name: [getattr(each, name) for each in graded if each.task == "custom"] for name in ("strict", "lenient", "math_verify")}
    expected = {each.id: sum(map(ord, each.id)) % 4 for each in graded if each.task == "custom"}
    assert len(set(expected.values())) > 2
    assert by_rule["strict"] == [kind in (0, 3) for kind in expected.values()]
    assert by_rule["lenient"] == [kind in (0, 2, 3) for kind in expected.values()]
    assert {each.math_verify for each in graded if each.task == "strategyqa"} == {None}, "that rule does not apply to yes and no"
    assert None not in by_rule["math_verify"]


def test_grades_come_from_the_ledger_and_are_made_only_once(setup: Setup) -> None:
    first = answered_and_graded(setup.context)
    assert sorted(setup.graders.graded) == sorted(each.id for each in first)
    assert len(first) == 2 * (4 + 6)
    assert answered_and_graded(setup.context) == first
    assert len(setup.graders.graded) == len(setup.engine.asked) == len(first)


@pytest.mark.slow
def test_a_killed_grading_goes_on_with_the_grades_that_are_missing(setup: Setup) -> None:
    setup.graders.most = 3
    with pytest.raises(KeyboardInterrupt):
        answered_and_graded(setup.context)
    kept = list(setup.graders.graded)
    setup.graders.most = 10_000
    resumed = answered_and_graded(setup.context)
    assert len(kept) == 3
    assert sorted(setup.graders.graded) == sorted(each.id for each in resumed), "none twice"
    setup.context.store.root = setup.context.store.root.with_name("another")
    assert [(each.id, each.strict, each.lenient, each.math_verify) for each in answered_and_graded(setup.context)] == [
        (each.id, each.strict, each.lenient, each.math_verify) for each in resumed
    ]


@pytest.mark.slow
def test_more_samples_ask_and_grade_only_the_new_ones(setup: Setup) -> None:
    before = answered_and_graded(setup.context)
    setup.context.settings.evaluation.num_samples = 3
    after = answered_and_graded(setup.context)
    new = [each.id for each in after if each.sample == 2]
    assert len(new) == 10
    assert sorted(setup.graders.graded[len(before) :]) == sorted(new)
    assert sorted(setup.engine.asked[len(before) :]) == sorted(new)
    assert [each for each in after if each.sample < 2] == before


def test_the_predictions_of_a_finished_run_are_those_that_it_computed(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    result, computed = finished(setup.context, monkeypatch)
    assert result.computed
    assert grades.predictions_of_run(result.folder) == computed
    assert [each.task for each in computed["base"]] == ["custom"] * 8 + ["strategyqa"] * 12


def test_a_question_that_two_tasks_ask_is_marked_in_the_run_and_when_it_is_read_again(
    setup: Setup, tmp_path: Path, random_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ["is  12 odd?", "What is 50 plus 1?"]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps({"question": each, "answer": 0}) + "\n" for each in asked))
    result, computed = finished(context_in(tmp_path, random_model, setup.engine), monkeypatch)
    marked = [each for each in computed["base"] if each.same_as]
    assert [each.task for each in marked] == ["strategyqa", "strategyqa"], "two samples of one question"
    texts = json.loads((result.folder / "questions.json").read_text())["questions"]
    assert {texts[each.same_as]["text"] for each in marked} == {"is  12 odd?"}
    assert grades.predictions_of_run(result.folder) == computed
    labels: dict[str, list[bool]] = {}
    for each in computed["base"]:
        if each not in marked:
            labels.setdefault(each.question_id, []).append(each.strict)
    assert result.metrics["eval/base/num_questions"] == len(labels) == 2 + 6 - 1
    assert result.metrics["eval/base/accuracy"] == pytest.approx(sum(map(sum, labels.values())) / 2 / len(labels))
    assert result.metrics["eval/base/strategyqa/num_questions"] == 6


def test_predictions_that_the_store_has_lost_are_missed_by_count_and_task(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    result, _ = finished(setup.context, monkeypatch)
    spec = predictions.spec(setup.context, "base", "strategyqa")
    shutil.rmtree(setup.context.store.artifact_path(grades.spec(spec, "boolean", whole_text=True)))
    with pytest.raises(RunFailed, match=r"12 of 12 strategyqa answers, mode base, are no longer in .*store; run it again"):
        grades.predictions_of_run(result.folder)


def test_a_folder_outside_of_any_outputs_holds_no_predictions(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="is not in a folder with a store"):
        grades.predictions_of_run(tmp_path / "runs" / "some")


@pytest.mark.slow
def test_a_better_grader_grades_the_stored_answers_again_and_asks_no_model(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    result, computed = finished(setup.context, monkeypatch)
    assert not pipeline.run(setup.context).computed, "nothing has changed yet"
    asked, graded = len(setup.engine.asked), len(setup.graders.graded)
    monkeypatch.setattr(grades, "VERSION", grades.VERSION + 1)
    again, recomputed = finished(setup.context, monkeypatch)
    assert again.computed
    assert again.folder == result.folder
    assert recomputed == computed
    assert len(setup.engine.asked) == asked
    assert sorted(setup.graders.graded[graded:]) == sorted(each.id for each in computed["base"])
    assert grades.predictions_of_run(result.folder) == computed


def test_rationales_are_graded_beside_their_ledger_without_the_rule_for_whole_texts(setup: Setup) -> None:
    written = rationales.make(setup.context)
    spec = rationales.spec(setup.context, "custom")
    rows = setup.context.store.ledger(spec).read()
    assert {each.id for each in written} == rows.keys()
    assert len(written) == 6
    assert not {"answer", "correct"} & set().union(*rows.values())
    assert [(each.answer, each.correct) for each in written] == [
        (question.answer, True) for each in written for question in setup.context.training_questions if question.id == each.question_id
    ]
    stored = setup.context.store.ledger(grades.spec(spec, "decimal", whole_text=False)).read()
    assert {each["math_verify"] for each in stored.values()} == {None}
    with flow.looking(setup.context) as look:
        assert rationales.make(setup.context) == written
    assert (look.num_missing("rationales"), look.num_missing("grades")) == (0, 0)
    graded = len(setup.graders.graded)
    assert rationales.make(setup.context) == written
    assert len(setup.graders.graded) == graded == 6


def test_a_plan_counts_answers_and_grades_that_are_missing(setup: Setup) -> None:
    def missing() -> dict[str, int | None]:
        return {each.name: each.num_missing for each in planning.plan(setup.context) if each.name.split("/")[0] in ("predictions", "grades")}

    assert missing() == {
        **{f"{stage}/base/{task}": count for stage in ("predictions", "grades") for task, count in (("custom", 8), ("strategyqa", 12))},
    }
    setup.graders.most = 9
    with pytest.raises(KeyboardInterrupt):
        answered_and_graded(setup.context)
    assert missing() == {
        **{f"predictions/base/{task}": 0 for task in ("custom", "strategyqa")},
        "grades/base/custom": 0,
        "grades/base/strategyqa": 11,
    }


def test_a_stage_after_fine_tuning_is_planned_computed_and_measured_by_its_line_in_the_flow(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    def spec(context: Context, mode: str, task: str) -> Spec:
        return Spec("characters", {"texts": predictions.spec(context, mode, task).key})

    def lengths(context: Context, made: Evaluation, mode: str, task: str) -> list[int]:
        texts = {row["id"]: row["text"] for row in made.answers[mode, task].rows}
        rows = context.rows(
            f"characters/{mode}/{task}",
            *(spec(context, mode, task), made.answers[mode, task].ids),
            lambda ids, emit: [emit({"id": each, "length": len(texts[each])}) for each in ids],
            chunk_size=100,
            shown=None,
        )
        return [row["length"] for row in rows.values()]

    stage = SimpleNamespace(
        NAME="characters",
        specs=lambda context, mode: {f"characters/{mode}/{each}": spec(context, mode, each) for each in ("custom", "strategyqa")},
        add=lambda context, made: [lengths(context, made, *each) for each in made.answers],
        metrics=lambda context, made: {f"eval/{mode}/{task}/longest": max(lengths(context, made, mode, task)) for mode, task in made.answers},
    )
    monkeypatch.setattr(flow, "AFTER_TRAINING", (*flow.AFTER_TRAINING, stage))
    assert {each.name: each.num_missing for each in planning.plan(setup.context)}["characters/base/strategyqa"] == 12
    walk, told = Walk(), list[dict[str, float]]()
    setup.context.on_metrics = lambda metrics: told.append(dict(metrics))
    metrics = flow.measured(setup.context, walk)
    longest = max(len(each.text) for each in answered_and_graded(setup.context) if each.task == "custom")
    assert metrics["eval/base/custom/longest"] == longest
    assert list(walk.clock.seconds) == ["seconds/evaluation", "seconds/grading", "seconds/characters"], "no time is measured in this run"
    assert [("eval/base/accuracy" in each, "eval/base/custom/longest" in each) for each in told] == [(True, False), (True, True)]
    assert {each.num_missing for each in planning.plan(setup.context)} == {0}
