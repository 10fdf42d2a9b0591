"""Examples of a fine-tuning as tensors of micro-batches, served by a LightningDataModule. Axes: B rows, T tokens, S tokens of a source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from cotexp.models.encoding import Encoded
from cotexp.models.rope import RopeLimit
from cotexp.records import Form
from cotexp.training.batch_plans import MAX_TOKENS_OF_CPU, BatchPlan, cut

FORMS: tuple[Form, ...] = ("full", "compress", "rewrite")
NO_KIND = -1
"""The kind of examples whose tokens are excluded from all losses."""
VALIDATION_BATCH = 32
"""Most examples per device."""


def shares_of_loss(forms: Iterable[Form], full_loss_ratio: float) -> dict[Form, float]:
    """Share of the mean token loss of each of these forms in a loss: `full_loss_ratio` for the full one, the rest for the other, 1 for a form alone.

    Source: Hsieh et al. (arXiv 2305.02301); their released code has the mean of the two tasks' mean token losses, weighted by alpha, the label's.
    """
    shares = {form: full_loss_ratio if form == "full" else 1 - full_loss_ratio for form in forms}
    return {form: share / sum(shares.values()) for form, share in shares.items()}


def shares_of_steps(steps: Sequence[Sequence[Form]], full_loss_ratio: float) -> dict[Form, float]:
    """What the mean token loss of each form counts in a step that holds it, so that it has its share of the loss over all of these steps.

    A form that every step holds has its share in each; one that is in every second step alone, as in steps of one example, has twice its share there.
    """
    holding = Counter(form for step in steps for form in set(step))
    return {form: share * len(steps) / holding[form] for form, share in shares_of_loss(holding, full_loss_ratio).items()}


def token_weights(examples: Sequence[EncodedExample], shares: Mapping[Form, float]) -> dict[Form, float]:
    """How much a token of each form counts in the loss of these examples of a step, if the mean token losses of the forms have these shares of it."""
    counts: Counter[Form] = Counter()
    for each in examples:
        counts[each.form] += sum(each.encoded.loss_mask)
    return {form: shares[form] * counts.total() / count for form, count in counts.items()}


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
    """A right-padded micro-batch. `kind_B` are the examples' kinds. `num_supervised_global` counts the supervised tokens of the global batch.

    `weight_B`: how much a supervised token of each example counts in the loss; None if all count alike."""

    ids_BT: torch.Tensor
    attention_BT: torch.Tensor
    supervised_BT: torch.Tensor
    kind_B: torch.Tensor
    num_supervised_global: int
    weight_B: torch.Tensor | None = None


class SourceTargetBatch(NamedTuple):
    """A micro-batch for an encoder-decoder model, with the last three fields of `Batch`. Sources and targets are right-padded separately.

    Padding of `target_BT` is -100.
    """

    source_BS: torch.Tensor
    attention_BS: torch.Tensor
    target_BT: torch.Tensor
    kind_B: torch.Tensor
    num_supervised_global: int
    weight_B: torch.Tensor | None = None


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
        weights = None if batch.weight_B is None else batch.weight_B[rows]
        parts.append(batch._replace(**tokens, kind_B=batch.kind_B[rows], weight_B=weights))
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
        self.shares: dict[Form, float] | None = None

    def __len__(self) -> int:
        return (len(self.plan.global_batches) - self.first_step) * self.plan.num_micro_batches

    def __getitem__(self, index: int) -> Batch | SourceTargetBatch:
        step, micro = divmod(index + self.first_step * self.plan.num_micro_batches, self.plan.num_micro_batches)
        together = [self.examples[i] for i in self.plan.global_batches[step]]
        own = [self.examples[i] for i in self.plan.micro_batches(step, self.device)[micro]]
        batch = self.collate(own, self.pad_id, sum(sum(each.encoded.loss_mask) for each in together))
        if self.shares is None:
            return batch
        weights = token_weights(together, self.shares)
        return batch._replace(weight_B=torch.tensor([weights[each.form] for each in own]))


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
        full_loss_ratio: float | None = None,
    ) -> None:
        super().__init__()
        self.train, self.validation, self.plan, self.pad_id, self.max_tokens = train, validation, plan, pad_id, max_tokens
        self.collate: Collate = collate_source_target if encoder_decoder else collate
        self.first_step, self.full_loss_ratio = 0, full_loss_ratio

    def train_dataloader(self) -> DataLoader[Any]:
        assert self.trainer is not None
        batches = _MicroBatches(self.train, self.plan, self.trainer.global_rank, self.first_step, self.pad_id, self.collate)
        if self.full_loss_ratio is not None:
            batches.shares = shares_of_steps([[self.train[i].form for i in step] for step in self.plan.global_batches], self.full_loss_ratio)
        return _loader(batches)

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
