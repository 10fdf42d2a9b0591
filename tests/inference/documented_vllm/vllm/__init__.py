"""The part of vLLM's documented interface that `cotexp.inference.vllm_copies` uses, over a real transformers model on the CPU.

Tests use it where vLLM is not installed. Where it is (`make engines`), the same tests run on vLLM itself, and test_documented_vllm.py checks
that all that stands here is vLLM's: names, defaults, the order in which ends are looked for. An argument that vLLM does not have is a TypeError.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from vllm.sampling_params import SamplingParams as SamplingParams

__version__ = "0.32.0"


@dataclass
class CompletionOutput:
    index: int
    text: str
    token_ids: list[int]
    finish_reason: str | None


@dataclass
class RequestOutput:
    request_id: str
    outputs: list[CompletionOutput]
    finished: bool


class LLMEngine:
    """`step` writes one whole text."""

    def __init__(self, model: str, tokenizer: str, dtype: str, max_model_len: int | None, generation_config: str) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(tokenizer)
        self.model = AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, dtype)).eval()
        longest = self.model.config.max_position_embeddings
        self.max_model_len = max_model_len or longest
        if self.max_model_len > longest:
            raise ValueError(f"User-specified max_model_len ({self.max_model_len}) is greater than the derived max_model_len ({longest})")
        stored = Path(model) / "generation_config.json"
        self.defaults = json.loads(stored.read_text()) if generation_config == "auto" and stored.is_file() else {}
        self.waiting: list[tuple[str, list[int], SamplingParams]] = []

    def add_request(self, request_id: str, prompt: dict[str, Any], params: SamplingParams) -> str:
        if not isinstance(request_id, str):
            raise TypeError(f"request_id must be a string, got {type(request_id)}")
        ids = prompt["prompt_token_ids"]
        if len(ids) >= self.max_model_len:
            raise ValueError(f"The decoder prompt (length {len(ids)}) is longer than the maximum model length of {self.max_model_len}.")
        self.waiting.append((request_id, ids, params))
        return request_id

    def has_unfinished_requests(self) -> bool:
        return bool(self.waiting)

    @torch.inference_mode()
    def step(self) -> list[RequestOutput]:
        time.sleep(float(os.environ.get("DOCUMENTED_VLLM_SLEEP", "0")))
        request_id, prompt, params = self.waiting.pop(0)
        drawn = torch.Generator().manual_seed(params.seed) if params.seed is not None else None
        ends = {*(params.stop_token_ids or []), *([] if params.ignore_eos else [self.tokenizer.eos_token_id])}
        most = min(params.max_tokens or 10**9, self.defaults.get("max_new_tokens", 10**9))
        ids, written, reason = torch.tensor([prompt]), [], None
        output = self.model(ids, use_cache=True)
        while reason is None:
            logits_V = output.logits[0, -1].float()
            if params.temperature < 1e-5:
                token = int(logits_V.argmax())
            else:
                token = int(torch.multinomial(torch.softmax(logits_V / params.temperature, dim=0), 1, generator=drawn))
            written.append(token)
            if token in ends:
                reason = "stop"
            elif len(written) >= most or len(prompt) + len(written) >= self.max_model_len:
                reason = "length"
            else:
                output = self.model(torch.tensor([[token]]), past_key_values=output.past_key_values, use_cache=True)
        text = self.tokenizer.decode(written, skip_special_tokens=params.skip_special_tokens) if params.detokenize else ""
        return [RequestOutput(request_id, [CompletionOutput(0, text, written, reason)], True)]


class LLM:
    def __init__(
        self,
        model: str,
        *,
        tokenizer: str | None = None,
        trust_remote_code: bool = False,
        tensor_parallel_size: int = 1,
        dtype: str = "auto",
        seed: int = 0,
        gpu_memory_utilization: float = 0.92,
        enforce_eager: bool = False,
        kv_cache_memory_bytes: int | None = None,
        max_model_len: int | None = None,
        generation_config: str = "auto",
    ) -> None:
        print("INFO: vLLM writes much to standard output")
        self.llm_engine = LLMEngine(model, tokenizer or model, dtype, max_model_len, generation_config)
