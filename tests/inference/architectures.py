"""Tiny models with random weights of many architectures, each with what it remembers a text by.

Weights are large, so that texts wander and depend on all that was read. Windows are 16 tokens and rotary limits 64, so that short texts lie
on both sides of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers
from transformers import PreTrainedConfig

WINDOW, ROPE_LIMIT, CONTEXT = 16, 64, 256
WIDTH: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "initializer_range": 0.3}
LLAMA: dict[str, Any] = {**WIDTH, "num_key_value_heads": 2, "intermediate_size": 64, "max_position_embeddings": CONTEXT, "tie_word_embeddings": False}
MOE: dict[str, Any] = {**LLAMA, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
STATES: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8, "initializer_range": 0.3, "tie_word_embeddings": False}
LONG: dict[str, Any] = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0, 1.1, 1.2, 1.3],
    "long_factor": [4.0, 8.0, 16.0, 32.0],
    "original_max_position_embeddings": ROPE_LIMIT,
    "factor": CONTEXT / ROPE_LIMIT,
}
SCALED: dict[str, dict[str, Any]] = {
    "linear": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0},
    "yarn": {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": ROPE_LIMIT},
    "dynamic": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0},
}
BART: dict[str, Any] = {"d_model": 32, "max_position_embeddings": CONTEXT, "init_std": 0.3, "forced_eos_token_id": None}
BART |= {f"{part}_{name}": size for part in ("encoder", "decoder") for name, size in {"layers": 2, "attention_heads": 4, "ffn_dim": 64}.items()}
T5: dict[str, Any] = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}

CAUSAL: dict[str, tuple[str, dict[str, Any]]] = {
    "Llama": ("Llama", LLAMA),
    "Qwen2 with a window": ("Qwen2", {**LLAMA, "use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1}),
    "Qwen3": ("Qwen3", {**LLAMA, "head_dim": 8}),
    "Gemma2": ("Gemma2", {**LLAMA, "head_dim": 8, "sliding_window": WINDOW}),
    "Gemma3": ("Gemma3", {**LLAMA, "head_dim": 8, "sliding_window": WINDOW}),
    "Mistral": ("Mistral", {**LLAMA, "sliding_window": WINDOW}),
    "Phi": ("Phi", LLAMA),
    "Phi3 with LongRoPE": ("Phi3", {**LLAMA, "pad_token_id": None, "rope_parameters": LONG, "original_max_position_embeddings": ROPE_LIMIT}),
    "Llama with LongRoPE": ("Llama", {**LLAMA, "rope_parameters": LONG}),
    "Llama with linear RoPE": ("Llama", {**LLAMA, "rope_parameters": SCALED["linear"]}),
    "Llama with YaRN": ("Llama", {**LLAMA, "rope_parameters": SCALED["yarn"]}),
    "Llama with dynamic RoPE": ("Llama", {**LLAMA, "rope_parameters": SCALED["dynamic"], "max_position_embeddings": ROPE_LIMIT}),
    "GPT-2": ("GPT2", {**WIDTH, "n_positions": CONTEXT}),
    "GPT-Neo": ("GPTNeo", {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]], "window_size": WINDOW}),
    "OPT": ("OPT", {**WIDTH, "ffn_dim": 64, "word_embed_proj_dim": 32, "max_position_embeddings": CONTEXT, "init_std": 0.3}),
    "BLOOM": ("Bloom", {"hidden_size": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.3}),
    "Mixtral": ("Mixtral", {**LLAMA, "num_local_experts": 4, "num_experts_per_tok": 2}),
    "Qwen3-MoE": ("Qwen3Moe", {**MOE, "head_dim": 8, "num_experts": 4}),
    "LFM2": ("Lfm2", {**LLAMA, "layer_types": ["conv", "full_attention"]}),
    "Jamba": ("Jamba", {**LLAMA, "attn_layer_period": 2, "attn_layer_offset": 1, "num_experts": 2, "mamba_d_state": 8, "mamba_dt_rank": 8}),
    "Qwen3-Next": ("Qwen3Next", {**MOE, "head_dim": 8, "num_experts": 4, "layer_types": ["linear_attention", "full_attention"]}),
    "Mamba": ("Mamba", STATES),
    "Mamba2": ("Mamba2", {**STATES, "head_dim": 8, "num_heads": 8, "n_groups": 1, "chunk_size": 8}),
    "FalconMamba": ("FalconMamba", STATES),
    "RWKV": ("Rwkv", {"hidden_size": 32, "num_hidden_layers": 2, "attention_hidden_size": 32, "context_length": CONTEXT}),
    "MiniMax": ("MiniMax", {**LLAMA, "head_dim": 8, "block_size": 8, "num_local_experts": 2, "layer_types": ["linear_attention", "full_attention"]}),
}
"""Name -> transformers' name of the architecture, and its configuration."""

ENCODER_DECODERS: dict[str, tuple[str, dict[str, Any]]] = {"T5": ("T5", T5), "BART": ("Bart", BART)}

REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "XLNet": ("XLNet", {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64, "initializer_range": 0.3}),
    "BERT that sees both sides": ("Bert", {**WIDTH, "intermediate_size": 64, "is_decoder": False}),
}


def make(kind: tuple[str, dict[str, Any]], vocabulary: int, eos: int) -> Any:
    """The model in evaluation mode; it begins a text with `eos` where it has a decoder of its own."""
    name, own = kind
    config_name = "Gemma3Text" if name == "Gemma3" else name
    config: Callable[..., PreTrainedConfig] = getattr(transformers, f"{config_name}Config")
    settings = config(vocab_size=vocabulary, eos_token_id=eos, **own)
    if settings.is_encoder_decoder:
        settings.decoder_start_token_id = settings.pad_token_id = eos
    auto = transformers.AutoModelForSeq2SeqLM if settings.is_encoder_decoder else transformers.AutoModelForCausalLM
    torch.manual_seed(0)
    model = auto.from_config(settings).eval()
    for each in model.parameters():
        if name in ("T5", "Rwkv") and each.dim() == 2:
            torch.nn.init.normal_(each, std=0.2)
    return model
