"""Resident memory of fine-tuning over many steps of varying lengths, in bfloat16 on the CPU; it must not grow with the steps.

    python benchmarks/resident_memory.py [--steps 300] [--model smollm2] [--batch-size 4] [--unrounded]

Prints resident memory every 25 steps, its growth after the first 50, and the sum of the losses; `--unrounded` trains on batches padded
no further than their longest example, as a comparison.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path

import psutil
import torch

from cotexp.model_settings import PretrainedModel
from cotexp.models import gguf, identity, loading
from cotexp.models.encoding import Encoded
from cotexp.schema import check_command_line
from cotexp.training import data
from cotexp.training.modules import supervised_loss


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--model", choices=("smollm2", "small"), default="smollm2")
    parser.add_argument("--shortest", type=int, default=60)
    parser.add_argument("--longest", type=int, default=400)
    parser.add_argument("--unrounded", action="store_true")
    options = parser.parse_args()
    multiple = 1 if options.unrounded else data.LENGTH_MULTIPLE
    model = MODELS[options.model]().train()
    rng, process, started, first, total = random.Random(0), psutil.Process(), time.perf_counter(), 0.0, 0.0
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    for step in range(1, options.steps + 1):
        lengths = [rng.randint(options.shortest, options.longest) for _ in range(options.batch_size)]
        encoded = [Encoded([rng.randint(5, 4000) for _ in range(each)], [0] * (each // 3) + [1] * (each - each // 3)) for each in lengths]
        supervised = sum(sum(each.loss_mask) for each in encoded)
        batch = data.collate([data.EncodedExample(each, "full") for each in encoded], 0, supervised, multiple)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = supervised_loss(model, batch)[0].sum() / supervised
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        total += loss.item()
        resident = process.memory_info().rss / 2**20
        first = resident if step == 50 else first
        if step % 25 == 0:
            print(f"step {step:4}  resident {resident:8.1f} MB  {(time.perf_counter() - started) / step:.3f} s a step", flush=True)
    print(f"growth after step 50: {resident / first - 1:+.1%}; losses sum to {total:.6f}")


def _small() -> torch.nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(vocab_size=4096, hidden_size=256, intermediate_size=768, num_hidden_layers=6, num_attention_heads=4))


def _smollm2() -> torch.nn.Module:
    settings = check_command_line(["model=smollm2_135m_gguf"], multirun=False)[0].model
    with tempfile.TemporaryDirectory() as folder:
        gguf.unpack(identity.find_gguf(settings), Path(folder))
        return loading.load_trainable(Path(folder), PretrainedModel(path=folder))[0]


MODELS = {"small": _small, "smollm2": _smollm2}

if __name__ == "__main__":
    main()
