"""The part of vLLM's documented interface that `cotexp.inference.vllm` uses, over a real transformers model on the CPU.

Only what vLLM documents is here, with its names, defaults and order of checks (docs.vllm.ai, vllm.LLM, vllm.SamplingParams,
vllm.outputs): an argument that vLLM does not have is a TypeError. Each start is noted in the file that DOCUMENTED_VLLM_LOG names.
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


@dataclass
class SamplingParams:
    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    stop_token_ids: list[int] | None = None
    ignore_eos: bool = False
    max_tokens: int | None = 16
    min_tokens: int = 0
    detokenize: bool = True
    skip_special_tokens: bool = True


@dataclass
class CompletionOutput:
    index: int
    text: str
    token_ids: tuple[int, ...]
    finish_reason: str | None
    stop_reason: int | str | None = None


@dataclass
class RequestOutput:
    request_id: str
    prompt: str | None
    prompt_token_ids: list[int]
    outputs: list[CompletionOutput]
    finished: bool


class LLM:
    def __init__(
        self,
        model: str,
        *,
        tokenizer: str | None = None,
        skip_tokenizer_init: bool = False,
        trust_remote_code: bool = False,
        tensor_parallel_size: int = 1,
        dtype: str = "auto",
        seed: int = 0,
        gpu_memory_utilization: float = 0.9,
        max_model_len: int | None = None,
        generation_config: str = "auto",
        enforce_eager: bool = False,
    ) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(tokenizer or model)
        self.model = AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, dtype)).eval()
        self.max_model_len = max_model_len or self.model.config.max_position_embeddings
        if self.max_model_len > self.model.config.max_position_embeddings:
            raise ValueError(f"User-specified max_model_len ({self.max_model_len}) is greater than the derived max_model_len")
        stored = Path(model) / "generation_config.json"
        self.defaults = json.loads(stored.read_text()) if generation_config == "auto" and stored.is_file() else {}
        self.num_requests = 0
        with Path(os.environ["DOCUMENTED_VLLM_LOG"]).open("a") as file:
            started = {"pid": os.getpid(), "model": model, "gpus": os.environ["CUDA_VISIBLE_DEVICES"], "tensor_parallel_size": tensor_parallel_size}
            file.write(json.dumps({**started, "dtype": dtype, "gpu_memory_utilization": gpu_memory_utilization}) + "\n")
        print("INFO: vLLM writes much to standard output")

    def generate(
        self, prompts: list[dict[str, Any]], sampling_params: SamplingParams | list[SamplingParams], *, use_tqdm: bool = True
    ) -> list[RequestOutput]:
        params = sampling_params if isinstance(sampling_params, list) else [sampling_params] * len(prompts)
        assert len(params) == len(prompts), "The lengths of prompts and params must be the same."
        return [self._one(prompt["prompt_token_ids"], each) for prompt, each in zip(prompts, params, strict=True)]

    @torch.inference_mode()
    def _one(self, prompt: list[int], params: SamplingParams) -> RequestOutput:
        time.sleep(float(os.environ.get("DOCUMENTED_VLLM_SLEEP", "0")))
        if len(prompt) >= self.max_model_len:
            raise ValueError(f"The decoder prompt (length {len(prompt)}) is longer than the maximum model length of {self.max_model_len}.")
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
            if len(written) >= most or len(prompt) + len(written) >= self.max_model_len:
                reason = "length"
            elif token in ends:
                reason = "stop"
            else:
                output = self.model(torch.tensor([[token]]), past_key_values=output.past_key_values, use_cache=True)
        self.num_requests += 1
        text = self.tokenizer.decode(written, skip_special_tokens=params.skip_special_tokens) if params.detokenize else ""
        completion = CompletionOutput(0, text, tuple(written), reason)
        return RequestOutput(str(self.num_requests), None, prompt, [completion], True)
