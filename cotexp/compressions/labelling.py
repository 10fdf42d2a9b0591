"""What compressions share that teach gold answers without a chain of thought."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from cotexp.compressions.base import Compression
from cotexp.methods import difficulty
from cotexp.records import AnswerType, Question
from cotexp.settings.base import setting
from cotexp.tasks import answer_type_of
from cotexp.tasks.answers import extract

EXAMPLES: dict[AnswerType, str] = {"integer": "7", "decimal": "7", "latex": "7", "choice": "A", "boolean": "yes"}
"""An answer of each type."""


@dataclass(slots=True, kw_only=True)
class Labelling(Compression):
    """The short form is the gold answer alone, asked for by an instruction."""

    learns_labels: ClassVar[bool] = True
    asked_by: ClassVar[Literal["instruction"]] = "instruction"

    instruction: str = setting("Give only the answer.", "Asks for the answer alone on a new line after the task's prompt.")

    def contradictions(self) -> Iterator[str]:
        if not self.instruction.strip():
            yield f"instruction must not be blank; got {self.instruction!r}"

    def run_contradictions(self, settings: Any) -> Iterator[str]:
        scoring = settings.scoring
        for name in settings.task.train:
            kind = answer_type_of(settings.tasks[name]) if name in settings.tasks else "decimal"
            question = Question(id="", text="", answer=EXAMPLES[kind], task=name, answer_type=kind, options={"A": "one", "B": "two"})
            text = difficulty.label(question, scoring)
            if extract(text, kind, question.options).text != question.answer:
                yield (
                    f"scoring.connector and scoring.answer must make answers that grading reads, since compression={self.name} teaches them; "
                    f"got {scoring.connector!r} and {scoring.answer}, so {text!r}; take 'The answer is '"
                )
                return
