"""Rationales of the training and validation questions: written by the model itself or a teacher, recorded, or the task's own solutions.

A row is a text, split into chain and closing sentence and counted for the model that is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cotexp.jobs import api_texts
from cotexp.jobs.engines import load_encoder, rows_at_once
from cotexp.methods import reasoning
from cotexp.records import WITHOUT_TEXT, Grade, Question, Rationale
from cotexp.settings.base import keyed
from cotexp.stages import grades, texts
from cotexp.stages.context import Compute, Context, Emit, by_task, parent, teacher_model, wanted_rationales
from cotexp.stages.training_set import TrainingSet
from cotexp.store.claims import ChunkSize
from cotexp.store.specs import Spec
from cotexp.store.stored_files import Row
from cotexp.tasks import answer_type_of
from cotexp.tasks.answers import split_solution
from cotexp.tasks.grading import Answered
from cotexp.tasks.judge import Judge
from cotexp.teachers.base import Written

NAME = "rationales"
VERSION = 4
READS = ("dataset", "texts")

Questions = dict[str, Question]
CHUNK_OF_KNOWN_TEXTS = 4096


def specs(context: Context, task: str) -> dict[str, Spec]:
    """The rationales of one task, and their grades."""
    own, answer_type = spec(context, task), by_task(context.training_questions)[task][0].answer_type
    return {f"rationales/{task}": own, f"grades/rationales/{task}": grades.spec(own, answer_type, whole_text=False)}


def spec(context: Context, task: str) -> Spec:
    """What decides the rationales of one task; more questions and samples extend the same ledger."""
    teacher = context.settings.teacher
    if (own := texts.spec(context, task)) is not None:
        source: dict[str, Any] = {"teacher": {"texts": own.key}, "task": task}
    elif teacher.is_student:
        source = texts.written(context, task, context.base, context.settings.model)
    elif context.recorded:
        source = {"teacher": {"recorded": context.recorded[task].sha256}, "task": task}
    else:
        source = {"teacher": keyed(teacher), "task": task}
    answers = answer_type_of(context.settings.tasks[task])
    return Spec(NAME, {"version": VERSION, **source, "answers": answers, "tokenizer": context.base.sha256})


model = teacher_model


def add(context: Context, made: TrainingSet) -> None:
    """The rationales as written."""
    made.written = make(context)


def metrics(context: Context, made: TrainingSet) -> dict[str, float]:
    """Counts over training and validation questions."""
    written = made.written
    counts: dict[str, float] = {
        "rationales/num_written": len(written),
        "rationales/num_correct": sum(each.correct for each in written),
        "rationales/num_dropped": len(written) - len(made.chosen),
        "rationales/num_truncated": sum(each.finish_reason == "length" for each in written),
        **{f"rationales/num_{outcome}": sum(each.finish_reason == outcome for each in written) for outcome in WITHOUT_TEXT},
    }
    if context.recorded:
        counts["rationales/num_unmatched"] = sum(each.num_unmatched for each in context.recorded.values())
    return counts


def make(context: Context) -> list[Rationale]:
    """One graded rationale per training and validation question and sample; in a look those that are stored."""
    with Judge() as judge:
        return [each for task, questions in by_task(context.training_questions).items() for each in _of_task(context, task, questions, judge)]


def _of_task(context: Context, task: str, questions: Sequence[Question], judge: Judge) -> list[Rationale]:
    by_id = {each.id: each for each in questions}
    ids = wanted_rationales(context, questions)
    own = spec(context, task)
    write = _writer(context, task, by_id)
    in_order = sorted(ids, key=lambda each: (len(by_id[parent(each)].text), each))
    rows = context.rows(f"rationales/{task}", own, in_order, write, chunk_size=_chunk_size(context, by_id), shown=f"rationales, {task}")
    answered = [_to_grade(rows[each], by_id[parent(each)]) for each in ids if each in rows]
    graded = grades.make(context, f"rationales/{task}", own, ids, answered, judge, whole_text=False)
    if context.look is not None:
        _look_for_texts(context, task, ids)
        context.look.num_unwritten[task] += len(ids) - len(graded)
    return [_graded(rows[each], graded[each]) for each in ids if each in graded]


def _look_for_texts(context: Context, task: str, ids: Sequence[str]) -> None:
    """The teacher's own texts are asked for by the rows above, which a look does not make."""
    if context.look is not None and (own := texts.spec(context, task)) is not None:
        stored = context.store.ledger(own).read()
        context.look.count(f"texts/{task}", len(ids), sum(each not in stored for each in ids))


