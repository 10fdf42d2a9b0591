"""Where the answer stands in a model's text, and what it is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

_STATEMENT = re.compile(r"(?:answer\s+is|####)\s*:?\s*", re.IGNORECASE)
_NUMBER = re.compile(r"-?\d+(?:(?:,|\{,\})\d{3})*(?:\.\d+)?(?![\d])")
_SENTENCE_END = re.compile(r"(?:[.!?]\s+|\n\s*)")


@dataclass(frozen=True, slots=True)
class Extracted:
    """An answer's text and the rule that found it: "boxed", "statement" or "none"."""

    text: str | None
    rule: str


def extract(text: str) -> Extracted:
    """The final answer under the strict rule: the last closed \\boxed{...}, else what follows the last "answer is" or "####"."""
    boxed = last_boxed(text)
    if boxed is not None:
        return Extracted(boxed, "boxed")
    statements = list(_STATEMENT.finditer(text))
    if statements:
        number = _NUMBER.search(text[statements[-1].end() :].split("\n")[0])
        if number:
            return Extracted(number.group(), "statement")
    return Extracted(None, "none")


def last_boxed(text: str) -> str | None:
    """Content of the last `\\boxed{...}` whose braces balance; None when there is none."""
    start = text.rfind("\\boxed{")
    while start >= 0:
        depth = 0
        for position in range(start + len("\\boxed"), len(text)):
            depth += {"{": 1, "}": -1}.get(text[position], 0)
            if depth == 0:
                return text[start + len("\\boxed{") : position]
        start = text.rfind("\\boxed{", 0, start)
    return None


def number_of(text: str) -> Decimal | None:
    """The one number in a short answer such as "18", "$1,080.50", "18 dollars" or "\\text{18 eggs}"; None without exactly one."""
    found = _NUMBER.findall(text)
    if len(found) != 1:
        return None
    try:
        return Decimal(found[0].replace("{,}", "").replace(",", ""))
    except InvalidOperation:
        return None


def last_number(text: str) -> Decimal | None:
    """The last number anywhere in a text (the lenient rule)."""
    found = _NUMBER.findall(text)
    return number_of(found[-1]) if found else None


def split_solution(text: str) -> tuple[str, str]:
    """(chain of thought with its trailing white space, closing sentence that states the answer); they join to `text`.

    Without a stated answer the closing part is empty.
    """
    marks = [match.start() for match in _STATEMENT.finditer(text)]
    if (boxed := text.rfind("\\boxed{")) >= 0:
        marks.append(boxed)
    if not marks:
        return text, ""
    starts = [0, *(match.end() for match in _SENTENCE_END.finditer(text, 0, max(marks)))]
    start = max(each for each in starts if each <= max(marks))
    return text[:start], text[start:]


def join_solution(chain_of_thought: str, closing: str, separator: str) -> str:
    """A solution of a (rewritten) chain of thought and the closing sentence, `separator` between them where both exist."""
    chain = chain_of_thought.strip()
    return f"{chain}{separator}{closing}" if chain and closing else chain or closing
