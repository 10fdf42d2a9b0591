"""The texts of Rationale Difficulty (RD): the context before the gold answer, and the form of the answer.

Source: MoRSD (Findings of EMNLP 2025, arXiv 2509.23574), second-hand: RD = PPL(answer | question, rationale) / PPL(answer | question). A
rationale that states the answer makes it trivially small; the two masks against this are ours.
"""

from __future__ import annotations

import re
from collections.abc import Set
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

from cotexp.methods.reasoning import Parts
from cotexp.records import Question, Rationale
from cotexp.settings.scoring import Scoring
from cotexp.tasks.answers import extract, number_of, split_solution
from cotexp.tasks.booleans import WORDS
from cotexp.tasks.grading import answers_equal
from cotexp.tasks.statement import sentence_starts

HIDDEN = "?"
"""Replaces the answer's value in an equation."""
MOST_STATEMENTS = 20
"""Most statements that are taken from a text, so that one that only repeats itself costs little time."""
MOST_SENTENCES = 4
"""Most sentences of one statement: "The answer is:" can stand above its formula."""


def answer_text(question: Question, form: str) -> str:
    """The gold answer after "The answer is ", with the full stop; `form` is "boxed" or "plain" (letters and words are plain)."""
    if question.answer_type == "choice":
        return f"({question.answer})."
    return f"\\boxed{{{question.answer}}}." if form == "boxed" and question.answer_type != "boolean" else f"{question.answer}."


def label(question: Question, scoring: Scoring) -> str:
    """The whole text that states the gold answer, without a rationale."""
    return f"{scoring.connector}{answer_text(question, scoring.answer)}"


# --- masked: without the statements of the answer ------------------------------------------------------------------------

_OPENING_WORD = re.compile(
    r"[\s>*_\"“]*(?P<word>yes|no|true|false)(?![^\W_])[*_\"”]*"
    r"(?:[.!](?=[\s*_\"”])(?!\s*\d)|[,;:—]|\s[–-]+(?=\s)|(?=\n)|(?=\s+(?:because|since)\b))[*_\"”]*\s*",
    re.IGNORECASE,
)
"""A yes or no at the start that punctuation sets off: not "No dogs", "No. 10" or "No-one"."""
_CLOSERS = re.compile(r"(?:[^\S\n]*(?:\$+|\\[)\]]|\*+|\})(?=\s|\Z))*\s*")
"""The rest of a formula or of bold text whose last sentence is gone."""


def masked(rationale: Rationale, question: Question) -> str:
    """The rationale without the sentences that state its answer, also those before the last one, and without a "Yes." that opens it."""
    answer = extract(rationale.text, question.answer_type, question.options).text
    if answer is None:
        return rationale.cot.strip()
    parts = Parts.of(rationale.cot)
    chain = _unstated(parts.chain, answer, question)
    opening = _OPENING_WORD.match(chain) if question.answer_type == "boolean" else None
    if opening and WORDS[opening["word"].lower()] == answer:
        chain = chain[opening.end() :]
    return f"{parts.opening}{_unstated(parts.thinking, answer, question)}{parts.middle}{chain}".strip()


def _unstated(text: str, answer: str, question: Question) -> str:
    """The text without its last statement as long as that gives `answer` under the strict rule."""
    kept: list[str] = []
    for _ in range(MOST_STATEMENTS):
        if not _states(text, answer, question):
            break
        text, statement = split_solution(text, question.answer_type, question.options)
        end = _end_of_statement(statement, answer, question)
        if end < len(statement):
            breaks = text[len(text.rstrip()) :], statement[len(statement[:end].rstrip()) : end]
            kept.append(max(breaks, key=lambda each: (each.count("\n"), len(each))) + statement[end:])
            text = text.rstrip()
    return "".join([text, *reversed(kept)]).strip()


def _end_of_statement(text: str, answer: str, question: Question) -> int:
    """The end of the sentences that state the answer at the start of a text, with the white space after them."""
    starts = [*sentence_starts(text, 0, len(text))[1:], len(text)]
    end = next((each for each in starts[:MOST_SENTENCES] if _states(text[:each], answer, question)), len(text))
    for begin, following in pairwise(starts):
        if begin == end and _states(text[begin:following], answer, question):
            end = following
    rest = _CLOSERS.match(text, end)
    return rest.end() if rest else end


