"""What the setting `model.engine` chooses: one entry for each engine, which says what it needs and loads it. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from cotexp.inference.engine import Engine
from cotexp.models import identity
from cotexp.models.identity import ModelFiles
from cotexp.settings.models import PretrainedModel


class EngineKind(NamedTuple):
    """`load(folder, model, adapter)` gives the engine with the weights of `folder`, and of the fine-tuned form in `adapter` if there is one.

    `reads_adapters`: else fine-tuned weights are merged first. `by_transformers`: transformers loads the model, whose weights are checked so
    beforehand. `device`: the kind of device that it runs on here if not that of `model.device`. `check(model, setting, files)` raises
    ConfigError if this machine cannot run it. `rows_at_once`: texts that it gets at once, None for a batch within `model.max_batch_tokens`.
    `limits`: settings below the model's that bound a text's tokens.
    """

    load: Callable[[Path, PretrainedModel, Path | None], Engine]
    reads_adapters: bool = True
    by_transformers: bool = True
    device: Callable[[], str] | None = None
    check: Callable[[PretrainedModel, str, ModelFiles | None], None] = lambda model, setting, files: None
    rows_at_once: Callable[[PretrainedModel], int] | None = None
    limits: Callable[[PretrainedModel], dict[str, int | None]] = lambda model: {}

    def device_of(self, model: PretrainedModel) -> str:
        """The kind of device on which a model of this engine runs here."""
        return self.device() if self.device else identity.device_type(model.device)


def _load_local(folder: Path, model: PretrainedModel, adapter: Path | None) -> Engine:
    from cotexp.inference.local import LocalEngine
    from cotexp.models import loading

    return LocalEngine(loading.load(adapter or folder, model, base_folder=folder), compile=model.compile, max_batch_tokens=model.max_batch_tokens)


def _load_vllm(folder: Path, model: PretrainedModel, adapter: Path | None) -> Engine:
    from cotexp.inference.vllm import VllmEngine

    assert adapter is None, "it reads no adapters"
    return VllmEngine(folder, model)


def _check_vllm(model: PretrainedModel, setting: str, files: ModelFiles | None) -> None:
    from cotexp.inference import vllm

    vllm.check(model, setting, files)


def _device_of_vllm() -> str:
    from cotexp.inference import vllm_build

    return vllm_build.device()


def _rows_of_vllm(model: PretrainedModel) -> int:
    from cotexp.inference.vllm import ROWS_AT_ONCE

    return ROWS_AT_ONCE * model.vllm.data_parallel_size


ENGINES = {
    "local": EngineKind(_load_local),
    "vllm": EngineKind(
        _load_vllm,
        reads_adapters=False,
        by_transformers=False,
        device=_device_of_vllm,
        check=_check_vllm,
        rows_at_once=_rows_of_vllm,
        limits=lambda model: {"vllm.max_model_len": model.vllm.max_model_len},
    ),
}
"""Choice of `model.engine` -> what it is."""
