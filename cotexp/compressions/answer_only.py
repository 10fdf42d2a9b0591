"""Learning to answer directly, without a rationale: what distillation of rationales must beat.

Source: the standard fine-tuning of Hsieh et al. (Distilling Step-by-Step, arXiv 2305.02301) on gold labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from cotexp.compressions.base import StoredSettings
from cotexp.compressions.labelling import Labelling
from cotexp.settings.base import setting


@dataclass(slots=True, kw_only=True)
class AnswerOnly(Labelling):
    """The model learns only the gold answer, and answers directly. The rationales choose the questions, one example for each."""

    has_full_form: ClassVar[bool] = False

    name: str = setting("answer_only", "Name of the compression.", choices=("answer_only",))

    def complete(self, settings: Any) -> None:
        if settings.mixture.full_ratio is None:
            settings.mixture.full_ratio = 0.0

    @classmethod
    def disclosures(cls, settings: StoredSettings) -> Iterator[str]:
        yield "Baseline: trained on gold answers alone, one for each selected rationale; the rationales and their tokens are not trained on."
        yield "Our choice: an instruction follows the task's prompt on a new line."
