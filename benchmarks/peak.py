"""The memory of a training step by kind, counted by storage: for real tensors, or for fake ones, which have only shapes."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AutoConfig, AutoModelForCausalLM

WEIGHTS, GRADIENTS, OPTIMISER, LOGITS, ACTIVATIONS = KINDS = ("weights", "gradients", "optimiser", "logits", "activations")
QWEN: dict[str, Any] = {"model_type": "qwen2", "max_position_embeddings": 32768}
SHAPES: dict[str, dict[str, Any]] = {
    "qwen2_5_7b": QWEN
    | {"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4}
    | {"vocab_size": 152064, "tie_word_embeddings": False},
    "qwen2_5_0_5b": QWEN
    | {"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2}
    | {"vocab_size": 151936, "tie_word_embeddings": True},
    "smollm2_135m": {"model_type": "llama", "max_position_embeddings": 8192, "tie_word_embeddings": True}
    | {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3}
    | {"vocab_size": 49152},
}


@dataclass(frozen=True, slots=True)
class Step:
    """A fine-tuning step: `rows` texts of `tokens` tokens per micro-batch, with the last three quarters of every text supervised."""

    shape: str
    tuning: str
    rows: int
    tokens: int
    checkpointing: bool
    layers: int | None = None

    @property
    def first(self) -> int:
        """Tokens of a text that are not supervised."""
        return self.tokens // 4

    def model(self, dtype: torch.dtype) -> Any:
        shape = dict(SHAPES[self.shape])
        if self.layers:
            shape["num_hidden_layers"] = self.layers
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(shape.pop("model_type"), **shape), dtype=dtype)


@dataclass
class Peak(TorchDispatchMode):
    """Counts the bytes of all live storages that are made in this block, by kind, and keeps the counts at their highest sum."""

    logits_widths: tuple[int, ...]
    live: Counter[str] = field(default_factory=Counter)
    at_peak: Counter[str] = field(default_factory=Counter)
    kinds: dict[int, str] = field(default_factory=dict)
    now: str | None = None

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for each in tree_leaves(result):
            if isinstance(each, torch.Tensor):
                self.see(each)
        if self.live.total() > self.at_peak.total():
            self.at_peak = Counter(self.live)
        return result

    def see(self, tensor: torch.Tensor, kind: str | None = None) -> None:
        storage = tensor.untyped_storage()
        name, size = storage._cdata, storage.nbytes()
        if name in self.kinds:
            if kind:
                self.live[self.kinds[name]] -= size
                self.live[kind] += size
                self.kinds[name] = kind
            return
        is_logits = tensor.dim() > 1 and tensor.shape[-1] in self.logits_widths
        self.kinds[name] = kind or self.now or (LOGITS if is_logits else ACTIVATIONS)
        self.live[self.kinds[name]] += size
        weakref.finalize(storage, self.forget, name, size)

    def forget(self, name: int, size: int) -> None:
        self.live[self.kinds.pop(name)] -= size


Loss = Callable[[], torch.Tensor]


def measured(
    make_model: Callable[[], Any], make_loss: Callable[[Any], Loss], *, widths: Iterable[int], fake: bool, micro_batches: int = 2
) -> Counter[str]:
    """Bytes by kind at the peak of a step with AdamW. Logits are tensors with one of `widths` as last size."""
    with torch.device("meta") if fake else nullcontext():
        model = make_model()
    with FakeTensorMode(allow_non_fake_inputs=True) if fake else nullcontext():
        if fake:
            without_numbers(model)
        return _peak_of_step(model, make_loss(model), Peak(tuple(widths)), micro_batches)


def _peak_of_step(model: Any, loss: Loss, peak: Peak, micro_batches: int) -> Counter[str]:
    trained = [each for each in model.parameters() if each.requires_grad]
    for each in (*model.parameters(), *model.buffers()):
        peak.see(each, WEIGHTS)
    for each in trained:
        each.register_post_accumulate_grad_hook(lambda own: peak.see(own.grad, GRADIENTS))
    optimizer = torch.optim.AdamW(trained, lr=1e-5, foreach=True)
    with peak:
        for _ in range(micro_batches):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                value = loss()
            value.backward()
            del value
        peak.now = OPTIMISER
        optimizer.step()
    return peak.at_peak


def without_numbers(model: Any) -> None:
    """Turn a model with only shapes into one with fake tensors on a CPU. Tied weights stay tied."""
    made: dict[int, torch.Tensor] = {}
    for module in model.modules():
        for own, wrap in ((module._parameters, True), (module._buffers, False)):
            for name, each in own.items():
                if each is not None:
                    empty = torch.empty_like(each, device="cpu")
                    made.setdefault(id(each), torch.nn.Parameter(empty, requires_grad=each.requires_grad) if wrap else empty)
                    own[name] = made[id(each)]
