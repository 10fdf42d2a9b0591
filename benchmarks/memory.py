"""Resident memory over batches of varying lengths in bfloat16 on the CPU: texts generated, or texts scored.

    python benchmarks/memory.py generate|score [--batches 300] [--dtype bfloat16] [--layers 4]

Random weights in the widths of SmolLM2-135M. For what torch does by itself, set ONEDNN_PRIMITIVE_CACHE_CAPACITY=1024 LRU_CACHE_CAPACITY=1024.
Prints resident memory (MB) and processor seconds after some batches.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from cotexp.inference.engine import Request
from cotexp.inference.local import LocalEngine
from cotexp.inference.scoring import Item, Scorer, Text
from cotexp.model_settings import PretrainedModel, Sampling, ScratchModel
from cotexp.models import loading, scratch
from cotexp.models.loading import LoadedModel


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("generate", "score"))
    parser.add_argument("--batches", type=int, default=300)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--layers", type=int, default=4)
    options = parser.parse_args()
    torch.set_num_threads(1)
    loaded = load(options.layers, options.dtype)
    draw, started = random.Random(0), time.process_time()
    engine, scorer = LocalEngine(loaded), Scorer(loaded)
    for number in range(options.batches):
        if options.what == "generate":
            requests = [Request(f"{number}/{row}", "x y" * draw.randint(5, 100)) for row in range(draw.randint(2, 8))]
            engine.generate(requests, Sampling(max_new_tokens=draw.randint(8, 24)), lambda output: None)
        else:
            scorer.score([item(draw, loaded.model.config.vocab_size) for _ in range(2)], lambda name, scores: None)
        if (number + 1) % max(1, options.batches // 12) == 0:
            print(f"{options.what}, {options.dtype}, batch {number + 1}: {resident():.0f} MB, {time.process_time() - started:.0f} s", flush=True)


def load(num_layers: int, dtype: str) -> LoadedModel:
    with tempfile.TemporaryDirectory() as folder:
        scratch.make(ScratchModel(hidden_size=32, intermediate_size=64, num_layers=1), ["x y z"] * 100, Path(folder) / "tiny")
        loaded = loading.load(Path(folder) / "tiny", PretrainedModel(path="tiny", device="cpu"))
    shape = {"hidden_size": 576, "intermediate_size": 1536, "num_attention_heads": 9, "num_key_value_heads": 3, "num_hidden_layers": num_layers}
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=max(2000, len(loaded.tokenizer)), max_position_embeddings=4096, **shape))
    return replace(loaded, model=model.eval().to(getattr(torch, dtype)), context_length=4096)


def item(draw: random.Random, vocabulary: int) -> Item:
    """A prompt and three texts, whose every token is read."""
    texts = [[draw.randrange(vocabulary) for _ in range(draw.randint(5, 80))] for _ in range(3)]
    return Item("", [draw.randrange(vocabulary) for _ in range(draw.randint(20, 200))], [Text(each, list(range(len(each)))) for each in texts])


def resident() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


if __name__ == "__main__":
    main()
