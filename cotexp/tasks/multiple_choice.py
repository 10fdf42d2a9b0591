"""Letters of multiple choice in a text: letters of the question's options at word boundaries."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from cotexp.tasks.option_texts import letter_of_text
from cotexp.tasks.options import LETTERS
from cotexp.tasks.readings import one_reading
from cotexp.tasks.statement import first_line, first_sentence

SEVERAL = ""
"""The result for a statement of several letters or a formula: no answer, and no earlier statement counts."""
_FONTS = r"\\(?:text|textbf|textit|texttt|textrm|mathrm|mathbf|mathit|mathsf|mathtt)\s*\{"
_MARKUP = re.compile(rf"(?:[\s*_$`\"'“‘>:]|{_FONTS}|\{{|\\\(|\\\[)+")
_PREFIX = re.compile(
    r"(?:(?:option|choice|letter|answer|either|both|between|clearly|therefore|thus|definitely|probably|likely|most|simply|just|indeed)\b\s*[:,]?\s*)+",
    re.IGNORECASE,
)
_CLOSED = r"(?=\s*(?:[.,:](?!\d|[A-Z]\b)|[\"'”’](?!\w)|[()\];!?*}$`—–]|_(?![\w{])|\\(?![A-Za-z])|-\s|$|\n))"
_BORDERS = (r"(?<![\w'’\\-])(?<!\d[.,:])", r"(?![\w'’-]|[.,:]\d)")
_REASON_WORD = r"because|since|as|for|given|due|although|though|while|whereas|if|when|where"
_REASON = re.compile(rf"[\s,;:(]*\b(?:{_REASON_WORD})\b|,\s*(?:who|whose)\b", re.IGNORECASE)
_DENIAL = re.compile(
    r"[\s,;(]*\b(?:(?:and|but)\s+)?(?:not|rather\s+than|instead\s+of|as\s+opposed\s+to|over|unlike|never|except|neither|nor|(?:ca|is|wo|do|does)n['’]t"
    r"|cannot|than|(?:anything|everything|all)\s+(?:but|except)|far\s+from|other\s+than|rul(?:e|es|ed|ing)\s+out|eliminat(?:e|es|ed|ing)|exclud(?:e|es|ed|ing)|without)\b",
    re.IGNORECASE,
)
_CONCLUSION = re.compile(
    r"[\s,;]*\b(?:so|thus|hence|therefore|i\.e\.?|namely|which\s+is|that\s+is|it\s+(?:is|must\s+be)|it['’]s|making\s+it)(?=[\s,:])|=>|→",
    re.IGNORECASE,
)
_BUT = re.compile(r"[\s,;]*\b(?:but|or\s+(?:maybe|possibly|perhaps))\b", re.IGNORECASE)
_LINK = re.compile(
    f"(?P<reason>{_REASON.pattern})|(?P<denial>{_DENIAL.pattern})|(?P<conclusion>{_CONCLUSION.pattern})|(?P<but>{_BUT.pattern})", re.IGNORECASE
)
_LEAVES = r"\b(?:leaves|leaving|leave|left\s+with)\s+(?:us\s+with\s+|only\s+|just\s+|option\s+|with\s+|the\s+)*"
_REFUSED_AFTER = re.compile(
    r"\s*(?:[\w\s]{0,20}\b)?(?:is|are|was|seems|looks)\s+(?:\w+\s+)?(?:not|wrong|incorrect|false|out|too|unlikely|impossible|eliminated|excluded|implausible|no)\b"
    r"|[\w\s]{0,40}(?::|\s[-–—])\s*(?:no|wrong|incorrect|false|not)\b"
    r"|\s*(?:[\w\s]{0,20}\b)?(?:cannot|can't|can’t|isn't|isn’t|doesn't|doesn’t)\b",
    re.IGNORECASE,
)
_FORMULA = re.compile(r"\\(?!text|mathrm|mathbf|mathit|mathsf|mathtt|quad|[,;! ])[A-Za-z]+|[=+^<>]|(?<=\w)_(?=[\w{])|(?<![\w'’‘])[A-Z]['’](?!\w)")


MOST_MENTIONS = 40
"""Most letters in parentheses that are considered, from the end of the text."""


class ParenthesizedLetter(NamedTuple):
    """A letter of an option in parentheses, and its place in the text."""

    letter: str
    start: int


class _Clause(NamedTuple):
    link: str
    text: str


# --- a statement ---------------------------------------------------------------------------------------------------------


def stated_letter(text: str, options: Mapping[str, str]) -> str | None:
    """The letter in the statement after "answer is"; None if it states none, empty if it names several as equals.

    In this order: a letter at the start that only punctuation follows; the letter of a conclusion; letters in parentheses before any denial or
    reason; the option's text; a single letter. An article is not a letter: "A dog so (B)" is B.
    """
    line = first_line(text)[:1000]
    line = line[_skip(line) :]
    label = _label(options)
    if _depends(first_sentence(line), label):
        return SEVERAL
    first = re.match(rf"[(\[]?\s*(?:{label})(?![\w'’])", line, re.IGNORECASE)
    several = bool(first) and _names_several(line[first.end() :], label) if first else False
    if not several:
        at_once = re.match(rf"[(\[]\s*({label})\s*[)\]]|({label}){_CLOSED}", line, re.IGNORECASE)
        if at_once:
            letter = _as_option(at_once[1] or at_once[2], options)
            return SEVERAL if _is_taken_back(line[at_once.end() :], letter, options) else letter
    left = _left_over(line, options)
    if several or left is not None:
        return left if left is not None else SEVERAL
    if (equation := re.match(rf"({label})\s*=\s*(.+)", first_sentence(line))) and letter_of_text(equation[2], options) == _as_option(
        equation[1], options
    ):
        return _as_option(equation[1], options)
    if (whole := letter_of_text(first_line(text), options) or letter_of_text(line, options)) is not None:
        return whole
    sentence = first_sentence(line)
    if "=" in sentence and one_reading(sentence).value is not None:
        sides = {letter_of_text(side, options) for side in sentence.split("=")} - {None}
        if sides:
            return sides.pop() if len(sides) == 1 else SEVERAL
    return _clausewise(sentence, options)


_CONDITION = re.compile(r"\bif\b.*\b(?:otherwise|else)\b", re.IGNORECASE)


def _depends(sentence: str, label: str) -> bool:
    """Whether a sentence gives one option under a condition and another otherwise."""
    return bool(_CONDITION.search(sentence) or re.search(rf"\b(?:{label})[)\]]?\s+if\b[^,;]*[,;]\s*(?:and\s+)?[(\[]?(?:{label})\b", sentence))


def _left_over(line: str, options: Mapping[str, str]) -> str | None:
    letters = re.findall(rf"{_LEAVES}[(\[]?\s*({_label(options)})(?![\w'’])", line)
    return _as_option(letters[-1], options) if letters else None


def _is_taken_back(rest: str, letter: str, options: Mapping[str, str]) -> bool:
    """Whether another letter is offered after the first: "probably (A), but maybe (C)"."""
    sentence = re.split(r"[.!?]\s|\n", rest, maxsplit=1)[0]
    offers = [clause.text for clause in _clauses(sentence)[1:] if clause.link == "but"]
    return any(_names(offer, options) - {letter} and not _DENIAL.search(offer) and not _REFUSED_AFTER.search(offer) for offer in offers)


def _clauses(sentence: str) -> list[_Clause]:
    """A sentence split before every reason, denial, conclusion and "but"; clauses do not include that word."""
    clauses, link, start = [], "first", 0
    for match in _LINK.finditer(sentence):
        clauses.append(_Clause(link, sentence[start : match.start()]))
        link, start = str(match.lastgroup), match.end()
    return [*clauses, _Clause(link, sentence[start:])]


def _clausewise(sentence: str, options: Mapping[str, str]) -> str | None:
    state: str | None = None
    is_text = False
    for clause in _clauses(sentence):
        if clause.link == "reason":
            break
        if clause.link == "denial":
            continue
        letters = _names(clause.text, options)
        text = clause.text.strip(" ,;")
        new: str | None = SEVERAL if len(letters) > 1 else letters.pop() if letters else None
        if new is None and (state is None or clause.link == "conclusion"):
            new = letter_of_text(text[_skip(text) :], options)
            if new and state and new != state:
                return SEVERAL
            is_text = True
        elif new is not None and state and new != state and not (clause.link == "conclusion" and is_text):
            return SEVERAL
        if new is not None:
            is_text = is_text and not letters
            state = new
    return state


def _names(text: str, options: Mapping[str, str]) -> set[str]:
    """The letters in a clause: those in parentheses if there are any, otherwise single letters at word boundaries."""
    label = _label(options)
    inside = {_as_option(letter, options) for letter in re.findall(rf"[(\[]\s*({label})\s*[)\]]", text, re.IGNORECASE)}
    if inside:
        return inside
    text = text[_skip(text) :] if text.strip() else text
    if _FORMULA.search(text):
        return set()
    named = set(re.findall(rf"{_BORDERS[0]}({label}){_BORDERS[1]}", text))
    # before punctuation or the end, "A" and "I" are not an article and a pronoun
    return {_as_option(letter, options) for letter in named if letter not in ("A", "I") or re.search(rf"(?<![\w'’-]){letter}{_CLOSED}", text)}


def boxed_letter(content: str, options: Mapping[str, str]) -> str | None:
    """The letter in a box; empty for a formula such as "C = 5"."""
    whole = letter_of_text(content, options)
    if whole is not None:
        return whole
    bare = re.sub(_FONTS + r"([^{}]*)\}", r"\1", content)
    return SEVERAL if _FORMULA.search(bare) else stated_letter(bare, options)


def heading_letter(line: str, options: Mapping[str, str], *, goes_on: bool) -> str | None:
    """The letter on a line after "####"; a title such as "B. shelf" or "Option B" above more text states nothing."""
    bare = line.strip().strip("*_ ")
    if not goes_on:
        return stated_letter(line, options)
    match = re.fullmatch(rf"[(\[]?\s*({_label(options)})\s*[)\]]?\.?", bare, re.IGNORECASE)
    return _as_option(match[1], options) if match else None


# --- parentheses ---------------------------------------------------------------------------------------------------------


def said_in_parentheses(text: str, options: Mapping[str, str]) -> ParenthesizedLetter | None:
    """The single option in the last sentence with letters in parentheses, not counting those that it rules out; None if there are several."""
    label = _label(options)
    mentions = list(re.finditer(rf"[(\[]\s*({label})\s*[)\]]", text, re.IGNORECASE))[-MOST_MENTIONS:]
    while mentions:
        begin, end = _sentence_around(text, mentions[-1].start())
        in_sentence = [mention for mention in mentions if mention.start() >= begin]
        mentions = mentions[: len(mentions) - len(in_sentence)]
        if text[end : end + 1] == "?":
            continue
        kept = [mention for mention in in_sentence if not _is_refused(text, begin, end, mention)]
        letters = {_as_option(mention[1], options) for mention in kept}
        corrected = len(kept) > 1 and re.search(
            r"\b(?:rather|no,|wait|actually|instead)\b[\s,]*(?!than)", text[kept[-2].end() : kept[-1].start()], re.IGNORECASE
        )
        if len(letters) == 1 or corrected:
            return ParenthesizedLetter(_as_option(kept[-1][1], options), kept[-1].start())
        if letters:
            return None
    return None


def _sentence_around(text: str, at: int) -> tuple[int, int]:
    begin = max(text.rfind("\n", 0, at), *(text.rfind(mark, 0, at) for mark in (". ", "! ", "? "))) + 1
    ends = [end for end in (text.find(mark, at) for mark in ("\n", ". ", "! ", "? ")) if end >= 0]
    return begin, min(ends, default=len(text))


def _is_refused(text: str, begin: int, end: int, mention: re.Match[str]) -> bool:
    before = text[max(begin, mention.start() - 300) : mention.start()]
    links = [clause for clause in _clauses(before) if clause.link != "first"]
    if links and (links[-1].link == "denial" or any(link.link == "reason" for link in links)):
        return True
    return bool(_REFUSED_AFTER.match(text[mention.end() : min(end, mention.end() + 60)]))


# --- letters anywhere ----------------------------------------------------------------------------------------------------


def last_letter(text: str, options: Mapping[str, str]) -> str | None:
    """The last letter of an option at word boundaries: a capital, or in parentheses."""
    last = None
    label = _label(options)
    for match in re.finditer(rf"{_BORDERS[0]}({label}){_BORDERS[1]}|\(({label.lower()})\)", text):
        last = match
    return None if last is None else _as_option(last[1] or last[2], options)


def _label(options: Mapping[str, str]) -> str:
    return "|".join(re.escape(label) for label in sorted(options or LETTERS[:5], key=len, reverse=True))


def _as_option(letter: str, options: Mapping[str, str]) -> str:
    return next((label for label in options if label.upper() == letter.upper()), letter.upper())


def _skip(text: str) -> int:
    """The start of a statement after white space, markup and a word such as "option"."""
    position = 0
    for pattern in (_MARKUP, _PREFIX, _MARKUP):
        match = pattern.match(text, position)
        position = match.end() if match else position
    return position


def _names_several(rest: str, label: str) -> bool:
    """Whether another letter follows directly, as in "A, B" or "A and C"."""
    return bool(re.match(rf"[)\].*}}\s]*(?:,|and|or|&|/)\s*(?:(?:and|or)\s*)?(?:[(\[]\s*)?(?:{label})(?![\w'’])|\)\s*\((?:{label})\)", rest))
