"""Plans the batches of a fine-tuning, and serves them as a LightningDataModule.

The plan of global batches does not depend on devices. Each device gets its share, cut into micro-batches of similar length. So the loss of a
step is the same for any number of devices and any size of micro-batches. Axes: B rows, T tokens, S tokens of a source.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from cotexp.models.encoding import Encoded
from cotexp.models.rope import RopeLimit
from cotexp.records import Form
from cotexp.settings.training import Trainer

FORMS: tuple[Form, ...] = ("full", "compress", "rewrite")
NO_KIND = -1
"""The kind of examples whose tokens count in no loss."""
VALIDATION_BATCH = 32
"""Examples per device."""


class EncodedExample(NamedTuple):
    """`task` is the index of its question's task among those trained on."""

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
    """The examples of every global batch, by index, and their division among devices and micro-batches. Lengths are in tokens."""

    global_batches: list[list[int]]
    lengths: list[int]
    num_devices: int
    num_micro_batches: int

    def micro_batches(self, step: int, device: int) -> list[list[int]]:
        """The micro-batches of one device in one step. Examples are sorted by length, so that a micro-batch needs little padding."""
        by_length = sorted(self.global_batches[step], key=lambda index: (self.lengths[index], index))
        count = self.num_devices * self.num_micro_batches
        size = len(by_length) // count
        parts = [by_length[i * size : (i + 1) * size] for i in range(count)]
        return parts[device :: self.num_devices]


def plan_batches(lengths: Sequence[int], trainer: Trainer, *, seed: int) -> BatchPlan:
    """The global batches of `max_epochs` passes over examples of these lengths in tokens, in whole steps.

    Every pass is a new permutation. One more pass completes the last batch.
    """
    steps = max(1, round(len(lengths) * trainer.max_epochs / trainer.batch_size))
    stream = _permutations(len(lengths), seed)
    batches = [[next(stream) for _ in range(trainer.batch_size)] for _ in range(steps)]
    return BatchPlan(batches, list(lengths), trainer.num_workers, num_micro_batches(trainer))


def num_micro_batches(trainer: Trainer) -> int:
    """Micro-batches per device and step."""
    share = trainer.batch_size // trainer.num_workers
    return share // (trainer.micro_batch_size or _default_micro_batch(share))


def _default_micro_batch(share: int) -> int:
    """A quarter or a half of a device's share if that is an integer of at least 8, else all of it. Smaller ones need less padding."""
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
        encoder_decoder: bool = False,
    ) -> None:
        super().__init__()
        self.train, self.validation, self.plan, self.pad_id = train, validation, plan, pad_id
        self.collate: Collate = collate_source_target if encoder_decoder else collate
        self.first_step = 0

    def train_dataloader(self) -> DataLoader[Any]:
        assert self.trainer is not None
        return _loader(_MicroBatches(self.train, self.plan, self.trainer.global_rank, self.first_step, self.pad_id, self.collate))

    def val_dataloader(self) -> DataLoader[Any]:
        assert self.trainer is not None
        by_length = sorted(self.validation, key=lambda each: len(each.encoded.ids))
        size = VALIDATION_BATCH * self.plan.num_devices
        shared = [by_length[i : i + size] for i in range(0, len(by_length), size)]
        return _loader([self._share(batch, self.trainer.global_rank) for batch in shared])

    def _share(self, batch: Sequence[EncodedExample], device: int) -> Batch | SourceTargetBatch:
        """One device's share of a validation batch. No share may be empty, since all devices gather sharded weights together."""
        own = batch[device :: self.plan.num_devices]
        if own:
            return self.collate(own, self.pad_id, 1)
        filling = self.collate(batch[:1], self.pad_id, 1)
        return filling._replace(kind_B=torch.full_like(filling.kind_B, NO_KIND))


def _loader(batches: Any) -> DataLoader[Any]:
    return DataLoader(batches, batch_size=None, shuffle=False, num_workers=0)
