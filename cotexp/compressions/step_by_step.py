"""Distilling step-by-step: the answer and the rationale as two tasks of one model.

Source: Hsieh et al. (arXiv 2305.02301) and run.py, model_utils.py of github.com/google-research/distilling-step-by-step at 4be900a: two prefixes
("predict: ", "explain: ") tell the tasks apart, the loss is the weighted mean of the two tasks' mean token losses, and the answer is asked for
when the model is used.
Differs from the code: an instruction after the prompt in place of a prefix before it, examples of the two tasks are drawn apart and not in pairs,
and a rationale ends with its answer, so that the rationale task can be graded too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cotexp.compressions.base import StoredSettings
from cotexp.compressions.labelling import Labelling
from cotexp.settings.base import setting


@dataclass(slots=True, kw_only=True)
class StepByStep(Labelling):
    """The gold answer and the rationale are two tasks, asked for by two instructions, with equal weight in the loss unless
    mixture.full_loss_ratio says otherwise (distilling step-by-step). Mode compress is the answer task, mode full the rationale task."""

    name: str = setting("step_by_step", "Name of the compression.", choices=("step_by_step",))
    long_instruction: str = setting("Explain the answer.", "Asks for a rationale on a new line after the task's prompt.")

    def complete(self, settings: Any) -> None:
        if settings.mixture.full_loss_ratio is None and settings.mixture.full_ratio not in (0, 1):
            settings.mixture.full_loss_ratio = 0.5

    def contradictions(self) -> Iterator[str]:
        yield from Labelling.contradictions(self)
        if not self.long_instruction.strip():
            yield f"long_instruction must not be blank; got {self.long_instruction!r}"
        if self.instruction.strip() == self.long_instruction.strip():
            yield f"long_instruction must differ from instruction, or nothing tells the two tasks apart; got {self.long_instruction!r}"

    def run_contradictions(self, settings: Any) -> Iterator[str]:
        yield from Labelling.run_contradictions(self, settings)
        if settings.mixture.full_ratio == 0 and settings.mixture.full_loss_ratio is None:
            yield "mixture.full_ratio must be above 0 with compression=step_by_step, which learns two tasks; got 0; answer_only learns answers alone"

    @classmethod
    def disclosures(cls, settings: StoredSettings) -> Iterator[str]:
        share = settings["mixture"].get("full_loss_ratio") or 0.5
        yield (
            "Our choice beside distilling step-by-step: an instruction follows the task's prompt on a new line (its code puts a prefix before it), "
            f"and rationales end with their answer; the rationale task has the share {share:g} of the loss (its code recommends 0.5)."
        )
