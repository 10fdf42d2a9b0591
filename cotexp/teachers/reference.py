"""The task's own worked solutions as rationales."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from cotexp.records import Question
from cotexp.settings.base import setting
from cotexp.teachers.base import Teacher, Written


@dataclass(slots=True, kw_only=True)
class ReferenceTeacher(Teacher):
    """The task's own worked solutions are the rationales."""

    needs_references: ClassVar[bool] = True

    name: str = setting("reference", "Name of the teacher.", choices=("reference",))

    def known(self, question: Question) -> Sequence[Written]:
        return [Written(question.references[0], "reference")]
