"""What a compressor is: the model that rewrites the chains of thought, with the settings of its sampling; or files with what one wrote."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import orjson

from cotexp.records import FinishReason, Question
from cotexp.settings.base import setting
from cotexp.settings.sampling import Sampling
from cotexp.settings.writers import Writer


class Rewritten(NamedTuple):
    """One round of a file, and how its text ended."""

    text: str
    finish_reason: FinishReason = "stop"


@dataclass(frozen=True, slots=True)
class RecordedRounds:
    """Rationale id -> its rounds 1, 2, ...: there are no more. `note` says what the files have and lack."""

    rounds: dict[str, list[Rewritten]]
    note: str

    @property
    def sha256(self) -> str:
        """Sixteen hex digits of a hash over all rounds."""
        rows = [[chain, *map(list, written)] for chain, written in sorted(self.rounds.items())]
        return hashlib.sha256(orjson.dumps(rows)).hexdigest()[:16]


@dataclass(slots=True, kw_only=True)
class Compressor(Writer, Sampling):
    """Base of the settings class of each compressor. Its traits are those of a `Writer`."""

    name: str = setting("compressor", "Name of the compressor.")
    temperature: float = setting(0.7, "Sampling temperature; 0 takes the likeliest token (MACC does not state its own).", low=0, high=5)
    rounds: int = setting(10, "Round limit T that suits this compressor, used where no limit is given.", low=1, most=100, keyed=False)

    def read(self, task: str, questions: Sequence[Question], folders: Sequence[Path]) -> RecordedRounds | None:
        """Rounds of the rationales of all `questions` of a task from files; None if this compressor reads none. `folders` are the data folders.

        Raises: ConfigError when files are missing or malformed, or belong to no question.
        """
        return None
