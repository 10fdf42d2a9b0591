"""Checks of a run's models before anything is written or paid for: their weights fit, and they have room for what they are to be asked."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from cotexp.compressions.rewriting import ToRewrite
from cotexp.inference.engines import ENGINES
from cotexp.jobs import engines
from cotexp.models import identity
from cotexp.models.identity import ModelFiles
from cotexp.records import Question
from cotexp.settings.base import ConfigError, RunFailed
from cotexp.settings.models import PretrainedModel
from cotexp.settings.root import Settings
from cotexp.settings.training import Trainer
from cotexp.stages import checkpoint
from cotexp.stages.context import Context
from cotexp.store.disk import check_unchanged

LEAST_ANSWER = 2
"""Tokens that every text needs after its prompt: one of the answer and the one that ends it."""


class Role(NamedTuple):
    """A local model at work: where its settings stand, its files, and the prompts that it gets."""

    setting: str
    model: PretrainedModel
    files: ModelFiles
    what: str
    prompts: Iterable[str]


def check_compresses(settings: Settings) -> None:
    """Raises: RunFailed if these settings make no shorter chains, so that compress_only has nothing to do."""
    if not settings.trains or not (settings.compression.compresses_chains or settings.compression.pairs_rationales):
        raise RunFailed(f"compress_only: compression={settings.compression.name} with modes {settings.evaluation.modes} compresses nothing")


def check_models(context: Context) -> None:
    """Before anything is computed: the weights of every model that the run uses fit their configuration and tokenizer, and can be trained as asked.

    Raises: ConfigError that names setting, folder and tensors; StoreError for a stored model whose files have changed.
    """
    from cotexp.models import adapters, loading, weights
    from cotexp.training import costs, packing

    settings = context.settings
    check_unchanged(context.base.folder)
    _check_formats(settings)
    if settings.trains or ENGINES[settings.model.engine].by_transformers:
        shapes = loading.check(context.base, settings.model, "model.path")
        if settings.trains:
            packing.check_kind(shapes.config.is_encoder_decoder, settings.trainer)
            costs.check_budget(shapes.config, settings.trainer)
        if settings.trains and settings.trainer.tuning == "lora" and not context.store.has_artifact(checkpoint.spec(context)):
            adapters.check_targets(shapes, settings.trainer.lora)
    for role, files in {"teacher": context.teacher, "compressor": context.compressor}.items():
        if files is not None:
            model: PretrainedModel = getattr(settings, role).local_model(settings.model)
            if files == context.base:  # the same weights, perhaps with another system prompt
                loading.tokenizer_of(files.folder, model, f"{role}.model.path")
            elif ENGINES[model.engine].by_transformers:
                loading.check(files, model, f"{role}.model.path")
            else:  # it loads what transformers cannot, and says itself what it misses
                weights.check_numbers(files.folder, files.sha256, f"{role}.model.path")
    if context.classifier is not None:
        weights.check(context.classifier.folder, context.classifier.sha256, "compression.classifier", trust_remote_code=False, kind=weights.LABELS)


def _check_formats(settings: Settings) -> None:
    """Look whether this machine computes the attention that each model is to have, in the number formats of all its work, and has 4 bits if asked."""
    for role in ("teacher", "compressor"):
        if model := getattr(getattr(settings, role), "model", None):
            identity.check_attention(model.attn_implementation, device=model.device, dtype=model.dtype, setting=f"{role}.model")
    model, trainer = settings.model, settings.trainer
    for dtype in (model.dtype, *([settings.scoring.dtype] if settings.trains else [])):
        identity.check_attention(model.attn_implementation, device=model.device, dtype=dtype, setting="model")
    if settings.trains:
        if trainer.dtype_of_frozen == "nf4" and importlib.util.find_spec("bitsandbytes") is None:
            raise ConfigError("trainer.frozen_dtype=nf4 needs a library that is not installed: pip install 'cotexp[bitsandbytes]'; or take bfloat16")
        check = functools.partial(identity.check_attention, model.attn_implementation, setting="model", trains=True)
        check(device=trainer.accelerator, dtype=trainer.precision)


def check_room(context: Context) -> None:
    """Check that every local model has room for an answer after at least one prompt; longer prompts are counted one by one later.

    Raises: ConfigError that names the setting which leaves no room for any of them.
    """
    problems = [problem for role in _roles(context) for problem in _problems(role, context.settings.trainer)]
    if problems:
        raise ConfigError(*dict.fromkeys(problems))


def _roles(context: Context) -> Iterator[Role]:
    settings, test, train = context.settings, context.questions.test, context.questions.train
    own = ("model", settings.model, context.base)
    yield Role(*own, "test", (context.prompt_for(each) for each in test))
    if not settings.trains:
        return
    yield Role(*own, "training", (context.prompt_for(each) for each in train))
    if context.teacher:
        yield Role("teacher.model", settings.teacher.model, context.teacher, "training", (context.prompt_for(each) for each in train))
    if settings.compression.asks_compressor and context.compressor:
        rewriter = own if context.compressor is context.base else ("compressor.model", settings.compressor.model, context.compressor)
        yield Role(*rewriter, "rewriting", (_rewriting(context, each) for each in train))


def _rewriting(context: Context, question: Question) -> str:
    """What a compressor is asked at least: the chain that is to be rewritten is not known yet."""
    prompt: str = context.settings.compression.rewrite_prompt(ToRewrite(question.text, context.prompt_for(question), "", "", 1, 1, 1))
    return prompt


def _problems(role: Role, trainer: Trainer) -> Iterator[str]:
    from cotexp.models import loading

    limits = {"context_length": loading.context_of(role.files.folder, role.model), **ENGINES[role.model.engine].limits(role.model)}
    limits = {f"{role.setting}.{name}": limit for name, limit in limits.items()}
    if role.what == "training" and role.setting == "model":
        limits["trainer.max_length"] = trainer.max_length
    encoder = engines.encoder_of(role.files, role.model)
    known = {name: limit for name, limit in limits.items() if limit is not None}
    shortest = _shortest(role.prompts, lambda text: len(encoder.prompt(text)) + LEAST_ANSWER, min(known.values(), default=None))
    for name, limit in known.items():
        if shortest is not None and shortest > limit:
            yield (
                f"{name} must leave room for an answer: the shortest {role.what} prompt takes {shortest - LEAST_ANSWER} tokens; got {limit}; raise "
                "it, take another model, or shorten task.prompt or task.few_shot"
            )


def _shortest(prompts: Iterable[str], length: Callable[[str], int], limit: int | None) -> int | None:
    """The least length, or None as soon as one is within the limit."""
    found: int | None = None
    for each in prompts if limit is not None else ():
        own = length(each)
        if limit is not None and own <= limit:
            return None
        found = own if found is None else min(found, own)
    return found
