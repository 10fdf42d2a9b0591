"""What a teacher is: settings, traits that the rest of the program asks for, and the rationales that it has without a model.

Texts of models and servers are made by the stages `texts` and `rationales`, which ask for these traits alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import orjson

from cotexp.records import FinishReason, Question
from cotexp.settings.writers import Writer


class Written(NamedTuple):
    """One rationale of a file, its source, and how it ended: the row's `finish_reason`, "stop" if the row has none."""

    text: str
    source: str
    finish_reason: FinishReason = "stop"


@dataclass(frozen=True, slots=True)
class Recorded:
    """Question id -> its rationales in the order of files and rows. `num_unmatched` rows belong to none of the questions."""

    rationales: dict[str, list[Written]]
    num_unmatched: int

    @property
    def sha256(self) -> str:
        """Sixteen hex digits of a hash over all of it; a text that ended by itself counts as one without a reason."""
        rows = [
            [question_id, *each[: 2 + (each.finish_reason != "stop")]] for question_id, written in sorted(self.rationales.items()) for each in written
        ]
        return hashlib.sha256(orjson.dumps(rows)).hexdigest()[:16]


class Teacher(Writer):
    """Base of the settings class of each teacher.

    Traits in addition to those of a `Writer`: `needs_references`, every question to train on must have a worked solution.
    """

    __slots__ = ()
    needs_references: ClassVar[bool] = False

    @property
    def num_samples(self) -> int | None:
        """Rationales per question; None if files decide."""
        return 1

    @property
    def author(self) -> str:
        """Who wrote the texts, for the stored rows."""
        return self.name

    def read(self, task: str, questions: Sequence[Question], folders: Sequence[Path]) -> Recorded | None:
        """Rationales of all `questions` of a task from files; None if this teacher reads none. `folders` are the data folders.

        Raises: ConfigError when files are missing or malformed, or belong to no question.
        """
        return None

    def known(self, question: Question) -> Sequence[Written]:
        """The rationales that the question itself carries, for a teacher without model, server and files."""
        return ()
