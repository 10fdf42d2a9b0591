"""Writes the results of a fine-tuning between its steps: curve, validation losses, best weights, and checkpoints to resume from."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from safetensors.torch import save_file

from cotexp import durable, ownership, signals
from cotexp.settings.training import Trainer
from cotexp.training import costs, resumable
from cotexp.training.sharding import gathered, trained_parameters

CurveRow = dict[str, float]

CHECKPOINT_SHARE = 0.02
"""Largest share of the time for checkpoints. For a large model they are rarer than the settings request."""

CURVE, RESUMABLE, BEST = "curve.jsonl", "resumable.ckpt", "best.safetensors"


class Recorder(pl.Callback):
    """Writes the curve, validates, keeps the best weights, and saves a resumable checkpoint between whole steps."""

    def __init__(self, folder: Path, trainer: Trainer, num_steps: int, on_row: Callable[[CurveRow, int], None]) -> None:
        self.curve, self.best, self.resumable = folder / CURVE, folder / BEST, folder / RESUMABLE
        self.num_steps, self.on_row = num_steps, on_row
        self.validation_steps = {round(part * num_steps / trainer.num_validations) for part in range(1, trainer.num_validations + 1)}
        self.seconds_between_checkpoints = trainer.checkpoint_every_seconds
        self.done, self.owner = resumable.progress(self.resumable), ownership.owner(folder)
        self.last_checkpoint, self.seconds_of_checkpoint = time.monotonic(), 0.0
        self.before, self.started, self.num_devices = self.done, time.monotonic(), costs.num_devices(trainer)

    @property
    def seconds(self) -> float | None:
        """Seconds of the fine-tuning so far, with validations and checkpoints, and with those before a restart; None if these are unknown.

        What a killed process did after its last checkpoint is done again, and counts once.
        """
        return None if self.before.seconds is None else self.before.seconds + time.monotonic() - self.started

    @property
    def device_seconds(self) -> float | None:
        """The seconds of all devices together, of as many as there were before a restart."""
        own = self.num_devices * (time.monotonic() - self.started)
        return None if self.before.device_seconds is None else self.before.device_seconds + own

    def on_train_start(self, trainer: pl.Trainer, module: Any) -> None:
        self.started = time.monotonic()
        if self.done.step:
            resumable.restore(self.resumable, module, trainer.optimizers[0])

    def on_train_batch_start(self, trainer: pl.Trainer, module: Any, batch: Any, batch_idx: int) -> None:
        self.learning_rate = trainer.optimizers[0].param_groups[0]["lr"]

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        self.done = self.done._replace(step=module.step)
        losses = {f"train/{name}": value for name, value in module.take_losses().items()}
        self._write(trainer, {"step": module.step, "learning_rate": self.learning_rate, **losses})
        validates = module.step in self.validation_steps
        if validates:
            self._validate(trainer, module)
        is_due, signal_number = self._agreed(trainer, validates or self._is_due())
        if (is_due or signal_number) and module.step < self.num_steps:
            self._save(trainer, module)
        if signal_number and module.step < self.num_steps:
            signals.check()
            raise signals.Stopped(signal_number)

    def _agreed(self, trainer: pl.Trainer, is_due: bool) -> tuple[bool, int]:
        """(whether a checkpoint is due on any device, the signal that any device received or 0); the same on all devices."""
        wishes = torch.tensor([int(is_due), signals.noted()], device=trainer.strategy.root_device)
        due, number = trainer.strategy.reduce(wishes, reduce_op="max").tolist()
        return bool(due), int(number)

    def _save(self, trainer: pl.Trainer, module: Any) -> None:
        started = time.monotonic()
        if trainer.is_global_zero:
            self.owner.check()
            durable.sync(self.curve)  # on the disk, a checkpoint must not be ahead of the curve
        self.done = self.done._replace(seconds=self.seconds, device_seconds=self.device_seconds)
        resumable.save(self.resumable, module, trainer.optimizers[0], self.done, writes=trainer.is_global_zero)
        self.last_checkpoint = time.monotonic()
        self.seconds_of_checkpoint = self.last_checkpoint - started

    def _is_due(self) -> bool:
        wait = self.seconds_between_checkpoints and max(self.seconds_between_checkpoints, self.seconds_of_checkpoint / CHECKPOINT_SHARE)
        return time.monotonic() - self.last_checkpoint >= wait

    @torch.no_grad()
    def _validate(self, trainer: pl.Trainer, module: Any) -> None:
        module.eval()
        with trainer.precision_plugin.forward_context():
            for index, batch in enumerate(trainer.datamodule.val_dataloader()):  # type: ignore[attr-defined]  # set by `fit`
                module.validation_step(module.transfer_batch_to_device(batch, module.device, 0), index)
        module.train()
        losses = module.take_losses()
        module.check_finite(losses["loss"], module.step)
        self._write(trainer, {"step": module.step, **{f"validation/{name}": value for name, value in losses.items()}})
        if losses["loss"] < self.done.best_loss:
            self.done = self.done._replace(best_loss=losses["loss"], best_step=module.step)
            weights = {}
            for name, each in trained_parameters(module):
                weight = gathered(each).detach()  # no device holds more than one whole tensor
                if trainer.is_global_zero:
                    weights[name] = weight.cpu().contiguous()
            if trainer.is_global_zero:
                save_file(weights, self.best.with_suffix(".new"))
                self.owner.check()
                durable.put(self.best.with_suffix(".new"), self.best)

    def _write(self, trainer: pl.Trainer, row: CurveRow) -> None:
        row = {**row, "num_steps": self.num_steps}
        if trainer.is_global_zero:
            self.owner.check()
            with self.curve.open("a") as file:
                file.write(json.dumps(row) + "\n")
            self.on_row(row, self.num_steps)
