"""Letters of multiple choice in a text, from the question's own options, at word borders."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_MARKUP = re.compile(r"(?:[\s*_$`\"'“‘>:]|\\(?:text|textbf|mathrm|mathbf)\s*\{|\{|\\\(|\\\[)+")
_PREFIX = re.compile(r"(?:(?:option|choice|letter|either|both|between)\b\s*:?\s*)+", re.IGNORECASE)
_CLOSED = r"(?=\s*(?:[.,:](?!\d)|[\"'”’](?!\w)|[()\];!?*_}$`\\—–]|-\s|$|\n))"
_BORDERS = (r"(?<![\w'’-])(?<!\d[.,:])", r"(?![\w'’-]|[.,:]\d)")
_REASON = r"(?=\s+(?:because|since|as|for|so|and|which|with|due|given)\b)"


class Found(NamedTuple):
    letter: str
    start: int


def stated_letter(text: str, options: Mapping[str, str]) -> str | None:
    """The letter that a box, or the text behind "answer is", states; None when it states none, empty when it names several as equals.

    In this order: a letter at once that nothing but a mark follows; the last letter in parentheses; the option's text; a letter that a
    reason follows; one single letter in the sentence. An article is no letter: "A dog so (B)" is B.
    """
    label = _label(options)
    begin = _skip(text)
    line = text[begin:].split("\n")[0]
    first = re.match(rf"[(\[]?\s*(?:{label})(?![\w'’])", line, re.IGNORECASE)
    if first and _names_several(line[first.end() :], label):
        return ""
    at_once = re.match(rf"[(\[]\s*({label})\s*[)\]]|({label}){_CLOSED}", line, re.IGNORECASE)
    if at_once:
        return _as_option(at_once[1] or at_once[2], options)
    if (inside := last_in_parentheses(line, options)) is not None:
        return inside.letter
    if (alone := letter_of_text(line, options)) is not None:
        return alone
    reason = re.match(rf"({label}){_REASON}", line)
    if reason:
        return _as_option(reason[1], options)
    sentence = re.split(r"[.!?]\s", line, maxsplit=1)[0]
    named = set(re.findall(rf"{_BORDERS[0]}({label}){_BORDERS[1]}", sentence))
    single = {each for each in named if each not in ("A", "I") or _stands_alone(each, sentence)}
    if len(single) == 1:
        return _as_option(single.pop(), options)
    if single:
        return None
    inside = last_in_parentheses(text[begin:], options)
    return inside.letter if inside is not None else None


def last_in_parentheses(text: str, options: Mapping[str, str]) -> Found | None:
    """The last parentheses that hold nothing but an option's letter, and where they begin."""
    last = None
    for match in re.finditer(rf"[(\[]\s*({_label(options)})\s*[)\]]", text, re.IGNORECASE):
        last = match
    return None if last is None else Found(_as_option(last[1], options), last.start())


def letter_of_text(text: str, options: Mapping[str, str]) -> str | None:
    """The one option whose text this is, alone or behind its own letter; None when no option or more than one fits.

    Case counts only where it tells options apart, such as "Ww" and "WW".
    """
    for fold in (str, str.lower):
        said = _plain(fold(text))
        fitting = [
            letter
            for letter, option in options.items()
            if option and said in (_plain(fold(each)) for each in (option, f"{letter} {option}", f"{letter}) {option}"))
        ]
        if len(fitting) == 1:
            return fitting[0]
    return None


def last_letter(text: str, options: Mapping[str, str]) -> str | None:
    """The last letter of an option at word borders, a capital or in parentheses."""
    last = None
    label = _label(options)
    for match in re.finditer(rf"{_BORDERS[0]}({label}){_BORDERS[1]}|\(({label.lower()})\)", text):
        last = match
    return None if last is None else _as_option(last[1] or last[2], options)


def _label(options: Mapping[str, str]) -> str:
    return "|".join(re.escape(each) for each in sorted(options or LETTERS[:5], key=len, reverse=True))


def _as_option(letter: str, options: Mapping[str, str]) -> str:
    return next((each for each in options if each.upper() == letter.upper()), letter.upper())


def _skip(text: str) -> int:
    """Where the statement begins behind white space, markup and a word such as "option"."""
    position = 0
    for pattern in (_MARKUP, _PREFIX, _MARKUP):
        match = pattern.match(text, position)
        position = match.end() if match else position
    return position


def _names_several(rest: str, label: str) -> bool:
    """Whether another letter follows at once, as in "A, B" or "A and C"."""
    return bool(re.match(rf"[)\].*}}\s]*(?:,|and|or|&|/)\s*(?:(?:and|or)\s*)?(?:[(\[]\s*)?(?:{label})(?![\w'’])", rest))


def _stands_alone(letter: str, sentence: str) -> bool:
    """Whether "A" or "I" is no article or pronoun: a mark or the end follows it."""
    return bool(re.search(rf"(?<![\w'’-]){letter}{_CLOSED}", sentence))


def _plain(text: str) -> str:
    """A text for comparing: single spaces, no marks at its ends."""
    return " ".join(text.split()).strip(" .,:;!?*_\"'$()[]{}")
