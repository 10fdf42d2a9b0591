"""Where the answer stands in a model's text, and what it is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

_STATEMENT = re.compile(r"(?:answer\s+is|####)\s*:?\s*", re.IGNORECASE)
_NUMBER = re.compile(r"[-−]?(?:\\?\$)?(?:\d+(?:(?:,|\{,\})\d{3})*(?:\.\d+)?|\.\d+)(?![\d])")
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
        rest = text[statements[-1].end() :].split("\n")[0]
        number = _NUMBER.search(rest)
        if number and "\\boxed{" not in rest[: number.start()] and not re.match(r"\s*/\s*\d", rest[number.end() :]):
            return Extracted(number.group(), "statement")
    return Extracted(None, "none")


_BOX_OR_BRACE = re.compile(r"\\boxed\{|[{}]")


def last_boxed(text: str) -> str | None:
    """Content of the last `\\boxed{...}` whose braces balance; None when there is none."""
    span = _last_box(text)
    return None if span is None else text[span[0] + len("\\boxed{") : span[1]]


def _last_box(text: str) -> tuple[int, int] | None:
    """Where the last closed box begins and where its closing brace stands, found in one pass."""
    opened: list[tuple[int, bool]] = []
    best = None
    for match in _BOX_OR_BRACE.finditer(text):
        if match.group() != "}":
            opened.append((match.start(), match.group() != "{"))
        elif opened:
            start, is_box = opened.pop()
            if is_box and (best is None or start > best[0]):
                best = (start, match.start())
    return best


def number_of(text: str) -> Decimal | None:
    """The one number in a short answer such as "18", "$1,080.50", "18 dollars" or "\\text{18 eggs}"; None without exactly one."""
    found = _NUMBER.findall(text)
    if len(found) != 1:
        return None
    try:
        return Decimal(re.sub(r"\{,\}|[,$\\]", "", found[0]).replace("−", "-"))
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
    boxed = _last_box(text)
    marks = [boxed[0]] if boxed else [match.start() for match in _STATEMENT.finditer(text)]
    if not marks:
        return text, ""
    starts = [0, *(match.end() for match in _SENTENCE_END.finditer(text, 0, max(marks)))]
    start = max(each for each in starts if each <= max(marks))
    return text[:start], text[start:]


def join_solution(chain_of_thought: str, closing: str, separator: str) -> str:
    """A solution of a (rewritten) chain of thought and the closing sentence, `separator` between them where both exist."""
    chain = chain_of_thought.strip()
    return f"{chain}{separator}{closing}" if chain and closing else chain or closing
