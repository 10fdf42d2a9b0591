"""Boxes of LaTeX in a text: their positions and contents."""

from __future__ import annotations

import re
from dataclasses import dataclass

BOX = re.compile(r"\\(?:boxed|fbox)\s*(?:\{|$)")
BARE_BOX = re.compile(r"\\boxed\s+([^\s{}$]+)")
_BOX_OR_BRACE = re.compile(r"\\(?:boxed|fbox)\s*\{|\\[{}]|[{}]")


@dataclass(frozen=True, slots=True)
class Box:
    """A closed box: the start of its command and the end of its brace, as positions in the text."""

    start: int
    end: int
    content: str


def closed_boxes(text: str) -> list[Box]:
    """All boxes with balanced braces, in order of their starts. An escaped brace is a character."""
    opened: list[tuple[int, int, bool]] = []
    boxes = []
    for match in _BOX_OR_BRACE.finditer(text):
        token = match.group()
        if token in ("\\{", "\\}"):
            continue
        if token != "}":
            opened.append((match.start(), match.end(), token != "{"))
        elif opened:
            start, inside, is_box = opened.pop()
            if is_box:
                boxes.append((start, inside, match.start()))
    return [Box(start, end + 1, text[inside:end]) for start, inside, end in sorted(boxes)]


def last_box(text: str) -> Box | None:
    """The last closed box; None if there is none."""
    boxes = closed_boxes(text)
    return boxes[-1] if boxes else None


def last_boxed(text: str) -> str | None:
    """Content of the last `\\boxed{...}` whose braces balance; None when there is none."""
    box = last_box(text)
    return None if box is None else box.content


def cut_off(text: str) -> int:
    """Start of the first unclosed box after the last closed one; the text's length if there is none."""
    box = last_box(text)
    match = BOX.search(text, 0 if box is None else box.start + 1)
    return len(text) if match is None else match.start()


_JOINED = re.compile(
    r"(?:[\s$]|\\[,;! )\]]|\\q?quad)*(?:[,;]|(?:,\s*)?(?<![A-Za-z])(?:and|or)(?![A-Za-z])|\\q?quad|\\text\s*\{\s*,?\s*(?:and|or)\s*\})"
    r"(?:[\s$,]|\\[,;! (\[]|\\q?quad|(?<![A-Za-z])(?:and|or)(?![A-Za-z]))*(?:[A-Za-z]\w*(?:_\{?\w\}?)?(?:\([a-z]\))?\s*=\s*)?[\s$]*"
)
"""Separators of two parts of one answer: "and", "or", a comma, and the variable's name if there is one."""
MOST_BETWEEN = 80
MOST_BOXES = 40
_BLANK = r"(?:[\s$.…_?,;:!~\[\]<>]|\\[,;:! _]|\\(?:quad|qquad|[lc]?dots)(?![A-Za-z]))*"
_PLACEHOLDER = re.compile(
    rf"{_BLANK}(?:\\(?:text|textbf|mathrm|mathbf)\s*\{{)?{_BLANK}(?:(?:(?:the|your|my|final|correct|numerical|numeric)\s+)*"
    rf"(?:answer|result|value|number|letter|choice|option|here)(?:\s+here)?)?{_BLANK}\}}?{_BLANK}",
    re.IGNORECASE,
)
"""Contents of a box that only repeats the instruction: nothing, or "your final answer"."""
_DENIED = re.compile(r"(?:\b(?:not|rather\s+than|instead\s+of)|n['’]t(?:\s+be)?)[\s:$*]*(?:\\[(\[]\s*)?\Z", re.IGNORECASE)


def stated_boxes(text: str) -> list[Box]:
    """The closed boxes with content, without boxes inside others and those that the text denies ("not \\boxed{18}")."""
    boxes: list[Box] = []
    for box in closed_boxes(text):
        inside = bool(boxes) and box.end <= boxes[-1].end
        empty = _PLACEHOLDER.fullmatch(box.content[:200]) if not inside else None
        if not inside and empty is None and not _DENIED.search(text, max(0, box.start - 30), box.start):
            boxes.append(box)
    return boxes


def parts_of_answer(text: str) -> list[Box]:
    """The last box with content, and the boxes before it if only "and", "or" or a comma is between them; empty if there is no box."""
    boxes = stated_boxes(text)
    parts = boxes[-1:]
    for before in reversed(boxes[:-1]):
        is_near = parts[0].start - before.end <= MOST_BETWEEN and len(parts) < MOST_BOXES
        if not is_near or not _JOINED.fullmatch(text, before.end, parts[0].start):
            break
        parts.insert(0, before)
    return parts
