"""Plans the batches of a fine-tuning, and serves them as a LightningDataModule.

The plan of global batches does not depend on devices. Each device gets its share, cut into micro-batches of similar length. So the loss of a
step is the same for any number of devices and any size of micro-batches. Axes: B rows, T tokens, S tokens of a source.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from cotexp.models.encoding import Encoded
from cotexp.models.identity import device_type
from cotexp.models.rope import RopeLimit
from cotexp.records import Form
from cotexp.settings.base import ConfigError
from cotexp.settings.training import MOST_EPOCHS, Trainer

FORMS: tuple[Form, ...] = ("full", "compress", "rewrite")
NO_KIND = -1
"""The kind of examples whose tokens are excluded from all losses."""
VALIDATION_BATCH = 32
"""Most examples per device."""
MAX_TOKENS_OF_CPU, MAX_TOKENS_OF_GPU = 1024, 8192
"""Most tokens of a micro-batch by default. A CPU is as fast with few tokens, and its memory is small."""


class EncodedExample(NamedTuple):
    """`task` is the index of its question's task among the tasks of training."""

    encoded: Encoded
    form: Form
    task: int = 0

    @property
    def kind(self) -> int:
        """Index of the example's task and form in the losses, flattened."""
        return self.task * len(FORMS) + FORMS.index(self.form)


class Batch(NamedTuple):
    """A right-padded micro-batch. `kind_B` are the examples' kinds. `num_supervised_global` counts the supervised tokens of the global batch."""

    ids_BT: torch.Tensor
    attention_BT: torch.Tensor
    supervised_BT: torch.Tensor
    kind_B: torch.Tensor
    num_supervised_global: int


class SourceTargetBatch(NamedTuple):
    """A micro-batch for an encoder-decoder model. Sources and targets are right-padded separately; padding of `target_BT` is -100."""

    source_BS: torch.Tensor
    attention_BS: torch.Tensor
    target_BT: torch.Tensor
    kind_B: torch.Tensor
    num_supervised_global: int


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """The examples of every global batch, by index, and their division among devices and micro-batches. Lengths are in tokens.

    `padding_free`: the texts of a micro-batch stand in one row.
    """

    global_batches: list[list[int]]
    lengths: list[int]
    num_devices: int
    cuts: list[list[list[int]]]
    padding_free: bool = False

    @property
    def num_micro_batches(self) -> int:
        """Micro-batches of each device in every step; the step with the longest examples determines the number."""
        return math.ceil(max(map(len, self.cuts)) / self.num_devices)

    def micro_batches(self, step: int, device: int) -> list[list[int]]:
        """The micro-batches of one device in one step, of any number of rows, the longest first."""
        parts = [*self.cuts[step]]
        while len(parts) < self.num_micro_batches * self.num_devices:
            largest = max((each for each in parts if len(each) > 1), key=self.num_tokens)
            place, half = parts.index(largest), len(largest) // 2
            parts[place : place + 1] = [largest[:half], largest[half:]]
        return parts[device :: self.num_devices]

    @property
    def most_tokens(self) -> int:
        """Tokens of the largest micro-batch of all steps."""
        return max(self.num_tokens(part) for parts in self.cuts for part in parts)

    def num_tokens(self, indices: Sequence[int]) -> int:
        """Tokens of a micro-batch with its padding."""
        return num_tokens([self.lengths[index] for index in indices], padding_free=self.padding_free)


def num_tokens(lengths: Sequence[int], *, padding_free: bool) -> int:
    """Tokens of a micro-batch of texts of these lengths, with padding up to the longest if it has any."""
    return sum(lengths) if padding_free else len(lengths) * max(lengths)


def cut(lengths: Sequence[int], indices: Iterable[int], *, max_rows: int, max_tokens: int, padding_free: bool = False) -> list[list[int]]:
    """Micro-batches of examples of similar length, within limits of rows and tokens. A longer example is alone in its micro-batch."""
    parts: list[list[int]] = []
    for index in sorted(indices, key=lambda index: (-lengths[index], index)):
        own = [lengths[other] for other in (*(parts[-1] if parts else ()), index)]
        if not parts or len(own) > max_rows or num_tokens(own, padding_free=padding_free) > max_tokens:
            parts.append([])
        parts[-1].append(index)
    return parts


def plan_batches(lengths: Sequence[int], trainer: Trainer, *, seed: int, padding_free: bool = False, flops: Sequence[int] = ()) -> BatchPlan:
    """The global batches of `max_epochs` passes over examples of these lengths in tokens, in whole steps, or of the trainer's budget.

    Every pass is a new permutation. One more pass completes the last batch. `flops` are those of each example, for a budget of them.
    Raises: ConfigError for a budget of too many passes.
    """
    stream = _permutations(len(lengths), seed)
    batches = [[next(stream) for _ in range(trainer.batch_size)] for _ in range(_num_steps(lengths, flops, trainer, seed))]
    share = trainer.batch_size // trainer.num_workers
    rows = trainer.micro_batch_size or (share if padding_free else _default_rows(share))
    cuts = [cut(lengths, each, max_rows=rows, max_tokens=max_tokens(trainer), padding_free=padding_free) for each in batches]
    return BatchPlan(batches, list(lengths), trainer.num_workers, cuts, padding_free)


def _num_steps(lengths: Sequence[int], flops: Sequence[int], trainer: Trainer, seed: int) -> int:
    """Steps of `max_epochs`, or until the first step that reaches the trainer's budget."""
    if trainer.budget is None:
        return max(1, round(len(lengths) * trainer.max_epochs / trainer.batch_size))
    name, budget = trainer.budget
    costs = {"max_steps": [1 / trainer.batch_size] * len(lengths), "max_tokens": lengths, "max_flops": flops}[name]
    most = MOST_EPOCHS * sum(costs)
    if budget > most:
        raise ConfigError(
            f"trainer.{name} must be at most {most:.4g} here, {MOST_EPOCHS:,} passes over {len(lengths):,} training examples; got {budget:.4g}"
        )
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


