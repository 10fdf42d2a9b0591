"""LoRA adapters, and one trained row of the embeddings."""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import MethodType
from typing import Any

import torch
from safetensors import safe_open
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from cotexp.models.files import first_line, listed
from cotexp.settings.base import ConfigError
from cotexp.settings.training import Lora

ALL = "all-linear"
LAYERS = (torch.nn.Linear, torch.nn.Embedding, torch.nn.Conv1d, torch.nn.Conv2d, Conv1D)
"""Kinds of modules that can have an adapter."""
KNOWN_WARNINGS = (
    "fan_in_fan_out is set to False",
    "`is_gradient_checkpointing` is deprecated",
    ".*_pattern keys did not match",
    "Found missing adapter keys",
)
"""Warnings of peft about choices that it corrects, or that are errors here."""
REMAKE = "remove that folder, and let the run make it again"
PROBE_TOKENS = 8
"""Tokens of the text on which a new adapter is tried."""
ROUNDING = 1e-4
"""Largest change of a logit, as a share of the largest, that rounding explains."""


def add_lora(model: PreTrainedModel, lora: Lora, compress_id: int) -> Any:
    """The model with trainable adapters and a trainable row of `compress_id` in its embeddings and head, tied or untied.

    Raises: ConfigError if the model lacks the targets, or if untrained adapters change its logits.
    """
    before = _logits(model, compress_id)
    adapted = with_adapters(model, lora, compress_id)
    change = float((_logits(adapted, compress_id) - before).abs().max())
    if not change <= ROUNDING * float(before.abs().max()):
        raise ConfigError(
            f"trainer.tuning=lora: untrained adapters change the logits of a {model.config.model_type} by up to {change:.2g}, so the merged model "
            "would differ from the trained one; take trainer.tuning=full"
        )
    return adapted


def follow_autocast(model: Any) -> None:
    """Let adapters take their inputs unconverted, for use only under autocast. peft would keep a float32 copy of each for the backward pass."""
    for each in model.modules():
        if hasattr(each, "cast_input_dtype_enabled"):
            each.cast_input_dtype_enabled = False


def merged(model: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """The model with the adapter in `folder`, which `add_lora` made, merged into its weights.

    Raises: ConfigError if the adapter is damaged, or belongs to another model.
    """
    from peft import PeftModel, get_peft_model_state_dict

    try:
        with safe_open(folder / "adapter_model.safetensors", framework="pt") as file, _quiet():
            adapted = PeftModel.from_pretrained(model, str(folder))
            its, own = set(file.keys()), set(get_peft_model_state_dict(adapted, save_embedding_layers=False))
            infinite = [name for name in its if not torch.isfinite(file.get_tensor(name)).all()]
    except Exception as error:  # noqa: BLE001 - peft and safetensors raise many kinds of errors
        raise ConfigError(f"the adapter in {folder} cannot be put on a {model.config.model_type} ({first_line(error)}); {REMAKE}") from None
    for what, names in {"lacks": own - its, "holds for another model": its - own, "has NaN or infinite values in": set(infinite)}.items():
        if names:
            raise ConfigError(f"the adapter in {folder} {what} {listed(sorted(names))}; {REMAKE}")
    whole: PreTrainedModel = adapted.merge_and_unload()
    return whole


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        for known in KNOWN_WARNINGS:
            warnings.filterwarnings("ignore", message=known)
        yield


def check_targets(model: PreTrainedModel, lora: Lora) -> None:
    """Check that every target module can have an adapter; the shapes of `model` suffice. Raises: ConfigError if one cannot."""
    with_adapters(copy.deepcopy(model), lora, 0)


def with_adapters(model: PreTrainedModel, lora: Lora, compress_id: int) -> Any:
    """The model with untrained adapters and a trainable row, all in float32. Raises: ConfigError if peft cannot add them."""
    _check_names(model, lora)
    try:
        with _quiet():
            adapted = _wrapped(model, lora, compress_id)
    except Exception as error:  # noqa: BLE001 - peft raises many kinds of errors
        reason = f"peft cannot give adapters to {lora.target_modules} of a {model.config.model_type} ({first_line(error)})"
        raise ConfigError(f"trainer.lora.target_modules: {reason}; name other modules, or take trainer.tuning=full") from None

    for each in adapted.parameters():
        if each.requires_grad:
            each.data = each.data.float()
    _read_rows_directly(adapted)
    return adapted


def _check_names(model: PreTrainedModel, lora: Lora) -> None:
    if lora.target_modules == ALL:
        return
    used = {id(each) for each in (model.get_input_embeddings(), model.get_output_embeddings())}
    layers = [(name, each) for name, each in model.named_modules() if isinstance(each, LAYERS) and id(each) not in used]
    known = sorted({name.rsplit(".", 1)[-1] for name, _ in layers})
    for target in _targets(lora):
        found = [each for name, each in model.named_modules() if target and (name == target or name.endswith(f".{target}"))]
        if found and all(isinstance(each, LAYERS) and id(each) not in used for each in found):
            continue
        why = "is none of them" if not found else "cannot have an adapter, since one row of embeddings and head is trained"
        why = why if not found or any(id(each) in used for each in found) else "is not a layer with weights that could have one"
        raise ConfigError(
            f"trainer.lora.target_modules must name layers of the model ({model.config.model_type}: {listed(known, most=12)}), or be {ALL}; "
            f"{target!r} {why}"
        )


def _targets(lora: Lora) -> list[str]:
    return [each.strip() for each in lora.target_modules.split(",")]


def _wrapped(model: PreTrainedModel, lora: Lora, compress_id: int) -> Any:
    from peft import LoraConfig, get_peft_model

    names = {module: name for name, module in model.named_modules()}
    head, tied = model.get_output_embeddings(), model.config.tie_word_embeddings
    trained = {names[each].rsplit(".", 1)[-1]: [compress_id] for each in (model.get_input_embeddings(), *([] if tied else [head]))}
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=ALL if lora.target_modules == ALL else _targets(lora),
        trainable_token_indices=trained,
        task_type="SEQ_2_SEQ_LM" if model.config.is_encoder_decoder else "CAUSAL_LM",
    )
    if tied or not model.config.is_encoder_decoder:
        return get_peft_model(model, config)
    # Encoder and decoder of a Flan-T5 share one embedding, but not the head. peft sees that only if the configuration says "tied".
    model._tied_weights_keys = {each: source for each, source in (model._tied_weights_keys or {}).items() if each != f"{names[head]}.weight"}
    model.config.tie_word_embeddings = True
    adapted = get_peft_model(model, config)
    model.config.tie_word_embeddings = False
    return adapted


