"""Finds the statement of the answer in a text: the text after "answer is" or "####", in the part that answers this question.

Thinking before that part and a new question or turn after it do not belong to the answer. A Markdown heading states nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from cotexp.methods.reasoning import answer_begin
from cotexp.tasks.booleans import correction, plainly_stated
from cotexp.tasks.boxes import BOX, closed_boxes, cut_off


class Mark(NamedTuple):
    """A statement: the start of its mark, and the text after it up to the next mark. `is_heading`: its mark is "####", and `goes_on`:
    more text follows below its line. `is_remark`: "this answer is ...".
    """

    start: int
    piece: str
    is_heading: bool = False
    goes_on: bool = False
    is_remark: bool = False


class Extracted(NamedTuple):
    """An answer in the form that is compared, the rule that found it, and the start of its mark in the text (the text's length if there is none).

    Rules: "boxed", "statement", "parentheses", "text" (the text is an option or yes/no, nothing else), "last" (lenient only) or "none".
    """

    text: str | None
    rule: str
    start: int


class Span(NamedTuple):
    begin: int
    end: int


_STATEMENT = re.compile(r"answer\s+is(?![A-Za-z])\s*:?[ \t]*|#{4,6}(?!#)[ \t]*:?[ \t]*", re.IGNORECASE)
# --- the part that answers ----------------------------------------------------------------------------------------------

_END_OF_TURN = (
    r"<\|(?:im_end|eot_id|endoftext|end_of_text|end|return|eom_id|call|END_OF_TURN_TOKEN)\|>|<｜end▁of▁sentence｜>|</s>|<eos>|<end_of_turn>|\[/INST\]"
)
_USER_TURN = (
    r"<\|im_start\|>\s*user|<\|start_header_id\|>\s*user|<\|user\|>|<start_of_turn>\s*user|\[INST\]|<｜User｜>|<\|USER_TOKEN\|>|<\|start\|>\s*user"
    r"|^[ \t>*_#]*(?:(?:user|human)[*_ \t]*:|instruction[*_ \t]*:)"
)
_QUESTION = r"^[ \t>*_#]*(?:(?:next |new |another )?question|q)[*_ \t]*:"
_MAYBE_QUESTION = (
    r"^[ \t>*_#]*(?:(?:next |new |another )?(?:question|problem|exercise|example)|q)[ \t]*(?:\d+|#\d+)?[*_ \t]*(?:[:.]|(?<=\d)[ \t]*$)"
    r"|^[^\n]{0,20}\b(?:here(?:'s|’s| is)|now|next is|let's try)\s+(?:a|an|another|the next)\s+(?:\w+\s+){0,2}(?:question|problem|example)\b"
)
_RUN_ON = re.compile(rf"(?P<turn>{_END_OF_TURN}|{_USER_TURN})|(?P<question>{_QUESTION})|(?P<maybe>{_MAYBE_QUESTION})", re.IGNORECASE | re.MULTILINE)
_TOKENS_ONLY = re.compile(r"(?:\s|<[|｜][^<>|｜]{0,60}[|｜]>|</?s>|<bos>|assistant|model)*", re.IGNORECASE)
_OPENING_LINE = re.compile(r"[^\d\n]{0,80}[:!.,]?\s*")
"""A line such as "Sure, here is the solution:". A question after it is only a repetition."""


def answer_part(text: str) -> Span:
    """The part of a text that answers: after the thinking, before a new question or turn, and before a box that was cut off."""
    begin = answer_begin(text)
    end = _run_on(text, begin)
    return Span(begin, min(end, begin + cut_off(text[begin:end])))


def _run_on(text: str, begin: int) -> int:
    """The start of another question or turn; the text's length if there is none. A question at the start of the text repeats this one."""
    stated: int | None = None
    blank = begin
    for match in _RUN_ON.finditer(text, begin):
        start = match.start()
        if _TOKENS_ONLY.fullmatch(text, blank, start):
            blank = start
            continue
        if match["turn"] is not None:
            return start
        if stated is None:
            stated = _first_statement(text, begin)
        if stated < start or (match["question"] is not None and not _OPENING_LINE.fullmatch(text, begin, start)):
            return start
    return len(text)


def _first_statement(text: str, begin: int) -> int:
    starts = [match.start() for pattern in (_STATEMENT, BOX) if (match := pattern.search(text, begin))]
    return min(starts, default=len(text))


# --- statements ----------------------------------------------------------------------------------------------------------

_DOUBTED = re.compile(
    r"\b(?:(?:if|whether|suppose|supposing|assume|assuming|unless|wrong|incorrect|tempting|naive|erroneous|previous|earlier|initial|mistake\s+(?:is|would\s+be)\s+to\s+(?:say|think|conclude))"
    r"|(?:(?<!i )(?:might|may|could|would)|people|students|many|some|others|one)\s+(?:\w+\s+)?(?:think|say|believe|guess|claim|conclude|argue))"
    r"\s+(?:that\s+)?(?:(?:the|my|your|our|an?)\s+)?(?:\w+\s+)?\Z",
    re.IGNORECASE,
)
"""Words with which "the answer is 18" is not a statement: "if the answer is 18", "a wrong answer is 18"."""
MOST_BEFORE = 60
MOST_AFTER = 4000
"""Most characters of a statement that are read."""
_TITLE = re.compile(
    r"[\s*_]*(?:(?:the|my|our|so|thus|hence|therefore)[\s,]+)*(?:final\s+)?(?:answer|result)[\s*_]*(?:[:=]|is)?[\s*_:]*", re.IGNORECASE
)
_NUMBERED = re.compile(r"[\s*_]*\d{1,2}\s*[.):]\s*[*_]*(?=[A-Za-z])")


def marks(text: str) -> Iterator[Mark]:
    """The statements of a text, the last one first."""
    matches = list(_STATEMENT.finditer(_STRUCK.sub(lambda struck: " " * len(struck.group()), text)))
    end = len(text)
    for match in reversed(matches):
        piece, is_heading = text[match.end() : min(end, match.end() + MOST_AFTER)], match.group().startswith("#")
        end = match.start()
        if is_heading:
            line, _, following = piece.partition("\n")
            if (heading := _heading(line, following)) is not None:
                yield Mark(match.start(), heading, is_heading=True, goes_on=bool(following.strip()) and heading == line)
        elif not _DOUBTED.search(text, max(0, match.start() - MOST_BEFORE), match.start()):
            is_remark = text[max(0, match.start() - 5) : match.start()].lower() == "this "
            yield Mark(match.start(), piece, is_remark=is_remark)


def _heading(line: str, following: str) -> str | None:
    """The statement in a line after "####"; None for a title such as "2. Check". After "Final answer" it is the line below."""
    title = _TITLE.match(line)
    if title is not None:
        rest = line[title.end() :]
        return rest if rest.strip(" *_#") else following.lstrip().split("\n")[0]
    return None if _NUMBERED.match(line) else line


_TURNED = re.compile(
    r"(?:[.!,;(—–]|\.{2,}|…|\?|^|-\s)[\s*_]{0,8}(?:(?:oh|but)[,\s])?(?:no[,.!]?\s+)?(?P<turn>"
    r"wait|hmm+|oops|actually|hold on|scratch that|sorry|correction"
    r"|(?:that|this)(?:['’]s|\s+is)\s+(?:wrong|incorrect|not\s+(?:right|correct))|i\s+made\s+(?:a|an)\s+(?:\w+\s+)?(?:mistake|error))\b"
    r"|(?:(?:\.{2,}|…|[?,(—–])\s*|[.!]\s+(?=no,\s+[$(]?\d))(?P<no>no)\s*[,.!]?\s+(?!doubt|no\b)(?=[\w$(]+[.)]?\s*(?:$|[.)]))",
    re.IGNORECASE | re.MULTILINE,
)
_ADMITTED = re.compile(
    r"\b(?:wrong|incorrect|mistake|error|not\s+(?:right|correct)|should\s+(?:be|have\s+been)|better|no)\b|\A[:,]?\s*[$(]?(?:[\d.,]+|[A-Za-z])[).]"
    r"|\A\W*(?:actually\W+)?it(?:['’]s|\s+is)\s+[$(]?\d",
    re.IGNORECASE,
)
_UPHELD = re.compile(
    r"\b(?:no\s+(?:mistake|error|doubt|problem)s?|(?:not|n['’]t)\s+(?:wrong|incorrect|a\s+mistake)|nothing\s+wrong)\b", re.IGNORECASE
)
MOST_TURNED = 80


def is_taken_back(text: str, begin: int) -> bool:
    """Whether the text after a statement corrects itself and gives no new one: "wait, that is wrong", "(correction: 18)", "no. Actually, yes"."""
    for match in _TURNED.finditer(text, begin):
        if match["no"] is not None:
            return True
        following = text[match.end() : match.end() + MOST_TURNED]
        turn = match["turn"].lower()
        plain = turn.startswith(("that", "this", "i ", "scratch", "correction", "oops"))
        if (plain or _ADMITTED.search(following)) and not _UPHELD.search(following):
            return True
        if (word := correction(following)) and _states_other(text[begin : min(match.start(), begin + MOST_AFTER)], word, match.group()):
            return True
    return False


def _states_other(statement: str, word: str, turn: str) -> bool:
    """Whether a statement with what follows up to the turn says yes or no, and not this `word`. "The answer is no. Is it wet? Actually, yes" does not
    correct itself: the word answers the question between.
    """
    if BOX.match(statement):
        said = next((box.content for box in closed_boxes(statement)), "")
    else:
        mark = _STATEMENT.match(statement)
        said = first_sentence(statement[mark.end() :]) if mark else ""
    answers_another = turn.startswith("?") and _SENTENCE_END.search(statement)
    return not answers_another and plainly_stated(said) not in (None, "", word)


_STRUCK = re.compile(r"~~[^~\n]{1,300}~~")
_OPENING = re.compile(r"(?:[\s*_~]|(?<=\n)>|\\\[|\\\(|\$\$|\\begin\s*\{[a-z]+\*?\})+")
_SENTENCE_END = re.compile(r"[.!?][\"')*\]]*\s+|\n\s*")
_ABBREVIATED = re.compile(r"\b(?:approx|ca|rs|nos?|st|vs|i\.e|e\.g|doz|eq|sq|ft|in|lbs?|oz|hrs?|mins?|secs?|u\.s|a\.m|p\.m|[A-Z])\.\Z", re.IGNORECASE)
_TITLED = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|St|i\.e|e\.g|Rs|approx)\.\Z")
"""Their full stop ends no sentence before a small letter, a digit or a currency sign; that of a title never does."""


def first_line(piece: str) -> str:
    """The first line of a text with more than layout marks."""
    opening = _OPENING.match(piece)
    return piece[opening.end() if opening else 0 :].split("\n")[0]


def first_sentence(piece: str) -> str:
    """The first sentence of a text's first line. The full stop of an abbreviation does not end it."""
    line = first_line(piece)
    for end in _SENTENCE_END.finditer(line):
        following = line[end.end() : end.end() + 1]
        goes_on = following.islower() or following.isdecimal() or following in ("$", "(", "£", "€", "=")
        short = line[max(0, end.start() - 8) : end.start() + 1]
        if not _TITLED.search(short) and not (goes_on and _ABBREVIATED.search(short)) and following != "=":
            return line[: end.start()]
    return re.sub(r"[.!?]+([\"')*\]$]*)\s*\Z", r"\1", line)


def sentence_starts(text: str, begin: int, end: int) -> list[int]:
    """The starts of sentences between two places, including the first place."""
    return [begin, *(match.end() for match in _SENTENCE_END.finditer(text, begin, end))]
