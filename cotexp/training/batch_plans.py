"""Plans of a fine-tuning's batches: which examples make each step, and how each device cuts its share.

The plan of global batches does not depend on devices. Each device gets its share, cut into micro-batches of similar length and nearly equal tokens,
so that no device waits for another. The loss of a step is the same for any number of devices and any size of micro-batches.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from cotexp.models.identity import device_type
from cotexp.settings.base import ConfigError
from cotexp.settings.training import MOST_EPOCHS, Trainer

MAX_TOKENS_OF_CPU, MAX_TOKENS_OF_GPU = 1024, 8192
"""Most tokens of a micro-batch by default. A CPU is as fast with few tokens, and its memory is small."""


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """The examples of every global batch, by index, and their division among devices and micro-batches. Lengths are in tokens.

    `dealt[step][device]` are the micro-batches of a device. `padding_free`: the texts of a micro-batch stand in one row.
    """

    global_batches: list[list[int]]
    lengths: list[int]
    dealt: list[list[list[list[int]]]]
    padding_free: bool = False

    @property
    def num_devices(self) -> int:
        return len(self.dealt[0])

    @property
    def num_micro_batches(self) -> int:
        """Micro-batches of each device in every step; the step with the longest examples determines the number."""
        return len(self.dealt[0][0])

    def micro_batches(self, step: int, device: int) -> list[list[int]]:
        """The micro-batches of one device in one step, of any number of rows, the largest first."""
        return self.dealt[step][device]

    @property
    def most_tokens(self) -> int:
        """Tokens of the largest micro-batch of all steps."""
        parts = (part for step in self.dealt for own in step for part in own)
        return max(num_tokens([self.lengths[index] for index in part], padding_free=self.padding_free) for part in parts)


def num_tokens(lengths: Sequence[int], *, padding_free: bool) -> int:
    """Tokens of a micro-batch of texts of these lengths, with padding up to the longest if it has any."""
    return sum(lengths) if padding_free else len(lengths) * max(lengths)


def cut(lengths: Sequence[int], indices: Iterable[int], *, max_rows: int, max_tokens: int, padding_free: bool = False) -> list[list[int]]:
    """Micro-batches of examples of similar length, within limits of rows and tokens. A longer example is alone in its micro-batch."""
    parts: list[list[int]] = []
    tokens = longest = 0
    for index in sorted(indices, key=lambda index: (-lengths[index], index)):
        grown = tokens + lengths[index] if padding_free else tokens + longest
        if not parts or len(parts[-1]) == max_rows or grown > max_tokens:
            parts.append([])
            grown = longest = lengths[index]
        parts[-1].append(index)
        tokens = grown
    return parts


def deal(
    lengths: Sequence[int], indices: Iterable[int], shape: tuple[int, int], *, max_rows: int, max_tokens: int, padding_free: bool
) -> list[list[list[int]]]:
    """The micro-batches of each device, as many as (devices, micro-batches of each) say, of nearly equal tokens, the largest first.

    The largest one has as few tokens as possible, and the next one goes to the device with the fewest tokens. The limits must allow so few
    micro-batches.
    """
    num_devices, num_of_each = shape

    def size(part: Sequence[int]) -> int:
        return num_tokens([lengths[index] for index in part], padding_free=padding_free)

    def parts_within(most: int) -> list[list[int]]:
        return cut(lengths, indices, max_rows=max_rows, max_tokens=most, padding_free=padding_free)

    limits = range(1, max_tokens + 1)
    parts = parts_within(limits[bisect_left(limits, True, key=lambda most: len(parts_within(most)) <= num_devices * num_of_each)])
    while len(parts) < num_devices * num_of_each:
        largest = max((each for each in parts if len(each) > 1), key=size)
        place, half = parts.index(largest), len(largest) // 2
        parts[place : place + 1] = [largest[:half], largest[half:]]
    dealt: list[list[list[int]]] = [[] for _ in range(num_devices)]
    for part in sorted(parts, key=size, reverse=True):
        min((each for each in dealt if len(each) < num_of_each), key=lambda each: sum(map(size, each))).append(part)
    return dealt


def plan_batches(lengths: Sequence[int], trainer: Trainer, *, seed: int, padding_free: bool = False, flops: Sequence[int] = ()) -> BatchPlan:
    """The global batches of `max_epochs` passes over examples of these lengths in tokens, in whole steps, or of the trainer's budget.

    Every pass is a new permutation. The number of steps is rounded: part of a last batch is left out, or another pass completes it. `flops` are
    those of each example, for a budget of them.
    Raises: ConfigError for a budget of too many passes.
    """
    stream = _permutations(len(lengths), seed)
    batches = [[next(stream) for _ in range(trainer.batch_size)] for _ in range(_num_steps(lengths, flops, trainer, seed))]
    share = trainer.batch_size // trainer.num_workers
    rows = trainer.micro_batch_size or (share if padding_free else _default_rows(share))
    most, devices = max_tokens(trainer), trainer.num_workers
    parts = (cut(lengths, each, max_rows=rows, max_tokens=most, padding_free=padding_free) for each in batches)
    shape = (devices, math.ceil(max(map(len, parts)) / devices))
    limits = {"max_rows": trainer.micro_batch_size or trainer.batch_size, "max_tokens": most}
    dealt = [deal(lengths, each, shape, **limits, padding_free=padding_free) for each in batches]
    return BatchPlan(batches, list(lengths), dealt, padding_free)


def _num_steps(lengths: Sequence[int], flops: Sequence[int], trainer: Trainer, seed: int) -> int:
    """Steps of `max_epochs`, or until the first step that reaches the trainer's budget."""
    if trainer.budget is None:
        return max(1, round(len(lengths) * trainer.max_epochs / trainer.batch_size))
    name, budget = trainer.budget
    costs = lengths if name == "max_tokens" else [each / 1e15 for each in flops]
    most = MOST_EPOCHS * len(lengths) // trainer.batch_size if name == "max_steps" else MOST_EPOCHS * sum(costs)
    if budget > most:
        raise ConfigError(f"trainer.{name} must be at most {most} here, {MOST_EPOCHS:,} passes over {len(lengths):,} training examples; got {budget}")
    if name == "max_steps":
        return int(budget)
    spent = accumulate(costs[index] for index in _permutations(len(lengths), seed))
    num_examples = next(number for number, total in enumerate(spent, 1) if total >= budget)
    return math.ceil(num_examples / trainer.batch_size)


def max_tokens(trainer: Trainer) -> int:
    """Most tokens of a micro-batch with its padding."""
    return trainer.max_batch_tokens or (MAX_TOKENS_OF_CPU if device_type(trainer.accelerator) == "cpu" else MAX_TOKENS_OF_GPU)


def _default_rows(share: int) -> int:
    """A quarter or a half of a device's share if that is an integer of at least 8, otherwise all of it. Smaller micro-batches need less padding."""
    return next((share // parts for parts in (4, 2) if share % parts == 0 and share // parts >= 8), share)


def _permutations(count: int, seed: int) -> Iterator[int]:
    rng = random.Random(f"data order/{seed}")
    while True:
        order = list(range(count))
        rng.shuffle(order)
        yield from order
