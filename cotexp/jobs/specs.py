"""What every stage depends on, and nothing else: the keys of the store. Nothing heavy is imported, so that a plan can be printed at once.

Raising a number in VERSIONS sets aside everything that the stage and those after it have stored.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from cotexp.compression_settings import TokenSkip
from cotexp.jobs.store import Spec, Store, key_of
from cotexp.methods import compression
from cotexp.methods.condition import ask, instruction_of
from cotexp.model_settings import ApiCompressor, ApiTeacher, GgufModel, PretrainedModel, ScratchModel
from cotexp.models import identity
from cotexp.models.identity import ModelFiles
from cotexp.records import AnswerType, Question
from cotexp.sections import keyed
from cotexp.settings import Settings
from cotexp.tasks import Prompt, QuestionSets, answer_type_of
from cotexp.tasks.recorded_rationales import Recorded

if TYPE_CHECKING:
    from cotexp.inference.engine import Engine

VERSIONS = {
    "model": 2,
    "texts": 2,
    "rewrites": 2,
    "rationales": 4,
    "scores": 3,
    "rounds": 2,
    "importances": 2,
    "perplexity": 2,
    "checkpoint": 3,
    "predictions": 3,
    "grades": 2,
    "latency": 2,
    "merged": 2,
}


@dataclass(slots=True)
class Context:
    """What every stage may read, and the one engine that is held in memory at a time.

    `questions` are those of all tasks: train and validation of the tasks to train on, test of the tasks to evaluate on. `teacher` is the
    model of teacher=local; `classifier` ranks tokens for pruning by LLMLingua-2; `recorded` holds the rationales of teacher=recorded for each task.
    """

    settings: Settings
    store: Store
    questions: QuestionSets
    prompts: dict[str, Prompt]
    base: ModelFiles
    compressor: ModelFiles | None = None
    teacher: ModelFiles | None = None
    classifier: ModelFiles | None = None
    recorded: dict[str, Recorded] = field(default_factory=dict)
    engine: Engine | None = None
    engine_name: str = ""
    on_compute: Callable[[], None] = lambda: None
    on_metrics: Callable[[dict[str, float]], None] = lambda metrics: None
    on_curve: Callable[[dict[str, float], int], None] = lambda row, num_steps: None

    @property
    def training_questions(self) -> list[Question]:
        """Questions that need rationales: those to train on and those that choose the checkpoint."""
        return [*self.questions.train, *self.questions.validation]

    def prompt_for(self, question: Question) -> str:
        """What a model is asked: the prompt of the question's task."""
        return self.prompts[question.task](question)


def by_task(questions: Iterable[Question]) -> dict[str, list[Question]]:
    """The questions of each task, in order."""
    groups: dict[str, list[Question]] = {}
    for each in questions:
        groups.setdefault(each.task, []).append(each)
    return groups


def wanted_rows(questions: Iterable[Question], num_samples: int) -> list[str]:
    """Ids of the texts for `questions`, sample by sample."""
    return [f"{each.id}/{sample}" for each in questions for sample in range(num_samples)]


def wanted_rationales(context: Context, questions: Iterable[Question]) -> list[str]:
    """Ids of the rationales that the teacher has, or is to write, for `questions`."""
    if context.recorded:
        return [f"{each.id}/{sample}" for each in questions for sample in range(len(context.recorded[each.task].rationales[each.id]))]
    return wanted_rows(questions, getattr(context.settings.teacher, "num_samples", 1))


def parent(row_id: str) -> str:
    """The id without its last part: of a question for a rationale or an answer, of a rationale for a round."""
    return row_id.rsplit("/", 1)[0]


def _spec(stage: str, **description: Any) -> Spec:
    return Spec(stage, {"version": VERSIONS[stage], **description})


OWN = ("system_prompt", "stop_tokens", "context_length")
"""Settings that change what a model's own files say; where they say nothing they enter no key."""


def _own(model: PretrainedModel) -> dict[str, Any]:
    return {name: value for name in OWN if (value := getattr(model, name)) not in (None, [])}


def _environment(model: PretrainedModel) -> dict[str, Any]:
    """What else decides a generated text: number format, kind of device, and what of the prompt's form and end is not the model's own."""
    device = "cuda" if model.engine == "vllm" else identity.device_type(model.device)
    return {"engine": engine_of(model), "dtype": model.dtype, "device": device, **_own(model)}


