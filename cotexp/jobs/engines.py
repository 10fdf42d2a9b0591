"""Models in memory: made from scratch or unpacked where need be, and one engine at a time."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from cotexp.jobs.disk import check_unchanged, sealed
from cotexp.jobs.specs import TOKENIZER_QUESTIONS, Context, spec_checkpoint, spec_merged, spec_model
from cotexp.jobs.store import ChunkSize, Store
from cotexp.model_settings import GgufModel, PretrainedModel, Sampling
from cotexp.models import identity
from cotexp.models.identity import ModelFiles
from cotexp.sections import keyed
from cotexp.settings import Evaluation, Settings
from cotexp.tasks import Prompt, QuestionSets

if TYPE_CHECKING:
    from cotexp.inference.engine import Engine
    from cotexp.inference.local import LocalEngine
    from cotexp.inference.vllm import VllmEngine

E = TypeVar("E", bound="Engine")


def make_model(settings: Settings, store: Store, questions: QuestionSets, prompts: dict[str, Prompt]) -> Path:
    """The folder of a model that the run makes itself: from a GGUF file, or with random weights."""
    model = settings.model

    def build(folder: Path) -> None:
        if isinstance(model, GgufModel):
            from cotexp.models import gguf

            gguf.unpack(identity.find_gguf(model), folder)
        else:
            from cotexp.models import scratch

            scratch.make(model, _tokenizer_texts(settings, questions, prompts), folder)

    return store.artifact(spec_model(settings, questions, prompts), sealed(build))


def check_models(context: Context) -> None:
    """Before anything is computed: the weights of every model that the run uses fit their configuration and tokenizer, and can be trained as asked.

    Raises: ConfigError that names setting, folder and tensors; StoreError for a stored model whose files have changed.
    """
    from cotexp.models import adapters, loading, weights

    settings = context.settings
    check_unchanged(context.base.folder)
    if settings.trains or settings.model.engine != "vllm":
        shapes = loading.check(context.base, settings.model, "model.path")
        if settings.trains and settings.trainer.tuning == "lora" and not context.store.has_artifact(spec_checkpoint(context)):
            adapters.check_targets(shapes, settings.trainer.lora)
    for role, files in {"teacher": context.teacher, "compressor": context.compressor}.items():
        if files is not None and files != context.base:
            model: PretrainedModel = getattr(settings, role).model
            if model.engine == "vllm":  # which loads what transformers cannot, and says itself what it misses
                weights.check_numbers(files.folder, files.sha256, f"{role}.model.path")
            else:
                loading.check(files, model, f"{role}.model.path")
    if context.classifier is not None:
        weights.check(context.classifier.folder, context.classifier.sha256, "compression.classifier", trust_remote_code=False, kind=weights.LABELS)


def _tokenizer_texts(settings: Settings, questions: QuestionSets, prompts: dict[str, Prompt]) -> list[str]:
    """What the tokenizer of a model made from scratch learns from."""
    texts = [text for each in questions.train[:TOKENIZER_QUESTIONS] for text in (prompts[each.task](each), *each.references)]
    template = getattr(settings.compression, "prompt", "")
    return texts + ([template.format(question="", rationale="", answer="")] * 100 if template else [])


def load_engine(context: Context, files: ModelFiles, model: PretrainedModel, *, adapter: Path | None = None) -> Engine:
    """The engine that the settings name for a model (or its fine-tuned form in `adapter`); the previous one is freed when it differs."""
    return (_load_vllm if model.engine == "vllm" else load_local)(context, files, model, adapter=adapter)


def load_local(context: Context, files: ModelFiles, model: PretrainedModel, *, adapter: Path | None = None) -> LocalEngine:
    """The same in this process, whatever the settings name."""
    from cotexp.inference.local import LocalEngine
    from cotexp.models import loading

    def make() -> LocalEngine:
        for each in filter(None, (adapter, files.folder)):
            check_unchanged(each)
        return LocalEngine(loading.load(adapter or files.folder, model, base_folder=files.folder), compile=model.compile)

    return _held(context, f"local {files.folder} {adapter} {keyed(model)} {model.device} {model.compile}", make)


def _load_vllm(context: Context, files: ModelFiles, model: PretrainedModel, *, adapter: Path | None = None) -> VllmEngine:
    from cotexp.inference.vllm import VllmEngine

    folder = _whole(context, files, model, adapter) if adapter else files.folder

    def make() -> VllmEngine:
        check_unchanged(folder)
        return VllmEngine(folder, model)

    return _held(context, f"vllm {folder} {keyed(model)}", make)


def _held(context: Context, name: str, make: Callable[[], E]) -> E:
    """The engine of this name, made when it is not the one in memory. Other devices of the stage hear that there is something to compute."""
    context.on_compute()
    if context.engine is None or context.engine_name != name:
        context.engine = None
        context.engine = make()
        context.engine_name = name
    return cast(E, context.engine)


def _whole(context: Context, files: ModelFiles, model: PretrainedModel, adapter: Path) -> Path:
    """The folder of a fine-tuned model with its whole weights: `adapter` itself, or that of the merged model, written once."""
    if not (adapter / "adapter_config.json").is_file():
        return adapter

    def build(folder: Path) -> None:
        from cotexp.models import loading

        check_unchanged(adapter)
        merged = loading.load(adapter, replace(model, device="cpu", engine="local"), base_folder=files.folder)
        loading.save(merged.model, merged.tokenizer, folder)

    return context.store.artifact(spec_merged(adapter.name, model), sealed(build))


def rows_at_once(
    context: Context,
    model: PretrainedModel,
    limits: Sampling | Evaluation,
    prompt: Callable[[str], str],
    expected: Callable[[str], int] | None = None,
) -> ChunkSize:
    """How many rows a model's engine gets at once: with engine local a batch within model.max_batch_tokens and limits.batch_size.

    `prompt(id)` is what is asked, `expected(id)` the expected length of the text in tokens, without which it may be the longest allowed.
    """
    from cotexp.inference.engine import rows_of_batch

    if model.engine == "vllm":
        from cotexp.inference.vllm import ROWS_AT_ONCE

        return ROWS_AT_ONCE * model.vllm.data_parallel_size
    encoder = functools.cache(lambda: load_encoder(context))

    def length(name: str) -> int:
        text = min(expected(name), limits.max_new_tokens) if expected else limits.max_new_tokens
        return encoder().count(prompt(name)) + text

    return share(model, lambda ids: rows_of_batch(map(length, ids), max_rows=limits.batch_size, max_tokens=model.max_batch_tokens))


LEAST_SHARE = 8
"""Rows: smaller batches waste more of a device than an even end of the stage saves."""


def share(model: PretrainedModel, most: ChunkSize) -> ChunkSize:
    """`most` rows at once, and with several devices no more than leaves something for each of them."""
    count = identity.devices_of(model)
    if count == 1:
        return most
    return lambda ids: min(most(ids) if callable(most) else most, max(LEAST_SHARE, -(-len(ids) // count)))


def load_encoder(context: Context) -> Any:
    """The target model's encoder, without its weights."""
    return encoder_of(context.base, context.settings.model)


def encoder_of(files: ModelFiles, model: PretrainedModel) -> Any:
    """A model's encoder, without its weights."""
    return _encoder(files, model.compress_token, model.system_prompt, literal=model.literal_encoding, trust_remote_code=model.trust_remote_code)


@functools.lru_cache(maxsize=4)
def _encoder(files: ModelFiles, compress_token: str, system_prompt: str | None, *, literal: bool, trust_remote_code: bool) -> Any:
    """Read once: with a large vocabulary it takes as long as many texts do."""
    from cotexp.models.encoding import Encoder
    from cotexp.models.tokenizer import load_tokenizer

    asked = PretrainedModel(path=str(files.folder), compress_token=compress_token, system_prompt=system_prompt, trust_remote_code=trust_remote_code)
    return Encoder.of(load_tokenizer(files.folder, asked), compress_token=compress_token, literal=literal)
