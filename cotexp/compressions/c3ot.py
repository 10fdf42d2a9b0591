"""C3oT: one rewrite, and two instructions in place of the mark (arXiv 2412.11664)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from cotexp.compressions.rewriting import Rewriting
from cotexp.settings.base import setting


@dataclass(slots=True, kw_only=True)
class C3ot(Rewriting):
    """One rewrite; long and short chains are asked for by two instructions instead of the mark (C3oT). Both texts are ours: its own are not known."""

    asked_by: ClassVar[Literal["instruction"]] = "instruction"
    words_of_instruction: ClassVar[str] = " and its words (C3oT's own are not known to us)"

    name: str = setting("c3ot", "Name of the compression.", choices=("c3ot",))
    instruction: str = setting("Reason in as few words as you can.", "Asks for a short chain on a new line after the task's prompt.")
    long_instruction: str = setting("Reason in full detail.", "Asks for a full chain on a new line after the task's prompt.")

    def contradictions(self) -> Iterator[str]:
        yield from Rewriting.contradictions(self)
        for name in ("instruction", "long_instruction"):
            if not getattr(self, name).strip():
                yield f"{name} must not be blank; got {getattr(self, name)!r}"
        if self.instruction.strip() == self.long_instruction.strip():
            yield f"long_instruction must differ from instruction, or nothing tells the two forms apart; got {self.long_instruction!r}"