def engine_of(model: PretrainedModel) -> str:
    """Name of what generates with a model; texts of another name are other texts."""
    return "local compiled" if model.compile else model.engine


API = {"engine": "api"}
"""Stands in the keys of texts from a server, which has neither weights nor a number format that we know."""


def hash_of(texts: Iterable[str]) -> str:
    """Sixteen hex digits that stand for a sequence of texts."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


# --- one run, and each of its stages ----------------------------------------------------------------------------------------


READ_BY_TRAINING = ("seed", "teacher", "scoring", "selection", "compressor", "mixture", "trainer")
"""Settings that nothing reads in a run that trains nothing."""


def run_key(context: Context) -> str:
    """Twelve hex digits that stand for all that can change the run's result: settings however typed, questions, weights."""
    questions, settings = context.questions, keyed(context.settings)
    if settings["evaluation"]["split"] == "test":  # as it was before there was a choice
        del settings["evaluation"]["split"]
    if not context.settings.trains:
        settings = {name: value for name, value in settings.items() if name not in READ_BY_TRAINING}
    return key_of(
        {
            "settings": settings,
            "questions": [hash_of(each.id for each in questions[split]) for split in ("train", "validation", "test")],
            "prompts": {name: prompt.identity for name, prompt in sorted(context.prompts.items())},
            "models": [each.sha256 if each else None for each in (context.base, context.compressor, context.teacher)],
            **({"classifier": context.classifier.sha256} if context.classifier else {}),
            "recorded": {task: recorded.sha256 for task, recorded in context.recorded.items()},
            "devices": [identity.device_type(context.settings.model.device), identity.device_type(context.settings.trainer.accelerator)],
            "engines": [engine_of(each) for each in _models(context.settings)],
        }
    )[:12]


def _models(settings: Settings) -> list[PretrainedModel]:
    """The models that the settings name: the one that is fine-tuned, and those of teacher and compressor that are models of their own."""
    return [settings.model, *(role.model for role in (settings.teacher, settings.compressor) if hasattr(role, "model"))]


TOKENIZER_QUESTIONS = 4000
"""Training questions, with their worked solutions, from which the tokenizer of a model made from scratch learns."""


def spec_model(settings: Settings, questions: QuestionSets, prompts: dict[str, Prompt]) -> Spec:
    """A model that the run makes: from a GGUF file, or from scratch, whose tokenizer learns from training questions and rewriting prompt."""
    if isinstance(settings.model, GgufModel):
        return _spec("model", gguf=identity.file_sha256(identity.find_gguf(settings.model)))
    return _spec(
        "model",
        model=keyed(settings.model),
        questions=hash_of(each.id for each in questions.train[:TOKENIZER_QUESTIONS]),
        prompts=[prompts[each].identity for each in settings.task.train],
        rewriting=getattr(settings.compression, "prompt", ""),
    )


def spec_texts(context: Context, task: str) -> Spec | None:
    """What a teacher that is a model of its own wrote for one task, None for other teachers; more questions and samples extend the same ledger."""
    teacher = context.settings.teacher
    if isinstance(teacher, ApiTeacher):
        return _spec("texts", teacher=_asked(context, task, API), task=task)
    if context.teacher is None:
        return None
    return _spec("texts", **_written(context, task, context.teacher, teacher.model))


def spec_rationales(context: Context, task: str) -> Spec:
    """The texts of the teacher, split and counted for the model that is trained."""
    teacher = context.settings.teacher
    if (spec := spec_texts(context, task)) is not None:
        texts: dict[str, Any] = {"teacher": {"texts": spec.key}, "task": task}
    elif teacher.name == "self":
        texts = _written(context, task, context.base, context.settings.model)
    elif teacher.name == "recorded":
        texts = {"teacher": {"recorded": context.recorded[task].sha256}, "task": task}
    else:
        texts = {"teacher": keyed(teacher), "task": task}
    return _spec("rationales", **texts, answers=answer_type_of(context.settings.tasks[task]), tokenizer=context.base.sha256)


def _written(context: Context, task: str, files: ModelFiles, model: PretrainedModel) -> dict[str, Any]:
    return {"teacher": _asked(context, task, _environment(model)), "task": task, "model": files.sha256}


