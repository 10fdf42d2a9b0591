"""What a fine-tuning costs: its tokens, its FLOPs by the sizes of the model, and the hours of its devices."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from cotexp.methods.flops import ModelSize, Weights
from cotexp.models import identity
from cotexp.settings.base import ConfigError
from cotexp.settings.training import Trainer
from cotexp.training.batch_plans import BatchPlan
from cotexp.training.data import EncodedExample

EXPERTS = "experts"
"""Part of the name of a module that holds the weights of several experts, of which a token uses some."""
CROSS, OF_SOURCE = ("EncDecAttention", "encoder_attn"), ("k", "v", "k_proj", "v_proj")
"""Names of a decoder's attention to the source, and of its layers that read the source."""


def spent(plan: BatchPlan, examples: Sequence[EncodedExample], flops: Sequence[int]) -> dict[str, int]:
    """Supervised tokens of the examples, and what all steps together read, learn from and compute (without `flops` of each example, not those)."""
    seen = [index for batch in plan.global_batches for index in batch]
    of_example = {
        "num_tokens_seen": [len(each.encoded.ids) for each in examples],
        "num_supervised_tokens_seen": [sum(each.encoded.loss_mask) for each in examples],
        **({"flops": flops} if flops else {}),
    }
    totals = {name: sum(numbers[index] for index in seen) for name, numbers in of_example.items()}
    return {"num_supervised_tokens": sum(of_example["num_supervised_tokens_seen"]), **totals}


def num_devices(trainer: Trainer) -> int:
    """Devices of all processes: GPUs, or cores, one for each thread of PyTorch in each process."""
    return trainer.num_workers * (torch.get_num_threads() if identity.device_type(trainer.accelerator) == "cpu" else 1)


def hours(trainer: Trainer, seconds: float | None, device_seconds: float | None) -> dict[str, float | str]:
    """Seconds of the fine-tuning, core_hours or gpu_hours of all its devices, as far as these are known, and the name of the devices at its end."""
    kind = identity.device_type(trainer.accelerator)
    found: dict[str, float | str] = {"device": f"{num_devices(trainer)} x {_device_name(kind)}"}
    if seconds is not None:
        found["seconds"] = round(seconds, 3)
    if device_seconds is not None:
        found[f"{'core' if kind == 'cpu' else 'gpu'}_hours"] = device_seconds / 3600
    return found


def _device_name(kind: str) -> str:
    if kind != "cpu":
        return identity.device_name(kind)
    with contextlib.suppress(OSError):  # Linux alone has this file
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return f"core of {line.partition(':')[2].strip()}"
    return f"core of {platform.processor() or platform.machine()}"


def num_parameters(model: Any) -> int:
    """All weights of a model, those of adapters included."""
    return sum(_numel(each) for each in model.parameters())


def _numel(parameter: torch.Tensor) -> int:
    return parameter.numel() * (1 if parameter.is_floating_point() else 2)  # integers hold two weights of 4 bits each


def check_budget(config: Any, trainer: Trainer) -> None:
    """Raises: ConfigError if the trainer's budget is of FLOPs, and those of a model with this configuration cannot be counted."""
    if trainer.max_petaflops is not None and _widths(config) is None:
        raise ConfigError(
            f"trainer.max_petaflops needs a model whose layers are all attention, whose FLOPs can be counted; got a {config.model_type} with "
            f"{trainer.max_petaflops:.4g}; take trainer.max_tokens"
        )


def flops_of(size: ModelSize | None, examples: Sequence[EncodedExample]) -> list[int]:
    """FLOPs of each example in a training step; none if those of the model cannot be counted."""
    if size is None:
        return []
    found = []
    for ids, mask in (each.encoded for each in examples):
        supervised = sum(mask)
        num_source = len(ids) - supervised if size.source.total else 0
        found.append(size.step(num_text=len(ids) - num_source, num_supervised=supervised, num_source=num_source))
    return found


def size_of(model: Any) -> ModelSize | None:
    """The weights of a model and the widths of its attention, with or without adapters; None if a layer is no attention, such as a recurrence."""
    base = model.get_base_model() if hasattr(model, "peft_config") else model
    widths = _widths(base.config)
    if widths is None:
        return None
    of_head = {id(each) for each in base.get_output_embeddings().modules()}
    encoder = {id(each) for each in base.get_encoder().modules()} if base.config.is_encoder_decoder else set()
    parts = {"text": Weights(), "source": Weights(), "head": Weights()}
    for path, module in base.named_modules():
        names = path.split(".")
        reads_source = id(module) in encoder or (any(each in names for each in CROSS) and any(each in names for each in OF_SOURCE))
        part = "head" if id(module) in of_head else "source" if reads_source else "text"
        for total, is_trained in _multiplied(module, names, base.config.get_text_config()):
            before = parts[part]
            parts[part] = Weights(before.total + total, before.trained + total * is_trained)
    return ModelSize(text=parts["text"], source=parts["source"], head=parts["head"], **widths)


def _multiplied(module: torch.nn.Module, names: list[str], config: Any) -> Iterator[tuple[int, bool]]:
    """(number, whether they are trained) of the weights of this module by which each token is multiplied. An embedding is looked up."""
    if isinstance(module, torch.nn.Embedding):
        return
    for name, each in module.named_parameters(recurse=False):
        number = _numel(each)
        if EXPERTS in names and each.dim() == 3:
            yield number * config.num_experts_per_tok // each.shape[0], each.requires_grad
        elif each.dim() > 1 and name == "weight":
            yield number, each.requires_grad


def _widths(config: Any) -> dict[str, Any] | None:
    """The widths of all attention layers together; None if there are other layers."""
    text = config.get_text_config()
    heads, num_layers = getattr(text, "num_attention_heads", None), getattr(text, "num_hidden_layers", 0)
    kinds = getattr(text, "layer_types", None) or getattr(text, "layers_block_type", None) or ["attention"] * num_layers
    if not heads or not all(kind.endswith("attention") and kind != "linear_attention" for kind in kinds):
        return None
    width = heads * (getattr(text, "head_dim", None) or text.hidden_size // heads)
    if hasattr(text, "qk_head_dim"):  # DeepSeek's queries and keys are wider than its values
        width = heads * (text.qk_head_dim + text.v_head_dim) // 2
    if not config.is_encoder_decoder:
        return {"text_width": width * num_layers}
    decoder = width * (getattr(config, "num_decoder_layers", None) or getattr(config, "decoder_layers", num_layers))
    return {"text_width": decoder, "cross_width": decoder, "source_width": width * num_layers}
