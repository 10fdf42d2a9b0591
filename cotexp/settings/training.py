"""Settings of fine-tuning: the mixture of its examples, and the trainer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cotexp.settings.base import IF_SET, Section, setting

MOST_EPOCHS = 10_000
"""Most passes over the training examples, however the length of a fine-tuning is set."""


@dataclass(slots=True, kw_only=True)
class Mixture(Section):
    """Which training examples are made of the rationales and their compressed forms."""

    originals: str = setting("all", "Which rationales take part: all, or those whose answer is correct.", choices=("all", "correct"))
    full_ratio: float | None = setting(
        None,
        "Share of training examples in full form; by default 0.5 (every question in both), 1 without compression, one ratio's share with tokenskip.",
        low=0,
        high=1,
    )
    full_loss_ratio: float | None = setting(
        None,
        "Share of the mean token loss of the full form in the loss of all steps, the rest is that of the short form (Hsieh et al.: 0.5); by default "
        "0.5 with compression=step_by_step, and otherwise every token counts alike.",
        above=0,
        high=1,
        keyed=IF_SET,
    )
    rewrite_ratio: float = setting(
        0.0, "Rewriting examples (one round in, the next out) per full example; teaches the compressor's role.", low=0, high=8
    )

    def contradictions(self) -> Iterator[str]:
        if self.full_loss_ratio == 1:
            yield "full_loss_ratio must be below 1, which would leave nothing of the loss to the short form; got 1"


@dataclass(slots=True, kw_only=True)
class Lora(Section):
    """Low-rank adapters instead of training every weight."""

    rank: int = setting(8, "Rank of the adapters (MACC, second-hand: 8).", low=1, most=8192)
    alpha: int = setting(16, "Scale of the adapters (MACC, second-hand: 16).", low=1)
    dropout: float = setting(0.0, "Dropout on the adapters' input.", low=0, high=0.9)
    target_modules: str = setting("all-linear", "Modules that get adapters, comma-separated; all-linear for every linear layer.")


@dataclass(slots=True, kw_only=True)
class Trainer(Section):
    """Fine-tuning; defaults are MACC's as far as they are known second-hand."""

    name: str = setting("single", "Short name.", keyed=False)
    tuning: str = setting("lora", "Train adapters or every weight.", choices=("lora", "full"))
    lora: Lora = setting(Lora, "Adapter settings; read only with tuning=lora.")
    learning_rate: float = setting(2e-5, "Peak learning rate (MACC, second-hand: 2e-5).", above=0, high=1)
    batch_size: int = setting(32, "Examples per optimiser step over all devices (MACC, second-hand: 32).", low=1)
    max_epochs: float = setting(3.0, "Passes over the training examples, rounded to whole steps (MACC, second-hand: 3).", above=0, most=MOST_EPOCHS)
    max_steps: int | None = setting(
        None, "Optimiser steps in place of max_epochs, so that runs are compared at equal steps; by default max_epochs decides.", low=1, keyed=IF_SET
    )
    max_tokens: int | None = setting(
        None,
        "Training tokens in place of max_epochs, so that runs are compared at equal tokens: prompts count, padding does not, and training ends with "
        "the step that reaches them; by default max_epochs decides.",
        low=1,
        keyed=IF_SET,
    )
    max_petaflops: float | None = setting(
        None,
        "10^15 floating-point operations (FLOPs) in place of max_epochs, so that runs are compared at equal compute: training ends with the step "
        "that reaches them; by default max_epochs decides.",
        above=0,
        keyed=IF_SET,
    )
    warmup_ratio: float = setting(0.1, "Share of the steps in which the learning rate rises.", low=0, high=1)
    weight_decay: float = setting(0.0, "Decoupled weight decay.", low=0, most=100)
    gradient_clip: float = setting(1.0, "Largest gradient norm.", above=0)
    max_length: int = setting(16384, "Longest example in tokens (MACC, second-hand: 16,384); longer ones are left out and counted.", low=8)
    precision: str = setting("float32", "Number format of the forward pass; trained weights stay float32.", choices=("float32", "bfloat16"))
    frozen_dtype: str | None = setting(
        None,
        "Number format of the weights that tuning=lora leaves as they are; by default that of precision. nf4 rounds those of linear layers to 4 bits "
        "(QLoRA) with bitsandbytes; adapters are merged into the unrounded weights. Part of the key of the fine-tuned model.",
        choices=("float32", "bfloat16", "nf4"),
        keyed=False,
    )
    num_validations: int = setting(5, "Validations, spread evenly; the best by validation loss is kept.", low=1, most=10_000)
    checkpoint_every_seconds: float = setting(
        15.0, "Least seconds between resumable checkpoints (0: every step), which take 2 % of the time at most.", low=0, keyed=False
    )
    micro_batch_size: int | None = setting(
        None,
        "Most examples per forward pass and device; by default as many passes as for a quarter, a half or all of its share, 8 at least.",
        low=1,
        keyed=False,
    )
    max_batch_tokens: int | None = setting(
        None,
        "Most tokens per forward pass and device, padding included; a longer example goes alone. By default 1024 on a CPU and 8192 elsewhere.",
        low=1,
        keyed=False,
    )
    padding_free: bool | None = setting(
        None,
        "Whether the texts of a forward pass stand in one row without padding: the same loss. By default where model.attn_implementation is "
        "flash_attention_2, flash_attention_3 or flex_attention, which spend no time on pairs of tokens of different texts.",
        keyed=False,
    )
    gradient_checkpointing: bool | None = setting(
        None,
        "Whether activations are computed again in the backward pass: less memory, about a third more time, the same loss. By default where a step "
        "would need more than 80 % of a device's memory without.",
        keyed=False,
    )
    strategy: str = setting(
        "auto",
        "How several devices share the work: ddp copies the model to each, fsdp shards it over all of them (FSDP2), deepspeed shards gradients and "
        "optimiser (ZeRO 2).",
        choices=("auto", "ddp", "fsdp", "deepspeed"),
        keyed=False,
    )
    devices: int = setting(1, "Number of devices, or of worker processes on a CPU, per machine.", low=1, most=1024, keyed=False)
    num_nodes: int = setting(
        1, "Number of machines; each starts the same command once, on one shared outputs folder.", low=1, most=10_000, keyed=False
    )
    node_rank: int | None = setting(None, "Number of this machine, from 0; what Slurm or torchrun say by default.", low=0, keyed=False)
    main_address: str | None = setting(
        None, "Host name or address of machine 0, as the others reach it; what Slurm or torchrun say by default.", keyed=False
    )
    main_port: int = setting(
        29511,
        "Free port of machine 0 at which the workers of all machines meet; a job of Slurm adds the last three digits of its number.",
        low=1024,
        high=64_000,
        keyed=False,
    )
    accelerator: str = setting("auto", "Kind of device for training.", choices=("auto", "cpu", "cuda", "mps"), keyed=False)

    @property
    def num_workers(self) -> int:
        """Devices of all machines together."""
        return self.devices * self.num_nodes

    @property
    def dtype_of_frozen(self) -> str:
        """Number format of the weights that are not trained; float32 if every weight is."""
        return (self.frozen_dtype or self.precision) if self.tuning == "lora" else "float32"

    @property
    def budget(self) -> tuple[str, float] | None:
        """Name and value of the setting that ends the fine-tuning in place of max_epochs, if any."""
        budgets = {"max_steps": self.max_steps, "max_tokens": self.max_tokens, "max_petaflops": self.max_petaflops}
        return next(((name, value) for name, value in budgets.items() if value is not None), None)

    def contradictions(self) -> Iterator[str]:
        if sum(each is not None for each in (self.max_steps, self.max_tokens, self.max_petaflops)) > 1:
            own = f"max_steps={self.max_steps}, max_tokens={self.max_tokens} and max_petaflops={self.max_petaflops}"
            yield f"max_steps, max_tokens and max_petaflops each set the length of the fine-tuning, so one of them at most can be given; got {own}"
        if self.frozen_dtype in ("bfloat16", "nf4") and (self.tuning, self.precision) != ("lora", "bfloat16"):
            own = f"tuning={self.tuning} and precision={self.precision}"
            yield f"frozen_dtype={self.frozen_dtype} needs tuning=lora and precision=bfloat16; got {own}"
        if self.frozen_dtype == "nf4" and self.strategy in ("fsdp", "deepspeed"):
            yield f"frozen_dtype=nf4 needs strategy=ddp, which does not divide weights, or one device; got {self.strategy}"
        if self.devices < 1 or self.num_nodes < 1:
            return
        if self.num_workers > 1 and self.strategy == "auto":
            yield f"devices and num_nodes must be 1 unless trainer is ddp, fsdp or deepspeed; got devices={self.devices}, num_nodes={self.num_nodes}"
        if self.num_workers > 1 and self.accelerator == "mps":
            yield f"accelerator must not be mps, of which a machine has one, with several devices; got devices={self.devices}"
        if self.node_rank is not None and self.node_rank >= self.num_nodes:
            yield f"node_rank must be below num_nodes ({self.num_nodes}); got {self.node_rank}"
        if self.batch_size % self.num_workers:
            yield f"batch_size must be a multiple of devices * num_nodes ({self.num_workers}); got {self.batch_size}"
