"""Being told to be brief: nothing is trained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from cotexp.compressions.base import Compression
from cotexp.settings.base import setting
from cotexp.settings.models import ScratchModel


@dataclass(slots=True, kw_only=True)
class PromptOnly(Compression):
    """Nothing is trained: the model before fine-tuning is told to be brief."""

    trains: ClassVar[bool] = False
    asked_by: ClassVar[Literal["instruction"]] = "instruction"

    name: str = setting("prompt_only", "Name of the compression.", choices=("prompt_only",))
    instruction: str = setting("???", "What it is told on a new line after the task's prompt.")

    def contradictions(self) -> Iterator[str]:
        if not self.instruction.strip():
            yield f"instruction must not be blank; got {self.instruction!r}"

    def run_contradictions(self, settings: Any) -> Iterator[str]:
        if isinstance(settings.model, ScratchModel):
            yield f"compression must not be {self.name!r} with a model made from scratch, which can write nothing before fine-tuning"
