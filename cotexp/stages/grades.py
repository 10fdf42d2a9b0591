"""Grades of stored texts: their own stage, so that a better grader never asks a model again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from cotexp.records import AnswerType, Grade, Prediction
from cotexp.settings.base import RunFailed
from cotexp.stages.context import Context, Emit
from cotexp.store.ledgers import Ledger
from cotexp.store.specs import Spec
from cotexp.store.stored_files import Row, questions_of, reading_run, stages_of
from cotexp.tasks.grading import Answered, grade_all
from cotexp.tasks.judge import Judge

NAME = "grades"
VERSION = 2
READS = ("rationales", "predictions")

MOST_AT_ONCE = 20_000


def spec(graded: Spec, answer_type: AnswerType, *, whole_text: bool) -> Spec:
    """Labels of the texts of one ledger. A question's id stands for its gold answer and options."""
    own = {"texts": graded.key, "answer_type": answer_type, "whole_text": whole_text, "math_verify": version("math-verify")}
    return Spec(NAME, {"version": VERSION, **own})


def make(
    context: Context, name: str, graded: Spec, ids: Sequence[str], texts: Sequence[Answered], judge: Judge, *, whole_text: bool
) -> dict[str, Grade]:
    """Id -> the grade of each of `texts`, which are those of `ids` that are stored under `graded`; missing ones are made in parallel."""
    by_id = {each.id: each for each in texts}
    if context.look is not None:
        context.look.count(f"grades/{name}", len(ids) - len(by_id), len(ids) - len(by_id))
    if not texts:
        return {}

    def compute(wanted: list[str], emit: Emit) -> None:
        grade_all([by_id[each] for each in wanted], judge=judge, whole_text=whole_text, on_grade=lambda one: emit(asdict(one)))

    own, shown = spec(graded, texts[0].answer_type, whole_text=whole_text), f"grades, {', '.join(name.split('/'))}"
    rows = context.rows(f"grades/{name}", own, list(by_id), compute, chunk_size=MOST_AT_ONCE, shown=shown)
    return {each: Grade.from_row(row) for each, row in rows.items()}


def answered(row: Row) -> Answered:
    """What is to be graded, of a stored answer."""
    names = ("id", "text", "gold", "answer_type", "options", "finish_reason")
    return Answered(**{name: row[name] for name in names})


def predictions_of_run(folder: Path) -> dict[str, list[Prediction]]:
    """Mode -> graded answers of a finished run in OUTPUTS/runs/NAME/KEY, in the order of its questions; needs no model and no task.

    Raises: RunFailed when the store lacks some of them.
    """
    outputs = next((parent for parent in folder.absolute().parents if (parent / "store").is_dir()), None)
    if outputs is None:
        raise RunFailed(f"{folder} lies under no folder with a store; name a run as it lies in OUTPUTS/runs")
    wanted, stages = questions_of(folder)[0], stages_of(folder, complete=True)
    with reading_run(folder):
        return _predictions(outputs, wanted, stages)


def _predictions(outputs: Path, wanted: Mapping[str, Sequence[str]], stages: Mapping[str, Mapping[str, str]]) -> dict[str, list[Prediction]]:
    found: dict[str, list[Prediction]] = {}
    for stage in stages:
        kind, *parts = stage.split("/")
        if kind == "predictions":
            mode, task = parts
            answers, grades = (_rows(outputs / stages[f"{each}/{mode}/{task}"]["path"]) for each in ("predictions", "grades"))
            missing = [each for each in wanted[task] if each not in answers or each not in grades]
            if missing:
                gone = f"{len(missing)} of {len(wanted[task])} {task} answers, mode {mode}, are no longer in {outputs / 'store'}"
                raise RunFailed(f"{gone}; run it again, its folder removed")
            found.setdefault(mode, []).extend(joined(answers[each], grades[each], mode) for each in wanted[task])
    return found


def joined(answer: Row, grade: Row | Grade, mode: str) -> Prediction:
    return Prediction.from_row({**answer, **(asdict(grade) if isinstance(grade, Grade) else grade), "mode": mode})


def _rows(folder: Path) -> dict[str, Row]:
    return Ledger(folder=folder, spec=Spec(folder.parent.name, {}), writer="reader").read()
