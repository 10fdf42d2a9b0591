"""One fine-tuning, in a folder from which a killed one resumes."""

from __future__ import annotations

import contextlib
import json
import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from cotexp import durable, signals
from cotexp.models import adapters, head, loading
from cotexp.models.encoding import Encoded, Encoder
from cotexp.models.rope import RopeLimit
from cotexp.records import Example
from cotexp.settings.base import ConfigError
from cotexp.settings.models import PretrainedModel
from cotexp.settings.training import Trainer
from cotexp.training import costs, packing, resumable
from cotexp.training.batch_plans import BatchPlan, max_tokens, plan_batches
from cotexp.training.data import EncodedExample, MixtureData
from cotexp.training.modules import MultitaskModule
from cotexp.training.recorder import BEST, CURVE, RESUMABLE, CurveRow, Recorder
from cotexp.training.sharding import environment_of, is_sharded, strategy_of, trained_parameters

log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class FitJob:
    """The inputs of a fine-tuning. `folder` holds its resumable state while it runs, and the fine-tuned model afterwards.

    `tasks` maps question ids to tasks. If there are several, the curve has a loss for each. `full_loss_ratio` is that of `settings.training.Mixture`.
    """

    folder: Path
    base_folder: Path
    model: PretrainedModel
    trainer: Trainer
    seed: int
    train: list[Example]
    validation: list[Example]
    tasks: dict[str, str] = field(default_factory=dict)
    full_loss_ratio: float | None = None
    save_dtype: str = "float32"


def fit(job: FitJob, on_row: Callable[[CurveRow, int], None] = lambda row, num_steps: None) -> None:
    """Fine-tune, and write the best model by validation loss to `job.folder`, with curve.jsonl and training.json.

    `on_row(row, num_steps)` is called for every step and validation. Training resumes from a checkpoint in the folder.
    Raises: ConfigError if no example is short enough; TrainingDiverged if the loss is not finite.
    """
    if (job.folder / "training.json").is_file():
        return
    model, tokenizer = _load(job)
    encoder = loading.make_encoder(model, tokenizer, job.model)
    limits = Limits(job.trainer.max_length, loading.context_length(model, job.model), model.config.is_encoder_decoder)
    tasks = sorted(set(job.tasks.values())) or [""]
    task_of = {question: tasks.index(task) for question, task in job.tasks.items()}
    train, too_long = _encode(job.train, encoder, limits, task_of, "training")
    validation, validation_too_long = _encode(job.validation, encoder, limits, task_of, "validation")
    check_sides([len(each.encoded.ids) for each in (*train, *validation)], RopeLimit.of(model), job.trainer)
    size = costs.size_of(model)
    reads_all = job.trainer.max_petaflops is not None and not head.probe(model)
    counts: dict[str, Any] = {"num_examples": len(train), **too_long, "num_parameters": costs.num_parameters(model)}
    counts |= {"num_validation_examples": len(validation), "num_validation_too_long": validation_too_long["num_too_long"]}
    plan = _plan(job, train, costs.flops_of(size and size._replace(head_reads_all=reads_all), train), is_encoder_decoder=limits.reads_apart)
    pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    most = max_tokens(job.trainer)
    data = MixtureData(train, validation, plan, pad_id, max_tokens=most, encoder_decoder=limits.reads_apart, full_loss_ratio=job.full_loss_ratio)
    if job.trainer.num_workers == 1:
        repair(job)
    recorder = Recorder(job.folder, job.trainer, len(plan.global_batches), on_row)
    data.first_step = recorder.done.step
    steps = {"num_steps": recorder.num_steps, "first_step": data.first_step}
    module = MultitaskModule(model, job.trainer, plan, tasks=tasks, **steps, seed=job.seed, full_loss_ratio=job.full_loss_ratio).train()
    with _quiet():
        trainer = _lightning(job.trainer, recorder, num_steps=recorder.num_steps - recorder.done.step, num_micro_batches=plan.num_micro_batches)
        trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]  # its handlers would end stopped runs with status 0
        with signals.at_safe_points("the end of this training step, with a checkpoint"):
            trainer.fit(module, data)
            if trainer.is_global_zero:  # the last step makes no checkpoint: a signal that comes with it waits for the result
                flops = costs.flops_of(size and size._replace(head_reads_all=not head.is_split(model)), train)
                spent = costs.spent(plan, train, flops) | costs.hours(job.trainer, recorder.seconds, recorder.device_seconds)
                _finish(job, *(_load(job) if is_sharded(job.trainer) else (model, tokenizer)), recorder, counts | spent)


def _plan(job: FitJob, train: Sequence[EncodedExample], flops: Sequence[int], *, is_encoder_decoder: bool) -> BatchPlan:
    padding_free = packing.is_padding_free(job.trainer, job.model.attn_implementation, is_encoder_decoder=is_encoder_decoder)
    return plan_batches([len(each.encoded.ids) for each in train], job.trainer, seed=job.seed, padding_free=padding_free, flops=flops)


def _load(job: FitJob) -> tuple[Any, Any]:
    """The model before the first step, and its tokenizer."""
    with _quiet():
        model, tokenizer = loading.load_trainable(job.base_folder, job.model, job.trainer.dtype_of_frozen)
        torch.manual_seed(job.seed)
        compress_id = loading.add_compress_token(model, tokenizer, job.model.compress_token)
        if job.trainer.tuning == "lora":
            model = adapters.add_lora(model, job.trainer.lora, compress_id)
            if job.trainer.precision == "bfloat16":
                adapters.follow_autocast(model)
    return model, tokenizer


