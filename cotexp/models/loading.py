"""Loads models and tokenizers from folders, adds the `<compress>` token, and saves fine-tuned models."""

from __future__ import annotations

import copy
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken
from transformers import AutoConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from cotexp.models import adapters, weights
from cotexp.models.causality import check_causal
from cotexp.models.embeddings import num_embeddings
from cotexp.models.encoding import Encoder
from cotexp.models.files import first_line, too_large
from cotexp.models.identity import ModelFiles, device_type
from cotexp.models.shape_caches import bound_shape_caches
from cotexp.models.tokenizer import load_tokenizer
from cotexp.settings.base import ConfigError
from cotexp.settings.models import PretrainedModel

transformers_logging.disable_progress_bar()
transformers_logging.set_verbosity_error()


@dataclass(slots=True)
class LoadedModel:
    """A causal or encoder-decoder model in evaluation mode with its tokenizer and encoder."""

    model: Any
    tokenizer: Any
    encoder: Encoder
    device: torch.device
    context_length: int | None
    """Most tokens of prompt and text together; None without a limit."""


def load(folder: Path, settings: PretrainedModel, *, base_folder: Path | None = None) -> LoadedModel:
    """The model in `folder`, ready to generate. An adapter is merged into the model in `base_folder`.

    Raises: ConfigError if transformers cannot load it, or its weights do not fit its configuration.
    """
    device = torch.device(device_type(settings.device))
    is_adapter = (folder / "adapter_config.json").is_file()
    source = base_folder if is_adapter and base_folder else folder
    model, tokenizer = load_trainable(source, settings, "float32" if is_adapter else settings.dtype)
    if is_adapter:
        tokenizer = tokenizer_of(folder, settings, "model.path")
        add_compress_token(model, tokenizer, settings.compress_token)
        model = adapters.merged(model, folder)
        cast(model.parameters(), getattr(torch, settings.dtype))
    placed = model.to(device=device)  # type: ignore[call-arg]  # transformers declares `to` without self
    return LoadedModel(placed.eval(), tokenizer, make_encoder(model, tokenizer, settings), device, context_length(model, settings))


def cast(parameters: Iterable[torch.nn.Parameter], dtype: torch.dtype) -> None:
    """Convert the parameters one by one. Buffers are not converted: rotary frequencies rounded to 16 bits would belong to other positions."""
    for each in parameters:
        each.data = each.data.to(dtype)


def load_trainable(folder: Path, settings: PretrainedModel, dtype: str = "float32") -> tuple[PreTrainedModel, Any]:
    """The model on the CPU, encoder-decoder or causal as its configuration says, and its tokenizer."""
    bound_shape_caches()
    tokenizer = tokenizer_of(folder, settings, "model.path")
    model = weights.read(folder, "model.path", trust_remote_code=settings.trust_remote_code, dtype=dtype)
    _check_vocabulary(model, tokenizer, settings, folder, "model.path")
    _use_attention(model, settings, "model.path")
    check_causal(model)
    _add_stop_tokens(model, tokenizer, settings)
    if model.config.is_encoder_decoder:
        _check_decoder_start(model, folder)
    return model, tokenizer


def check(files: ModelFiles, settings: PretrainedModel, setting: str) -> PreTrainedModel:
    """Check a model without holding its weights in memory, and return its shapes.

    Raises: ConfigError, with `setting` as its path, for everything that `load` refuses in weights, configuration and tokenizer.
    """
    model = weights.check(files.folder, files.sha256, setting, trust_remote_code=settings.trust_remote_code)
    _check_vocabulary(model, tokenizer_of(files.folder, settings, setting), settings, files.folder, setting)
    _use_attention(copy.deepcopy(model), settings, setting)
    return model


