"""Every setting of an experiment: one sentence with its unit, its default and its bounds.

`setting(...)` declares a field. `keyed=False` marks what cannot change a result (paths, devices, micro-batches): such fields never
enter a key of the store. A value that is None by default means "decided where the sentence says".
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from cotexp.compression_settings import Macc, PromptOnly, TokenSkip
from cotexp.model_settings import ScratchModel
from cotexp.sections import LARGEST_SEED, ConfigError, Section, setting, shortened

# --- selection --------------------------------------------------------------------------------------------------------


ORDERS = ("sample", "random", "shortest", "longest", "lowest_perplexity", "lowest_rd", "highest_rd")


@dataclass(slots=True, kw_only=True)
class Scoring(Section):
    """How rationales are scored under the model as it is before fine-tuning: MoRSD's self-evaluation, and the perplexity of compressed chains."""

    connector: str = setting("The answer is ", "What stands before the gold answer, with a rationale and without.")
    answer: str = setting(
        "boxed",
        "How the gold answer stands there: in a box, as tasks ask for it, or plain, as many recorded rationales have it.",
        choices=("boxed", "plain"),
    )
    dtype: str = setting("float32", "Number format of the student; bfloat16 scores depend on the batch.", choices=("float32", "bfloat16"))
    max_batch_tokens: int | None = setting(
        None, "Most tokens that go through the student at once; by default 512 on a CPU and 8192 elsewhere.", low=64, keyed=False
    )
    perplexity_chains: int = setting(
        256,
        "Training chains whose perplexity is measured in every round, drawn by question; `cotexp forecast` needs it. 0 leaves it out.",
        low=0,
        keyed=False,
    )

    def contradictions(self) -> Iterator[str]:
        if not self.connector.strip():
            yield f"connector must not be blank; got {self.connector!r}"


COMMON_DIVERSITY = 0.5
"""Similarity from which rationales count as near duplicates when questions are chosen for all selections alike."""


@dataclass(slots=True, kw_only=True)
class Selection(Section):
    """Which rationales are learnt from: MoRSD's filters in its order, each removable; the controls are the same filters, set otherwise."""

    name: str = setting("all", "Name of the selection.", keyed=False)
    accuracy: bool = setting(False, "First filter: keep only rationales whose answer is the gold one.")
    diversity: float | None = setting(
        None,
        "Second filter: drop a rationale whose word 3-grams have this Jaccard similarity or more with one kept before; off by default.",
        above=0,
        high=1,
    )
    order: str = setting("sample", "Third filter: the order in which the first k of each question are kept.", choices=ORDERS)
    k: int | None = setting(None, "Most rationales kept per question; all by default.", low=1)
    rd: str = setting(
        "plain",
        "Which Rationale Difficulty orders: plain; masked, without the answer sentence; hidden, where equations do not show the answer either.",
        choices=("plain", "masked", "hidden"),
    )
    equal_questions: bool = setting(
        False, "Whether to train only on questions with k correct and diverse rationales (similarity below 0.5), the same for every selection."
    )
    max_rationales: int | None = setting(None, "Most training rationales in all, taken rank by rank over the questions; no limit by default.", low=1)
    max_tokens: int | None = setting(None, "Most tokens of training rationales in all, taken rank by rank; no limit by default.", low=1)
    validation: str = setting(
        "correct", "Which rationales of the validation questions choose the checkpoint, k of each in sample order.", choices=("all", "correct")
    )

    @property
    def needs_scores(self) -> bool:
        """Whether the student must score the rationales."""
        return self.order in ("lowest_perplexity", "lowest_rd", "highest_rd")

    def contradictions(self) -> Iterator[str]:
        limits = (self.k, self.max_rationales, self.max_tokens)
        if self.order != "sample" and limits == (None, None, None):
            yield f"order is read only with k, max_rationales or max_tokens; got order={self.order} without any"
        if self.rd != "plain" and not self.order.endswith("_rd"):
            yield f"rd is read only with order=lowest_rd or highest_rd; got rd={self.rd} with order={self.order}"
        if self.equal_questions and self.k is None:
            yield "equal_questions needs k, the rationales that every question must have; got k=None"
        if self.equal_questions and self.diversity is not None and self.diversity < COMMON_DIVERSITY:
            yield f"diversity must be at least {COMMON_DIVERSITY} with equal_questions, which counts rationales at that; got {self.diversity}"