def _lightning(trainer: Trainer, recorder: Recorder, *, num_steps: int, num_micro_batches: int) -> pl.Trainer:
    return pl.Trainer(
        accelerator={"auto": "auto", "cpu": "cpu", "cuda": "gpu", "mps": "mps"}[trainer.accelerator],
        devices=trainer.devices,
        num_nodes=trainer.num_nodes,
        strategy=strategy_of(trainer),
        plugins=[environment_of(trainer)],
        precision="bf16-mixed" if trainer.precision == "bfloat16" else "32-true",
        max_steps=num_steps,
        max_epochs=-1,
        accumulate_grad_batches=num_micro_batches,
        gradient_clip_val=trainer.gradient_clip,
        limit_val_batches=0,
        callbacks=[recorder],
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def repair(job: FitJob) -> None:
    """Make the folder of a killed fine-tuning consistent: keep a complete checkpoint, and cut the curve at its step.

    Files that it was writing are removed: if it is only suspended, it goes on to write into those, and not into ours of the same name.
    """
    curve, state, best = job.folder / CURVE, job.folder / RESUMABLE, job.folder / BEST
    for unfinished in (*job.folder.glob("*.new"), *({*job.folder.glob("*.safetensors")} - {best})):
        unfinished.unlink()
    resumable.repair(state)
    if resumable.progress(state).best_step and not _can_be_read(best):
        log.warning("%s, the best weights so far, cannot be read; training starts again", best)
        resumable.remove(state)
    if curve.is_file():
        step = resumable.progress(state).step
        unfinished = curve.with_suffix(".new")
        unfinished.write_text("".join(f"{json.dumps(row)}\n" for row in rows_of(curve) if row["step"] <= step))
        durable.put(unfinished, curve)


def rows_of(curve: Path) -> list[CurveRow]:
    """The complete rows of a curve. A kill may have truncated the last one."""
    rows = []
    for line in curve.read_text(errors="replace").splitlines():
        with contextlib.suppress(ValueError):
            row = json.loads(line)
            if isinstance(row, dict) and isinstance(row.get("step"), int):
                rows.append(row)
    return rows


def _can_be_read(weights: Path) -> bool:
    try:
        load_file(weights)
    except (OSError, SafetensorError):
        return False
    return True


class Limits(NamedTuple):
    """Most tokens of an example by the trainer's `max_length` and by the model's context.

    `reads_apart`: the context holds source and target separately, as in an encoder-decoder model.
    """

    max_length: int
    context: int | None
    reads_apart: bool

    def allow(self, encoded: Encoded) -> bool:
        """Whether an example satisfies both limits."""
        length, target = len(encoded.ids), sum(encoded.loss_mask)
        needed = max(target, length - target) if self.reads_apart else length
        return length <= self.max_length and (self.context is None or needed <= self.context)


def _encode(
    examples: list[Example], encoder: Encoder, limits: Limits, task_of: Mapping[str, int], what: str
) -> tuple[list[EncodedExample], dict[str, int]]:
    """The encoded examples within the limits, and the number of the others, in all and of each form that has some.

    Raises: ConfigError if no example is within the limits.
    """
    encoded = [
        EncodedExample(
            encoder.example(each.prompt, each.completion, compressed=each.compressed, ratio=each.ratio), each.form, task_of.get(each.question_id, 0)
        )
        for each in examples
    ]
    kept = [each for each in encoded if limits.allow(each.encoded)]
    if not kept:
        shortest = min((len(each.encoded.ids) for each in encoded), default=0)
        raise ConfigError(
            f"trainer.max_length leaves no {what} example of {len(examples)}, the shortest of {shortest} tokens; got {limits.max_length} and a "
            f"model with a context of {limits.context or 'any'} tokens; raise it, or take another model"
        )
    of_form = Counter(each.form for each in encoded if not limits.allow(each.encoded))
    return kept, {"num_too_long": of_form.total(), **{f"num_too_long_{form}": count for form, count in of_form.items()}}


def check_sides(lengths: list[int], limit: RopeLimit | None, trainer: Trainer) -> None:
    """Check that a sharded model reads examples on one side of its rotary limit only, because all devices must make the same passes.

    `lengths` are in tokens. Raises: ConfigError otherwise.
    """
    if limit is not None and is_sharded(trainer) and len({limit.side(each) for each in lengths}) > 1:
        raise ConfigError(
            f"trainer.max_length must be at most {limit.length} with trainer.strategy={trainer.strategy}: the model has other rotary factors for "
            f"longer texts, and the longest example has {max(lengths)} tokens; got {trainer.max_length}; lower it, or take trainer.strategy=ddp"
        )


def _finish(job: FitJob, model: Any, tokenizer: Any, recorder: Recorder, counts: dict[str, Any]) -> None:
    """Load the best weights into `model`, which must not be sharded, and save it."""
    model.load_state_dict({name.removeprefix("model."): each for name, each in load_file(recorder.best).items()}, strict=False)
    recorder.owner.check()
    loading.save(model, tokenizer, job.folder, dtype=getattr(torch, job.save_dtype))
    summary = {
        "num_steps": recorder.num_steps,
        "best_step": recorder.done.best_step,
        "best_validation_loss": recorder.done.best_loss,
        **counts,
        "num_trained_parameters": sum(each.numel() for _, each in trained_parameters(model)),
    }
    unfinished = job.folder / "training.json.new"
    unfinished.write_text(json.dumps(summary, indent=2))
    recorder.owner.check()
    durable.put(unfinished, job.folder / "training.json")
    recorder.best.unlink()
    resumable.remove(recorder.resumable)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress Lightning's advice on loaders, loggers and hardware, where our choices are deliberate."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning.utilities.rank_zero", "pytorch_lightning.accelerators")]
    levels = [each.level for each in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
        warnings.filterwarnings("ignore", message="The `srun` command is available")
        for each in loggers:
            each.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for each, level in zip(loggers, levels, strict=True):
                each.setLevel(level)
