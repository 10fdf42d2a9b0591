"""The slots of a run, the settings class of each option, and which settings are texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, get_args, get_type_hints

from cotexp.compressions import COMPRESSIONS
from cotexp.compressors import COMPRESSORS
from cotexp.extensions import Registry
from cotexp.selections import SELECTIONS
from cotexp.settings.evaluation import Evaluation
from cotexp.settings.models import GgufModel, PretrainedModel, ScratchModel
from cotexp.settings.root import Paths, Settings
from cotexp.settings.scoring import Scoring
from cotexp.settings.tracking import MlflowTracking, NoTracking, WandbTracking
from cotexp.settings.training import Mixture, Trainer
from cotexp.tasks import KINDS
from cotexp.teachers import TEACHERS

SECTIONS: dict[str, dict[str, type]] = {
    "task": dict(KINDS),
    "model": {"hf": PretrainedModel, "gguf": GgufModel, "scratch": ScratchModel},
    "teacher": dict(TEACHERS),
    "scoring": {"default": Scoring},
    "selection": dict(SELECTIONS),
    "compressor": dict(COMPRESSORS),
    "compression": dict(COMPRESSIONS),
    "mixture": {"default": Mixture},
    "trainer": {"single": Trainer},
    "evaluation": {"default": Evaluation},
    "tracking": {"none": NoTracking, "wandb": WandbTracking, "mlflow": MlflowTracking},
    "paths": {"default": Paths},
}
"""Slot -> schema -> settings class. A file conf/SLOT/OPTION.yaml names the schema that it fills."""

WIDER: dict[type, type] = {}
"""Settings class of a teacher -> the same with settings that an experiment sets for its own teacher, which another one replaced: not read."""

ROOT = ("name", "seed", "plan", "compress_only", "baseline")
"""Settings outside the slots."""
FILLED_IN = ("tasks",)
"""Fields of the root that are filled in after composition; no command can set them."""
SHARED_BY_TASKS = ("num_train", "num_validation", "num_test", "few_shot", "few_shot_file")
"""Settings of `task` that the other tasks of the run take over, unless they are at their default. Tasks from files take over the seed too."""

OVERLAYS = ("experiment", "sweep", "debug")
REGISTRIES: dict[str, Registry[Any]] = {
    "task": KINDS,
    "teacher": TEACHERS,
    "selection": SELECTIONS,
    "compressor": COMPRESSORS,
    "compression": COMPRESSIONS,
}
"""Slot -> its settings classes, to which installed packages may add."""


def add_installed() -> None:
    """Put the settings classes of installed packages with those of this project.

    Raises: ConfigError with a line for each entry point that adds none.
    """
    for slot, registry in REGISTRIES.items():
        SECTIONS[slot] |= registry.installed


def text_settings() -> frozenset[str]:
    """Paths of all settings that hold a text or a list of texts, and the slots, whose options are names."""
    own = (name for name, hint in get_type_hints(Settings).items() if name in ROOT and _holds_text(hint))
    named = (path for slot, schemas in SECTIONS.items() for section in schemas.values() for path in _texts_of(section, slot))
    return frozenset((*own, *named, *SECTIONS, *OVERLAYS))


def _texts_of(section: type, path: str) -> Iterator[str]:
    hints = get_type_hints(section)
    for name in (each.name for each in dataclasses.fields(section)):
        hint = hints[name]
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            yield from _texts_of(hint, f"{path}.{name}")
        elif _holds_text(hint):
            yield f"{path}.{name}"


def _holds_text(hint: Any) -> bool:
    return hint is str or any(map(_holds_text, get_args(hint)))
