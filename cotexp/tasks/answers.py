"""Where the answer stands in a model's text, and what it is.

Strict order: the last closed `\\boxed{...}`; else what follows the last "answer is" or "####". Choices are also read from the last
parentheses, and an option's text alone counts. Only the lenient rule goes on to the last number, letter or yes/no of the text.
What a reasoning model thinks (up to `</think>`) holds no answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from cotexp.records import AnswerType
from cotexp.tasks import choices
from cotexp.tasks.boxes import cut_off as _cut_off
from cotexp.tasks.boxes import last_box as _last_box
from cotexp.tasks.boxes import last_boxed as last_boxed
from cotexp.tasks.stated_formulas import stated_formula

LETTERS = choices.LETTERS
MOST_DIGITS = 100
"""Longer runs of digits are no answer to any benchmark; converting them would cost time for nothing."""

_STATEMENT = re.compile(r"(?:answer\s+is(?![A-Za-z])|####)\s*:?\s*", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?][\"')*]*\s+|\n\s*")
_OPENING = re.compile(r"(?:[\s*_~>]|\\\[|\\\(|\$\$)+")
_DIGITS = r"(?:\d+(?:(?:,|\{,\}|\\[,!;]|\{,\}\\!|,\\!)\d{3}(?!\d))*(?:\.\d+)?|(?<![\w.])\.\d+)"
_NUMBER = re.compile(rf"(?P<minus>(?<![\w)}}\]])[-−–]\s?(?=\\?[$€£]|\d|\.\d))?(?:\\?[$€£]\s?[-−–]?)?(?<![A-Za-z_\d])(?P<digits>{_DIGITS})(?!\d)")
_MINUS_BEFORE = re.compile(r"(?<![\w)}\]])[-−–]\s?$")
_SLASH = re.compile(r"\s*/\s*")
_FRACTION = re.compile(r"\\[dtc]?frac\s*(?:\{\s*(-?\d{1,100})\s*\}|(\d))\s*(?:\{\s*(\d{1,100})\s*\}|(\d))")
_TEXT = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mbox|operatorname)\s*\{([^{}]*)\}")
_UNIT_EXPONENT = re.compile(r"(?<=[A-Za-z}])\s*\^\s*(?:\{\s*[-−]?\d\s*\}|\d)")
_COMMAND = re.compile(r"\\(?:[dtc]?frac|[A-Za-z]+)")
_HARMLESS = {"\\quad", "\\qquad", "\\circ", "\\degree", "\\left", "\\right", "\\displaystyle", "\\pounds", "\\euro", "\\rm", "\\bf", "\\approx"}
_EQUATION = re.compile(r"[A-Za-z\s$%)]{0,30}(?:[-+*/×÷·x−][\s(\\$]*\d|\\(?:times|div|cdot)(?![A-Za-z])).*=")
_OPERATOR = re.compile(r"\s*(?:\)\s*)?(?:[+*×÷·]|[-−x](?=\s*\d)|\\(?:times|div|cdot)(?![A-Za-z]))")
_CHANGES_VALUE = re.compile(
    r"\s*(?:\^(?![\s{]*\\circ)|\\(?:pi|sqrt|[dtc]?frac|log|ln|sin|cos|tan)(?![A-Za-z]))"
    r"|[,:'’]\d|[eE][-+]?\d|\s+(?:(?:or|and)\s+\\?[$€£]?)?\d|\s+(?:hundred|thousand|million|billion|trillion)\b"
)
"""What makes a number another one, or one of several: a power, a factor, more digits as in "1,2", "7:30", "1e5", "3 1/2" or "3 or 4"."""
_BOOLEAN = re.compile(r"(?<![^\W_])(yes|no|true|false)(?![^\W_])(?![-'’]\w)", re.IGNORECASE)
_EITHER = re.compile(r"\b(?:yes|true)\s*(?:(?:or|nor|/)\s*(?:no|false)\b|and\s+(?:no|false)(?=\s*(?:[.,;]|$)))", re.IGNORECASE)
"""No answer: "not a simple yes or no", "yes and no"."""
_WORDS = {"yes": "yes", "true": "yes", "no": "no", "false": "no"}


@dataclass(frozen=True, slots=True)
class Extracted:
    """An answer in the form that is compared, the rule that found it, and where in the text its mark begins (the text's length if none).

    Rules: "boxed", "statement", "parentheses", "text" (the text is an option or yes/no, nothing else), "last" (lenient only) or "none".
    """

    text: str | None
    rule: str
    start: int


def extract(text: str, answer_type: AnswerType = "decimal", options: Mapping[str, str] | None = None) -> Extracted:
    """The final answer under the strict rule. `options` (letter -> text) is read for choices."""
    begin = answer_begin(text)
    found = _READERS[answer_type](text[begin:], options or {})
    return Extracted(found.text, found.rule, found.start + begin)


def extract_lenient(text: str, answer_type: AnswerType = "decimal", options: Mapping[str, str] | None = None) -> Extracted:
    """The final answer under the strict rule; without one the last number, letter or yes/no of the text."""
    found = extract(text, answer_type, options)
    if found.text is not None:
        return found
    last = last_mention(text, answer_type, options)
    return Extracted(last, "last" if last is not None else "none", len(text))


def last_mention(text: str, answer_type: AnswerType = "decimal", options: Mapping[str, str] | None = None) -> str | None:
    """The last number, option letter or yes/no anywhere in a text; None without any."""
    if answer_type == "boolean":
        words = _BOOLEAN.findall(_EITHER.sub(" ", text))
        return _WORDS[words[-1].lower()] if words else None
    if answer_type == "choice":
        return choices.last_letter(text, options or {})
    last = None
    for match in _NUMBER.finditer(text):
        last = match
    return _plain(last) if last else None


def answer_begin(text: str) -> int:
    """Where a reasoning model's answer part begins: behind the last `</think>`; at the end when its thinking never ends."""
    end = text.rfind("</think>")
    if end >= 0:
        return end + len("</think>")
    return len(text) if text.lstrip().startswith("<think>") else 0


# --- numbers -------------------------------------------------------------------------------------------------------------


def _read_number(text: str, _: Mapping[str, str]) -> Extracted:
    box = _last_box(text)
    if box is not None:
        number = one_number(box.content)
        return Extracted(number, "boxed" if number is not None else "none", box.start)
    mark = _last_statement(text)
    if mark is not None:
        opening = _OPENING.match(text, mark.end())
        rest = text[opening.end() if opening else mark.end() :].split("\n")[0]
        sentence = rest[: end.start()] if (end := _SENTENCE_END.search(rest)) else rest
        number = _stated_number(sentence) if _NUMBER.search(sentence) else _stated_number(rest)
        if number is not None:
            return Extracted(number, "statement", mark.start())
    return Extracted(None, "none", len(text))


def _stated_number(sentence: str) -> str | None:
    """The number that a sentence behind "answer is" states: its first, or where an equation begins there, its result."""
    fraction, first = _FRACTION.search(sentence), _NUMBER.search(sentence)
    if first is None or "\\boxed" in sentence[: first.start()]:
        return None
    is_fraction = fraction is not None and fraction.start() < first.start()
    end = fraction.end() if fraction is not None and is_fraction else first.end()
    if _EQUATION.match(sentence, end):
        return one_number(sentence[sentence.rindex("=") + 1 :]) or None
    if not is_fraction and (slash := _SLASH.match(sentence, end)):
        second = _NUMBER.match(sentence, slash.end())
        if second is not None:
            return one_number(f"{_plain(first)}/{_plain(second)}")
    operator = _OPERATOR.match(sentence, end)
    goes_on = operator and re.match(r"[^A-Za-z]*\d", sentence[operator.end() :])
    if goes_on or _CHANGES_VALUE.match(sentence, end):
        return None
    if fraction is not None and is_fraction:
        return one_number(f"{'-' if _MINUS_BEFORE.search(sentence, 0, fraction.start()) else ''}{fraction.group()}")
    return _plain(first)


def one_number(text: str) -> str | None:
    """The one number in a short answer such as "$1,080.50", "\\text{18 eggs}", "x = 18" or "\\frac{1}{2}", in plain characters ("1/2").

    None without a number, with several, or with LaTeX around it that would change its value.
    """
    if "=" in text:
        text = text.rsplit("=", 1)[1]
    text = _UNIT_EXPONENT.sub("", _TEXT.sub(r" \1 ", text.replace("{,}", ",")))
    if fraction := _FRACTION.search(text):
        top, bottom = fraction[1] or fraction[2], fraction[3] or fraction[4]
        sign = "-" if _MINUS_BEFORE.search(text, 0, fraction.start()) else ""
        alone = not _NUMBER.search(text[: fraction.start()] + " " + text[fraction.end() :])
        return f"{sign}{top}/{bottom}" if alone and _harmless(text[: fraction.start()] + text[fraction.end() :]) else None
    found = list(_NUMBER.finditer(text))
    if len(found) == 2 and _SLASH.fullmatch(text, found[0].end(), found[1].start()):
        return f"{_plain(found[0])}/{_plain(found[1])}"
    return _plain(found[0]) if len(found) == 1 and _harmless(text) and not _CHANGES_VALUE.match(text, found[0].end()) else None


def _harmless(text: str) -> bool:
    """Whether no LaTeX command stands there but spacing, units and the like."""
    return all(command in _HARMLESS for command in _COMMAND.findall(text))


def _plain(match: re.Match[str]) -> str | None:
    """A matched number in plain characters; None for one of absurd length."""
    digits = re.sub(r"[^\d.]", "", match["digits"])
    minus = any(each in match.group()[: match.start("digits") - match.start()] for each in "-−–")
    return f"{'-' if minus else ''}{digits}" if len(digits) <= MOST_DIGITS else None


def number_of(text: str) -> Fraction | None:
    """The value of the one number in a short answer; None without exactly one."""
    plain = one_number(text)
    if plain is None:
        return None
    top, _, bottom = plain.partition("/")
    try:
        return Fraction(top) / Fraction(bottom or 1)
    except ZeroDivisionError:
        return None


# --- LaTeX, choices, yes and no ------------------------------------------------------------------------------------------


def _read_latex(text: str, _: Mapping[str, str]) -> Extracted:
    return Extracted(*stated_formula(text))


def _read_choice(text: str, options: Mapping[str, str]) -> Extracted:
    box, mark = _last_box(text), _last_statement(text)
    if box is not None and (mark is None or box.start > mark.start()):
        letter = choices.stated_letter(_TEXT.sub(r"\1", box.content), options)
        if letter is not None:
            return Extracted(letter or None, "boxed" if letter else "none", box.start)
    cut = _cut_off(text)
    if mark is not None:
        letter = choices.stated_letter(text[mark.end() : max(mark.end(), cut)], options)
        if letter is not None:
            return Extracted(letter or None, "statement" if letter else "none", mark.start())
    if box is not None and (letter := choices.stated_letter(_TEXT.sub(r"\1", box.content), options)):
        return Extracted(letter, "boxed", box.start)
    inside = choices.last_in_parentheses(text, options) if cut == len(text) else None
    if inside is not None:
        return Extracted(inside.letter, "parentheses", inside.start)
    alone = choices.letter_of_text(text, options)
    return Extracted(alone, "text" if alone else "none", 0 if alone else len(text))


def _read_boolean(text: str, _: Mapping[str, str]) -> Extracted:
    box, mark = _last_box(text), _last_statement(text)
    boxed = boolean_word(_TEXT.sub(r"\1", box.content)) if box is not None else None
    if box is not None and boxed and (mark is None or box.start > mark.start()):
        return Extracted(boxed, "boxed", box.start)
    if mark is not None:
        rest = _EITHER.sub(" ", text[mark.end() : max(mark.end(), _cut_off(text))])
        opening = _OPENING.match(rest)
        at_once = _BOOLEAN.match(rest, opening.end() if opening else 0)
        words = [at_once.group()] if at_once else _BOOLEAN.findall(rest.split("\n")[0]) or _BOOLEAN.findall(rest)
        if words:
            return Extracted(_WORDS[words[-1].lower()], "statement", mark.start())
    if box is not None and boxed:
        return Extracted(boxed, "boxed", box.start)
    alone = boolean_word(text)
    return Extracted(alone, "text" if alone else "none", 0 if alone else len(text))


def boolean_word(text: str) -> str | None:
    """ "yes" or "no" for a text that says yes, no, true or false and nothing else."""
    return _WORDS.get(text.strip(" \t\r\n.!*_$`()\"'“”‘’").lower())


_READERS = {"integer": _read_number, "decimal": _read_number, "latex": _read_latex, "choice": _read_choice, "boolean": _read_boolean}

# --- statements ------------------------------------------------------------------------------------------------------


def _last_statement(text: str) -> re.Match[str] | None:
    last = None
    for match in _STATEMENT.finditer(text):
        last = match
    return last


# --- solutions -----------------------------------------------------------------------------------------------------------


def split_solution(text: str, answer_type: AnswerType = "decimal", options: Mapping[str, str] | None = None) -> tuple[str, str]:
    """(chain of thought with its trailing white space, closing sentence that states the answer); they join to `text`.

    Without an answer under the strict rule the closing part is empty.
    """
    found = extract(text, answer_type, options)
    if found.text is None:
        return text, ""
    begin = answer_begin(text)
    starts = [begin, *(match.end() for match in _SENTENCE_END.finditer(text, begin, found.start))]
    start = max(each for each in starts if each <= found.start)
    return text[:start], text[start:]


def join_solution(chain_of_thought: str, closing: str, separator: str) -> str:
    """A solution of a (rewritten) chain of thought and the closing sentence, `separator` between them where both exist."""
    chain = chain_of_thought.strip()
    return f"{chain}{separator}{closing}" if chain and closing else chain or closing