def _read_rows_directly(model: Any) -> None:
    """Apply trained rows of embeddings and heads without a copy of the whole matrix or a gradient for it.

    Differs from peft 0.21, which copies matrices of a vocabulary of 152,000 for every pass, and omits the bias of a head (its issue 3649).
    """
    from peft.tuners.trainable_tokens import TrainableTokensLayer

    for layer in (each for each in model.modules() if isinstance(each, TrainableTokensLayer)):
        vars(layer)["forward_adapters"] = MethodType(_with_rows, layer)


def _with_rows(layer: Any, x: torch.Tensor, active_adapters: list[str]) -> torch.Tensor:
    """The output of an embedding for ids x (B, T), or of a head for states x, with the trained rows in place of the original ones."""
    base = layer.get_base_layer()
    output: torch.Tensor = base(x)
    for name in active_adapters if not (layer.disable_adapters or layer.merged) else ():
        rows_KD, ids = layer.trainable_tokens_delta[name], layer.token_indices[name]
        if x.is_floating_point():
            change_KD = rows_KD - base.weight[ids]
            output = output.index_add(-1, torch.tensor(ids, device=x.device), functional.linear(x.to(rows_KD.dtype), change_KD).to(output.dtype))
            continue
        for number, row_D in zip(ids, rows_KD * getattr(base, "embed_scale", 1.0), strict=True):  # Gemma 3 scales its embeddings
            output = torch.where((x == number).unsqueeze(-1), row_D.to(output.dtype), output)
    return output


@torch.no_grad()
def _logits(model: Any, compress_id: int) -> torch.Tensor:
    """Logits of a short text with the mark, (1, T, V). The decoder of an encoder-decoder model reads the same text."""
    was_training = model.training
    ids_BT = torch.tensor([[*range(PROBE_TOKENS - 1), compress_id]], device=model.device)
    both = {"decoder_input_ids": ids_BT} if model.config.is_encoder_decoder else {}
    logits_BTV: torch.Tensor = model.eval()(input_ids=ids_BT, use_cache=False, **both).logits
    model.train(was_training)
    return logits_BTV
