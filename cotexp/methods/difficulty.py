"""The texts of Rationale Difficulty (RD): the context before the gold answer, and the form of the answer.

Source: MoRSD (Findings of EMNLP 2025, arXiv 2509.23574), second-hand: RD = PPL(answer | question, rationale) / PPL(answer | question). A
rationale that states the answer makes it trivially small; the two masks against this are ours.
"""

from __future__ import annotations

import re
from fractions import Fraction

from cotexp.records import Question, Rationale
from cotexp.settings.scoring import Scoring
from cotexp.tasks.answers import number_of

HIDDEN = "?"
"""Replaces the answer's value in an equation."""

_AFTER_EQUALS = re.compile(
    r"(=[^\S\n]*(?:<<[^<>\n]*=)?(?:\*\*|\\boxed\{)?)([-−]?[^\S\n]*\\?[$£€]?[^\S\n]*)"
    r"(\d+(?:,\d{3})*(?:\.\d+)?|\.\d+)(?![\d,]*\d|\.\d|[^\S\n]*[-+*/×÷x−][^\S\n]*[\d(])"
)
"""The end of an equation: a number without further calculation after it on its line."""


def answer_text(question: Question, form: str) -> str:
    """The gold answer after "The answer is ", with the full stop; `form` is "boxed" or "plain" (letters and words are plain)."""
    if question.answer_type == "choice":
        return f"({question.answer})."
    return f"\\boxed{{{question.answer}}}." if form == "boxed" and question.answer_type != "boolean" else f"{question.answer}."


def label(question: Question, scoring: Scoring) -> str:
    """The whole text that states the gold answer, without a rationale."""
    return f"{scoring.connector}{answer_text(question, scoring.answer)}"


def masked(rationale: Rationale) -> str:
    """The rationale without the sentence that states its answer."""
    return rationale.cot.strip()


def hidden(rationale: Rationale, question: Question) -> str:
    """The masked rationale with the gold value hidden at the ends of equations."""
    if question.answer_type in ("choice", "boolean") or (gold := number_of(question.answer)) is None:
        return masked(rationale)
    return _AFTER_EQUALS.sub(lambda found: _hide(found, gold), masked(rationale))


def _hide(found: re.Match[str], gold: Fraction) -> str:
    sign = "-" if "-" in found[2] or "−" in found[2] else ""
    currency = found[2].replace("-", "").replace("−", "")
    return f"{found[1]}{currency}{HIDDEN}" if number_of(f"{sign}{found[3]}") == gold else found[0]