def _chunk_size(context: Context, questions: Questions) -> ChunkSize:
    """How many texts are claimed and written at once; known ones may be many."""
    teacher = context.settings.teacher
    if teacher.server is not None:
        return api_texts.EVERYTHING
    model = teacher_model(context.settings)
    if model is None:
        return CHUNK_OF_KNOWN_TEXTS
    return rows_at_once(context, model, teacher, lambda each: context.prompt_for(questions[parent(each)]))


def _graded(row: Row, grade: Grade) -> Rationale:
    return Rationale.from_row({**row, "answer": grade.extracted, "correct": grade.strict})


def _to_grade(row: Row, question: Question) -> Answered:
    return Answered(
        id=row["id"],
        text=row["cot"] + row["closing"],
        gold=question.answer,
        answer_type=question.answer_type,
        options=question.options,
        finish_reason=row["finish_reason"],
    )


# --- one writer per kind of teacher ----------------------------------------------------------------------------------------


def _writer(context: Context, task: str, questions: Questions) -> Compute:
    """The student writes; a model or a server of its own has written; or the texts are known."""
    teacher = context.settings.teacher
    if teacher.is_student:
        return _own(context, questions)
    if texts.spec(context, task) is not None:
        return _teachers(context, task, questions)
    if context.recorded:
        rationales = context.recorded[task].rationales
        return _known(context, questions, lambda question: rationales[question.id])
    return _known(context, questions, teacher.known)


def _own(context: Context, questions: Questions) -> Compute:
    def write(ids: list[str], emit: Emit) -> None:
        count = load_encoder(context).count
        read: Emit = lambda output: emit(_row(output, context.settings.teacher.author, questions[parent(output["id"])], count))  # noqa: E731
        texts.generate(context, context.base, context.settings.model, questions, ids, read)

    return write


def _teachers(context: Context, task: str, questions: Questions) -> Compute:
    teacher = context.settings.teacher

    def write(ids: list[str], emit: Emit) -> None:
        written = texts.make(context, task, questions, ids)
        count = load_encoder(context).count
        for each in ids:
            emit(_row(written[each], teacher.author, questions[parent(each)], count))

    return write


def _known(context: Context, questions: Questions, find: Callable[[Question], Sequence[Written]]) -> Compute:
    """Rows of texts that are there already; `find` gives those of a question."""

    def write(ids: list[str], emit: Emit) -> None:
        count = load_encoder(context).count
        for each in ids:
            question, _, sample = each.rpartition("/")
            text, source, reason = find(questions[question])[int(sample)]
            output = {"id": each, "text": text, "finish_reason": reason, "seconds": 0.0}
            emit(_row(output, source, questions[question], count))

    return write


def _row(output: Row, source: str, question: Question, count: Callable[[str], int]) -> Row:
    """A stored rationale. All lengths are counted in its text, as every stage does: the ids that were generated may spell it otherwise."""
    chain, closing = split_solution(output["text"], question.answer_type, question.options)
    num_cot_tokens, num_thinking_tokens = reasoning.lengths(chain, count)
    return {
        "id": output["id"],
        "question_id": question.id,
        "sample": int(output["id"].rsplit("/", 1)[1]),
        "cot": chain,
        "closing": closing,
        "num_tokens": reasoning.length(output["text"], count),
        "num_cot_tokens": num_cot_tokens,
        "num_thinking_tokens": num_thinking_tokens,
        "finish_reason": output["finish_reason"],
        "seconds": output["seconds"],
        "source": source,
    }
