"""Settings of models."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cotexp.settings.base import IF_SET, LARGEST_SEED, Section, setting, shortened

OWN_VARIABLES = ("messages", "add_generation_prompt")
"""Variables of a chat template that no setting changes."""


ENGINES: dict[str, dict[str, tuple[tuple[Any, ...], str]]] = {
    "local": {},
    "vllm": {
        "device": (("auto", "cpu", "cuda"), "runs on what its build is for"),
        "devices": (("1",), "divides texts by vllm.data_parallel_size"),
        "attn_implementation": ((None,), "chooses by itself"),
        "compile": ((False,), "compiles unless vllm.enforce_eager=true"),
    },
}
"""Engine -> settings of the model of which it takes some values alone: these values, and why. `cotexp.inference.engines` loads it."""


def _are_variables(text: str) -> bool:
    try:
        variables = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        return False
    return isinstance(variables, dict) and all(name.isidentifier() and name not in OWN_VARIABLES for name in variables)


@dataclass(slots=True, kw_only=True)
class Vllm(Section):
    """How engine vllm uses the devices of this machine; its texts are the same in any of these ways as far as rounding allows."""

    tensor_parallel_size: int = setting(1, "GPUs, or shares of the processors, over which each copy of the model is split.", low=1, keyed=False)
    data_parallel_size: int = setting(
        1, "Copies of the model, each with GPUs or processors of its own; texts are divided among them.", low=1, keyed=False
    )
    gpu_memory_utilization: float = setting(0.9, "Share of each GPU's memory that vLLM takes for weights and cache.", above=0, high=1, keyed=False)
    cpu_cache_gib: float = setting(
        4.0, "Memory of each copy's cache of keys and values on processors, in GiB; a text has to fit in it.", above=0, keyed=False
    )
    enforce_eager: bool = setting(False, "Whether vLLM does without compiling: it loads in half the time and writes more slowly.", keyed=False)
    max_model_len: int | None = setting(
        None, "Most tokens of prompt and text together that vLLM makes room for; the model's context by default.", low=16, keyed=False
    )


@dataclass(slots=True, kw_only=True)
class PretrainedModel(Section):
    """A causal or encoder-decoder language model that transformers can load."""

    name: str = setting("hf", "Short name for tables.", keyed=False)
    path: str = setting("???", "Folder, hub id, or `shipped:NAME` for a model that comes with this package.", keyed=False, is_path=True)
    revision: str | None = setting(None, "Hub revision; the weights' sha256 is part of every key in any case.", keyed=False)
    dtype: str = setting("float32", "Number format of generation; bfloat16 texts depend on the batch.", choices=("float32", "bfloat16"))
    device: str = setting("auto", "Device of generation; its type is part of every key.", choices=("auto", "cpu", "cuda", "mps"), keyed=False)
    devices: str = setting(
        "1",
        "Devices of this machine that engine local uses at once, a process and a copy of the model on each: a number (on a CPU of processes), "
        "or auto for all GPUs.",
        keyed=False,
    )
    engine: str = setting(
        "local", "What generates: transformers, or vLLM on what its build is for; part of the keys of all texts.", choices=tuple(ENGINES), keyed=False
    )
    compile: bool = setting(
        False, "Whether engine local compiles its steps, over a cache of fixed size; for GPUs. Part of the keys of all texts.", keyed=False
    )
    max_batch_tokens: int = setting(
        32768, "Most tokens in one batch of engine local: texts at once, times the longest prompt with its expected text.", low=1, keyed=False
    )
    attn_implementation: str | None = setting(
        None,
        "How transformers computes attention, in training too; what the model takes by default. flash_attention_2 and flash_attention_3 need an "
        "NVIDIA GPU, a package of their own and bfloat16; flex_attention trains on GPUs alone. Part of the keys of all that the model computes.",
        choices=("sdpa", "eager", "flash_attention_2", "flash_attention_3", "flex_attention"),
        keyed=IF_SET,
    )
    vllm: Vllm = setting(Vllm, "How engine vllm uses the devices.", keyed=False)
    trust_remote_code: bool = setting(False, "Whether code from the model's repository may run; read it first.")
    compress_token: str = setting("<compress>", "The token that asks for a short chain of thought.")
    literal_encoding: bool = setting(False, "Whether chat models also get `Q EOS <compress> EOS` inside the user turn.")
    system_prompt: str | None = setting(None, "What the system says to a chat model; what its template says without one by default.")
    chat_template_kwargs: str = setting(
        "{}",
        "Variables of the chat template, as a JSON object, such as '{\"enable_thinking\": false}'; each must be one that it reads.",
        keyed=IF_SET,
    )
    stop_tokens: list[str] = setting([], "Tokens that end a text, beside the end-of-sequence tokens that the model's files name.")
    context_length: int | None = setting(None, "Most tokens of a prompt and its answer together; the model's own limit by default.", low=16)
    license: str | None = setting(None, "Licence of the weights, for the cards of exports.", keyed=False)

    @property
    def template_variables(self) -> dict[str, Any]:
        """`chat_template_kwargs` as an object."""
        variables: dict[str, Any] = json.loads(self.chat_template_kwargs)
        return variables

    def __post_init__(self) -> None:
        Section.__post_init__(self)
        self.chat_template_kwargs = json.dumps(self.template_variables, sort_keys=True)

    def contradictions(self) -> Iterator[str]:
        if not _are_variables(self.chat_template_kwargs):
            yield (
                f"chat_template_kwargs must be a JSON object of values by name, {' and '.join(OWN_VARIABLES)} not among the names; "
                f"got {shortened(self.chat_template_kwargs)}"
            )
        if not self.compress_token.strip():
            yield f"compress_token must not be empty; got {self.compress_token!r}"
        if not re.fullmatch(r"auto|[1-9][0-9]{0,2}", self.devices):
            yield f"devices must be a number from 1 to 999, or auto; got {self.devices!r}"
        for name, (allowed, reason) in ENGINES.get(self.engine, {}).items():
            if getattr(self, name) not in allowed:
                words, got = " or ".join(map(_word, allowed)), _word(getattr(self, name))
                yield f"{name} must be {words} for engine={self.engine}, which {reason}; got {got}"


def _word(value: Any) -> str:
    """A value as a command line has it."""
    return value if isinstance(value, str) else json.dumps(value)


@dataclass(slots=True, kw_only=True)
class GgufModel(PretrainedModel):
    """A model in a GGUF file, also one that a Python package carries; the run turns it into an ordinary folder once."""

    path: str = setting("???", "The GGUF file, or `package:NAME/FILE` for a file of an installed Python package.", keyed=False, is_path=True)


@dataclass(slots=True, kw_only=True)
class ScratchModel(PretrainedModel):
    """A small Llama-shaped model with random weights and a tokenizer trained on the task."""

    path: str = setting("scratch", "Fixed: the model is made by the run itself.", choices=("scratch",), keyed=False)
    vocab_size: int = setting(1024, "Most tokens in the tokenizer's vocabulary.", low=300, most=1_000_000)
    hidden_size: int = setting(128, "Width of the model.", low=8, most=16_384)
    intermediate_size: int = setting(384, "Width of the feed-forward layers.", low=8, most=65_536)
    num_layers: int = setting(3, "Number of layers.", low=1, most=1000)
    num_heads: int = setting(4, "Number of attention heads.", low=1, most=1000)
    max_length: int = setting(1024, "Longest sequence, in tokens.", low=64, most=1_000_000)
    seed: int = setting(0, "Seed of the random weights.", low=0, most=LARGEST_SEED)

    def contradictions(self) -> Iterator[str]:
        yield from PretrainedModel.contradictions(self)
        if any(self._out_of_bounds()):
            return
        if self.hidden_size % self.num_heads:
            yield f"hidden_size must be a multiple of num_heads ({self.num_heads}); got {self.hidden_size}"
        elif self.hidden_size // self.num_heads % 2:
            yield f"hidden_size must give each of the {self.num_heads} heads an even width, for its rotary positions; got {self.hidden_size}"
        layer = 4 * self.hidden_size**2 + 3 * self.hidden_size * self.intermediate_size
        num_weights = self.vocab_size * self.hidden_size + self.num_layers * layer
        if num_weights > MOST_WEIGHTS:
            yield f"hidden_size, intermediate_size, num_layers and vocab_size must make at most {MOST_WEIGHTS} weights; got {shortened(num_weights)}"


MOST_WEIGHTS = 2_000_000_000
"""Of a model made from scratch: 8 GB in float32."""
