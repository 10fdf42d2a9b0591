"""Generation beside transformers' `generate` in data order at its best batch, and beside its continuous batching: same prompts, same model.

    python benchmarks/generation.py [--data FOLDER] [--rows 256] [--smollm2-rows 32] [--max-new-tokens 128] [--rounds 1] [--device cpu]

The prompts are questions of GSM8K (FOLDER as `paths.data` takes it), the models the embedded one and SmolLM2-135M in float32. Ours orders and cuts
batches as a run does. Greedy texts must be equal; sampled ones are as many. Goals: twice as fast as `generate`, 1.2 times as continuous batching.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from measure import Row, in_turns, keep
from models import smollm2
from transformers import GenerationConfig

from cotexp.inference.engine import Request, refills, rows_of_batch
from cotexp.inference.local import LocalEngine
from cotexp.jobs.engines import BATCHES_AT_ONCE
from cotexp.models import identity, loading
from cotexp.models.loading import LoadedModel
from cotexp.settings.models import PretrainedModel
from cotexp.settings.sampling import Sampling

BATCHES = (16, 64)
"""Batch sizes of `generate`, of which the faster one counts."""
MAX_TOKENS = 32768
"""The default of a run."""


class Prompts(NamedTuple):
    """Prompts as ids, by number."""

    loaded: LoadedModel
    engine: LocalEngine
    questions: list[str]
    ids: list[list[int]]
    sampling: Sampling

    @property
    def config(self) -> GenerationConfig:
        encoder, random = self.loaded.encoder, self.sampling.temperature > 0
        chosen = {"do_sample": True, "temperature": self.sampling.temperature, "top_k": 0, "top_p": 1.0} if random else {"do_sample": False}
        return GenerationConfig(
            max_new_tokens=self.sampling.max_new_tokens, eos_token_id=encoder.eos_id, pad_token_id=self.loaded.tokenizer.pad_token_id, **chosen
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("COTEXP_DATA"))
    parser.add_argument("--rows", type=int, default=256, help="prompts of the embedded model")
    parser.add_argument("--smollm2-rows", type=int, default=32)
    parser.add_argument("--max-new-tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options = parser.parse_args()
    if options.data is None:
        raise SystemExit("--data FOLDER or COTEXP_DATA is needed, with gsm8k/test.jsonl")
    logging.getLogger("transformers").setLevel(logging.ERROR)
    lines = (Path(options.data) / "gsm8k" / "test.jsonl").read_text(encoding="utf-8").split("\n")
    questions = [json.loads(line)["question"] for line in lines if line]
    for name, path, count in (("tiny", "shipped:tiny", options.rows), ("smollm2", str(smollm2()), options.smollm2_rows)):
        settings = PretrainedModel(path=path, dtype="float32", device=options.device)
        loaded = loading.load(identity.find(settings).folder, settings)
        for kind, temperature in (("greedy", 0.0), ("sampled", 0.7)):
            ids = [loaded.encoder.prompt(each) for each in questions[:count]]
            sampling = Sampling(max_new_tokens=options.max_new_tokens, temperature=temperature)
            prompts = Prompts(loaded, LocalEngine(loaded, max_batch_tokens=MAX_TOKENS), questions[:count], ids, sampling)
            compare(f"generation_{name}_{kind}", prompts, options.rounds)


def compare(name: str, prompts: Prompts, rounds: int) -> None:
    """Write all texts in every way, in turns; keep a row beside `generate`, and for greedy texts one beside continuous batching."""
    ways: dict[str, Callable[[], list[str]]] = {"ours": lambda: by_engine(prompts)}
    ways |= {f"batches of {size}": lambda size=size: by_generate(prompts, size) for size in BATCHES if size <= len(prompts.ids) or size == BATCHES[0]}
    greedy = prompts.sampling.temperature == 0
    if greedy:
        ways["continuous"] = lambda: by_continuous_batching(prompts)
    seconds, texts = in_turns(ways, rounds, warm_up=False)
    for suffix, goal, peers in (("", 2, [each for each in ways if each.startswith("batches")]), ("_continuous", 1.2, ["continuous"] * greedy)):
        if peers:
            best = min(peers, key=seconds.__getitem__)
            same = sum(one == other for one, other in zip(texts["ours"], texts[best], strict=True))
            sizes = {"rows": len(prompts.ids), "max_new_tokens": prompts.sampling.max_new_tokens, "seconds": seconds}
            sizes |= {"peer's way": best, "equal texts": same}
            ours, theirs = seconds["ours"], seconds[best]
            keep(Row(name + suffix, "s", ours, theirs, theirs / ours, goal, not greedy or same == len(prompts.ids), sizes))


def by_engine(prompts: Prompts) -> list[str]:
    """The texts by engine local, in batches as a run makes them."""
    texts: dict[str, str] = {}
    for batch in batches(prompts):
        requests = [Request(str(number), prompts.questions[number]) for number in batch]
        prompts.engine.generate(requests, prompts.sampling, lambda output: texts.__setitem__(output.id, output.text))
    return [texts[str(number)] for number in range(len(prompts.ids))]


def batches(prompts: Prompts, *, max_rows: int = 64, max_tokens: int = MAX_TOKENS) -> Iterator[Sequence[int]]:
    """Numbers of prompts, ordered by length, as many as the engine gets in a run."""
    rest = sorted(range(len(prompts.ids)), key=lambda number: len(prompts.ids[number]))
    while rest:
        lengths = (len(prompts.ids[number]) + prompts.sampling.max_new_tokens for number in rest)
        number = BATCHES_AT_ONCE if refills(prompts.loaded.device.type) else 1
        size = number * rows_of_batch(lengths, max_rows=max_rows, max_tokens=max_tokens)
        yield rest[:size]
        rest = rest[size:]


@torch.inference_mode()
def by_generate(prompts: Prompts, size: int) -> list[str]:
    """The texts by `generate`, in data order."""
    texts, loaded, pad = [], prompts.loaded, prompts.config.pad_token_id
    for first in range(0, len(prompts.ids), size):
        batch = prompts.ids[first : first + size]
        longest = max(map(len, batch))
        ids_BT = torch.tensor([[pad] * (longest - len(each)) + each for each in batch], device=loaded.device)
        mask_BT = torch.tensor([[0] * (longest - len(each)) + [1] * len(each) for each in batch], device=loaded.device)
        written = loaded.model.generate(ids_BT, attention_mask=mask_BT, generation_config=prompts.config)[:, longest:].tolist()
        texts += [loaded.encoder.decode(each) for each in written]
    return texts


def by_continuous_batching(prompts: Prompts) -> list[str]:
    """The texts by `generate_batch`, which fills the places of ended texts. It numbers its answers in the order of the prompts."""
    answers = prompts.loaded.model.generate_batch(inputs=prompts.ids, generation_config=prompts.config)
    ordered = sorted(answers.items(), key=lambda item: int(item[0].rsplit("_", 1)[-1]))
    return [prompts.loaded.encoder.decode(list(answer.generated_tokens)) for _, answer in ordered]


if __name__ == "__main__":
    main()
