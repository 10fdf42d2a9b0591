"""Rationales of the training and validation questions: written by the model itself or a teacher, recorded, or the task's own solutions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from cotexp.jobs import grades, progress, served
from cotexp.jobs.engines import load_encoder, load_engine, rows_at_once
from cotexp.jobs.specs import Context, by_task, parent, spec_grades, spec_rationales, spec_texts, wanted_rationales
from cotexp.jobs.store import ChunkSize, Row
from cotexp.methods import reasoning
from cotexp.model_settings import PretrainedModel
from cotexp.models.identity import ModelFiles
from cotexp.records import Grade, Question, Rationale
from cotexp.tasks.answers import split_solution
from cotexp.tasks.grading import Answered
from cotexp.tasks.judge import Judge
from cotexp.tasks.recorded_rationales import Written

Questions = dict[str, Question]
Emit = Callable[[Row], None]
Writer = Callable[[list[str], Emit], None]
"""Makes the rows of the given ids, as a ledger asks for them."""

CHUNK_OF_KNOWN_TEXTS = 4096


def write_rationales(context: Context) -> list[Rationale]:
    """One rationale per training and validation question and sample, from the teacher."""
    with Judge() as judge:
        return [each for task, questions in by_task(context.training_questions).items() for each in _rationales_of(context, task, questions, judge)]


def _rationales_of(context: Context, task: str, questions: Sequence[Question], judge: Judge) -> list[Rationale]:
    by_id = {each.id: each for each in questions}
    ids = wanted_rationales(context, questions)
    spec = spec_rationales(context, task)
    with progress.bar(f"rationales, {task}", len(ids)) as advance:
        rows = context.store.ledger(spec).fill(
            sorted(ids, key=lambda each: (len(by_id[parent(each)].text), each)),
            WRITERS[context.settings.teacher.name](context, task, by_id),
            chunk_size=_chunk_size(context, by_id),
            on_row=advance,
        )
    texts = [_to_grade(rows[each], by_id[parent(each)]) for each in ids]
    graded = grades.grade(context, spec, texts, judge, what=f"rationales, {task}", whole_text=False)
    return [_graded(rows[each], graded[each]) for each in ids]


def _chunk_size(context: Context, questions: Questions) -> ChunkSize:
    """How many texts are claimed and written at once; known ones may be many."""
    teacher = context.settings.teacher
    if teacher.name not in ("self", "local"):
        return served.EVERYTHING if teacher.name == "api" else CHUNK_OF_KNOWN_TEXTS
    model = context.settings.model if teacher.name == "self" else teacher.model
    return rows_at_once(context, model, teacher, lambda each: context.prompt_for(questions[parent(each)]))


def stored_rationales(context: Context, task: str) -> dict[str, Rationale]:
    """The rationales of one task that are stored and graded already, by id."""
    spec = spec_rationales(context, task)
    own = by_task(context.training_questions)[task]
    graded = context.store.ledger(spec_grades(spec, own[0].answer_type, whole_text=False)).read()
    rows = context.store.ledger(spec).read()
    return {each: _graded(row, Grade.from_row(graded[each])) for each, row in rows.items() if each in graded}


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


# --- one writer per teacher ------------------------------------------------------------------------------------------------


def _own(context: Context, task: str, questions: Questions) -> Writer:
    def write(ids: list[str], emit: Emit) -> None:
        count = load_encoder(context).count
        _generate(
            context,
            context.base,
            context.settings.model,
            questions,
            ids,
            lambda output: emit(_row(asdict(output), "self", questions[parent(output.id)], count)),
        )

    return write


def _teachers(context: Context, task: str, questions: Questions) -> Writer:
    """The teacher's texts have a ledger of their own, which serves every student; what is counted with the student's tokenizer has not."""
    teacher, spec = context.settings.teacher, spec_texts(context, task)
    assert spec is not None

    def write_texts(ids: list[str], emit: Emit) -> None:
        assert context.teacher is not None
        _generate(context, context.teacher, teacher.model, questions, ids, lambda output: emit(asdict(output)))

    def write(ids: list[str], emit: Emit) -> None:
        if teacher.name == "api":
            prompts = {each: context.prompt_for(questions[parent(each)]) for each in ids}
            texts, source = served.texts(context, "teacher", spec, prompts, what=f"texts, {task}"), teacher.server.model
        else:
            texts, source = context.store.ledger(spec).fill(ids, write_texts, chunk_size=len(ids)), teacher.model.name
        count = load_encoder(context).count
        for each in ids:
            emit(_row(texts[each], source, questions[parent(each)], count))

    return write


def _references(context: Context, task: str, questions: Questions) -> Writer:
    return _known(context, questions, lambda each: Written(questions[parent(each)].references[0], "reference"))


def _recorded(context: Context, task: str, questions: Questions) -> Writer:
    rationales = context.recorded[task].rationales
    return _known(context, questions, lambda each: rationales[parent(each)][int(each.rsplit("/", 1)[1])])


WRITERS: dict[str, Callable[[Context, str, Questions], Writer]] = {
    "self": _own,
    "local": _teachers,
    "api": _teachers,
    "reference": _references,
    "recorded": _recorded,
}


def _known(context: Context, questions: Questions, find: Callable[[str], Written]) -> Writer:
    """Rows of texts that are there already; `find` gives that of an id."""

    def write(ids: list[str], emit: Emit) -> None:
        count = load_encoder(context).count
        for each in ids:
            text, source, reason = find(each)
            output = {"id": each, "text": text, "finish_reason": reason, "seconds": 0.0}
            emit(_row(output, source, questions[parent(each)], count))

    return write


def _generate(
    context: Context, files: ModelFiles, model: PretrainedModel, questions: Questions, ids: Sequence[str], on_output: Callable[[Any], None]
) -> None:
    from cotexp.inference.engine import Request

    engine = load_engine(context, files, model)
    requests = [Request(each, context.prompt_for(questions[parent(each)])) for each in ids]
    engine.generate(requests, context.settings.teacher, on_output)


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
