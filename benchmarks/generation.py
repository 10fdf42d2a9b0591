"""Speed of generation: our engine with fixed batches and with a token budget per batch, compared with transformers' `generate`.

    python benchmarks/generation.py [--model shipped:tiny] [--rows 512] [--batch-size 64] [--max-batch-tokens 8192] [--most-rows 128]

There are two workloads: answers to questions, whose lengths are unknown, and rewrites of chains of thought, which are expected to be as long as
the chains. Rows are in their original order or sorted by expected length. All variants use the same model and prompts. Prints the seconds of each
variant (processor seconds on the CPU), the ratio to the first variant, and how many greedy texts are equal.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch

from cotexp.compressions.macc import Macc
from cotexp.inference.engine import Request, rows_of_batch
from cotexp.inference.local import LocalEngine
from cotexp.models import identity, loading
from cotexp.settings.models import PretrainedModel
from cotexp.settings.sampling import Sampling
from cotexp.tasks import StoriesTask, load_questions, prompt_for
from cotexp.tasks.answers import split_solution


class Row(NamedTuple):
    """A prompt with its length `read` and the expected length of its text, both in tokens."""

    prompt: str
    read: int
    expected: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="shipped:tiny")
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--batch-size", type=int, default=64, help="rows of a fixed batch")
    parser.add_argument("--most-rows", type=int, default=128, help="most rows of a batch of a token budget")
    parser.add_argument("--max-batch-tokens", type=int, default=8192)
    parser.add_argument("--max-new-tokens", type=int, default=192)
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--rounds", type=int, default=2, help="number of rounds; the fastest counts")
    options = parser.parse_args()
    settings = PretrainedModel(path=options.model, dtype=options.dtype)
    loaded = loading.load(identity.find(settings).folder, settings)
    clock = time.process_time if loaded.device.type == "cpu" else time.perf_counter
    print(f"{options.model} on {loaded.device}, {loaded.model.dtype}, {options.rows} rows, fastest of {options.rounds} rounds")
    for name, rows in loads(loaded, options).items():
        ways: dict[str, Callable[[], dict[str, str]]] = {
            "transformers, as they come": lambda rows=rows: by_transformers(loaded, fixed(rows, options), options),
            "transformers, ordered": lambda rows=rows: by_transformers(loaded, fixed(ordered(rows), options), options),
            "cotexp, as they come": lambda rows=rows: by_engine(loaded, fixed(rows, options), options),
            "cotexp, ordered": lambda rows=rows: by_engine(loaded, fixed(ordered(rows), options), options),
            "cotexp, ordered, token budget": lambda rows=rows: by_engine(loaded, budgeted(rows, options), options),
        }
        texts, seconds = {}, dict.fromkeys(ways, float("inf"))
        for _ in range(options.rounds):
            for way, generate in ways.items():
                started = clock()
                texts[way] = generate()
                seconds[way] = min(seconds[way], clock() - started)
        first = next(iter(ways))
        sizes = [len(each) for each in budgeted(rows, options)]
        print(f"{name}: batches of {options.batch_size}, or of {min(sizes)} to {max(sizes)}")
        for way in ways:
            same = sum(texts[way][each.prompt] == texts[first][each.prompt] for each in rows)
            print(f"  {way:29} {seconds[way]:7.2f} s   ratio {seconds[first] / seconds[way]:5.2f}   equal texts {same} of {len(rows)}")


def loads(loaded: loading.LoadedModel, options: argparse.Namespace) -> dict[str, list[Row]]:
    task = StoriesTask(num_test=options.rows)
    questions, drawn = load_questions(task).test, random.Random(0)
    chains = [split_solution(drawn.choice(each.references), each.answer_type, each.options)[0].strip() for each in questions]
    rewrites = [Macc().rewrite_prompt(question=each.text, text=chain, answer=each.answer) for each, chain in zip(questions, chains, strict=True)]
    count = loaded.encoder.count
    return {
        "answers": [Row(prompt, count(prompt), options.max_new_tokens) for prompt in (prompt_for(task, each) for each in questions)],
        "rewrites": [Row(prompt, count(prompt), count(chain)) for prompt, chain in zip(rewrites, chains, strict=True)],
    }


def ordered(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda each: (each.expected, each.read))


def fixed(rows: Sequence[Row], options: argparse.Namespace) -> Iterator[list[Row]]:
    for first in range(0, len(rows), options.batch_size):
        yield list(rows[first : first + options.batch_size])


def budgeted(rows: Sequence[Row], options: argparse.Namespace) -> Iterator[list[Row]]:
    rest = ordered(rows)
    while rest:
        size = rows_of_batch((each.read + each.expected for each in rest), max_rows=options.most_rows, max_tokens=options.max_batch_tokens)
        yield rest[:size]
        rest = rest[size:]


def by_engine(loaded: loading.LoadedModel, batches: Iterator[list[Row]], options: argparse.Namespace) -> dict[str, str]:
    """Prompt -> generated text."""
    engine, texts = LocalEngine(loaded), {}
    for batch in batches:
        requests = [Request(each.prompt, each.prompt) for each in batch]
        engine.generate(requests, Sampling(max_new_tokens=options.max_new_tokens), lambda output: texts.__setitem__(output.id, output.text))
    return texts


@torch.inference_mode()
def by_transformers(loaded: loading.LoadedModel, batches: Iterator[list[Row]], options: argparse.Namespace) -> dict[str, str]:
    """Prompt -> generated text."""
    texts, pad = {}, loaded.tokenizer.pad_token_id
    for batch in batches:
        prompts = [loaded.encoder.prompt(each.prompt) for each in batch]
        longest = max(map(len, prompts))
        ids = torch.tensor([[pad] * (longest - len(each)) + each for each in prompts], device=loaded.device)
        mask = torch.tensor([[0] * (longest - len(each)) + [1] * len(each) for each in prompts], device=loaded.device)
        limits = {"max_new_tokens": options.max_new_tokens, "do_sample": False, "pad_token_id": pad, "eos_token_id": loaded.encoder.eos_id}
        out = loaded.model.generate(ids, attention_mask=mask, **limits)
        texts |= {each.prompt: loaded.encoder.decode(row) for each, row in zip(batch, out[:, longest:].tolist(), strict=True)}
    return texts


if __name__ == "__main__":
    main()
