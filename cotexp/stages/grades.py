"""Grades of stored texts, and the accuracies made of them: their own stage, so that a better grader never asks a model again."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cotexp.methods import comparison, statistics
from cotexp.records import AnswerType, Grade, Prediction
from cotexp.settings.base import RunFailed
from cotexp.stages.context import Context, Emit, by_task
from cotexp.stages.evaluation import Evaluation
from cotexp.store.ledger_files import warn_once
from cotexp.store.ledgers import Ledger
from cotexp.store.specs import Spec
from cotexp.store.stored_files import Row, questions_of, reading_run, stages_of
from cotexp.tasks.grading import Answered, grade_all
from cotexp.tasks.judge import Judge
from cotexp.tasks.prompts import shown_options
from cotexp.tasks.splits import normal_form, normal_text, repeated

NAME = "grades"
VERSION = 3
READS = ("rationales", "predictions")
TIMED_AS = "grading"
IS_ARTIFACT = False

Metrics = dict[str, float]

MOST_AT_ONCE = 20_000


def spec(graded: Spec, answer_type: AnswerType, *, whole_text: bool) -> Spec:
    """Labels of the texts of one ledger. A question's id identifies its gold answer and options."""
    own = {"texts": graded.key, "answer_type": answer_type, "whole_text": whole_text, "math_verify": version("math-verify")}
    return Spec(NAME, {"version": VERSION, **own})


def add(context: Context, made: Evaluation) -> None:
    """The graded answers."""
    with Judge() as judge:
        for (mode, task), (texts, ids, rows) in made.answers.items():
            own = make(context, f"{mode}/{task}", texts, ids, [answered(each) for each in rows], judge, whole_text=True)
            made.graded.setdefault(mode, []).extend(joined(each, own[each["id"]], mode) for each in rows if each["id"] in own)
    mark_repeated(context, made)


def mark_repeated(context: Context, made: Evaluation) -> None:
    """Name in each answer the earlier task's question that has the same text, if there is one: `metrics` counts its text once over all tasks."""
    asked = by_task(context.questions.test)
    _mark(made.graded, repeated({task: {each.id: normal_text(each) for each in questions} for task, questions in asked.items()}))


def metrics(context: Context, made: Evaluation) -> Metrics:
    """`eval/MODE/TASK/...` for each task, and `eval/MODE/...` for all of them without questions that an earlier task asked already."""
    pooled = {mode: statistics.counted_once(own) for mode, own in made.graded.items()}
    found: Metrics = {}
    for mode, own in pooled.items():
        found |= _of_mode(f"eval/{mode}", own, pooled.get("base") if mode != "base" else None)
    found |= comparison.mode_comparisons(pooled)
    for task in by_task(context.questions.test):
        of_task = {mode: [each for each in own if each.task == task] for mode, own in made.graded.items()}
        for mode, own in of_task.items():
            found |= _of_mode(f"eval/{mode}/{task}", own, of_task.get("base") if mode != "base" else None)
            if cut := [each.num_tokens for each in own if each.finish_reason == "budget"]:
                found[f"eval/{mode}/{task}/budget_tokens"] = max(cut)
    return found


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


def _of_mode(prefix: str, own: Sequence[Prediction], base: Sequence[Prediction] | None) -> Metrics:
    values = {**statistics.accuracy_metrics(own), **(statistics.ratio_metrics(own, base) if base else {})}
    return {f"{prefix}/{name}": value for name, value in values.items()}


def predictions_of_run(folder: Path) -> dict[str, list[Prediction]]:
    """Mode -> graded answers of a finished run in OUTPUTS/runs/NAME/KEY, in the order of its questions; needs no model and no task.

    Raises: RunFailed when the store lacks some of them.
    """
    outputs = next((parent for parent in folder.absolute().parents if (parent / "store").is_dir()), None)
    if outputs is None:
        raise RunFailed(f"{folder} is not in a folder with a store; name a run by its folder in OUTPUTS/runs")
    (wanted, questions), stages = questions_of(folder), stages_of(folder, complete=True)
    with reading_run(folder):
        found = _predictions(outputs, wanted, stages)
        _mark(found, _repeated_of_run(folder, wanted, questions, found))
        return found


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


def _repeated_of_run(
    folder: Path, tasks: Iterable[str], questions: Mapping[str, Mapping[str, Any]], graded: Mapping[str, Sequence[Prediction]]
) -> dict[str, str]:
    """`repeated` of a finished run: the stored texts of its questions end with their options as shown, and the answers hold these options."""
    texts: dict[str, dict[str, str]] = {task: {} for task in tasks}
    if len(texts) == 1:
        return {}
    for each in itertools.chain.from_iterable(graded.values()):
        text, own = questions.get(each.question_id, {}).get("text"), texts.setdefault(each.task, {})
        if text is None:
            warn_once(f"{folder} does not hold the texts of its questions: over all tasks, a question that two tasks ask counts twice")
            return {}
        if each.question_id not in own:
            own[each.question_id] = normal_form(text.removesuffix(shown_options(each.options)), each.options)
    return repeated(texts)


def _mark(graded: Mapping[str, Sequence[Prediction]], same_as: Mapping[str, str]) -> None:
    for each in itertools.chain.from_iterable(graded.values()):
        each.same_as = same_as.get(each.question_id, "")


def joined(answer: Row, grade: Row | Grade, mode: str) -> Prediction:
    return Prediction.from_row({**answer, **(asdict(grade) if isinstance(grade, Grade) else grade), "mode": mode})


def _rows(folder: Path) -> dict[str, Row]:
    return Ledger(folder=folder, spec=Spec(folder.parent.name, {}), writer="reader").read()
