"""Converts a GGUF file to a transformers folder: weights dequantised to float32, tokenizer and chat template as in the file."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from cotexp.models import weights
from cotexp.models.files import first_line
from cotexp.settings.base import ConfigError


def unpack(path: Path, folder: Path) -> None:
    """Write the model in `path` to `folder`.

    Raises: ConfigError if transformers cannot read it, or finds tensors missing, left over, of another shape, or not finite.
    """
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        read, found = weights.read_reported(AutoModelForCausalLM, path.parent, gguf_file=path.name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    except Exception as error:  # noqa: BLE001 - truncated files raise many kinds of errors
        raise ConfigError(f"model.path: transformers cannot read {path} ({first_line(error)})") from None
    if faults := weights.faults(read, found):
        raise ConfigError(f"model.path: the tensors in {path} are not those of the model that it describes: {'; '.join(faults)}; fetch it again")
    config = type(read.config).from_dict({name: value for name, value in read.config.to_dict().items() if name != "quantization_config"})
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)  # `read` counts as quantised and cannot be saved
    model.load_state_dict(read.state_dict())
    model.generation_config = read.generation_config
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