def collate(examples: Sequence[EncodedExample], pad_id: int, num_supervised_global: int) -> Batch:
    """A micro-batch of a causal model."""
    longest = max(len(each.encoded.ids) for each in examples)
    ids, attention, supervised = [], [], []
    for each in examples:
        padding = longest - len(each.encoded.ids)
        ids.append(each.encoded.ids + [pad_id] * padding)
        attention.append([1] * len(each.encoded.ids) + [0] * padding)
        supervised.append(each.encoded.loss_mask + [0] * padding)
    return Batch(
        ids_BT=torch.tensor(ids),
        attention_BT=torch.tensor(attention),
        supervised_BT=torch.tensor(supervised, dtype=torch.bool),
        kind_B=torch.tensor([each.kind for each in examples]),
        num_supervised_global=num_supervised_global,
    )


def split_at_rope_limit(batch: Batch, limit: RopeLimit | None) -> list[Batch]:
    """The batch, or its rows on each side of a rotary limit, cut to their longest row. Rotary factors of some models depend on that row."""
    if limit is None:
        return [batch]
    rows_of: dict[int, list[int]] = {}
    lengths = batch.attention_BT.sum(dim=1).tolist()
    for row, length in enumerate(lengths):
        rows_of.setdefault(limit.side(length), []).append(row)
    parts = []
    for rows in rows_of.values():
        width = max(lengths[row] for row in rows)
        tokens = {name: getattr(batch, name)[rows, :width] for name in ("ids_BT", "attention_BT", "supervised_BT")}
        parts.append(batch._replace(**tokens, kind_B=batch.kind_B[rows]))
    return parts


def collate_source_target(examples: Sequence[EncodedExample], pad_id: int, num_supervised_global: int) -> SourceTargetBatch:
    """A micro-batch of an encoder-decoder model."""
    sources, targets = [], []
    for ids, mask in (each.encoded for each in examples):
        start = mask.index(1)
        sources.append(torch.tensor(ids[:start]))
        targets.append(torch.tensor(ids[start:]))
    return SourceTargetBatch(
        source_BS=pad_sequence(sources, batch_first=True, padding_value=pad_id),
        attention_BS=pad_sequence([torch.ones_like(each) for each in sources], batch_first=True),
        target_BT=pad_sequence(targets, batch_first=True, padding_value=-100),
        kind_B=torch.tensor([each.kind for each in examples]),
        num_supervised_global=num_supervised_global,
    )


Collate = Callable[[Sequence[EncodedExample], int, int], Batch | SourceTargetBatch]


class _MicroBatches(Dataset[Any]):
    """The micro-batches of one device, in order, from `first_step` on."""

    def __init__(self, examples: Sequence[EncodedExample], plan: BatchPlan, device: int, first_step: int, pad_id: int, collate: Collate) -> None:
        self.examples, self.plan, self.device, self.first_step, self.pad_id, self.collate = examples, plan, device, first_step, pad_id, collate

    def __len__(self) -> int:
        return (len(self.plan.global_batches) - self.first_step) * self.plan.num_micro_batches

    def __getitem__(self, index: int) -> Batch | SourceTargetBatch:
        step, micro = divmod(index + self.first_step * self.plan.num_micro_batches, self.plan.num_micro_batches)
        supervised = sum(sum(self.examples[i].encoded.loss_mask) for i in self.plan.global_batches[step])
        chosen = self.plan.micro_batches(step, self.device)[micro]
        return self.collate([self.examples[i] for i in chosen], self.pad_id, supervised)


class MixtureData(pl.LightningDataModule):
    """Training micro-batches in the planned order, and validation batches sorted by length."""

    def __init__(
        self,
        train: Sequence[EncodedExample],
        validation: Sequence[EncodedExample],
        plan: BatchPlan,
        pad_id: int,
        *,
        max_tokens: int = MAX_TOKENS_OF_CPU,
        encoder_decoder: bool = False,
    ) -> None:
        super().__init__()
        self.train, self.validation, self.plan, self.pad_id, self.max_tokens = train, validation, plan, pad_id, max_tokens
        self.collate: Collate = collate_source_target if encoder_decoder else collate
        self.first_step = 0

    def train_dataloader(self) -> DataLoader[Any]:
        assert self.trainer is not None
        return _loader(_MicroBatches(self.train, self.plan, self.trainer.global_rank, self.first_step, self.pad_id, self.collate))

    def val_dataloader(self) -> DataLoader[Any]:
        assert self.trainer is not None
        lengths, devices = [len(each.encoded.ids) for each in self.validation], self.plan.num_devices
        limits = {"max_rows": VALIDATION_BATCH * devices, "max_tokens": self.max_tokens * devices}
        shared = cut(lengths, range(len(lengths)), **limits, padding_free=self.plan.padding_free)
        return _loader([self._share([self.validation[index] for index in each], self.trainer.global_rank) for each in shared])

    def _share(self, batch: Sequence[EncodedExample], device: int) -> Batch | SourceTargetBatch:
        """One device's share of a validation batch. No share may be empty, because all devices gather sharded weights together."""
        own = batch[device :: self.plan.num_devices]
        if own:
            return self.collate(own, self.pad_id, 1)
        filling = self.collate(batch[:1], self.pad_id, 1)
        return filling._replace(kind_B=torch.full_like(filling.kind_B, NO_KIND))


def _loader(batches: Any) -> DataLoader[Any]:
    return DataLoader(batches, batch_size=None, shuffle=False, num_workers=0)
