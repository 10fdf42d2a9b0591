"""Models in memory: checked before a run, and one engine at a time."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from cotexp.inference.engine import Engine, refills, rows_of_batch
from cotexp.inference.engines import ENGINES
from cotexp.models import identity
from cotexp.models.identity import ModelFiles
from cotexp.settings.base import keyed
from cotexp.settings.models import PretrainedModel
from cotexp.settings.sampling import Sampling
from cotexp.stages import merged
from cotexp.stages.context import Context
from cotexp.store.claims import ChunkSize
from cotexp.store.disk import check_unchanged

if TYPE_CHECKING:
    from cotexp.inference.local import LocalEngine


def load_engine(context: Context, files: ModelFiles, model: PretrainedModel, *, adapter: Path | None = None) -> Engine:
    """The engine that the settings name for a model (or its fine-tuned form in `adapter`); the previous one is freed when it differs.

    Other devices of the stage hear that there is something to compute.
    """
    kind, folder = ENGINES[model.engine], files.folder
    if adapter is not None and not kind.reads_adapters:
        folder, adapter = merged.make(context, files, model, adapter), None
    name = f"{model.engine} {folder} {adapter} {keyed(model)} {model.device} {model.compile}"
    context.on_compute()
    if context.engine is None or context.engine_name != name:
        context.engine = None
        for each in filter(None, (adapter, folder)):
            check_unchanged(each)
        context.engine, context.engine_name = kind.load(folder, model, adapter), name
    return context.engine


def load_local(context: Context, files: ModelFiles, model: PretrainedModel) -> LocalEngine:
    """The engine in this process, for a model whose settings name it."""
    return cast("LocalEngine", load_engine(context, files, model))


def rows_at_once(
    context: Context,
    model: PretrainedModel,
    limits: Sampling,
    prompt: Callable[[str], str],
    expected: Callable[[str], int] | None = None,
) -> ChunkSize:
    """How many rows a model's engine gets at once: with engine local a batch within model.max_batch_tokens and limits.batch_size, several on a GPU.

    `prompt(id)` is what is asked, `expected(id)` the expected length of the text in tokens, without which it may be the longest allowed.
    """
    if (rows := ENGINES[model.engine].rows_at_once) is not None:
        return rows(model)
    encoder = functools.cache(lambda: load_encoder(context))

    def length(name: str) -> int:
        text = min(expected(name), limits.max_new_tokens) if expected else limits.max_new_tokens
        return int(encoder().count(prompt(name))) + text

    number = BATCHES_AT_ONCE if refills(identity.device_type(model.device)) else 1

    def batches(ids: Sequence[str]) -> int:
        return number * rows_of_batch(map(length, ids), max_rows=limits.batch_size, max_tokens=model.max_batch_tokens)

    return share(model, batches)


BATCHES_AT_ONCE = 8
"""Of engine local where it fills the places of ended rows. At the end of them places stay free, and other processes wait for what is claimed."""
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
    return _encoder(files, literal=model.literal_encoding, **{name: getattr(model, name) for name in OF_TOKENIZER})


OF_TOKENIZER = ("compress_token", "system_prompt", "chat_template_kwargs", "trust_remote_code")
"""Settings of a model that its tokenizer depends on."""


@functools.lru_cache(maxsize=4)
def _encoder(files: ModelFiles, *, literal: bool, **of_tokenizer: Any) -> Any:
    """Read once: with a large vocabulary it takes as long as many texts do."""
    from cotexp.models.encoding import Encoder
    from cotexp.models.tokenizer import load_tokenizer

    asked = PretrainedModel(path=str(files.folder), **of_tokenizer)
    return Encoder.of(load_tokenizer(files.folder, asked), compress_token=asked.compress_token, literal=literal)
