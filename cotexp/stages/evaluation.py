"""What the stages after fine-tuning make, filled in by one after the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from cotexp.records import Prediction
from cotexp.store.specs import Spec
from cotexp.store.stored_files import Row


class Answers(NamedTuple):
    """The stored `rows` of the answers `ids` to one task's questions in one mode, and the identity of their ledger."""

    spec: Spec
    ids: list[str]
    rows: list[Row]


@dataclass(slots=True)
class Evaluation:
    """`estimates` of budgets by question, `answers` by mode and task, and by mode the `graded` ones over all tasks."""

    estimates: dict[str, Row] = field(default_factory=dict)
    answers: dict[tuple[str, str], Answers] = field(default_factory=dict)
    graded: dict[str, list[Prediction]] = field(default_factory=dict)
