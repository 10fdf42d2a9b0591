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
    four_bits: bool = False
    """Whether the linear layers of the decoder have 4 bits a weight, as `trainer.frozen_dtype=nf4` rounds them."""

    @property
    def first(self) -> int:
        """Tokens of a text that are not supervised."""
        return self.tokens // 4

    def model(self, dtype: torch.dtype) -> Any:
        shape = dict(SHAPES[self.shape])
        if self.layers:
            shape["num_hidden_layers"] = self.layers
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(shape.pop("model_type"), **shape), dtype=dtype)
        if self.four_bits:
            round_layers(model.model.layers)
        return model


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
            rounded_without_numbers(model)
        return _peak_of_step(model, make_loss(model), Peak(tuple(widths)), micro_batches)


def _peak_of_step(model: Any, loss: Loss, peak: Peak, micro_batches: int) -> Counter[str]:
    trained = [each for each in model.parameters() if each.requires_grad]
    for each in (*model.parameters(), *model.buffers()):
        peak.see(each, WEIGHTS)
        if scales := getattr(each, "quant_state", None):
            peak.see(scales.absmax, WEIGHTS)
            peak.see(scales.state2.absmax, WEIGHTS)
    for each in trained:
        each.register_post_accumulate_grad_hook(lambda own: peak.see(own.grad, GRADIENTS))
    optimizer = torch.optim.AdamW(trained, lr=1e-5, foreach=True)
    with peak:
        for _ in range(2):  # the moments of the first step stay for the second
            for _ in range(micro_batches):
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    value = loss()
                value.backward()
                del value
            peak.now = OPTIMISER
            optimizer.step()
            peak.now = None
            optimizer.zero_grad()
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


def round_layers(layers: torch.nn.Module) -> None:
    """Put linear layers of 4 bits in place of all others. Those of shapes alone get their weights from `rounded_without_numbers`."""
    from bitsandbytes.nn import Linear4bit, Params4bit

    for module in list(layers.modules()):
        for name, layer in list(module.named_children()):
            if isinstance(layer, torch.nn.Linear):
                size = layer.in_features, layer.out_features
                rounded = Linear4bit(*size, bias=layer.bias is not None, compute_dtype=torch.bfloat16, quant_type="nf4", device=layer.weight.device)
                rounded.bias = layer.bias
                if layer.weight.device.type != "meta":
                    rounded.weight = Params4bit(layer.weight.data, requires_grad=False, quant_type="nf4", compress_statistics=True)
                    rounded.to(layer.weight.device)
                rounded.support_avx512bf16_for_cpu = False
                setattr(module, name, rounded)


def rounded_without_numbers(model: Any) -> None:
    """Give layers of 4 bits fake weights: half a byte each, a byte for each 64 of them and four for each 16,384."""
    try:
        from bitsandbytes.functional import QuantState
        from bitsandbytes.nn import Linear4bit
    except ImportError:
        return
    for layer in (each for each in model.modules() if isinstance(each, Linear4bit)):
        shape = torch.Size((layer.out_features, layer.in_features))
        weight = torch.nn.Parameter(torch.empty(shape.numel() // 2, 1, dtype=torch.uint8), requires_grad=False)
        blocks = shape.numel() // 64
        scales = QuantState(absmax=torch.empty(-(-blocks // 256)), code=torch.empty(256), blocksize=256, dtype=torch.float32)
        kind: dict[str, Any] = {"shape": shape, "quant_type": "nf4", "blocksize": 64, "code": torch.empty(16), "dtype": torch.bfloat16}
        weight.quant_state = QuantState(absmax=torch.empty(blocks, dtype=torch.uint8), offset=torch.empty(()), state2=scales, **kind)
        layer._parameters["weight"] = weight
