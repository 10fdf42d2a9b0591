"""All settings of a run, one section per slot, and the contradictions between sections."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from cotexp.settings.base import LARGEST_SEED, ConfigError, Section, quoted, setting, shortened
from cotexp.settings.evaluation import BASE, FINE_TUNED_MODES, MODES
from cotexp.settings.models import ScratchModel

READ_BY_TRAINING = ("seed", "teacher", "scoring", "selection", "compressor", "mixture", "trainer")
"""Settings that have no effect in a run without training."""


CONFIG_DIR = "COTEXP_CONFIG_DIR"
"""Environment variable for the user's folders with files such as task/NAME.yaml, joined as in PATH. --config-dir and hydra.searchpath set it for this
process and those below it."""


def config_dirs() -> list[Path]:
    """The user's folders of settings files."""
    return [Path(each).absolute() for each in os.environ.get(CONFIG_DIR, "").split(os.pathsep) if each]


def config_dir_words() -> list[str]:
    """The arguments of a run that name the user's folders of settings files; empty if there are none."""
    first, others = config_dirs()[:1], config_dirs()[1:]
    return [*(f"--config-dir={each}" for each in first), *([f"hydra.searchpath={json.dumps(list(map(str, others)))}"] if others else [])]


def outputs_words(outputs: Path) -> list[str]:
    """The argument of a run that stores it in `outputs`; none for the usual folder."""
    return [] if outputs == Path("outputs") else ["paths.outputs=" + quoted(str(outputs).replace("${", "\\${"))]


@dataclass(slots=True, kw_only=True)
class Paths(Section):
    """Folders of data and results."""

    outputs: str = setting("outputs", "Folder of the store and of the runs.", keyed=False, is_path=True)
    data: str | None = setting(None, "Folder with benchmark data. Default: the environment variable COTEXP_DATA.", keyed=False, is_path=True)

    def __post_init__(self) -> None:
        if self.data is None:
            self.data = os.environ.get("COTEXP_DATA") or None
        Section.__post_init__(self)


@dataclass(slots=True, kw_only=True)
class Settings:
    """All settings of a run: one section per slot. Raises: ConfigError for contradictions between sections."""

    name: str = setting("unnamed", "Name of the experiment. Its runs are in outputs/runs/NAME.", keyed=False)
    seed: int = setting(0, "Seed of the mixture, the initialisation and the order of the data.", low=0, most=LARGEST_SEED)
    plan: bool = setting(False, "Print the stages and how much of each is stored, without computing anything.", keyed=False)
    compress_only: bool = setting(
        False, "Write and compress the rationales but do not fine-tune, so that `cotexp forecast` can rank runs before they are trained.", keyed=False
    )
    baseline: str = setting(
        "",
        "Baseline of this experiment: settings joined by commas, such as compression=none, or base for the model before fine-tuning.",
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
    tasks: Any = setting(None, "Settings of all tasks that task.train and evaluation.tasks name. They are composed from the names and cannot be set.")

    def __post_init__(self) -> None:
        if self.task.train is None:
            self.task.train = [self.task.name]
        if self.evaluation.tasks is None:
            self.evaluation.tasks = self.task.train if self.task.name in self.task.train else [self.task.name]
        if self.tasks is None:
            self.tasks = {self.task.name: self.task}
        from_scratch = isinstance(self.model, ScratchModel)
        self.compression.complete(self)
        if self.mixture.full_ratio is None:
            self.mixture.full_ratio = 0.5 if self.compression.trains_short_form else 1.0
        if self.evaluation.modes is None:
            has_ratio = self.evaluation.truncate_ratio is not None
            trains_full = self.compression.trains and self.compression.has_full_form
            applies = (not from_scratch, has_ratio, trains_full, self.compression.has_short_form)
            self.evaluation.modes = [mode for mode, is_available in zip(MODES, applies, strict=True) if is_available]
        self.evaluation.modes = [mode for mode in MODES if mode in self.evaluation.modes]
        problems = [
            *root_problems(self.name, self.seed, self.baseline),
            *_form_contradictions(self),
            *_mode_contradictions(self),
            *_pool_contradictions(self),
            *self.compression.run_contradictions(self),
            *(_scratch_contradictions(self) if from_scratch else []),
        ]
        if problems:
            raise ConfigError(*problems)

    def is_fine_tuned(self, mode: str) -> bool:
        """Whether the fine-tuned model answers in this mode, instead of the model before fine-tuning."""
        return mode in FINE_TUNED_MODES and bool(self.compression.trains)

    @property
    def trains(self) -> bool:
        """Whether a mode needs a fine-tuned model. A run does not train a model that it does not evaluate."""
        return any(map(self.is_fine_tuned, self.evaluation.modes))


LONGEST_NAME = 200
"""The most bytes of one word of an experiment's name. A file name may have 255, and files derived from the name have a suffix."""


def _pool_contradictions(settings: Settings) -> Iterator[str]:
    """Before a teacher is asked for texts of which none could be used."""
    wanted, written = settings.selection.k, settings.teacher.num_samples
    if settings.selection.equal_questions and wanted is not None and written is not None and wanted > written:
        yield (
            f"selection.k must be at most {written}, the rationales that teacher={settings.teacher.name} gives per question, with "
            f"selection.equal_questions=true; got {wanted}"
        )


def root_problems(name: str, seed: int, baseline: str) -> Iterator[str]:
    """Yield the problems of the settings outside the sections."""
    slots = [slot.name for slot in fields(Settings)]
    for part in filter(None, map(str.strip, baseline.split(","))):
        path, equals, _ = part.partition("=")
        if baseline != BASE and (not equals or path.split(".")[0] not in slots):
            yield f"baseline must be base, or settings such as compression=none joined by commas; got {part!r}"
    if not 0 <= seed <= LARGEST_SEED:
        yield f"seed must be at {'least 0' if seed < 0 else f'most {LARGEST_SEED}'}; got {shortened(seed)}"
    if (problem := broken_name(name)) is not None:
        yield f"name must be words joined by '/', which become folders under outputs/runs{problem}; got {shortened(name)}"


def broken_name(name: str) -> str | None:
    """None if the name of an experiment is valid; otherwise the limits to add to the error message. Its words become folders under outputs/runs."""
    if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)*", name):
        return ""
    longest = max(len(os.fsencode(word)) for word in name.split("/"))
    return f", of at most {LONGEST_NAME} bytes each and {4 * LONGEST_NAME} in all" if longest > LONGEST_NAME or len(name) > 4 * LONGEST_NAME else None


