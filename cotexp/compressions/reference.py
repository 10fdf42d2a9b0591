"""The task's own shorter solutions as rounds: training data for a compressor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from cotexp.compressions.base import StoredSettings
from cotexp.compressions.teaching import Teaching
from cotexp.settings.base import setting


@dataclass(slots=True, kw_only=True)
class ReferenceRounds(Teaching):
    """The task's own shorter solutions are the rounds; makes training data for a compressor."""

    teaches_compressor: ClassVar[bool] = True

    name: str = setting("reference", "Name of the compression.", choices=("reference",))

    def run_contradictions(self, settings: Any) -> Iterator[str]:
        if not settings.teacher.needs_references:
            yield f"teacher must be 'reference' with compression=reference; got {settings.teacher.name!r}"
        if not settings.task.has_solutions_of_several_lengths:
            yield f"compression=reference needs solutions of several lengths, as task=stories has them; got task={settings.task.name}"

    @classmethod
    def taught(cls, settings: StoredSettings) -> str:
        from cotexp.tasks.stories import REWRITES

        per_solution = settings["mixture"].get("rewrite_ratio", 0)
        taught = REWRITES[settings["task"].get("rewrites", "levels")]
        return f"{per_solution:g} rewrites for each full solution were among its examples: {taught}" if per_solution else ""
