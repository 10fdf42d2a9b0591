"""Decides whether a fine-tuning must compute its activations twice because they would not fit into the memory of a device."""

from __future__ import annotations

from typing import Any

import psutil
import torch

from cotexp.settings.training import Trainer

SHARE = 0.8
"""Share of a device's memory for training. The rest is for temporary tensors and other programs."""
BYTES_PER_TRAINED = 12
"""A gradient and two moments in float32."""


def computes_twice(model: Any, trainer: Trainer, num_tokens: int, device: torch.device) -> bool:
    """Whether activations are computed again in the backward pass: as the settings say, or by default if a step would not fit otherwise.

    `num_tokens` are those of the largest micro-batch.
    """
    if trainer.gradient_checkpointing is not None:
        return trainer.gradient_checkpointing
    return step_bytes(model, trainer, num_tokens) > SHARE * memory_of(device, trainer)


def step_bytes(model: Any, trainer: Trainer, num_tokens: int) -> int:
    """Bytes of weights, gradients, optimiser and all activations of a step.

    A token has about two activations per weight of the layers, divided by the width: 2 bytes each in bfloat16, 4 in float32. benchmarks/memory.py
    counts 0.9 to 1.2 times as much for adapters, and 1.2 to 1.7 times for all weights of a small model.
    """
    parameters = list(model.parameters())  # integers hold two weights of 4 bits each
    vocabulary = {id(each.weight): each.weight.numel() for each in (model.get_input_embeddings(), model.get_output_embeddings())}
    in_layers = int(sum(each.numel() * (1 if each.is_floating_point() else 2) for each in parameters) - sum(vocabulary.values()))
    width = int(model.get_input_embeddings().weight.shape[1])
    activations = num_tokens * 2 * in_layers // width * (2 if trainer.precision == "bfloat16" else 4)
    trained = sum(each.numel() for each in parameters if each.requires_grad)
    return int(activations + BYTES_PER_TRAINED * trained + sum(each.nbytes for each in parameters))


def memory_of(device: torch.device, trainer: Trainer) -> int:
    """Bytes of a device's memory; on a CPU, the part of one worker process."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return int(psutil.virtual_memory().total) // (trainer.devices if device.type == "cpu" else 1)