def _asked(context: Context, task: str, environment: dict[str, Any]) -> dict[str, Any]:
    """How the teacher was asked."""
    own = {name: value for name, value in keyed(context.settings.teacher).items() if name not in ("name", "num_samples", "model")}
    return {**own, "prompt": context.prompts[task].identity, **environment}


def spec_scores(context: Context, task: str) -> Spec:
    """Likelihoods under the student before distillation; ids of the rows stand for the texts, so every teacher shares this ledger."""
    scoring = context.settings.scoring
    return _spec(
        "scores",
        student=context.base.sha256,
        task=task,
        prompt=context.prompts[task].identity,
        connector=scoring.connector,
        answer=scoring.answer,
        answers=answer_type_of(context.settings.tasks[task]),
        **_environment(scoring_model(context.settings)),
    )


def spec_grades(graded: Spec, answer_type: AnswerType, *, whole_text: bool) -> Spec:
    """Labels of the texts of one ledger. A question's id stands for its gold answer and options."""
    return _spec("grades", texts=graded.key, answer_type=answer_type, whole_text=whole_text, math_verify=version("math-verify"))


def spec_rounds(context: Context, task: str) -> Spec | None:
    """None when this compression asks no compressor. Stop rules do not enter: every rule reads the same rounds."""
    settings = context.settings
    if not compression.needs_rounds(settings.compression):
        return None
    rewrites = spec_rewrites(context, task)
    if rewrites is not None:
        compressor: dict[str, Any] = {"compressor": {"rewrites": rewrites.key}}
    else:
        assert context.compressor is not None
        compressor = {
            "compressor": keyed(settings.compressor),
            "model": context.compressor.sha256,
            **_environment(compressor_model(settings)),
        }
    return _spec(
        "rounds",
        rationales=spec_rationales(context, task).key,
        tokenizer=context.base.sha256,
        prompt=settings.compression.prompt,
        prompt_answer=settings.compression.prompt_answer,
        **compressor,
    )


def spec_rewrites(context: Context, task: str) -> Spec | None:
    """What a server wrote as compressor; None for other compressors. Ids of the rows hold a hash of the prompt, so no count enters."""
    settings = context.settings
    if not (isinstance(settings.compressor, ApiCompressor) and compression.needs_rounds(settings.compression)):
        return None
    rationales = spec_rationales(context, task).description
    return _spec(
        "rewrites",
        rationales={name: rationales[name] for name in ("teacher", "task", "model") if name in rationales},
        compressor={name: value for name, value in keyed(settings.compressor).items() if name != "name"},
        prompt=settings.compression.prompt,
        prompt_answer=settings.compression.prompt_answer,
        **API,
    )


def spec_importances(context: Context, task: str) -> Spec | None:
    """None when this compression prunes no tokens. Ratios do not enter: every ratio reads the same rows."""
    settings, rule = context.settings, context.settings.compression
    if not isinstance(rule, TokenSkip):
        return None
    rationales = spec_rationales(context, task).key
    if context.classifier:
        return _spec("importances", rationales=rationales, classifier=context.classifier.sha256)
    model = scoring_model(settings)
    return _spec("importances", rationales=rationales, model=context.base.sha256, prompt=context.prompts[task].identity, **_environment(model))


def spec_perplexity(context: Context, task: str) -> Spec | None:
    """None where nothing is compressed or measured. Ids of the rows stand for the texts, so every compression and compressor shares this ledger."""
    settings = context.settings
    if not settings.scoring.perplexity_chains or settings.compression.name in ("none", "reference") or isinstance(settings.model, ScratchModel):
        return None
    model = scoring_model(settings)
    return _spec("perplexity", model=context.base.sha256, task=task, prompt=context.prompts[task].identity, **_environment(model))


