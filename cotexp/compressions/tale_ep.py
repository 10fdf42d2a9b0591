"""TALE-EP: the model first estimates how many tokens a question needs, and is then asked to stay below. Nothing is trained.

Source: Token-Budget-Aware LLM Reasoning (arXiv 2412.18547): the two steps, and the words of the second one. The words of the estimate are ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from cotexp.compressions.base import PromptForm, StoredSettings
from cotexp.compressions.budget import TALE_PROMPT
from cotexp.compressions.prompt_only import PromptOnly
from cotexp.settings.base import bad_placeholders, setting

_BUDGET = re.compile(r"\[\[\s*(\d{1,9})\s*\]\]")
_NUMBER_ALONE = re.compile(r"\W*(?:[^\W\d]+\W+)?(\d{1,9})\W*(?:tokens?\b\W*)?", re.IGNORECASE)
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")


@dataclass(slots=True, kw_only=True)
class TaleEp(PromptOnly):
    """Nothing is trained: the model before fine-tuning estimates the tokens that a question needs, and is asked to use fewer (TALE-EP)."""

    estimates_budget: ClassVar[bool] = True

    name: str = setting("tale_ep", "Name of the compression.", choices=("tale_ep",))
    estimate: str = setting(
        "How many tokens does a complete and correct solution of this question need at least? Do not solve it; write only the number, in double "
        "square brackets, such as [[50]].\n\nQuestion: {question}",
        "What it is asked first; {question} is replaced by the question, with its options if it has some (our words).",
    )
    instruction: str = setting(
        TALE_PROMPT, "What it is told then on a new line after the task's prompt; {budget} is replaced by its own estimate (TALE's words)."
    )

    def contradictions(self) -> Iterator[str]:
        yield from bad_placeholders(self.estimate, {"question"}, {"question"}, setting="estimate")
        yield from bad_placeholders(self.instruction, {"budget"}, {"budget"}, setting="instruction")

    def ask(self, form: str, prompt: str, ratio: float | None = None) -> PromptForm:
        """As it is asked where its estimate could not be read."""
        return PromptForm(prompt, False)

    def ask_within(self, prompt: str, budget: int) -> PromptForm:
        """How it is asked to stay below its estimate."""
        return PromptForm(f"{prompt}\n{self.instruction.format(budget=budget)}", False)

    def budget_in(self, text: str) -> int | None:
        """The estimate in what was written: the last number in double brackets, or a text that is one whole number, as "about 60 tokens" is; None if
        there is none above 0.

        A number elsewhere is none, as in the solution that a model writes which does not estimate.
        """
        plain = _THOUSANDS.sub("", text)
        alone = _NUMBER_ALONE.fullmatch(plain)
        found = _BUDGET.findall(plain) or ([alone[1]] if alone else [])
        return int(found[-1]) or None if found else None

    @classmethod
    def disclosures(cls, settings: StoredSettings) -> Iterator[str]:
        yield (
            "Our choice beside TALE-EP: the words that ask for the estimate (its code has others); one estimate for each question; if it cannot be "
            "read, the question is asked without a budget. Tokens and times are those of the answers; the estimates' tokens are counted apart "
            "(`num_estimate_tokens`)."
        )
