"""Gold answers: from the formats of sources to the form that is compared.

Numbers become plain digits ("1,000" -> "1000", "025" -> "25"), choices a letter, booleans "yes" or "no"; LaTeX loses its box or dollars.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from cotexp.records import AnswerType
from cotexp.tasks.answers import number_of
from cotexp.tasks.booleans import boolean_word
from cotexp.tasks.boxes import BARE_BOX, last_boxed, parts_of_answer
from cotexp.tasks.latex import stripped
from cotexp.tasks.option_texts import letter_of_text
from cotexp.tasks.options import LETTERS, shuffled_options
from cotexp.tasks.sentence_items import plain_digits
from cotexp.tasks.stated_formulas import in_one, joined

STATEMENT = "####"


def read_gold(raw: Any, answer_type: AnswerType, options: Mapping[str, str] | None = None) -> str:
    """The gold answer in a source's raw form: a number, a text, a whole solution of GSM8K, a solution with a box (or several that are parts of one
    answer), a list of such parts, or an object of option text and score.

    Raises: ValueError with the rule that the value breaks ("must be ...").
    """
    if isinstance(raw, list):
        if not raw:
            raise ValueError("must not be an empty list")
        if len(raw) > 1:
            return _parts(raw, answer_type)
        raw = raw[0]
    if isinstance(raw, Mapping):
        raw = _best_option(raw, options or shuffled_options(raw) if answer_type == "choice" else None)
    if raw is None or (isinstance(raw, str) and not raw.strip()):
        raise ValueError("must not be empty")
    if answer_type in ("integer", "decimal"):
        return _number(raw, integral=answer_type == "integer")
    if answer_type == "boolean":
        word = boolean_word(str(raw))
        if word is None:
            raise ValueError("must be yes, no, true or false")
        return word
    if not isinstance(raw, str | int | float) or isinstance(raw, bool):
        raise ValueError("must be a text")
    if isinstance(raw, float) and not math.isfinite(raw):
        raise ValueError("must be finite")
    text = plain_digits(Fraction(str(raw))) if isinstance(raw, float) and answer_type == "latex" else str(raw).strip()
    return _letter(text, options or {}) if answer_type == "choice" else _latex(text)


def _parts(raw: list[Any], answer_type: AnswerType) -> str:
    """Several parts of one answer, which only LaTeX has; for other types all parts must be equal."""
    parts = [read_gold(part, answer_type) for part in raw]
    if answer_type == "latex":
        return joined(parts)
    if len(set(parts)) > 1:
        raise ValueError(f"must be one answer; its list holds {len(parts)}")
    return parts[0]


def _number(raw: Any, *, integral: bool) -> str:
    if isinstance(raw, bool):
        raise ValueError("must be a number")
    if isinstance(raw, float) and not math.isfinite(raw):
        raise ValueError("must hold one number")
    text = plain_digits(Fraction(str(raw))) if isinstance(raw, float) else str(raw)  # str() alone would give "1e-05"
    text = text.rsplit(STATEMENT, 1)[1] if STATEMENT in text else last_boxed(text) or text
    value = number_of(text)
    if value is None:
        raise ValueError("must hold one number")
    if integral and value.denominator != 1:
        raise ValueError("must be an integer")
    return plain_digits(value)


EMPTY_BOX = re.compile(r"\\boxed\s*\{\s*\}")
_BRACE = re.compile(r"\\[{}]")
_WORDS = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}")
MOST_WORDS = 12
"""A text with more words is prose, not a formula."""


def _latex(text: str) -> str:
    boxes = parts_of_answer(text)
    inner = joined(in_one([box.content.strip() for box in boxes])) if boxes else None
    if inner is None and (bare := BARE_BOX.findall(text)):
        inner = bare[-1]
    if inner is None and EMPTY_BOX.search(text):
        raise ValueError("must not be empty")
    if inner is None and ("\\boxed" in text or len(_WORDS.findall(text)) > MOST_WORDS):
        raise ValueError("must be a formula, or a solution that states it in \\boxed{...}")
    text = stripped(text if inner is None else inner)
    if not text:
        raise ValueError("must not be empty")
    if num_open := _BRACE.sub("", text).count("{") - _BRACE.sub("", text).count("}"):
        raise ValueError(f"must be a whole formula; {abs(num_open)} of its braces {'do not close' if num_open > 0 else 'were never opened'}")
    return text


def _letter(text: str, options: Mapping[str, str]) -> str:
    """The option's letter from "C", "(C)", "C)", the option's text or amount, or a number that counts options from 1."""
    bare = text.strip("().: ")
    for choice in options:
        if bare.upper() == choice.upper():
            return choice
    named = [letter for letter, option in options.items() if option.strip().lower() == text.lower()]
    if len(named) == 1:
        return named[0]
    if bare.isdecimal():
        if letter := letter_of_text(bare, options):
            return letter
        if letter := letter_of_number(bare, options):
            return letter
    if not options and len(bare) == 1 and bare.upper() in LETTERS:
        return bare.upper()
    raise ValueError(f"must name one of the options {', '.join(options) or 'A, B, ...'}")


def letter_of_number(text: str, options: Mapping[str, str]) -> str | None:
    """The option that a whole number counts from 1, if there is one."""
    return list(options)[int(text) - 1] if text.isdecimal() and len(text) <= 2 and 1 <= int(text) <= len(options) else None


def _best_option(scores: Mapping[str, Any], options: Mapping[str, str] | None) -> str:
    best = [text for text, score in scores.items() if score == 1]
    if len(best) != 1:
        raise ValueError(f"must score exactly one option with 1; {len(best)} have it")
    if options is None:
        return best[0]
    letters = [letter for letter, text in options.items() if text == best[0]]
    if len(letters) == 1:
        return letters[0]
    shuffled = shuffled_options(scores)
    return next(letter for letter, text in shuffled.items() if text == best[0])
