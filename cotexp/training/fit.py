"""One fine-tuning from start to end, in a folder from which a killed one goes on."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DDPStrategy
from safetensors.torch import load_file, save_file

from cotexp import stopping
from cotexp.model_settings import PretrainedModel
from cotexp.models import loading
from cotexp.models.encoding import Encoded, Encoder
from cotexp.records import Example
from cotexp.sections import ConfigError
from cotexp.settings import Trainer
from cotexp.training.data import EncodedExample, MixtureData, num_micro_batches, plan_batches
from cotexp.training.modules import MultitaskModule

log = logging.getLogger(__name__)

CurveRow = dict[str, float]

CHECKPOINT_SHARE = 0.02
"""Most of the time that may go into resumable checkpoints: those of a large model come less often than asked for."""

CURVE, RESUMABLE = "curve.jsonl", "resumable.ckpt"


@dataclass(slots=True, kw_only=True)
class FitJob:
    """Everything a fine-tuning needs. `folder` holds its resumable state while it runs and the fine-tuned model afterwards."""

    folder: Path
    base_folder: Path
    model: PretrainedModel
    trainer: Trainer
    seed: int
    train: list[Example]
    validation: list[Example]
    save_dtype: str = "float32"


def fit(job: FitJob, on_row: Callable[[CurveRow, int], None] = lambda row, num_steps: None) -> None:
    """Fine-tune and leave the best model by validation loss in `job.folder`, with curve.jsonl and training.json.

    `on_row(row, num_steps)` is called for every step and validation. A folder with a checkpoint is continued.
    Raises: ConfigError when no example is short enough; TrainingDiverged when the loss is not finite.
    """
    if (job.folder / "training.json").is_file():
        return
    model, tokenizer = loading.load_trainable(job.base_folder, job.model)
    torch.manual_seed(job.seed)
    compress_id = loading.add_compress_token(model, tokenizer, job.model.compress_token)
    if job.trainer.tuning == "lora":
        model = loading.add_lora(model, job.trainer.lora, compress_id)
    encoder = loading.make_encoder(model, tokenizer, job.model)
    limits = Limits(job.trainer.max_length, loading.context_length(model, job.model), model.config.is_encoder_decoder)
    train, num_too_long = _encode(job.train, encoder, limits, "training")
    validation, num_validation_too_long = _encode(job.validation, encoder, limits, "validation")
    plan = plan_batches([len(each.encoded.ids) for each in train], job.trainer, seed=job.seed)
    num_steps = len(plan.global_batches)
    pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    data = MixtureData(train, validation, plan, pad_id, encoder_decoder=model.config.is_encoder_decoder)
    module = MultitaskModule(model, job.trainer, num_steps=num_steps, seed=job.seed).train()
    recorder = Recorder(job.folder, job.trainer, num_steps, on_row)
    if "RANK" not in os.environ:
        settle(job)
    resumable = recorder.resumable if recorder.resumable.is_file() else None
    data.first_step = saved_step(recorder.resumable)
    with _quiet():
        trainer = pl.Trainer(
            accelerator={"auto": "auto", "cpu": "cpu", "cuda": "gpu", "mps": "mps"}[job.trainer.accelerator],
            devices=job.trainer.devices,
            strategy=DDPStrategy() if job.trainer.strategy == "ddp" else "auto",
            precision="bf16-mixed" if job.trainer.precision == "bfloat16" else "32-true",
            max_steps=num_steps,
            max_epochs=-1,
            accumulate_grad_batches=plan.num_micro_batches,
            gradient_clip_val=job.trainer.gradient_clip,
            limit_val_batches=0,
            callbacks=[recorder],
            use_distributed_sampler=False,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]  # it would end stopped runs with status 0
        with stopping.at_safe_points("the end of this training step, with a checkpoint"):
            trainer.fit(module, data, ckpt_path=resumable, weights_only=True)
    if trainer.is_global_zero:
        counts = {
            "num_examples": len(train),
            "num_too_long": num_too_long,
            "num_validation_examples": len(validation),
            "num_validation_too_long": num_validation_too_long,
            "num_supervised_tokens": sum(sum(each.encoded.loss_mask) for each in train),
        }
        _finish(job, module, tokenizer, recorder, counts)


def settle(job: FitJob) -> None:
    """Make the folder of a killed fine-tuning consistent before it goes on: the curve ends where the checkpoint does.

    A checkpoint of another number of devices or micro-batches counts other batches and is dropped.
    """
    curve, resumable = job.folder / CURVE, job.folder / RESUMABLE
    if resumable.is_file():
        callbacks = torch.load(resumable, weights_only=True, map_location="cpu")["callbacks"]
        if callbacks[Recorder.__qualname__]["layout"] != _layout(job.trainer):
            log.warning("fine-tuning begins anew: its checkpoint was made with another number of devices or micro-batches")
            resumable.unlink()
    if curve.is_file():
        step = saved_step(resumable)
        lines = [line for line in curve.read_text().splitlines() if line.endswith("}")]
        curve.write_text("".join(f"{line}\n" for line in lines if json.loads(line)["step"] <= step))


def saved_step(resumable: Path) -> int:
    """The step of a resumable checkpoint, 0 without one."""
    return int(torch.load(resumable, weights_only=True, map_location="cpu")["global_step"]) if resumable.is_file() else 0


def _layout(trainer: Trainer) -> list[int]:
    return [trainer.devices, num_micro_batches(trainer)]


class Limits(NamedTuple):
    """Most tokens of an example as the trainer wants it, and of what the model can read in one go: source and target apart where it reads them so."""

    max_length: int
    context: int | None
    reads_apart: bool

    def allow(self, encoded: Encoded) -> bool:
        """Whether an example is short enough for both."""
        length, target = len(encoded.ids), sum(encoded.loss_mask)
        needed = max(target, length - target) if self.reads_apart else length
        return length <= self.max_length and (self.context is None or needed <= self.context)


def _encode(examples: list[Example], encoder: Encoder, limits: Limits, what: str) -> tuple[list[EncodedExample], int]:
    """The examples within the limits, and the number of the others."""
    encoded = [
        EncodedExample(encoder.example(each.prompt, each.completion, compressed=each.compressed, ratio=each.ratio), each.form) for each in examples
    ]
    kept = [each for each in encoded if limits.allow(each.encoded)]
    if not kept:
        shortest = min((len(each.encoded.ids) for each in encoded), default=0)
        raise ConfigError(
            f"trainer.max_length leaves no {what} example of {len(examples)}, the shortest of {shortest} tokens; got {limits.max_length} and a "
            f"model with a context of {limits.context or 'any'} tokens; raise it, or take another model"
        )
    return kept, len(encoded) - len(kept)


def _finish(job: FitJob, module: MultitaskModule, tokenizer: Any, recorder: Recorder, counts: dict[str, int]) -> None:
    module.load_state_dict(load_file(recorder.best), strict=False)
    loading.save(module.model, tokenizer, job.folder, dtype=getattr(torch, job.save_dtype))
    summary = {
        "num_steps": recorder.num_steps,
        "best_step": recorder.best_step,
        "best_validation_loss": recorder.best_loss,
        **counts,
        "num_trained_parameters": sum(each.numel() for each in module.parameters() if each.requires_grad),
    }
    unfinished = job.folder / "training.json.new"
    unfinished.write_text(json.dumps(summary, indent=2))
    unfinished.replace(job.folder / "training.json")
    recorder.best.unlink()
    recorder.resumable.unlink(missing_ok=True)


class Recorder(pl.Callback):
    """Writes the curve, validates, keeps the best weights and a resumable checkpoint: all of it at the ends of whole steps."""

    def __init__(self, folder: Path, trainer: Trainer, num_steps: int, on_row: Callable[[CurveRow, int], None]) -> None:
        self.curve, self.best, self.resumable = folder / CURVE, folder / "best.safetensors", folder / RESUMABLE
        self.num_steps, self.on_row, self.layout = num_steps, on_row, _layout(trainer)
        self.validation_steps = {round(part * num_steps / trainer.num_validations) for part in range(1, trainer.num_validations + 1)}
        self.seconds_between_checkpoints = trainer.checkpoint_every_seconds
        self.best_loss, self.best_step = float("inf"), 0
        self.last_checkpoint, self.seconds_of_checkpoint = time.monotonic(), 0.0

    def state_dict(self) -> dict[str, Any]:
        return {"best_loss": self.best_loss, "best_step": self.best_step, "layout": self.layout}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_loss, self.best_step = state_dict["best_loss"], state_dict["best_step"]

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        step = trainer.global_step
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        self._write(trainer, {"step": step, "learning_rate": rate, **{f"train/{name}": value for name, value in module.take_losses().items()}})
        validates = step in self.validation_steps
        if validates:
            self._validate(trainer, module, step)
        is_due, signal_number = self._agreed(trainer, validates or self._is_due())
        if (is_due or signal_number) and step < self.num_steps:
            started = time.monotonic()
            trainer.save_checkpoint(self.resumable.with_suffix(".new"), weights_only=False)
            if trainer.is_global_zero:
                self.resumable.with_suffix(".new").replace(self.resumable)
            self.last_checkpoint = time.monotonic()
            self.seconds_of_checkpoint = self.last_checkpoint - started
        if signal_number and step < self.num_steps:
            stopping.check()
            raise stopping.Stopped(signal_number)

    def _agreed(self, trainer: pl.Trainer, is_due: bool) -> tuple[bool, int]:
        """(whether a checkpoint is due on any device, the signal that any device received or 0): the same on all of them."""
        wishes = torch.tensor([int(is_due), stopping.noted()], device=trainer.strategy.root_device)
        due, number = trainer.strategy.reduce(wishes, reduce_op="max").tolist()
        return bool(due), int(number)

    def _is_due(self) -> bool:
        wait = self.seconds_between_checkpoints and max(self.seconds_between_checkpoints, self.seconds_of_checkpoint / CHECKPOINT_SHARE)
        return time.monotonic() - self.last_checkpoint >= wait

    @torch.no_grad()
    def _validate(self, trainer: pl.Trainer, module: Any, step: int) -> None:
        module.eval()
        with trainer.precision_plugin.forward_context():
            for index, batch in enumerate(trainer.datamodule.val_dataloader()):  # type: ignore[attr-defined]
                module.validation_step(module.transfer_batch_to_device(batch, module.device, 0), index)
        module.train()
        losses = module.take_losses()
        self._write(trainer, {"step": step, **{f"validation/{name}": value for name, value in losses.items()}})
        if losses["loss"] < self.best_loss:
            self.best_loss, self.best_step = losses["loss"], step
            if trainer.is_global_zero:
                trained = {name: each.detach().cpu().contiguous() for name, each in module.named_parameters() if each.requires_grad}
                save_file(trained, self.best.with_suffix(".new"))
                self.best.with_suffix(".new").replace(self.best)

    def _write(self, trainer: pl.Trainer, row: CurveRow) -> None:
        row = {**row, "num_steps": self.num_steps}
        if trainer.is_global_zero:
            with self.curve.open("a") as file:
                file.write(json.dumps(row) + "\n")
            self.on_row(row, self.num_steps)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Lightning's advice on loaders, loggers and hardware is about choices that are made here on purpose."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning.utilities.rank_zero", "pytorch_lightning.accelerators")]
    levels = [each.level for each in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
        for each in loggers:
            each.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for each, level in zip(loggers, levels, strict=True):
                each.setLevel(level)
