"""How long the devices of a step wait for the slowest: our plan of micro-batches, and as many examples on each in a sampler's order.

    python benchmarks/devices.py

A device is as slow as the tokens that it reads, padding included; a figure is those of the slowest one in units of an equal share without padding,
in the mean over the steps. The examples are full and short solutions of the embedded task, half each, in batches of the papers' size and of larger
ones. The peers are the default sampler, which is random as ours is, and the one that groups texts by length, whose steps are mostly of one form.
No model runs and no time is measured, so the figures are the same on every machine.
"""

from __future__ import annotations

from itertools import product
from statistics import mean

import torch
from measure import Row, keep
from torch.utils.data import RandomSampler
from transformers import AutoTokenizer
from transformers.trainer_pt_utils import LengthGroupedSampler

from cotexp.models.identity import SHIPPED
from cotexp.settings.training import Trainer
from cotexp.tasks.stories import Difficulty, generate
from cotexp.training.batch_plans import MAX_TOKENS_OF_GPU, num_tokens, plan_batches

LAYOUTS = ((1, 32), (2, 32), (4, 32), (8, 32), (8, 64), (8, 256))
"""Devices and examples of a step."""
NUM_QUESTIONS = 1280


def lengths_of_examples() -> list[int]:
    """Tokens of a question with its longest solution, and with its shortest one."""
    tokenizer = AutoTokenizer.from_pretrained(SHIPPED / "tiny")
    questions = generate("train", count=NUM_QUESTIONS, seed=0, difficulty=Difficulty(2, 4, 99, 9))
    texts = [f"{each.text}\n{solution}" for each in questions for solution in (each.references[0], each.references[-1])]
    return [len(ids) for ids in tokenizer(texts)["input_ids"]]


def ours(lengths: list[int], devices: int, batch_size: int) -> tuple[float, list[int]]:
    """The figure over one pass, and all examples in it."""
    trainer = Trainer(
        devices=devices, strategy="ddp" if devices > 1 else "auto", batch_size=batch_size, max_batch_tokens=MAX_TOKENS_OF_GPU, max_epochs=1
    )
    plan = plan_batches(lengths, trainer, seed=0)
    waits = []
    for step, batch in enumerate(plan.global_batches):
        read = [sum(padded(part, lengths) for part in plan.micro_batches(step, device)) for device in range(devices)]
        waits.append(max(read) * devices / sum(lengths[index] for index in batch))
    return mean(waits), sorted(index for batch in plan.global_batches for index in batch)


def peers(lengths: list[int], devices: int, batch_size: int, *, grouped: bool) -> tuple[float, list[int]]:
    """The same for equal numbers of examples, which a launcher deals to the devices in the sampler's order."""
    share, generator = batch_size // devices, torch.Generator().manual_seed(0)
    sampler = LengthGroupedSampler(batch_size, lengths=lengths, generator=generator) if grouped else RandomSampler(lengths, generator=generator)
    order = list(sampler)
    waits = []
    for first in range(0, len(order), batch_size):
        parts = [order[first + device * share : first + (device + 1) * share] for device in range(devices)]
        waits.append(max(padded(part, lengths) for part in parts) * devices / sum(lengths[index] for part in parts for index in part))
    return mean(waits), sorted(order)


def padded(part: list[int], lengths: list[int]) -> int:
    return num_tokens([lengths[index] for index in part], padding_free=False)


def main() -> None:
    lengths = lengths_of_examples()
    for (devices, batch_size), grouped in product(LAYOUTS, (False, True)):
        own, theirs = ours(lengths, devices, batch_size), peers(lengths, devices, batch_size, grouped=grouped)
        sizes = {"examples": len(lengths), "mean_tokens": mean(lengths), "batch_size": batch_size}
        keep(
            Row(
                name=f"devices_{devices}_batch_{batch_size}_{'grouped' if grouped else 'random'}",
                unit="equal shares",
                ours=own[0],
                peer=theirs[0],
                ratio=theirs[0] / own[0],
                goal=None,
                agrees=own[1] == theirs[1],
                sizes=sizes,
            )
        )


if __name__ == "__main__":
    main()
