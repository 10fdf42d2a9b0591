"""Extracts the answer from a model's text.

Strict rule: the last closed `\\boxed{...}`, otherwise the statement after the last "answer is" or "####". Choices are also read from the
last parentheses or from an option's text. The lenient rule then takes the last number, letter or yes/no of the text.
The thinking of a reasoning model contains no answer, nor does the text after a new question or turn.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

from cotexp.methods.reasoning import answer_begin
from cotexp.records import AnswerType
from cotexp.tasks import booleans, multiple_choice
from cotexp.tasks.booleans import boolean_word
from cotexp.tasks.boxes import Box, parts_of_answer, stated_boxes
from cotexp.tasks.option_texts import letter_of_text
from cotexp.tasks.readings import begins_with_all_of, heading_reading, one_reading, stated_reading
from cotexp.tasks.stated_formulas import stated_formula
from cotexp.tasks.statement import Extracted, answer_part, first_sentence, is_taken_back, marks, sentence_starts
from cotexp.tasks.text_tokens import MOST_DIGITS

MOST_IN_SENTENCE = 200
"""Most characters between two boxes of one sentence."""

_DIGITS = r"(?:\d+(?:(?:,|\{,\}|\\[,!;]|\{,\}\\!|,\\!)\d{3}(?!\d))*(?:\.\d+)?|(?<![\w.])\.\d+)"
_NUMBER = re.compile(rf"(?P<minus>(?<![\w)}}\]])[-−–]\s?(?=\\?[$€£]|\d|\.\d))?(?:\\?[$€£]\s?[-−–]?)?(?<![A-Za-z_\d])(?P<digits>{_DIGITS})(?!\d)")


def extract(text: str, answer_type: AnswerType = "decimal", options: Mapping[str, str] | None = None) -> Extracted:
    """The final answer under the strict rule. `options` (letter -> text) are those of multiple choice."""
    part = answer_part(text)
    answer = text[part.begin : part.end]
    extracted = _READERS[answer_type](answer, options or {})
    if extracted.rule in ("boxed", "statement") and is_taken_back(answer, extracted.start):
        extracted = _NONE
    return Extracted(extracted.text, extracted.rule, len(text) if extracted.text is None else extracted.start + part.begin)


def extract_lenient(text: str, answer_type: AnswerType = "decimal", options: Mapping[str, str] | None = None) -> Extracted:
    """The final answer under the strict rule, or else the last number, letter or yes/no of the text."""
    extracted = extract(text, answer_type, options)
    if extracted.text is not None:
        return extracted
    last = last_mention(text, answer_type, options)
    return Extracted(last, "last" if last is not None else "none", len(text))


def last_mention(text: str, answer_type: AnswerType = "decimal", options: Mapping[str, str] | None = None) -> str | None:
    """The last number, option letter or yes/no anywhere in a text; None without any."""
    if answer_type == "boolean":
        return booleans.last_word(text)
    if answer_type == "choice":
        return multiple_choice.last_letter(text, options or {})
    last = None
    for match in _NUMBER.finditer(text):
        last = match
    return _plain(last) if last else None


def _plain(match: re.Match[str]) -> str | None:
    """A matched number in plain characters; None if it has more than MOST_DIGITS."""
    digits = re.sub(r"[^\d.]", "", match["digits"])
    minus = any(sign in match.group()[: match.start("digits") - match.start()] for sign in "-−–")
    return f"{'-' if minus else ''}{digits}" if len(digits) <= MOST_DIGITS else None


# --- numbers -------------------------------------------------------------------------------------------------------------

_NONE = Extracted(None, "none", 0)


def _read_number(text: str, _: Mapping[str, str]) -> Extracted:
    group = parts_of_answer(text)
    if group and (changed_around(text, group) or others_in_sentence(text, group)):
        return _NONE
    if group:
        readings = [one_reading(box.content) for box in group]
        agree = all(reading.value is not None and reading.value == readings[0].value for reading in readings)
        return Extracted(readings[-1].text, "boxed", group[0].start) if agree else _NONE
    denied: list[Fraction] = []
    for mark in marks(text):
        stated = heading_reading(mark.piece, goes_on=mark.goes_on) if mark.is_heading else stated_reading(first_sentence(mark.piece))
        if stated.denied is not None:
            denied.append(stated.denied)
        if stated.text is not None:
            return Extracted(stated.text, "statement", mark.start) if stated.value not in denied else _NONE
        if not stated.is_silent:
            return _NONE
    return _NONE


_CHANGED_BEFORE = re.compile(r"(?:\\(?:[dtc]?frac|sqrt)\s*\{?|[\d\s}$][/^*×÷]|[/^]|\\(?:times|cdot|div|pm))[\s$]*\Z|(?<![\w)}-])[-−]\$*\Z")
_CHANGED_AFTER = re.compile(r"[\s$}]*(?:[/^*×÷]|\\(?:times|cdot|div|pm))\s*[\d\\{]")
_END_OF_CLAUSE = re.compile(r"[\n.:;(!?]")
_CONCLUDES = re.compile(
    r"\b(?:so|thus|hence|therefore|then|giving|gives|answer|no|wait|actually|rather)\b|[.!?]\s|\n|→|\\implies|\\Rightarrow", re.IGNORECASE
)


def changed_around(text: str, group: Sequence[Box]) -> bool:
    """Whether the text next to a box changes its number: "\\boxed{2} dozen", "-\\boxed{3}", "\\frac{\\boxed{1}}{2}"."""
    box = group[-1]
    if _CHANGED_BEFORE.search(text, max(0, group[0].start - 20), group[0].start) or _CHANGED_AFTER.match(text, box.end):
        return True
    following = text[box.end : box.end + 60].replace("$", " ").replace("*", " ")
    end = _END_OF_CLAUSE.search(following)
    following = following[: end.start()] if end else following
    return bool(re.search(r"[A-Za-z^]", following)) and not begins_with_all_of(box.content, following)


def others_in_sentence(text: str, group: Sequence[Box]) -> bool:
    """Whether the sentence has another number in a box, and no word between them that concludes."""
    before = [box for box in stated_boxes(text) if box.end <= group[0].start]
    if not before or group[0].start - before[-1].end > MOST_IN_SENTENCE or _CONCLUDES.search(text, before[-1].end, group[0].start):
        return False
    return one_reading(before[-1].content).value != one_reading(group[-1].content).value


def one_number(text: str) -> str | None:
    """The number of a short answer, in plain characters: "$1,080.50", "\\text{18 eggs}", "x = 18", "2 1/2", "120k".

    None if there is no number, several, a range or a bound, or if text around the number changes its value in an unknown way.
    """
    return one_reading(text).text


def number_of(text: str) -> Fraction | None:
    """The value of `one_number`: exact, whatever its form."""
    return one_reading(text).value


# --- LaTeX, choices, yes and no ------------------------------------------------------------------------------------------


def _read_choice(text: str, options: Mapping[str, str]) -> Extracted:
    group = parts_of_answer(text)
    in_box = _boxed_letter([box.content for box in group], options) if group else None
    for mark in marks(text):
        if group and mark.start < group[0].start and in_box is not None:
            break
        if mark.is_heading:
            letter = multiple_choice.heading_letter(mark.piece, options, goes_on=mark.goes_on)
        else:
            letter = multiple_choice.stated_letter(mark.piece, options)
        if letter is not None:
            return Extracted(letter, "statement", mark.start) if letter else _NONE
    if in_box is not None:
        return Extracted(in_box, "boxed", group[0].start) if in_box else _NONE
    inside = multiple_choice.said_in_parentheses(text, options)
    if inside is not None:
        return Extracted(inside.letter, "parentheses", inside.start)
    option = letter_of_text(text, options)
    return Extracted(option, "text", 0) if option else _NONE


def _boxed_letter(contents: list[str], options: Mapping[str, str]) -> str | None:
    letters = {multiple_choice.boxed_letter(content, options) for content in contents}
    return letters.pop() if len(letters) == 1 else ""


def _read_boolean(text: str, _: Mapping[str, str]) -> Extracted:
    group = parts_of_answer(text)
    words = {boolean_word(box.content) for box in group}
    in_box = words.pop() if len(words) == 1 else None
    for mark in marks(text):
        if in_box and mark.start < group[0].start:
            break
        word = boolean_word(mark.piece) if mark.is_heading else booleans.stated_word(first_sentence(mark.piece))
        if word is not None:
            return Extracted(word, "statement", mark.start) if word else _NONE
    if in_box:
        return Extracted(in_box, "boxed", group[0].start)
    whole_text = boolean_word(text)
    return Extracted(whole_text, "text", 0) if whole_text else _NONE


_READERS: dict[AnswerType, Callable[[str, Mapping[str, str]], Extracted]] = {
    "integer": _read_number,
    "decimal": _read_number,
    "latex": lambda text, _: stated_formula(text),
    "choice": _read_choice,
    "boolean": _read_boolean,
}


# --- solutions -----------------------------------------------------------------------------------------------------------


def split_solution(text: str, answer_type: AnswerType = "decimal", options: Mapping[str, str] | None = None) -> tuple[str, str]:
    """(chain of thought with its trailing white space, closing sentence that states the answer); they join to `text`.

    The closing sentence is empty if there is no answer under the strict rule.
    """
    extracted = extract(text, answer_type, options)
    if extracted.text is None:
        return text, ""
    start = max(start for start in sentence_starts(text, answer_begin(text), extracted.start) if start <= extracted.start)
    return text[:start], text[start:]


def join_solution(chain_of_thought: str, closing: str, separator: str) -> str:
    """A solution: a (rewritten) chain of thought and the closing sentence, with `separator` between them if both exist."""
    chain = chain_of_thought.strip()
    return f"{chain}{separator}{closing}" if chain and closing else chain or closing
