"""Whether a text's answer equals the gold answer, under three rules.

*strict*: our extraction, then equality by type; `equality` compares LaTeX. A text that was cut off has
no answer, unless an evaluation cut it on purpose. *lenient*: the same, but if no answer is stated, the last number, letter or yes/no counts,
also in texts that were cut off. *math_verify*: that library's reading of the whole text, only for numbers and LaTeX.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from cotexp.records import AnswerType, FinishReason, Grade, Question
from cotexp.tasks.answers import extract, extract_lenient, last_mention, number_of
from cotexp.tasks.comparison_worker import Comparison
from cotexp.tasks.equality import plainly_equal
from cotexp.tasks.judge import Judge
from cotexp.tasks.latex import normalised, parts_of
from cotexp.tasks.values import RELATIVE_TOLERANCE

NUMBERS = ("integer", "decimal")
_UNIT_AFTER = re.compile(r"(?<=\S)\s*\\text\{[^{}]*\}$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A text to grade, and its gold answer."""

    id: str
    text: str
    gold: str
    answer_type: AnswerType
    options: Mapping[str, str] = field(default_factory=dict)
    finish_reason: FinishReason = "stop"


def grade_all(
    texts: Sequence[Answered],
    *,
    judge: Judge | None = None,
    whole_text: bool = True,
    on_grade: Callable[[Grade], None] = lambda grade: None,
) -> list[Grade]:
    """One grade per text, in order. Without `whole_text`, math_verify is not computed, and numbers need no worker process.

    `on_grade` is called for each grade as soon as it and all before it are known. A given `judge` keeps its workers.
    """
    if judge is None:
        with Judge() as new_judge:
            return grade_all(texts, judge=new_judge, whole_text=whole_text, on_grade=on_grade)
    drafts = [_Draft.of(text, whole_text=whole_text) for text in texts]
    for draft in drafts:
        judge.ask(draft.comparisons())
    judge.send()
    grades = []
    for draft in drafts:
        grades.append(draft.graded(judge))
        on_grade(grades[-1])
    return grades


@dataclass(frozen=True, slots=True)
class _Draft:
    """A grade whose comparisons by math-verify are still open; None if none is needed."""

    grade: Grade
    strict: Comparison | None
    lenient: Comparison | None
    whole: Comparison | None

    @classmethod
    def of(cls, answered: Answered, *, whole_text: bool) -> _Draft:
        strict_answer = extract(answered.text, answered.answer_type, answered.options)
        lenient = strict_answer if strict_answer.text is not None else extract_lenient(answered.text, answered.answer_type, answered.options)
        is_whole = answered.finish_reason in ("stop", "budget")
        grade = Grade(
            id=answered.id,
            extracted=strict_answer.text,
            extracted_by=strict_answer.rule,
            strict=is_whole and answers_equal(strict_answer.text, answered.gold, answered.answer_type),
            lenient=answers_equal(lenient.text, answered.gold, answered.answer_type),
        )
        strict_open = answered.answer_type == "latex" and is_whole and strict_answer.text is not None and not grade.strict
        lenient_open = answered.answer_type == "latex" and lenient.text is not None and not grade.lenient
        return cls(
            grade=grade,
            strict=_formulas(answered.gold, strict_answer.text) if strict_open else None,
            lenient=_formulas(answered.gold, lenient.text) if lenient_open else None,
            whole=Comparison(answered.gold, answered.text, whole_text=True) if whole_text and answered.answer_type in (*NUMBERS, "latex") else None,
        )

    def comparisons(self) -> list[Comparison]:
        return [comparison for comparison in (self.strict, self.lenient, self.whole) if comparison is not None]

    def graded(self, judge: Judge) -> Grade:
        verdicts = {comparison: judge.verdict(comparison) for comparison in self.comparisons()}
        return replace(
            self.grade,
            strict=bool(verdicts[self.strict]) if self.strict else self.grade.strict,
            lenient=bool(verdicts[self.lenient]) if self.lenient else self.grade.lenient,
            math_verify=bool(verdicts[self.whole]) if self.whole else None,
            timed_out=None in verdicts.values(),
        )


def answers_equal(answer: str | None, gold: str, answer_type: AnswerType) -> bool:
    """Equality without a worker process: by value for numbers, by spelling and rational value for LaTeX. A missing answer equals nothing."""
    if answer is None:
        return False
    if answer_type in NUMBERS:
        return numbers_equal(answer, gold)
    if answer_type == "latex":
        return plainly_equal(gold, answer)
    return answer == gold


def numbers_equal(answer: str | None, gold: str) -> bool:
    """Exact equality of integers, and up to a relative 1e-6 of decimals. A missing answer equals nothing."""
    ours, theirs = number_of(answer) if answer is not None else None, number_of(gold)
    if ours is None or theirs is None:
        return False
    return ours == theirs or (theirs.denominator != 1 and abs(ours - theirs) <= abs(theirs) * RELATIVE_TOLERANCE)


def _formulas(gold: str, answer: str | None) -> Comparison:
    assert answer is not None
    return Comparison(gold, answer, whole_text=False)


def is_kept(answer: str | None, chain: str, question: Question, *, must_state: bool = False) -> bool:
    """Whether a rewrite still leads to `answer`: it states it; or it states no answer, and contains the formula or all its parts, or its last number,
    letter or yes/no is `answer`. With `must_state`, as for an answer of its own, it has to state it.
    """
    if answer is None:
        return False
    bare = _UNIT_AFTER.sub("", answer) if question.answer_type == "latex" else answer
    stated = extract(chain, question.answer_type, question.options).text
    if stated is not None or must_state:
        return stated is not None and any(answers_equal(stated, each, question.answer_type) for each in (answer, bare))
    if question.answer_type == "latex":
        written = normalised(chain)
        return any(_holds(written, part) for part in (answer, bare)) or all(_holds(written, part) for part in parts_of(answer))
    last = last_mention(chain, question.answer_type, question.options)
    return last is not None and (number_of(last) == number_of(answer) if question.answer_type in NUMBERS else last == answer)


def _holds(written: str, part: str) -> bool:
    """Whether the normalised text has this formula, and not as some digits of a longer number."""
    wanted = normalised(part)
    before, after = (r"(?<![\d.])" if wanted[:1].isdigit() else ""), (r"(?!\.?\d)" if wanted[-1:].isdigit() else "")
    return re.search(before + re.escape(wanted) + after, written) is not None
