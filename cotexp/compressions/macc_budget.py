"""MACC with a budget of tokens in the prompt of each round (ours)."""

from __future__ import annotations

from dataclasses import dataclass

from cotexp.compressions.macc import Macc
from cotexp.settings.base import setting

BUDGET_PROMPT = (
    "Rewrite the solution below in at most {budget} tokens: drop redundant wording, keep every calculation in order, and add no information. Write "
    "only the shorter solution.\n\nQuestion: {question}\n\nSolution: {rationale}\n\nFinal answer: {answer}"
)


@dataclass(slots=True, kw_only=True)
class MaccBudget(Macc):
    """Rewrite round by round, each time in at most a share of the tokens, until the text grows again (ours, after MACC)."""

    name: str = setting("macc_budget", "Name of the compression.", choices=("macc_budget",))
    prompt: str = setting(BUDGET_PROMPT, "Prompt of one round; {budget}, {question}, {rationale} and {answer} are replaced.")
    budget_ratio: float | None = setting(0.8, "Share of the tokens of the round before that {budget} in the prompt asks for.", above=0, high=1)
