"""Loads weights, and checks that they fit the configuration: no tensor is missing, left over, of another shape, NaN or infinite.

transformers fills missing tensors with random numbers and logs a warning; here that is an error. Tied heads, and tensors that the architecture
declares optional, may be missing.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors import safe_open
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForTokenClassification,
    BitsAndBytesConfig,
    PreTrainedModel,
)

from cotexp.models import files
from cotexp.models.files import Stored
from cotexp.settings.base import ConfigError

LANGUAGE, LABELS = "language", "labels"
"""Kinds of models: those that generate text, and those that label tokens, as LLMLingua-2 does."""

NOT_FINITE = "NaN or infinite values"


def read(folder: Path, setting: str, *, trust_remote_code: bool, kind: str = LANGUAGE, dtype: str = "float32", meta: bool = False) -> PreTrainedModel:
    """The model in `folder` on the CPU, encoder-decoder or causal by its configuration. With `meta` it has only shapes.

    `dtype` is a number format of torch; with "nf4" linear layers are rounded to 4 bits as they are read, and the rest is bfloat16.

    Raises: ConfigError if transformers cannot load it, or with the tensors that do not fit the configuration or are not finite.
    """
    stored, report = files.stored(folder, setting), []
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
        writes = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        with _reported() as report:
            model, found = read_reported(
                AutoModelForTokenClassification if kind == LABELS else writes,
                folder,
                **_format(dtype),
                use_safetensors=True,
                trust_remote_code=trust_remote_code,
                **({"device_map": "meta"} if meta else {}),
            )
    except Exception as error:  # noqa: BLE001 - transformers and the model's own code raise any kind of error
        if names := [line.split("|")[0].strip() for line in report if "| CONVERSION" in line]:
            problem = f"parts are missing or of another shape, of what transformers puts together: {files.listed(names)}"
            raise ConfigError(_do_not_fit(setting, folder, [problem])) from None
        own = f"; it brings its own code, which may run with {setting.removesuffix('.path')}.trust_remote_code=true: read it first"
        advice = own if files.code(folder) and not trust_remote_code else ""
        raise ConfigError(f"{setting}: transformers cannot load {folder} ({files.first_line(error)}){advice}") from None
    layers: Iterable[Any] = model.modules()
    for layer in layers:
        if hasattr(layer, "support_avx512bf16_for_cpu"):  # bitsandbytes 0.50: otherwise a first pass without gradients disables gradients for ever
            layer.support_avx512bf16_for_cpu = False
    _correct_tied(model)
    found["missing_keys"] = {*found["missing_keys"], *_tied_against_config(model, stored, folder)}
    if problems := faults(model, found, stored):
        raise ConfigError(_do_not_fit(setting, folder, problems))
    return model


def _format(dtype: str) -> dict[str, Any]:
    if dtype != "nf4":
        return {"dtype": getattr(torch, dtype)}
    rounded = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=torch.bfloat16)
    return {"dtype": torch.bfloat16, "quantization_config": rounded}


def read_reported(kind: Any, folder: Path, **options: Any) -> tuple[PreTrainedModel, dict[str, Any]]:
    """The model in `folder` as an auto class of transformers loads it, and its report on missing, unexpected and mismatched tensors."""
    model, report = kind.from_pretrained(folder, output_loading_info=True, ignore_mismatched_sizes=True, **options)
    return model, report


@functools.cache
def check(folder: Path, sha256: str, setting: str, *, trust_remote_code: bool, kind: str = LANGUAGE) -> PreTrainedModel:
    """Check a model as `read` does, but hold one tensor in memory at a time. Returns the model with only shapes.

    `sha256` identifies the content of `folder`, so that the same content is checked once.
    Raises: ConfigError as `read` does.
    """
    model = read(folder, setting, trust_remote_code=trust_remote_code, kind=kind, meta=True)
    check_numbers(folder, sha256, setting)
    return model


@functools.cache
def check_numbers(folder: Path, sha256: str, setting: str) -> None:
    """Check that all tensors in `folder` but masks are finite. `sha256` identifies its content. Raises: ConfigError if not."""
    if infinite := sorted(_not_finite(files.stored(folder, setting))):
        raise ConfigError(_do_not_fit(setting, folder, [f"{NOT_FINITE}: {files.listed(infinite)}"]))


def _not_finite(stored: dict[str, Stored]) -> Iterator[str]:
    for path in sorted({each.file for each in stored.values()}):
        with safe_open(path, framework="pt") as file:
            yield from (name for name, each in stored.items() if each.file == path and not each.is_mask and not _is_finite(file.get_tensor(name)))


def _is_finite(tensor: torch.Tensor) -> bool:
    if not tensor.is_floating_point():
        return True
    return bool(torch.isfinite(tensor.float() if tensor.itemsize == 1 else tensor).all())


def _do_not_fit(setting: str, folder: Path, problems: Iterable[str]) -> str:
    return f"{setting}: the weights in {folder} cannot be used with its config.json: {'; '.join(problems)}; restore both, or fetch the model again"


def _correct_tied(model: Any) -> None:
    """Correct the configuration. transformers assumes that the head of every T5 is tied, and ties separate heads when it resizes them."""
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    if head is not None and embedding is not None:
        for config in (model.config, model.config.get_text_config()):
            config.tie_word_embeddings = head.weight is embedding.weight


def faults(model: Any, found: dict[str, Any], stored: Mapping[str, Stored] = MappingProxyType({})) -> list[str]:
    """Errors in the loaded weights: tensors by transformers' report `found`, and NaN or infinite values. `stored` shows which of them are masks."""
    is_quantized = getattr(model.config, "quantization_config", None) is not None
    names = {
        "missing": found["missing_keys"],
        "unexpected": [each for each in found["unexpected_keys"] if not _is_mask(each, stored)],
        "of another shape": [f"{name} is {list(its)} instead of {list(own)}" for name, its, own in found["mismatched_keys"]],
        "whole numbers, as of a quantised model": [
            name for name, each in stored.items() if name.endswith(".weight") and each.dtype[0] in "IU" and not is_quantized
        ],
        NOT_FINITE: [name for name, each in model.named_parameters() if not each.is_meta and not _is_finite(each)],
    }
    return [f"{what}: {files.listed(sorted(own))}" for what, own in names.items() if own]


def _is_mask(name: str, stored: Mapping[str, Stored]) -> bool:
    """Whether an unexpected tensor is a mask. transformers may have changed the prefix of its name."""
    return any(each.is_mask for own, each in stored.items() if own.endswith(name) or name.endswith(own))


def _tied_against_config(model: Any, stored: dict[str, Stored], folder: Path) -> list[str]:
    """The name of a head that is missing: config.json says that it is untied, and transformers uses the embedding instead, as for T5."""
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    if head is None or embedding is None or files.config(folder).get("tie_word_embeddings", True):
        return []
    name = next(name for name, each in model.named_modules() if each is head)
    is_there = any(each.endswith(f"{name}.weight") for each in stored)
    return [f"{name}.weight"] if head.weight is embedding.weight and not is_there else []


@contextlib.contextmanager
def _reported() -> Iterator[list[str]]:
    """Lines of transformers' warnings in this block. Its error does not name the tensors that it could not convert."""
    lines: list[str] = []
    logger = logging.getLogger("transformers.modeling_utils")
    level = logger.level

    def keep(record: logging.LogRecord) -> bool:
        lines.extend(record.getMessage().splitlines())
        return record.levelno > logging.WARNING

    logger.addFilter(keep)
    logger.setLevel(logging.WARNING)
    try:
        yield lines
    finally:
        logger.setLevel(level)
        logger.removeFilter(keep)