def _states(text: str, answer: str, question: Question) -> bool:
    return answers_equal(extract(text, question.answer_type, question.options).text, answer, question.answer_type)


# --- hidden: without the value in equations either -----------------------------------------------------------------------

_EQUALS = r"(?:(?<!!)=|≈|\\approx(?![A-Za-z]))"
"""A rounded value gives the answer away as an exact one does, and so does a bound."""
_LAYOUT = r"[^\S\n]|[*_`~&]|\\[(\[,;:!> ]|\\(?:boxed|text(?:bf|it|rm)?|math(?:bf|it|rm))\s*\{|\{|\\?[$£€₹¥]|\bRs\.?|\bUSD\b"
_BEFORE = rf"(?:{_LAYOUT}|\(|[-−–])*+"
_DIGITS = r"(?:\d++(?:(?:,|\{,\}|\\[,!;]|\{,\}\\!|,\\!)\d{3}(?!\d))*+(?:\.\d++)?+|\.\d++)"
_PART = rf"(?:\{{\s*+(?:[-−]?{_DIGITS})\s*+\}}|\d)"
_FRACTION = rf"(?:\d++[^\S\n]*+)?(?:\\[dtc]?frac\s*+{_PART}\s*+{_PART}|(?<![\d.]){_DIGITS}[^\S\n]?/[^\S\n]?{_DIGITS})"
_VALUE = rf"(?>{_FRACTION}|{_DIGITS})"
"""A number or a fraction of two numbers, also behind a whole number, as in 2 1/2."""
_AFTER = r"(?:\*+(?!\s*\d)|[)}_`%°]|\\[)\]%]|\$(?!\s*\d))*+"
_CLOSE = r"[^\S\n]*%?>>"
_TERM = r"[^\S\n]*\\?[$£€]?[\d(]"
_GOES_ON = (
    r"(?:,?\d|\.\d|\(\s*[\d(]|[xyzn](?![A-Za-z])|\^(?!\s*\{?\s*\\circ)"
    r"|[^\S\n]*\\(?:times|cdot|div|pm|[dt]?frac|sqrt|pi|theta|log|ln|sin|cos|tan)(?![A-Za-z])"
    rf"|(?:[^\S\n]+(?!x\b)[A-Za-z]+){{0,2}}+[^\S\n]*(?:[-+*/×÷·−]|(?<![A-Za-z])x(?![A-Za-z])){_TERM}"
    r"|[^\S\n]*(?:[+×÷·][^\S\n]*[A-Za-z]|[-+×÷·−][^\S\n]*\\[A-Za-z]))"
)
"""What makes a number the first term of a calculation: it is not the end of its equation."""
_FACTOR = re.compile(
    rf"{_AFTER}(?:[A-Za-z]|[^\S\n]*(?:[xyznkbt](?![A-Za-z])|\\(?!(?:text[a-z]*|mbox|math[a-z]+|q?quad|right|end|implies|approx|[rR]ightarrow|to)"
    rf"(?![A-Za-z]))[A-Za-z])|[^\S\n]+of(?:[^\S\n]+the)?{_TERM}|[^\S\n]*[-+*×÷·−/][^\S\n]*[A-Za-z\\])"
)
"""What makes a fraction a part of its formula, as in \\frac{1}{2}bh and 1/2 of 10, besides what does it for any number."""
_END = re.compile(rf"(?P<lead>{_EQUALS})(?P<before>{_BEFORE})(?P<digits>{_VALUE})(?!{_AFTER}{_GOES_ON}|{_CLOSE})")
_MARK = re.compile(
    rf"(?P<lead><<[^<>\n]*=)(?P<before>{_BEFORE})(?P<digits>{_VALUE})(?P<close>{_CLOSE})"
    rf"(?:(?P<copy_before>{_BEFORE})(?P<copy>{_VALUE}))?+(?!{_AFTER}{_GOES_ON})"
)
"""A calculator's mark of GSM8K and the copy of its result: "<<89-45=44>>44"."""
_SPACE = r"(?:[^\S\n]|\\[,;:! ]|\\(?:left|right)(?![A-Za-z]))"
_END_OF_FORMULA = (
    r"(?=[^\S\n]*(?:\Z|\n|[.,](?!\d)|[;:!?)}$]|\*+(?=\W|\Z)|\\[)\]\\]"
    r"|\\(?:text|mbox|q?quad|end|implies|[rR]ightarrow|to)(?![A-Za-z])|(?<=\s)(?:[A-Za-z]{2,}|\()))"
)
LONGEST_FORMULA = 200
"""Characters of a gold formula that is looked for."""


