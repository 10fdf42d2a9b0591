"""Which boxes of a text are the parts of its one answer."""

from __future__ import annotations

import re

from cotexp.tasks.statement import Box, boxes

_JOINED = re.compile(
    r"(?:[\s$]|\\[,;! )\]]|\\q?quad)*(?:[,;]|(?:,\s*)?(?<![A-Za-z])(?:and|or)(?![A-Za-z])|\\text\s*\{\s*,?\s*(?:and|or)\s*\})"
    r"(?:[\s$]|\\[,;! (\[]|\\q?quad)*(?:[A-Za-z]\w*(?:\([a-z]\))?\s*=\s*)?"
)
"""What stands between two parts of one answer: "and", "or", a comma, perhaps the variable's name."""


_PLACEHOLDER = re.compile(r"\s*(?:\\text\s*\{)?\s*(?:(?:your |the |final )*answer|\.\.\.|\\l?dots)?\s*\}?\s*", re.IGNORECASE)
"""What a box holds that only repeats how to answer: nothing, or "your final answer"."""


def parts_of_answer(text: str) -> list[Box]:
    """The last box that holds something, and the boxes before it with nothing but "and", "or" or a comma between them; empty without a box.

    A box within another is a part of that.
    """
    found = [each for each in boxes(text) if not _PLACEHOLDER.fullmatch(each.content)]
    found = [each for each in found if not any(other.start < each.start and each.end <= other.end for other in found[-40:])]
    parts = found[-1:]
    for before in reversed(found[:-1]):
        if not _JOINED.fullmatch(text, before.end, parts[0].start):
            break
        parts.insert(0, before)
    return parts
