"""What the stages before fine-tuning make, filled in by one after the other."""

from __future__ import annotations

from dataclasses import dataclass, field

from cotexp.methods import reasoning
from cotexp.records import Compressed, Measured, Rationale, Round, Score, Selected


@dataclass(slots=True)
class TrainingSet:
    """`written` rationales, their `scores` by id, those `chosen` and what became of each question (`outcomes`), the `chains` of the chosen ones,
    and by chain id its `rounds`, the `importances` of its tokens, its `likelihoods` and those of its answer (`answers`). `kept` is what each chain
    becomes."""

    written: list[Rationale] = field(default_factory=list)
    scores: dict[str, Score] = field(default_factory=dict)
    chosen: list[Rationale] = field(default_factory=list)
    outcomes: list[Selected] = field(default_factory=list)
    chains: list[Rationale] = field(default_factory=list)
    rounds: dict[str, list[Round]] = field(default_factory=dict)
    importances: dict[str, list[float]] = field(default_factory=dict)
    kept: list[Compressed] = field(default_factory=list)
    likelihoods: dict[str, Measured] = field(default_factory=dict)
    answers: dict[str, Measured] = field(default_factory=dict)

    @property
    def compressed(self) -> list[Compressed]:
        """The short form of each chosen rationale, its parts joined."""
        return reasoning.joined(self.chosen, self.kept)
