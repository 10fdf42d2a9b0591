"""The sentence that states the answer of a worked solution."""

from __future__ import annotations

from collections.abc import Mapping

from cotexp.records import AnswerType


def with_closing(solution: str, gold: str, answer_type: AnswerType, options: Mapping[str, str] | None = None) -> str:
    """A worked solution and the sentence that states its answer, unless its last line does. LaTeX solutions already state it in a box."""
    sentence = closing(gold, answer_type)
    return f"{solution}\n{sentence}" if sentence and not _ends_in_answer(solution, gold, answer_type, options) else solution


def _ends_in_answer(solution: str, gold: str, answer_type: AnswerType, options: Mapping[str, str] | None) -> bool:
    """As a seventh of AQuA's solutions do."""
    from cotexp.tasks.answers import extract  # as in Row.gold
    from cotexp.tasks.grading import answers_equal

    last = solution.rsplit("\n", 1)[-1]
    return "answer" in last.casefold() and answers_equal(extract(last, answer_type, options).text, gold, answer_type)


def closing(gold: str, answer_type: AnswerType) -> str:
    """The sentence that states an answer, as the tasks' prompts ask for it; empty for LaTeX."""
    if answer_type == "latex":
        return ""
    stated = {"choice": f"({gold})", "boolean": gold}.get(answer_type, f"\\boxed{{{gold}}}")
    return f"The answer is {stated}."
