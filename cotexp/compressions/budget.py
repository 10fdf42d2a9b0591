"""Being asked for at most so many tokens: nothing is trained. Source: TALE (Token-Budget-Aware LLM Reasoning, arXiv 2412.18547), table 1."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from cotexp.compressions.base import INSTRUCTIONS, StoredSettings
from cotexp.compressions.prompt_only import PromptOnly
from cotexp.settings.base import bad_placeholders, setting

TALE_PROMPT = "Let's think step by step and use less than {budget} tokens:"
"""TALE, table 1, where it stands in place of "Let's think step by step:"."""


@dataclass(slots=True, kw_only=True)
class Budget(PromptOnly):
    """Nothing is trained: the model before fine-tuning is asked for at most so many tokens, in TALE's words."""

    words_of_instruction: ClassVar[str] = "; its words and the budget in it are TALE's (arXiv 2412.18547) unless set"

    name: str = setting("budget", "Name of the compression.", choices=("budget",))
    budget: int = setting(100, "Number of tokens that the model is asked to stay below; nothing enforces it.", low=1)
    instruction: str = setting(
        TALE_PROMPT,
        "What it is told on a new line after the task's prompt; {budget} is replaced by compression.budget (TALE's words).",
    )

    def contradictions(self) -> Iterator[str]:
        yield from bad_placeholders(self.instruction, {"budget"}, {"budget"}, setting="instruction")

    @classmethod
    def words_for(cls, form: str, own: StoredSettings) -> str | None:
        words = own.get(INSTRUCTIONS.get(form, ""))
        return words and words.format(budget=own["budget"])
