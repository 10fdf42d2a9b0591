"""Gold answers: from whatever form a source gives them in to the one form that is compared.

Numbers become plain digits ("1,000" -> "1000", "025" -> "25"), choices a letter, booleans "yes" or "no"; LaTeX loses its box or dollars.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

from cotexp.records import AnswerType
from cotexp.tasks.answers import LETTERS, boolean_word, last_boxed, number_of
from cotexp.tasks.quantities import plain

STATEMENT = "####"


def read_gold(raw: Any, answer_type: AnswerType, options: Mapping[str, str] | None = None) -> str:
    """The gold answer of a source's raw form: a number, a text, GSM8K's whole solution, a solution with a box, a list whose first item
    counts, or an object of option text and score.

    Raises: ValueError with the rule that the value breaks ("must be ...").
    """
    if isinstance(raw, list):
        if not raw:
            raise ValueError("must not be an empty list")
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
    text = str(raw).strip()
    return _letter(text, options or {}) if answer_type == "choice" else _latex(text)


def shuffled_options(texts: Iterable[str]) -> dict[str, str]:
    """Letters for option texts in an order that depends on the texts alone, not on the order in which a source lists them.

    Sources such as BIG-bench's Date Understanding name the right option first.
    """
    unique = sorted(set(texts))
    whole = "\n".join(unique)
    order = sorted(unique, key=lambda each: hashlib.sha256(f"{whole}\n\n{each}".encode()).digest())
    return dict(zip(LETTERS, order, strict=False))


def _number(raw: Any, *, integral: bool) -> str:
    if isinstance(raw, bool):
        raise ValueError("must be a number")
    if isinstance(raw, float) and not math.isfinite(raw):
        raise ValueError("must hold one number")
    text = plain(Fraction(str(raw))) if isinstance(raw, float) else str(raw)  # str() alone would give "1e-05"
    text = text.rsplit(STATEMENT, 1)[1] if STATEMENT in text else last_boxed(text) or text
    value = number_of(text)
    if value is None:
        raise ValueError("must hold one number")
    if integral and value.denominator != 1:
        raise ValueError("must be an integer")
    return plain(value)


BARE_BOX = re.compile(r"\\boxed\s+([^\s{}$]+)")
_WORDS = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}")
MOST_WORDS = 12
"""More words than this are prose, not a formula."""


def _latex(text: str) -> str:
    inner = last_boxed(text)
    if inner is None and (bare := BARE_BOX.findall(text)):
        inner = bare[-1]
    if inner is None and ("\\boxed" in text or len(_WORDS.findall(text)) > MOST_WORDS):
        raise ValueError("must be a formula, or a solution that states it in \\boxed{...}")
    text = (text if inner is None else inner).strip()
    if len(text) > 2 and text.startswith("$") and text.endswith("$"):
        text = text.strip("$").strip()
    if not text:
        raise ValueError("must not be empty")
    return text


def _letter(text: str, options: Mapping[str, str]) -> str:
    """The option's letter from "C", "(C)", "C)", a number that counts options from 1, or the option's own text."""
    bare = text.strip("().: ")
    for each in options:
        if bare.upper() == each.upper():
            return each
    named = [letter for letter, option in options.items() if option.strip().lower() == text.lower()]
    if len(named) == 1:
        return named[0]
    if bare.isdecimal() and 1 <= int(bare) <= len(options):
        return list(options)[int(bare) - 1]
    if not options and len(bare) == 1 and bare.upper() in LETTERS:
        return bare.upper()
    raise ValueError(f"must name one of the options {', '.join(options) or 'A, B, ...'}")


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