def spec_checkpoint(context: Context) -> Spec:
    """The fine-tuned model: every setting, text and question that training sees."""
    settings, selection, tasks = context.settings, context.settings.selection, context.settings.task.train
    reads_grades = settings.mixture.originals == "correct" or selection.accuracy or selection.equal_questions or selection.validation == "correct"
    rounds, importances = ([spec(context, each) for each in tasks] for spec in (spec_rounds, spec_importances))
    return _spec(
        "checkpoint",
        model={
            **{name: value for name, value in keyed(settings.model).items() if name not in OWN},
            **_own(settings.model),
            "sha256": context.base.sha256,
        },
        rationales=[spec_rationales(context, each).key for each in tasks],
        num_samples=None if context.recorded else getattr(settings.teacher, "num_samples", 1),
        rounds=[each.key for each in rounds if each],
        **({"importances": [each.key for each in importances if each]} if any(importances) else {}),
        selection=keyed(selection),
        scores=[spec_scores(context, each).key for each in tasks] if selection.needs_scores else [],
        compression=keyed(settings.compression),
        mixture=keyed(settings.mixture),
        grades=VERSIONS["grades"] if reads_grades else None,
        trainer={**keyed(settings.trainer), "device": identity.device_type(settings.trainer.accelerator)},
        prompts=[context.prompts[each].identity for each in tasks],
        train=hash_of(each.id for each in context.questions.train),
        validation=hash_of(each.id for each in context.questions.validation),
        seed=settings.seed,
    )


def spec_predictions(context: Context, mode: str, task: str) -> Spec:
    """Answers to one task's test questions by the base model, or the fine-tuned one, in one mode; more samples extend the same ledger."""
    settings, evaluation = context.settings, context.settings.evaluation
    if mode == "truncate":
        return _truncated(context, task)
    model = {"checkpoint": spec_checkpoint(context).key} if settings.is_fine_tuned(mode) else {"sha256": context.base.sha256}
    instruction, asked = instruction_of(settings.compression, mode), ask(settings.compression, mode, "", evaluation.ratio)
    return _spec(
        "predictions",
        **model,
        compressed=asked.compressed,
        **({"ratio": asked.ratio} if asked.ratio else {}),
        **({"instruction": instruction} if instruction else {}),
        task=task,
        answers=answer_type_of(settings.tasks[task]),
        prompt=context.prompts[task].identity,
        sampling={"max_new_tokens": evaluation.max_new_tokens, "temperature": evaluation.temperature, "seed": evaluation.seed},
        **_environment(settings.model),
    )


def _truncated(context: Context, task: str) -> Spec:
    """The base model's answers, cut; their budget follows from the lengths of all of them, so other questions make another ledger."""
    own = by_task(context.questions.test)[task]
    return _spec(
        "predictions",
        answers=spec_predictions(context, "base", task).key,
        truncate_ratio=context.settings.evaluation.truncate_ratio,
        questions=hash_of(each.id for each in own),
    )


def spec_latency(context: Context, mode: str) -> Spec:
    """Seconds per question in one mode, on this machine; a row is one pass."""
    evaluation = context.settings.evaluation
    return _spec(
        "latency",
        predictions=[spec_predictions(context, mode, each).key for each in by_task(timed_questions(context))],
        questions=hash_of(each.id for each in timed_questions(context)),
        batch_size=evaluation.latency_batch_size,
        machine=f"{platform.node()} {identity.device_name(identity.device_type(context.settings.model.device))}",
    )


def spec_merged(checkpoint: str, model: PretrainedModel) -> Spec:
    """The whole weights of a fine-tuned model that was saved as an adapter, for engine vllm."""
    return _spec("merged", checkpoint=checkpoint, dtype=model.dtype)


def scoring_model(settings: Settings) -> PretrainedModel:
    """The model that scores rationales: always with engine local, since vLLM's log-probabilities depend on the order of requests."""
    return replace(settings.model, engine="local", compile=False, dtype=settings.scoring.dtype)


def compressor_model(settings: Settings) -> PretrainedModel:
    """The model behind the compressor that the settings name."""
    model: PretrainedModel = settings.model if settings.compressor.name == "self" else settings.compressor.model
    return model


def is_deterministic(settings: Settings) -> bool:
    """Whether the compressor would answer an unchanged text with the same text again."""
    return bool(settings.compressor.temperature == 0) and not isinstance(settings.compressor, ApiCompressor)


def timed_modes(context: Context) -> list[str]:
    """The modes whose latency is measured: all in which a model writes."""
    evaluation = context.settings.evaluation
    return [mode for mode in evaluation.modes if mode != "truncate"] if evaluation.latency else []


def latency_rows(context: Context) -> list[str]:
    """Ids of the passes: batch size and number."""
    return [f"{size}/{number}" for size in ("batch1", "batchN") for number in range(context.settings.evaluation.latency_passes)]


def timed_questions(context: Context) -> list[Question]:
    """The test questions on which latency is measured."""
    return context.questions.test[: context.settings.evaluation.latency_questions]
