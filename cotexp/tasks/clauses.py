"""The clauses of a statement, split at words and signs that conclude, give a reason, deny or continue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cotexp.tasks.sentence_items import Item, Quantity, Sign, Stop, Word
from cotexp.tasks.word_lists import BECAUSE, EQUALS, NOT, SO


class Clause(NamedTuple):
    """`link`: its relation to the clause before it."""

    link: str
    row: list[Item]


def clauses_of(row: Sequence[Item]) -> list[Clause]:
    """The clauses, split at separators and at words that conclude, give a reason or deny. Asides in parentheses are left out."""
    row = _without_asides(row)
    clauses = [Clause("first", [])]
    at = 0
    while at < len(row):
        link, width = _link(row, at, clauses[-1].row)
        if link is None:
            clauses[-1].row.append(row[at])
            at += 1
            continue
        at += width
        if clauses[-1].row or link not in ("comma", "dot") or len(clauses) == 1:
            if not clauses[-1].row and clauses[-1].link in ("comma", "dot", "or") and len(clauses) > 1:
                link = "or" if clauses[-1].link == "or" and link == "comma" else link
                clauses.pop()
            clauses.append(Clause(link, []))
    return [clause for n, clause in enumerate(clauses) if clause.row or n == 0 or clause.link == "not"]


def _link(row: Sequence[Item], at: int, clause: Sequence[Item]) -> tuple[str | None, int]:
    """The relation of a new clause that begins at `at` to the one before, and the number of items that express it; None inside a clause."""
    item = row[at]
    if isinstance(item, Sign):
        if item.kind == "separator":
            return ("comma" if item.text in ",&" else "dot"), 1
        if item.kind == "arrow":
            return "so", 1
        is_dash = item.kind == "operator" and item.text in "–—"
        if is_dash and (item.text == "—" or (item.spaced and clause and (at + 1 == len(row) or isinstance(row[at + 1], Word)))):
            return "comma", 1
        if item.kind == "colon" and not item.spaced and clause and isinstance(clause[-1], Quantity | Word) and _explains(row, at):
            return "because", 1
        if (
            item.kind == "colon"
            and at + 1 < len(row)
            and not isinstance(row[at + 1], Quantity)
            and any(isinstance(item, Quantity) for item in clause)
        ):
            return "comma", 1
        return None, 0
    if not isinstance(item, Word):
        return None, 0
    return _word_link(row, at, clause)


def _explains(row: Sequence[Item], at: int) -> bool:
    """Whether a colon separates a number from a text that explains it: "18: 9 eggs at $2 each", but not "18:30"."""
    numbers = [n for n, item in enumerate(row) if isinstance(item, Quantity | Stop)]
    words = [item for item in row[at + 1 :] if isinstance(item, Word)]
    has_sum = any(isinstance(item, Sign) and item.kind == "operator" and item.text in "×*+÷" for item in row[at + 1 :])
    return bool(numbers) and numbers[0] < at and (len(words) > 2 or has_sum)


def _word_link(row: Sequence[Item], at: int, clause: Sequence[Item]) -> tuple[str | None, int]:
    words = [item.text.lower() if isinstance(item, Word) else "" for item in row[at : at + 4]] + ["", "", "", ""]
    word = words[0]
    has_quantity = any(isinstance(item, Quantity | Stop) for item in row[:at])
    if word in ("i.e", "ie", "i.e.") or (word == "i" and words[1] == "e"):
        return "which", 1
    if word in ("which", "that") and words[1] in EQUALS and has_quantity:
        return "which", 3 if words[2] in ("to",) else 2
    if word == "namely" or (word == "or" and words[1] in ("equivalently", "simply", "rather")):
        return "which", 1 + (word == "or")
    if word == "rather" and words[1] == "than":
        return "not", 2
    if word in ("instead", "opposed") or (word == "as" and words[1] == "opposed"):
        return "not", 1
    if word in NOT or (word == "no" and words[1] in ("longer", "more")):
        return "not", 1
    if word == "but":
        return "but", 2 if words[1] in ("rather", "instead", "actually") else 1
    if word in SO and (has_quantity or not clause or word not in ("so", "thus", "therefore", "hence")):
        return "so", 1
    if word == "for" and words[1:4] == ["a", "total", "of"]:
        return "so", 4
    if word in BECAUSE and (clause or word in ("because", "since")) and not (word in ("given", "as") and words[1] in ("by", "follows")):
        return "because", 1
    if word == "or":
        return "or", 1
    return None, 0


def _without_asides(row: Sequence[Item]) -> list[Item]:
    """The items without parentheses after a quantity or a longer word: "Tom (age 12) pays $18", "18 (9 * 2)"."""
    kept: list[Item] = []
    depth = 0
    for item in row:
        if isinstance(item, Sign) and item.kind in ("open", "close"):
            if item.kind == "open":
                previous = kept[-1] if kept else None
                aside = isinstance(previous, Quantity) or (isinstance(previous, Word) and len(previous.text) > 1)
                if depth or aside:
                    depth += 1
                    continue
            elif depth:
                depth -= 1
                continue
        if not depth:
            kept.append(item)
    return kept
