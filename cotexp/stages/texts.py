"""What a teacher that is a model of its own wrote. These texts serve every student: nothing here is counted with a student's tokenizer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from cotexp.jobs import api_texts
from cotexp.jobs.engines import load_encoder, load_engine
from cotexp.models.identity import ModelFiles
from cotexp.records import Question
from cotexp.settings.base import keyed
from cotexp.settings.models import PretrainedModel
from cotexp.stages.context import API, Context, Emit, environment, ledgers, parent, teacher_model
from cotexp.stages.training_set import TrainingSet
from cotexp.store.specs import Spec
from cotexp.store.stored_files import Row

NAME = "texts"
VERSION = 2
READS = ("dataset",)


def spec(context: Context, task: str) -> Spec | None:
    """What a teacher that is a model of its own wrote for one task, None for other teachers; more questions and samples extend the same ledger."""
    teacher = context.settings.teacher
    if teacher.server is not None:
        return Spec(NAME, {"version": VERSION, "teacher": _asked(context, task, API), "task": task})
    if context.teacher is None:
        return None
    return Spec(NAME, {"version": VERSION, **written(context, task, context.teacher, teacher.model)})


def written(context: Context, task: str, files: ModelFiles, model: PretrainedModel) -> dict[str, Any]:
    """What decides the texts that a model on this machine writes as teacher."""
    return {"teacher": _asked(context, task, environment(model)), "task": task, "model": files.sha256}


def _asked(context: Context, task: str, environment: dict[str, Any]) -> dict[str, Any]:
    """How the teacher was asked."""
    own = {name: value for name, value in keyed(context.settings.teacher).items() if name not in ("name", "num_samples", "model")}
    return {**own, "prompt": context.prompts[task].identity, **environment}


def metrics(context: Context, made: TrainingSet) -> dict[str, float]:
    """What the server was asked for and paid, if there is one, and the tokens of this run's rationales: by its account, or by the tokenizer of the
    model that is trained. Worked solutions of a task cost nothing; nobody knows the prompts of recorded texts.
    """
    teacher = context.settings.teacher
    if teacher.server is not None:
        own = ledgers(context, spec)
        return api_texts.metrics(context, "teacher", own) | api_texts.used(context, "teacher", own, {each.id for each in made.written})
    if teacher.needs_references:
        return {}
    found: dict[str, float] = {"teacher/num_tokens_out": sum(each.num_tokens for each in made.written)}
    if teacher_model(context.settings) is not None:
        encoder, asked = load_encoder(context), Counter(each.question_id for each in made.written)
        lengths = {each.id: len(encoder.prompt(context.prompt_for(each))) for each in context.training_questions if each.id in asked}
        found["teacher/num_tokens_in"] = sum(lengths[name] * count for name, count in asked.items())
    return found


def make(context: Context, task: str, questions: Mapping[str, Question], ids: Sequence[str]) -> dict[str, Row]:
    """The teacher's texts of the given ids; `questions` are those of the task by id."""
    teacher, own = context.settings.teacher, spec(context, task)
    assert own is not None
    if teacher.server is not None:
        prompts = {each: context.prompt_for(questions[parent(each)]) for each in ids}
        return api_texts.texts(context, "teacher", own, prompts, of_role=ledgers(context, spec), what=f"texts, {task}")

    def compute(wanted: list[str], emit: Emit) -> None:
        assert context.teacher is not None
        generate(context, context.teacher, teacher.model, questions, wanted, emit)

    return context.store.ledger(own).fill(ids, compute, chunk_size=len(ids))


def generate(context: Context, files: ModelFiles, model: PretrainedModel, questions: Mapping[str, Question], ids: Sequence[str], emit: Emit) -> None:
    """Let a model on this machine write as teacher; emits one row per id."""
    from cotexp.inference.engine import Request

    engine = load_engine(context, files, model)
    requests = [Request(each, context.prompt_for(questions[parent(each)])) for each in ids]
    engine.generate(requests, context.settings.teacher, lambda output: emit(asdict(output)))