# --- mixture, trainer, evaluation -------------------------------------------------------------------------------------


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
    rewrite_ratio: float = setting(
        0.0, "Rewriting examples (one round in, the next out) per full example; teaches the compressor's role.", low=0, high=8
    )


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
    max_epochs: float = setting(3.0, "Passes over the training examples (MACC, second-hand: 3).", above=0, most=10_000)
    warmup_ratio: float = setting(0.1, "Share of the steps in which the learning rate rises.", low=0, high=1)
    weight_decay: float = setting(0.0, "Decoupled weight decay.", low=0, most=100)
    gradient_clip: float = setting(1.0, "Largest gradient norm.", above=0)
    max_length: int = setting(16384, "Longest example in tokens (MACC, second-hand: 16,384); longer ones are left out and counted.", low=8)
    precision: str = setting("float32", "Number format of the forward pass; weights stay float32.", choices=("float32", "bfloat16"))
    num_validations: int = setting(5, "Validations, spread evenly; the best by validation loss is kept.", low=1, most=10_000)
    checkpoint_every_seconds: float = setting(
        15.0, "Least seconds between resumable checkpoints (0: every step), which take 2 % of the time at most.", low=0, keyed=False
    )
    micro_batch_size: int | None = setting(None, "Examples per forward pass and device; the whole share of a device by default.", low=1, keyed=False)
    gradient_checkpointing: bool = setting(
        False, "Whether activations are computed again in the backward pass: less memory, about a third more time, the same loss.", keyed=False
    )
    strategy: str = setting(
        "auto",
        "How several devices share the work: ddp copies the model to each, fsdp shards it over all of them (FSDP2), deepspeed shards gradients and "
        "optimiser (ZeRO 2, NVIDIA GPUs).",
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
    main_port: int = setting(29511, "Free port of machine 0 at which the workers of all machines meet.", low=1024, high=65535, keyed=False)
    accelerator: str = setting("auto", "Kind of device for training.", choices=("auto", "cpu", "cuda", "mps"), keyed=False)

    @property
    def num_workers(self) -> int:
        """Devices of all machines together."""
        return self.devices * self.num_nodes

    def contradictions(self) -> Iterator[str]:
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
        elif self.micro_batch_size and (self.batch_size // self.num_workers) % self.micro_batch_size:
            share = self.batch_size // self.num_workers
            yield f"micro_batch_size must divide batch_size / (devices * num_nodes) ({share}); got {self.micro_batch_size}"


MODES = ("base", "truncate", "full", "compress")
"""In the order of the tables; the last one that a run has is what it is judged by."""
FINE_TUNED_MODES = ("full", "compress")
BASE = "base"
"""The mode before fine-tuning; as a baseline, what every run is measured against in itself."""


@dataclass(slots=True, kw_only=True)
class Evaluation(Section):
    """How models are measured."""

    modes: list[str] | None = setting(
        None,
        "base: before fine-tuning; truncate: its answers, cut; full: fine-tuned, asked for full chains; compress: for short ones. All that apply.",
        choices=MODES,
    )
    tasks: list[str] | None = setting(
        None, "Tasks whose test questions are answered, by name; by default those trained on, or `task` where it is evaluation only."
    )
    split: str = setting(
        "test",
        "Questions that are answered: those of the test; or validation, which a search may choose by and a paper must not report.",
        choices=("test", "validation"),
    )
    num_samples: int = setting(
        1, "Answers per question; accuracy is then avg@k, the mean over questions of the share of correct answers.", low=1, most=10_000
    )
    temperature: float = setting(0.0, "Sampling temperature; 0 takes the likeliest token.", low=0, high=5)
    seed: int = setting(0, "Seed of sampling; each answer has its own generator.", low=0, most=LARGEST_SEED)
    max_new_tokens: int = setting(512, "Most tokens generated per answer.", low=1, most=10_000_000)
    truncate_ratio: float | None = setting(
        None,
        "Adds mode truncate: one output budget per task, at which the base model's answers have this share of their tokens on average.",
        above=0,
        high=1,
    )
    ratio: float | None = setting(
        None, "With compression=tokenskip: which of its ratios mode compress asks for; the smallest by default.", above=0, high=1
    )
    batch_size: int = setting(64, "Answers generated at once.", low=1, keyed=False)
    latency: bool = setting(True, "Whether to measure seconds per question.")
    latency_questions: int = setting(32, "Test questions timed, after a warm-up.", low=1)
    latency_passes: int = setting(3, "Times that all of them are timed; tables show the median and, as spread, the quartiles.", low=1)
    latency_batch_size: int = setting(32, "Batch N of the batched latency; batch 1 is always measured.", low=1)

    def contradictions(self) -> Iterator[str]:
        if self.modes == []:
            yield f"modes must name at least one of {', '.join(MODES)}; got []"
        if self.modes and len(set(self.modes)) < len(self.modes):
            yield f"modes must not repeat; got {self.modes}"
        if self.tasks is not None and len(set(self.tasks)) < max(1, len(self.tasks)):
            yield f"tasks must name at least one task, and none twice; got {self.tasks}"
        if self.num_samples > 1 and self.temperature == 0:
            yield f"num_samples must be 1 at temperature 0, where all answers are equal; got {self.num_samples}"
        if self.truncate_ratio is not None and self.temperature > 0:
            yield f"truncate_ratio needs temperature 0, where a smaller budget gives the same answer, cut; got temperature={self.temperature}"


# --- edges ------------------------------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class NoTracking(Section):
    """Results stay in outputs/."""

    name: str = setting("none", "Name of the tracker.", choices=("none",), keyed=False)


ARTIFACTS = (
    "dataset",
    "texts",
    "rationales",
    "scores",
    "rewrites",
    "rounds",
    "importances",
    "perplexity",
    "selection",
    "model",
    "checkpoint",
    "predictions",
)
"""Kinds of what a run makes and reads, in the order of the pipeline."""


@dataclass(slots=True, kw_only=True)
class WandbTracking(Section):
    """One Weights & Biases run per experiment run; offline without an API key. What WANDB_* variables ask for holds where a setting is at its
    default; WANDB_MODE=disabled and WANDB_DISABLED=true write nothing in any case."""

    name: str = setting("wandb", "Name of the tracker.", choices=("wandb",), keyed=False)
    project: str = setting("cotexp", "W&B project.", keyed=False)
    entity: str | None = setting(None, "W&B user or team.", keyed=False)
    mode: str = setting(
        "auto", "auto: what WANDB_MODE says, else online when an API key is found, else offline.", choices=("auto", "online", "offline"), keyed=False
    )
    tags: list[str] = setting([], "W&B tags, beside the name of the sweep that a run belongs to.", keyed=False)
    notes: str = setting("", "W&B notes.", keyed=False)
    job_type: str | None = setting(None, "W&B job type; by default train, or evaluate where nothing is trained.", keyed=False)
    upload: list[str] = setting([], "Artifacts whose files are uploaded; of all others W&B gets paths and checksums.", choices=ARTIFACTS, keyed=False)
    finish_seconds: float = setting(
        60.0, "Most seconds that a finished run waits for an upload; what is left lies in OUTPUTS/wandb for `wandb sync`.", low=1, keyed=False
    )


@dataclass(slots=True, kw_only=True)
class Paths(Section):
    """Where things lie."""

    outputs: str = setting("outputs", "Folder of the store and of the runs.", keyed=False, is_path=True)
    data: str | None = setting(None, "Folder with benchmark data; the environment variable COTEXP_DATA by default.", keyed=False, is_path=True)

    def __post_init__(self) -> None:
        if self.data is None:
            self.data = os.environ.get("COTEXP_DATA") or None
        Section.__post_init__(self)


@dataclass(slots=True, kw_only=True)
class Settings:
    """The root: one section per slot."""

    name: str = setting("unnamed", "Name of the experiment; runs lie in outputs/runs/NAME.", keyed=False)
    seed: int = setting(0, "Seed of mixture, initialisation and data order.", low=0, most=LARGEST_SEED)
    plan: bool = setting(False, "Print the stages and what is cached, compute nothing.", keyed=False)
    compress_only: bool = setting(
        False, "Stop before fine-tuning: write and compress the rationales, so that `cotexp forecast` can rank what may be worth it.", keyed=False
    )
    baseline: str = setting(
        "",
        "What the runs of this experiment are measured against: settings joined by commas, such as compression=none, or base, before fine-tuning.",
        keyed=False,
    )
    task: Any = None
    model: Any = None
    teacher: Any = None
    scoring: Any = None
    selection: Any = None
    compressor: Any = None
    compression: Any = None
    mixture: Any = None
    trainer: Any = None
    evaluation: Any = None
    tracking: Any = None
    paths: Any = None
    tasks: Any = setting(None, "Settings of every task that task.train and evaluation.tasks name; found by name, not set.")

    def __post_init__(self) -> None:
        if self.task.train is None:
            self.task.train = [self.task.name]
        if self.evaluation.tasks is None:
            self.evaluation.tasks = self.task.train if self.task.name in self.task.train else [self.task.name]
        if self.tasks is None:
            self.tasks = {self.task.name: self.task}
        has_short_form = self.compression.name not in ("none", "reference")
        is_tuned = not isinstance(self.compression, PromptOnly)
        from_scratch = isinstance(self.model, ScratchModel)
        if isinstance(self.compression, Macc) and self.compression.max_rounds is None:
            self.compression.max_rounds = max(self.compressor.rounds, self.compression.fixed_k or 1)
        if isinstance(self.compression, TokenSkip):
            self.evaluation.ratio = self.evaluation.ratio or min(self.compression.ratios)
            self.mixture.full_ratio = 1 / (len(self.compression.ratios) + 1) if self.mixture.full_ratio is None else self.mixture.full_ratio
        if self.mixture.full_ratio is None:
            self.mixture.full_ratio = 0.5 if has_short_form and is_tuned else 1.0
        if self.evaluation.modes is None:
            applies = (not from_scratch, self.evaluation.truncate_ratio is not None, is_tuned, has_short_form)
            self.evaluation.modes = [mode for mode, each in zip(MODES, applies, strict=True) if each]
        self.evaluation.modes = [mode for mode in MODES if mode in self.evaluation.modes]
        problems = [
            *root_problems(self.name, self.seed, self.baseline),
            *_form_contradictions(self, has_short_form),
            *_mode_contradictions(self, has_short_form),
            *(_scratch_contradictions(self) if from_scratch else []),
        ]
        if problems:
            raise ConfigError(*problems)

    def is_fine_tuned(self, mode: str) -> bool:
        """Whether the fine-tuned model answers in this mode, rather than the one before fine-tuning."""
        return mode in FINE_TUNED_MODES and not isinstance(self.compression, PromptOnly)

    @property
    def trains(self) -> bool:
        """Whether a mode needs a fine-tuned model; a run makes none that it does not evaluate."""
        return any(map(self.is_fine_tuned, self.evaluation.modes))


LONGEST_NAME = 200
"""Bytes of one word of an experiment's name: a folder's name may have 255, and files beside it add an ending."""


def root_problems(name: str, seed: int, baseline: str) -> Iterator[str]:
    """What is wrong with the settings outside the sections."""
    slots = [each.name for each in fields(Settings)]
    for part in filter(None, map(str.strip, baseline.split(","))):
        path, equals, _ = part.partition("=")
        if baseline != BASE and (not equals or path.split(".")[0] not in slots):
            yield f"baseline must be base, or settings such as compression=none joined by commas; got {part!r}"
    if not 0 <= seed <= LARGEST_SEED:
        yield f"seed must be at {'least 0' if seed < 0 else f'most {LARGEST_SEED}'}; got {shortened(seed)}"
    if (problem := broken_name(name)) is not None:
        yield f"name must be words joined by '/', which become folders under outputs/runs{problem}; got {shortened(name)}"


def broken_name(name: str) -> str | None:
    """What else the name of an experiment must be than words, None where it is right: it becomes folders, none of them outside those of the runs."""
    if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)*", name):
        return ""
    longest = max(len(os.fsencode(each)) for each in name.split("/"))
    return f", of at most {LONGEST_NAME} bytes each and {4 * LONGEST_NAME} in all" if longest > LONGEST_NAME or len(name) > 4 * LONGEST_NAME else None


def _form_contradictions(settings: Settings, has_short_form: bool) -> Iterator[str]:
    name, mixture, is_tuned = settings.compression.name, settings.mixture, not isinstance(settings.compression, PromptOnly)
    if not has_short_form and mixture.full_ratio != 1:
        yield f"mixture.full_ratio must be 1 with compression={name}, which makes no other form; got {mixture.full_ratio}"
    if has_short_form and is_tuned and mixture.full_ratio == 1:
        yield f"mixture.full_ratio must be below 1 with compression={name}; got 1.0; use compression=none to train on full form alone"
    if mixture.rewrite_ratio and name != "reference":
        yield f"mixture.rewrite_ratio must be 0 unless compression=reference; got {mixture.rewrite_ratio}"
    if name == "reference" and settings.teacher.name != "reference":
        yield f"teacher must be 'reference' with compression=reference; got {settings.teacher.name!r}"
    if name == "reference" and not settings.task.has_solutions_of_several_lengths:
        yield f"compression=reference needs solutions of several lengths, as task=stories has them; got task={settings.task.name}"


def _mode_contradictions(settings: Settings, has_short_form: bool) -> Iterator[str]:
    name, modes, ratio = settings.compression.name, settings.evaluation.modes, settings.evaluation.truncate_ratio
    if not has_short_form and "compress" in modes:
        yield f"evaluation.modes must not hold 'compress' with compression={name}, which trains no compressed form; got {modes}"
    if isinstance(settings.compression, PromptOnly) and "full" in modes:
        yield f"evaluation.modes must not hold 'full' with compression={name}, which trains nothing; got {modes}"
    if "truncate" in modes and ratio is None:
        yield f"evaluation.truncate_ratio must be set where evaluation.modes hold 'truncate'; got None with {modes}"
    if ratio is not None and not {"base", "truncate"} <= set(modes):
        yield f"evaluation.modes must hold 'base' and 'truncate' with evaluation.truncate_ratio, which cuts the base model's answers; got {modes}"
    asked = settings.evaluation.ratio
    if asked is not None and not isinstance(settings.compression, TokenSkip):
        yield f"evaluation.ratio is read only with compression=tokenskip; got {asked} with compression={name}"
    elif asked is not None and asked not in settings.compression.ratios:
        yield f"evaluation.ratio must be one that compression.ratios trains ({', '.join(map(str, settings.compression.ratios))}); got {asked}"


def _scratch_contradictions(settings: Settings) -> Iterator[str]:
    if settings.teacher.name == "self":
        yield "teacher must not be 'self' with a model made from scratch, which can write nothing yet; use teacher=reference"
    if settings.compressor.name == "self" and settings.compression.name not in ("none", "reference", "truncate", "tokenskip"):
        yield "compressor must not be 'self' with a model made from scratch; use compressor=tiny or another model"
    if "base" in settings.evaluation.modes:
        yield f"evaluation.modes must not hold 'base' with a model made from scratch; got {settings.evaluation.modes}"
    if isinstance(settings.compression, PromptOnly):
        yield "compression must not be 'prompt_only' with a model made from scratch, which can write nothing before fine-tuning"
    if isinstance(settings.compression, TokenSkip) and settings.compression.importance == "surprisal":
        yield "compression.importance must not be 'surprisal' with a model made from scratch, which knows no text before fine-tuning"
    if settings.trainer.tuning == "lora":
        yield "trainer.tuning must be 'full' with a model made from scratch; got 'lora'"