def _use_attention(model: PreTrainedModel, settings: PretrainedModel, setting: str) -> None:
    """Let the model compute attention as the settings say. Raises: ConfigError if it cannot; some models would silently use another kind."""
    if (wanted := settings.attn_implementation) is None:
        return
    try:
        model.set_attn_implementation(wanted)
        reason = f"uses {model.config._attn_implementation}"
    except (ImportError, ValueError) as error:
        reason = first_line(error)
    if model.config._attn_implementation != wanted:
        where = setting.removesuffix("path") + "attn_implementation"
        raise ConfigError(f"{where}: a {model.config.model_type} has no {wanted} here ({reason}); take sdpa or eager")


def tokenizer_of(folder: Path, settings: PretrainedModel, setting: str) -> Any:
    """The tokenizer of a model. Raises: ConfigError, with `setting` as the path of the model."""
    try:
        tokenizer = load_tokenizer(folder, settings)
    except ConfigError as error:
        raise ConfigError(*(re.sub(r"^model\.", setting.removesuffix("path"), each) for each in error.problems)) from None
    except Exception as error:  # noqa: BLE001 - tokenizers raises nothing narrower for a file that it cannot read
        raise ConfigError(f"{setting}: transformers cannot load the tokenizer in {folder} ({first_line(error)})") from None
    if tokenizer.eos_token_id is None:
        raise ConfigError(f"{setting}: the tokenizer in {folder} has no end-of-sequence token; set eos_token in its tokenizer_config.json")
    return tokenizer


def _check_vocabulary(model: PreTrainedModel, tokenizer: Any, settings: PretrainedModel, folder: Path, setting: str) -> None:
    """Refuse a model without a head, or without a row in its embeddings for an id that prompts, texts or padding can contain.

    Unused special tokens may have ids beyond the last row, as in Gemma 3, and so may the mark, which gets a row.
    """
    if model.get_output_embeddings() is None:
        raise ConfigError(f"{setting}: the model in {folder} ({model.config.model_type}) has no head that writes tokens; take a language model")
    try:
        prompt = make_encoder(model, tokenizer, settings).prompt("How many are 2 and 3?")
    except Exception as error:  # noqa: BLE001 - tokenizers raises nothing narrower
        raise ConfigError(f"{setting}: the tokenizer in {folder} cannot encode a text ({first_line(error)})") from None
    rows = num_embeddings(model)
    beyond = {number for name, number in tokenizer.get_vocab().items() if number >= rows and name != settings.compress_token}
    special = {number for number, each in tokenizer.added_tokens_decoder.items() if each.special}
    if unusable := (beyond - special) | (beyond & {tokenizer.eos_token_id, tokenizer.pad_token_id, *prompt}):
        raise ConfigError(too_large(setting, folder, max(unusable), rows))


def is_encoder_decoder(folder: Path, settings: PretrainedModel) -> bool:
    """Whether the model in `folder` reads with an encoder and writes with a decoder, like T5."""
    return bool(AutoConfig.from_pretrained(folder, trust_remote_code=settings.trust_remote_code).is_encoder_decoder)


def context_of(folder: Path, settings: PretrainedModel) -> int | None:
    """`context_length` of a model that is not in memory."""
    return _context_length(AutoConfig.from_pretrained(folder, trust_remote_code=settings.trust_remote_code), settings)


def context_length(model: PreTrainedModel, settings: PretrainedModel) -> int | None:
    """Most tokens of prompt and answer together; for an encoder-decoder model of each of the two. None without a limit, as for T5.

    Raises: ConfigError if the settings ask for more than the model has.
    """
    return _context_length(model.config, settings)


def _context_length(config: Any, settings: PretrainedModel) -> int | None:
    own: int | None = getattr(config.get_text_config(), "max_position_embeddings", None)
    if own is not None and own < 1:  # XLNet: -1 means no limit
        own = None
    wanted = settings.context_length
    if own and wanted and wanted > own:
        raise ConfigError(f"model.context_length must be at most the model's own {own}; got {wanted}")
    return wanted or own


