"""Models in memory: made from scratch or unpacked where need be, and one engine at a time."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from cotexp.jobs.specs import TOKENIZER_QUESTIONS, Context, spec_merged, spec_model
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

    return store.artifact(spec_model(settings, questions, prompts), build)


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
        return LocalEngine(loading.load(adapter or files.folder, model, base_folder=files.folder), compile=model.compile)

    return _held(context, f"local {files.folder} {adapter} {keyed(model)} {model.device} {model.compile}", make)


def _load_vllm(context: Context, files: ModelFiles, model: PretrainedModel, *, adapter: Path | None = None) -> VllmEngine:
    from cotexp.inference.vllm import VllmEngine

    folder = _whole(context, files, model, adapter) if adapter else files.folder
    return _held(context, f"vllm {folder} {keyed(model)}", lambda: VllmEngine(folder, model))


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

        merged = loading.load(adapter, replace(model, device="cpu", engine="local"), base_folder=files.folder)
        loading.save(merged.model, merged.tokenizer, folder)

    return context.store.artifact(spec_merged(adapter.name, model), build)


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
    from cotexp.models.encoding import Encoder
    from cotexp.models.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(files.folder, model)
    return Encoder.of(tokenizer, compress_token=model.compress_token, literal=model.literal_encoding)
