"""What a run says of its selection, before and after rationales are written."""

from __future__ import annotations

from pathlib import Path

import pytest
from sample_records import rationale

from cotexp.config import command_line
from cotexp.jobs import pipeline
from cotexp.records import Selected
from cotexp.settings.base import ConfigError, RunFailed
from cotexp.stages import selecting
from cotexp.stages.context import Context

SMALL = ("experiment=none", "compression=none", "tracking=none", "task.num_train=3", "task.num_validation=1", "task.num_test=2")


def context_of(model: Path, outputs: Path, *chosen: str) -> Context:
    words = [*SMALL, f"model.path={model}", f"paths.outputs={outputs}", *chosen]
    return pipeline.make_context(command_line.check_command_line(words, multirun=False)[0])


def outcome(num_diverse: int, num_kept: int, *, takes_part: bool = True) -> Selected:
    counts = {"written": 9, "usable": 8, "accurate": 7, "diverse": num_diverse, "ordered": num_kept if takes_part else 0}
    return Selected(question_id="q", counts=counts, kept=[f"q/{number}" for number in range(num_kept)] if takes_part else [])


@pytest.mark.parametrize(
    ("outcomes", "more", "is_idle"),
    [
        ([outcome(3, 3), outcome(2, 2)], [], True),
        ([outcome(3, 3), outcome(4, 3)], [], False),
        ([outcome(3, 3), outcome(4, 3, takes_part=False)], [], True),
        ([outcome(3, 3)], ["selection.max_rationales=9"], False),
        ([outcome(3, 3)], ["selection.order=sample"], False),
    ],
)
def test_an_order_that_decides_nothing_is_said(
    outcomes: list[Selected], more: list[str], is_idle: bool, random_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    context = context_of(random_model, tmp_path, "selection=random_correct", "selection.k=3", *more)
    selecting.warn_of_idle_order(context, outcomes)
    said = "selection.order=random decides nothing: no question has more rationales than are kept (selection.k=3)"
    assert (said in caplog.text) is is_idle


def test_equal_questions_that_no_pool_can_have_are_refused_before_anything_is_written(random_model: Path, tmp_path: Path) -> None:
    given = ("teacher=tiny", "teacher.temperature=1", "selection=morsd", "selection.equal_questions=true")
    told = "selection.k must be at most 4, the rationales that teacher=local gives per question, with selection.equal_questions=true; got 6"
    with pytest.raises(ConfigError, match=f"^{told}$"):
        context_of(random_model, tmp_path, *given, "teacher.num_samples=4", "selection.k=6")
    context_of(random_model, tmp_path, *given, "teacher.num_samples=6", "selection.k=6")


@pytest.mark.parametrize(("originals", "advice"), [("all", "selection.validation=all"), ("correct", "mixture.originals=all")])
def test_the_advice_for_a_checkpoint_without_rationales_is_what_helps(originals: str, advice: str, random_model: Path, tmp_path: Path) -> None:
    context = context_of(random_model, tmp_path, "selection=correct", f"mixture.originals={originals}")
    (asked,) = context.questions.validation
    wrong = rationale(asked.id, correct=False)
    right = [rationale(each.id) for each in context.questions.train]
    with pytest.raises(RunFailed, match=f"or set {advice}; look at"):
        selecting.check_selection(context, [*right, wrong], right, [outcome(1, 1)])