def _form_contradictions(settings: Settings) -> Iterator[str]:
    compression, name, mixture = settings.compression, settings.compression.name, settings.mixture
    has_other_form = compression.has_short_form or compression.pairs_rationales
    if not has_other_form and mixture.full_ratio != 1:
        yield f"mixture.full_ratio must be 1 with compression={name}, which has only the full form; got {mixture.full_ratio}"
    if not compression.has_full_form and mixture.full_ratio != 0:
        yield f"mixture.full_ratio must be 0 with compression={name}, which has only the short form; got {mixture.full_ratio}"
    elif compression.trains and has_other_form and mixture.full_ratio == 1:
        yield f"mixture.full_ratio must be below 1 with compression={name}; got 1.0; use compression=none to train on the full form alone"
    if mixture.full_loss_ratio is not None and mixture.full_ratio in (0, 1):
        yield (
            f"mixture.full_loss_ratio needs training examples of both forms, mixture.full_ratio between 0 and 1; got {mixture.full_loss_ratio} "
            f"with compression={name} and mixture.full_ratio={mixture.full_ratio}"
        )
    if mixture.rewrite_ratio and not compression.teaches_compressor:
        yield f"mixture.rewrite_ratio must be 0 unless compression=reference; got {mixture.rewrite_ratio}"


def _mode_contradictions(settings: Settings) -> Iterator[str]:
    compression, name = settings.compression, settings.compression.name
    modes, ratio = settings.evaluation.modes, settings.evaluation.truncate_ratio
    if not compression.has_short_form and "compress" in modes:
        yield f"evaluation.modes must not contain 'compress' with compression={name}, which trains no compressed form; got {modes}"
    if not (compression.trains and compression.has_full_form) and "full" in modes:
        trained = "no full form" if compression.trains else "nothing"
        yield f"evaluation.modes must not contain 'full' with compression={name}, which trains {trained}; got {modes}"
    if "truncate" in modes and ratio is None:
        yield f"evaluation.truncate_ratio must be set if evaluation.modes contains 'truncate'; got None with {modes}"
    if ratio is not None and not {"base", "truncate"} <= set(modes):
        yield f"evaluation.modes must contain 'base' and 'truncate' with evaluation.truncate_ratio, which cuts the base model's answers; got {modes}"
    requested = settings.evaluation.ratio
    if requested is not None and compression.asked_by != "ratio":
        yield f"evaluation.ratio is used only with compression=tokenskip; got {requested} with compression={name}"


def _scratch_contradictions(settings: Settings) -> Iterator[str]:
    if settings.teacher.is_student:
        yield "teacher must not be 'self' with a model made from scratch, which cannot write yet; use teacher=reference"
    if "base" in settings.evaluation.modes:
        yield f"evaluation.modes must not contain 'base' with a model made from scratch; got {settings.evaluation.modes}"
    if settings.trainer.tuning == "lora":
        yield "trainer.tuning must be 'full' with a model made from scratch; got 'lora'"
