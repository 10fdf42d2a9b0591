"""What a teacher that is a model of its own wrote. These texts serve every student: nothing here is counted with a student's tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from cotexp.jobs import api_texts
from cotexp.jobs.engines import load_engine
from cotexp.models.identity import ModelFiles
from cotexp.records import Question
from cotexp.settings.base import keyed
from cotexp.settings.models import PretrainedModel
from cotexp.stages.context import API, Context, Emit, environment, ledgers, parent
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
    """What the server was asked for and paid, if there is one."""
    return api_texts.metrics(context, "teacher", ledgers(context, spec)) if context.settings.teacher.server is not None else {}


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
