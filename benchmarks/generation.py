"""Generation: our engine beside transformers' own `generate`, same model, same prompts, same batch size, in one run.

    python benchmarks/generation.py [--model shipped:tiny] [--questions 256] [--batch-size 64]

Prints seconds of each and their ratio, and how many greedy texts agree.
"""

from __future__ import annotations

import argparse
import time

import torch

from cotexp.inference.engine import Request
from cotexp.inference.local import LocalEngine
from cotexp.model_settings import PretrainedModel, Sampling
from cotexp.models import identity, loading
from cotexp.settings import StoriesTask
from cotexp.tasks import load_questions, prompt_for


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="shipped:tiny")
    parser.add_argument("--questions", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--max-new-tokens", type=int, default=192)
    options = parser.parse_args()
    settings = PretrainedModel(path=options.model)
    loaded = loading.load(identity.find(settings).folder, settings)
    task = StoriesTask(num_test=options.questions)
    prompts = [prompt_for(task, each) for each in load_questions(task).test]
    for _ in range(2):
        ours, our_seconds = with_engine(loaded, prompts, options)
        theirs, their_seconds = with_transformers(loaded, prompts, options)
    same = sum(one == other for one, other in zip(ours, theirs, strict=True))
    print(
        f"{options.model} on {loaded.device}, {loaded.model.dtype}, {len(prompts)} questions, batches of {options.batch_size}, second of two rounds"
    )
    print(f"cotexp engine      {our_seconds:7.2f} s")
    print(f"transformers       {their_seconds:7.2f} s   ratio {their_seconds / our_seconds:.2f}")
    print(f"equal greedy texts {same} of {len(prompts)}")


def with_engine(loaded: loading.LoadedModel, prompts: list[str], options: argparse.Namespace) -> tuple[list[str], float]:
    started = time.perf_counter()
    engine, texts = LocalEngine(loaded), {}
    requests = sorted((Request(str(i), text) for i, text in enumerate(prompts)), key=lambda each: len(each.prompt))
    for first in range(0, len(requests), options.batch_size):
        engine.generate(
            requests[first : first + options.batch_size],
            Sampling(max_new_tokens=options.max_new_tokens),
            lambda output: texts.__setitem__(output.id, output.text),
        )
    return [texts[str(i)] for i in range(len(prompts))], time.perf_counter() - started


@torch.inference_mode()
def with_transformers(loaded: loading.LoadedModel, prompts: list[str], options: argparse.Namespace) -> tuple[list[str], float]:
    started = time.perf_counter()
    texts = []
    pad = loaded.tokenizer.pad_token_id
    for first in range(0, len(prompts), options.batch_size):
        batch = [loaded.encoder.prompt(each) for each in prompts[first : first + options.batch_size]]
        longest = max(map(len, batch))
        ids = torch.tensor([[pad] * (longest - len(each)) + each for each in batch], device=loaded.device)
        mask = torch.tensor([[0] * (longest - len(each)) + [1] * len(each) for each in batch], device=loaded.device)
        out = loaded.model.generate(
            ids, attention_mask=mask, max_new_tokens=options.max_new_tokens, do_sample=False, pad_token_id=pad, eos_token_id=loaded.encoder.eos_id
        )
        texts += [loaded.encoder.decode(row) for row in out[:, longest:].tolist()]
    return texts, time.perf_counter() - started


if __name__ == "__main__":
    main()