def hidden(text: str, question: Question) -> str:
    """A masked rationale with the gold value hidden at the ends of equations: a number in any form, a formula as it is spelled.

    A fraction is a form of a number, unless its value is whole: = 36/2 is a calculation. Where the gold is 50%, 0.5 is a form of it. A choice has the
    value of its option. A yes or no stands in no equation.
    """
    gold = (question.options.get(question.answer, "") if question.answer_type == "choice" else question.answer).strip()
    if question.answer_type == "boolean" or not gold:
        return text
    if (value := number_of(gold)) is not None:
        values = {value, value / 100} if re.search(r"%\W*\Z", gold) else {value}
        for pattern in (_MARK, _END):
            text = pattern.sub(lambda found: _hide(found, values), text)
    if value is None or not re.fullmatch(r"[-−]?[\d.,]+", gold):
        text = _spelled(gold).sub(lambda found: f"{found['lead']}{HIDDEN}", text) if len(gold) <= LONGEST_FORMULA else text
    return text


def _hide(found: re.Match[str], gold: Set[Fraction]) -> str:
    """An end of an equation, and what a mark has after it, without the numbers that equal one of `gold`."""
    part = found.groupdict()
    result = part["lead"] + _number(found, "before", "digits", gold) + part.get("close", "")
    return result + _number(found, "copy_before", "copy", gold) if part.get("copy") else result


def _number(found: re.Match[str], name_before: str, name: str, gold: Set[Fraction]) -> str:
    before, written = found[name_before], found[name]
    signless = re.sub("[-−–]", "", before)
    value = _value(written)
    is_part = _is_fraction(written) and (value is None or value.denominator == 1 or _FACTOR.match(found.string, found.end(name)))
    if value is None or is_part or (value if signless == before else -value) not in gold:
        return f"{before}{written}"
    return f"{signless}{HIDDEN}"


def _is_fraction(written: str) -> bool:
    return "/" in written or "frac" in written


def _value(written: str) -> Fraction | None:
    """The value of a number or fraction that was found; None for one over nothing."""
    if not _is_fraction(written):
        return _plain(written)
    *whole, above, below = re.findall(rf"[-−]?{_DIGITS}", re.sub(r"(frac\s*\d)(?=\s*\d)", r"\1 ", written))
    return None if not _plain(below) else sum(map(_plain, whole), Fraction(0)) + _plain(above) / _plain(below)


def _plain(digits: str) -> Fraction:
    value = Fraction(Decimal(re.sub(r"[^\d.]", "", digits)))
    return -value if digits[0] in "-−" else value


@lru_cache(maxsize=256)
def _spelled(gold: str) -> re.Pattern[str]:
    """Finds this formula as a whole right side; spaces do not count, nor the size of fractions and brackets."""
    bare = re.sub(rf"\A(?:{_LAYOUT})+|\$+\Z", "", re.sub(_SPACE, " ", gold))
    bare = bare[:-1] if bare.endswith("}") and bare.count("}") > bare.count("{") else bare
    tokens = [re.escape(each) for each in re.findall(r"\\[A-Za-z]+|\S", bare)]
    formula = rf"{_SPACE}*+".join(re.sub(r"\A\\\\[dt]?frac\Z", r"\\\\[dt]?frac", each) for each in tokens)
    return re.compile(rf"(?P<lead>{_EQUALS}(?:{_LAYOUT})*+)(?:\\left(?![A-Za-z]))?{formula or '(?!)'}{_END_OF_FORMULA}")
