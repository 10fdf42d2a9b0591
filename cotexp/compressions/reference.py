"""The task's own shorter solutions as rounds: training data for a compressor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from cotexp.compressions.base import Compression
from cotexp.compressions.rewriting import DEFAULT_REWRITE_PROMPT
from cotexp.settings.base import setting


@dataclass(slots=True, kw_only=True)
class ReferenceRounds(Compression):
    """The task's own shorter solutions are the rounds; makes training data for a compressor."""

    has_short_form: ClassVar[bool] = False
    teaches_compressor: ClassVar[bool] = True

    name: str = setting("reference", "Name of the compression.", choices=("reference",))
    prompt: str = setting(DEFAULT_REWRITE_PROMPT, "Prompt of one round; {question}, {rationale} and {answer} are replaced.")

    def run_contradictions(self, settings: Any) -> Iterator[str]:
        if not settings.teacher.needs_references:
            yield f"teacher must be 'reference' with compression=reference; got {settings.teacher.name!r}"
        if not settings.task.has_solutions_of_several_lengths:
            yield f"compression=reference needs solutions of several lengths, as task=stories has them; got task={settings.task.name}"