def _add_stop_tokens(model: PreTrainedModel, tokenizer: Any, settings: PretrainedModel) -> None:
    """Add the settings' stop tokens to the end tokens of the model's generation config, which is saved with it."""
    unknown = [each for each in settings.stop_tokens if each not in tokenizer.get_vocab()]
    if unknown:
        raise ConfigError(f"model.stop_tokens must name tokens of the model's vocabulary; got {', '.join(map(repr, unknown))}")
    if settings.stop_tokens:
        ids = tokenizer.convert_tokens_to_ids(settings.stop_tokens)
        model.generation_config.eos_token_id = sorted({tokenizer.eos_token_id, *ids, *_listed(model.generation_config.eos_token_id)})


def make_encoder(model: PreTrainedModel, tokenizer: Any, settings: PretrainedModel) -> Encoder:
    """The encoder of this model's prompts and completions."""
    return Encoder.of(
        tokenizer,
        compress_token=settings.compress_token,
        literal=settings.literal_encoding,
        encoder_decoder=model.config.is_encoder_decoder,
    )


def decoder_inputs(model: Any, target_BT: torch.Tensor) -> torch.Tensor:
    """Inputs (B, T) of an encoder-decoder model's decoder for `target_BT`: its start token, then the targets without the last."""
    shifted: torch.Tensor = model.prepare_decoder_input_ids_from_labels(target_BT)
    return shifted


def _check_decoder_start(model: PreTrainedModel, folder: Path) -> None:
    try:
        decoder_inputs(model, torch.zeros(1, 1, dtype=torch.long))
    except (AttributeError, ValueError, TypeError):
        raise ConfigError(
            f"model.path: the model in {folder} ({model.config.model_type}) does not say what its decoder reads first; "
            "set decoder_start_token_id in its config.json, or take another kind of model"
        ) from None


def add_compress_token(model: PreTrainedModel, tokenizer: Any, token: str) -> int:
    """Id of the `<compress>` token. If it is missing, it is added to tokenizer and model, with the mean of all rows as its row."""
    rows = num_embeddings(model)
    is_new = token not in tokenizer.get_vocab()
    if is_new:
        tokenizer.add_tokens([AddedToken(token, special=True, normalized=False)], special_tokens=True)
    token_id = int(tokenizer.convert_tokens_to_ids(token))
    if is_new or len(tokenizer) > rows:
        if len(tokenizer) > rows:
            model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        with torch.no_grad():
            layers: set[Any] = {model.get_input_embeddings(), model.get_output_embeddings()}  # one layer if they are tied
            for layer in layers:
                for values in filter(lambda each: each is not None, (layer.weight, getattr(layer, "bias", None))):
                    values[token_id] = values[:token_id].mean(dim=0, dtype=torch.float32)
    return int(tokenizer.convert_tokens_to_ids(token))


def save(model: Any, tokenizer: Any, folder: Path, *, dtype: torch.dtype | None = None) -> None:
    """Write the weights as safetensors (under LoRA only those of the adapter), and the tokenizer with its chat template."""
    is_adapter = hasattr(model, "peft_config")
    if dtype is not None:
        cast((each for each in model.parameters() if each.requires_grad or not is_adapter), dtype)
    model.save_pretrained(folder, **({"save_embedding_layers": False} if is_adapter else {}))
    tokenizer.save_pretrained(folder)
    for path in folder.glob("*.safetensors"):
        shutil.copymode(folder / ("adapter_config.json" if is_adapter else "config.json"), path)  # safetensors removes the read permission of others


def generation_stop_ids(loaded: LoadedModel) -> set[int]:
    """Every id that ends a text: the tokenizer's EOS and those of the generation settings."""
    return {loaded.encoder.eos_id, *_listed(loaded.model.generation_config.eos_token_id)}


def _listed(ids: int | list[int] | None) -> list[int]:
    return ids if isinstance(ids, list) else [] if ids is None else [ids]
