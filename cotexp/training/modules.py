"""The LightningModule of multitask supervised fine-tuning."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch

from cotexp.models import head
from cotexp.models.loading import decoder_inputs
from cotexp.models.rope import RopeLimit
from cotexp.settings.base import TrainingDiverged
from cotexp.settings.training import Trainer
from cotexp.training import packing
from cotexp.training.batch_plans import BatchPlan
from cotexp.training.data import FORMS, Batch, SourceTargetBatch, shares_of_loss, split_at_rope_limit
from cotexp.training.memory import computes_twice
from cotexp.training.sharding import shard, trained_parameters


class Losses(NamedTuple):
    """Losses of a batch: the summed negative log-likelihood in nats, with the batch's weights and a gradient, and without both that sum and the
    number of supervised tokens per task and form, of shape (2, tasks, forms)."""

    total: torch.Tensor
    sums: torch.Tensor


def supervised_loss(model: Any, batch: Batch | SourceTargetBatch, num_tasks: int = 1, *, padding_free: bool = False) -> Losses:
    """The losses of a batch's supervised tokens. With `padding_free`, a causal model reads its texts in one row.

    Raises: ConfigError if the model would mix them.
    """
    if isinstance(batch, SourceTargetBatch):
        return _from_source(model, batch, num_tasks)
    read = _from_row if padding_free else _from_prompt
    parts = [read(model, each, num_tasks) for each in split_at_rope_limit(batch, RopeLimit.of(model))]
    return Losses(torch.stack([each.total for each in parts]).sum(), torch.stack([each.sums for each in parts]).sum(dim=0))


def _from_prompt(model: Any, batch: Batch, num_tasks: int) -> Losses:
    """Losses of a causal model, which predicts a token at the one before it. It needs no mask, because padding is after all other tokens."""
    rows_N, columns_N = batch.supervised_BT[:, 1:].nonzero().unbind(dim=1)
    inputs = {"input_ids": batch.ids_BT, "use_cache": False}
    states = head.hidden(model, inputs, rows_N, columns_N)
    return _losses(states, batch.ids_BT[rows_N, columns_N + 1], batch, rows_N, num_tasks)


def _from_row(model: Any, batch: Batch, num_tasks: int) -> Losses:
    """Losses of a causal model that reads the texts without padding, in one row."""
    packing.check(model)
    rows_N, columns_N = batch.supervised_BT[:, 1:].nonzero().unbind(dim=1)
    inputs, places_BT = packing.packed(batch.ids_BT, batch.attention_BT)
    states = head.hidden(model, {**inputs, "use_cache": False}, torch.zeros_like(rows_N), places_BT[rows_N, columns_N])
    return _losses(states, batch.ids_BT[rows_N, columns_N + 1], batch, rows_N, num_tasks)


def _from_source(model: Any, batch: SourceTargetBatch, num_tasks: int) -> Losses:
    """Losses of an encoder-decoder model, whose decoder predicts only targets."""
    rows_N, columns_N = (batch.target_BT != -100).nonzero().unbind(dim=1)
    inputs = {"input_ids": batch.source_BS, "attention_mask": batch.attention_BS, "decoder_input_ids": decoder_inputs(model, batch.target_BT)}
    states = head.hidden(model, {**inputs, "use_cache": False}, rows_N, columns_N)
    return _losses(states, batch.target_BT[rows_N, columns_N], batch, rows_N, num_tasks)


def _losses(states: head.Hidden, target_N: torch.Tensor, batch: Batch | SourceTargetBatch, rows_N: torch.Tensor, num_tasks: int) -> Losses:
    total, loss_N = head.summed_loss(states, target_N, None if batch.weight_B is None else batch.weight_B[rows_N])
    is_kind_KN = batch.kind_B[rows_N].unsqueeze(0) == torch.arange(num_tasks * len(FORMS), device=loss_N.device).unsqueeze(1)
    sums = torch.stack([(is_kind_KN * loss_N).sum(dim=1), is_kind_KN.sum(dim=1).float()])
    return Losses(total, sums.view(2, num_tasks, len(FORMS)))


class MultitaskModule(pl.LightningModule):
    """Fine-tunes on full, compressed and rewriting examples at once.

    The loss of a step is the mean token loss over the supervised tokens of the *global* batch, or with a `full_loss_ratio` the mean of the two
    forms' mean token losses with this weight of the full form (`training.data.shares_of_steps`). The share of a micro-batch is multiplied by the
    number of devices and micro-batches, because Lightning, DDP and FSDP divide by it. `tasks` are the names for `EncodedExample.task`.
    """

    def __init__(
        self,
        model: Any,
        trainer: Trainer,
        plan: BatchPlan,
        *,
        tasks: Sequence[str],
        num_steps: int,
        first_step: int,
        seed: int,
        full_loss_ratio: float | None = None,
    ) -> None:
        super().__init__()
        self.model, self.options, self.num_steps, self.first_step, self.seed = model, trainer, num_steps, first_step, seed
        self.most_tokens, self.padding_free = plan.most_tokens, plan.padding_free
        self.tasks, self.sums = tasks, torch.zeros(2, len(tasks), len(FORMS))
        self.full_loss_ratio = full_loss_ratio

    @property
    def step(self) -> int:
        """Optimiser steps taken, including those before a restart."""
        return self.first_step + self.global_step

    def setup(self, stage: str) -> None:
        """All devices compute activations twice if one must, because devices that share weights must do the same."""
        strategy = self.trainer.strategy
        wish = computes_twice(self.model, self.options, self.most_tokens, strategy.root_device)
        if strategy.reduce(torch.tensor(float(wish), device=strategy.root_device), reduce_op="max"):
            self.model.activation_checkpointing_enable()

    def configure_model(self) -> None:
        if self.device_mesh is not None:
            shard(self.model, self.device_mesh)

    def training_step(self, batch: Batch | SourceTargetBatch, batch_idx: int) -> torch.Tensor:
        micro_batch = batch_idx % self.trainer.accumulate_grad_batches
        torch.manual_seed(self.seed * 1_000_003 + self.step * 1_009 + self.global_rank + micro_batch * 15_485_863)  # of dropout
        total, sums = self._losses_of(batch)
        self.sums = self.sums.to(sums.device) + sums
        loss = total / batch.num_supervised_global
        self.check_finite(loss.item(), self.step + 1)
        return loss * self.trainer.world_size * self.trainer.accumulate_grad_batches

    def validation_step(self, batch: Batch | SourceTargetBatch, batch_idx: int) -> None:
        self.sums = self.sums.to(batch.kind_B.device) + self._losses_of(batch).sums

    def _losses_of(self, batch: Batch | SourceTargetBatch) -> Losses:
        return supervised_loss(self.model, batch, len(self.tasks), padding_free=self.padding_free)

    def check_finite(self, loss: float, step: int) -> None:
        """Raises: TrainingDiverged if a loss is NaN or infinite."""
        if not math.isfinite(loss):
            raise TrainingDiverged(
                f"training diverged: the loss became {loss} at step {step}; lower trainer.learning_rate (now {self.options.learning_rate}) "
                f"or raise trainer.warmup_ratio (now {self.options.warmup_ratio})"
            )

    def take_losses(self) -> dict[str, float]:
        """Mean token loss in nats over all devices since the last call: "loss", weighted as in training, and "loss_FORM" for every
        form that occurred.

        With several tasks there is also "loss/TASK" for every task that occurred.
        """
        sums = self.trainer.strategy.reduce(self.sums.clone(), reduce_op="sum")
        self.sums = torch.zeros_like(self.sums)
        total, count = sums.sum(dim=(1, 2)).tolist()
        loss = total / count
        if self.full_loss_ratio is not None:
            means = {form: own / num for form, own, num in zip(FORMS, *sums.sum(dim=1).tolist(), strict=True) if num}
            loss = sum(share * means[form] for form, share in shares_of_loss(means, self.full_loss_ratio).items())
        names = [f"loss_{form}" for form in FORMS]
        parts = [*zip(names, *sums.sum(dim=1).tolist(), strict=True)]
        if len(self.tasks) > 1:
            parts += zip([f"loss/{task}" for task in self.tasks], *sums.sum(dim=2).tolist(), strict=True)
        return {"loss": loss, **{name: own / num for name, own, num in parts if num}}

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(
            [each for _, each in trained_parameters(self)], lr=self.options.learning_rate, weight_decay=self.options.weight_decay, foreach=True
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._learning_rate_factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _learning_rate_factor(self, steps_since_start: int) -> float:
        """Linear warm-up, then half a cosine down to zero."""
        step = self.first_step + steps_since_start
        warmup = max(1, round(self.num_steps * self.options.warmup_ratio))
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, self.num_steps - warmup)))
