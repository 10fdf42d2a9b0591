"""Boxes of LaTeX in a text: where each begins and what it holds."""

from __future__ import annotations

import re
from dataclasses import dataclass

BOX = re.compile(r"\\(?:boxed|fbox)\s*(?:\{|$)")
BARE_BOX = re.compile(r"\\boxed\s+([^\s{}$]+)")
_BOX_OR_BRACE = re.compile(r"\\(?:boxed|fbox)\s*\{|\\[{}]|[{}]")


@dataclass(frozen=True, slots=True)
class Box:
    """A box that closes: where its command begins and where its brace ends."""

    start: int
    end: int
    content: str


def closed_boxes(text: str) -> list[Box]:
    """All boxes whose braces balance, in order, found in one pass; an escaped brace is a character. A box in a box comes after it."""
    opened: list[tuple[int, int, bool]] = []
    found = []
    for match in _BOX_OR_BRACE.finditer(text):
        token = match.group()
        if token in ("\\{", "\\}"):
            continue
        if token != "}":
            opened.append((match.start(), match.end(), token != "{"))
        elif opened:
            start, inside, is_box = opened.pop()
            if is_box:
                found.append((start, inside, match.start()))
    return [Box(start, end + 1, text[inside:end]) for start, inside, end in sorted(found)]


def last_box(text: str) -> Box | None:
    """The last closed box; None without any."""
    found = closed_boxes(text)
    return found[-1] if found else None


def last_boxed(text: str) -> str | None:
    """Content of the last `\\boxed{...}` whose braces balance; None when there is none."""
    box = last_box(text)
    return None if box is None else box.content


def cut_off(text: str) -> int:
    """Where a box begins that never closes, after the last closed one; the text's length without any."""
    box = last_box(text)
    found = BOX.search(text, 0 if box is None else box.start + 1)
    return len(text) if found is None else found.start()


_JOINED = re.compile(
    r"(?:[\s$]|\\[,;! )\]]|\\q?quad)*(?:[,;]|(?:,\s*)?(?<![A-Za-z])(?:and|or)(?![A-Za-z])|\\q?quad|\\text\s*\{\s*,?\s*(?:and|or)\s*\})"
    r"(?:[\s$,]|\\[,;! (\[]|\\q?quad|(?<![A-Za-z])(?:and|or)(?![A-Za-z]))*(?:[A-Za-z]\w*(?:_\{?\w\}?)?(?:\([a-z]\))?\s*=\s*)?[\s$]*"
)
"""What separates two parts of one answer: "and", "or", a comma, perhaps the variable's name."""
MOST_BETWEEN = 80
MOST_BOXES = 40
_BLANK = r"(?:[\s$.…_?,;:!~\[\]<>]|\\[,;:! _]|\\(?:quad|qquad|[lc]?dots)(?![A-Za-z]))*"
_PLACEHOLDER = re.compile(
    rf"{_BLANK}(?:\\(?:text|textbf|mathrm|mathbf)\s*\{{)?{_BLANK}(?:(?:(?:the|your|my|final|correct|numerical|numeric)\s+)*"
    rf"(?:answer|result|value|number|letter|choice|option|here)(?:\s+here)?)?{_BLANK}\}}?{_BLANK}",
    re.IGNORECASE,
)
"""What a box holds that only repeats how to answer: nothing, or "your final answer"."""
_DENIED = re.compile(r"(?:\b(?:not|rather\s+than|instead\s+of)|n['’]t(?:\s+be)?)[\s:$*]*(?:\\[(\[]\s*)?\Z", re.IGNORECASE)


def stated_boxes(text: str) -> list[Box]:
    """The closed boxes that hold something and are in no other box, without those that the text denies ("not \\boxed{18}")."""
    found: list[Box] = []
    for box in closed_boxes(text):
        inside = bool(found) and box.end <= found[-1].end
        empty = _PLACEHOLDER.fullmatch(box.content[:200]) if not inside else None
        if not inside and empty is None and not _DENIED.search(text, max(0, box.start - 30), box.start):
            found.append(box)
    return found


def parts_of_answer(text: str) -> list[Box]:
    """The last box that holds something, and the boxes before it with nothing but "and", "or" or a comma between them; empty without a box.

    A box within another is a part of that.
    """
    found = stated_boxes(text)
    parts = found[-1:]
    for before in reversed(found[:-1]):
        is_near = parts[0].start - before.end <= MOST_BETWEEN and len(parts) < MOST_BOXES
        if not is_near or not _JOINED.fullmatch(text, before.end, parts[0].start):
            break
        parts.insert(0, before)
    return parts
