"""The number that a statement gives, read clause by clause; or the fact that it gives none, or several.

A statement is a clause and the clauses that follow it: "60% of 30, or 18", "5 times 3, which is 15", "not 18 but 20", "18, since 9 * 2 = 18".
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from cotexp.tasks.clauses import Clause, clauses_of
from cotexp.tasks.equations import Side, equation, with_operators
from cotexp.tasks.quantities import items
from cotexp.tasks.sentence_items import Item, Quantity, Sign, Stop, Word
from cotexp.tasks.text_tokens import MOST_CHARACTERS, Token, tokens, without_formatting
from cotexp.tasks.word_lists import AFTER_OR, FILLERS, NOT, REMARKS, SUBJECTS, VERBS


class Reading(NamedTuple):
    """The result of reading a text: a number, in plain characters and as a value, or none.

    `is_silent`: the text states nothing (a remark, a negation), so an earlier statement counts. `denied`: the value of "not 18".
    """

    text: str | None = None
    value: Fraction | None = None
    is_silent: bool = False
    denied: Fraction | None = None


SILENT = Reading(is_silent=True)
UNREADABLE = Reading()


def one_reading(piece: str) -> Reading:
    """The number in a whole box, gold answer or `####` line: every clause counts."""
    return _reading(clauses_of(_items(piece)), is_whole=True) if len(piece) <= MOST_CHARACTERS else UNREADABLE


def stated_reading(piece: str) -> Reading:
    """The number in the sentence after "the answer is"."""
    return _reading(clauses_of(_items(piece[:MOST_CHARACTERS])), is_whole=False)


def heading_reading(piece: str, *, goes_on: bool) -> Reading:
    """The number in a line after "####". A title such as "Step 2: Money" or "2 Checks" above more text gives none."""
    row = _items(piece[:MOST_CHARACTERS])
    at = next((n for n, item in enumerate(row) if isinstance(item, Quantity | Stop)), len(row))
    is_equation = any(isinstance(item, Sign) and item.kind == "equals" for item in row[:at])
    leads = [item.text for item in row[:at] if isinstance(item, Word)]
    is_label = any(isinstance(item, Sign) and item.kind == "colon" for item in row[:at])
    if at == len(row) or (not is_equation and ((is_label and goes_on) or any(lead.lower() not in FILLERS for lead in leads))):
        return SILENT
    following = row[at + 1] if at + 1 < len(row) else None
    is_numbered = any(isinstance(item, Sign) and item.kind == "close" for item in row[:at])
    if goes_on and (
        is_numbered or (isinstance(following, Word) and (following.text[0].isupper() or following.text in ("st", "nd", "rd", "th", "of")))
    ):
        return SILENT
    if goes_on and isinstance(following, Sign) and following.text == "of":
        return SILENT
    return _reading(clauses_of(row), is_whole=False)


def begins_with_all_of(content: str, following: str) -> bool:
    """Whether a box's number is the same when it is read together with the words after the box."""
    box_items, all_items = _items(content), _items(f"{content} {following}")
    numbers = [next((item for item in row if isinstance(item, Quantity | Stop)), None) for row in (box_items, all_items)]
    if not isinstance(numbers[0], Quantity):
        return True
    return isinstance(numbers[1], Quantity) and numbers[0].value == numbers[1].value


def _items(piece: str) -> list[Item]:
    return with_operators(items(_without_end(tokens(without_formatting(piece)))))


def _without_end(tokens: list[Token]) -> list[Token]:
    while tokens and tokens[-1].kind in ("separator", "colon"):
        tokens.pop()
    return tokens


# --- the statement -------------------------------------------------------------------------------------------------------


def _reading(clauses: Sequence[Clause], *, is_whole: bool) -> Reading:
    """Read the clauses in order; each may replace, confirm or contradict the result so far."""
    first = clauses[0]
    if not is_whole and first.row and not _may_state(first.row):
        if not any(isinstance(item, Quantity) for item in first.row) or _is_remark(first.row):
            rest = [clause for clause in clauses[1:] if clause.link == "comma" and isinstance(clause.row[0], Quantity)]
            if not rest or _is_remark(first.row):
                result = _result_of(first.row, clauses[1:])
                return SILENT if result is None else result
            return _reading([Clause("first", rest[0].row), *clauses[clauses.index(rest[0]) + 1 :]], is_whole=False)
        num_numbers = sum(isinstance(item, Quantity | Stop) for item in first.row)
        state = Side("unread" if num_numbers > 1 else "aside" if num_numbers else "words")
    else:
        state = equation(first.row, is_whole=is_whole) if first.row else Side("words")
    denied: Fraction | None = None
    is_denied = False
    if any(isinstance(item, Word) and item.text.lower() == "remainder" for clause in clauses[1:2] for item in clause.row[:2]):
        return UNREADABLE
    for clause in clauses[1:]:
        if clause.link == "because":
            break
        new = equation(clause.row, is_whole=is_whole) if clause.row else Side("words")
        if clause.link == "not":
            is_denied = True
            denied = new.value if denied is None else denied
            if is_whole:
                return Reading(denied=denied)
            continue
        if is_denied and state.kind in ("words", "name") and new.kind == "value" and clause.link in ("but", "which", "so", "comma", "dot"):
            state = new
            continue
        if clause.link == "or" and clause.row and isinstance(clause.row[0], Word) and clause.row[0].text.lower() in AFTER_OR:
            return UNREADABLE
        state = _next(state, new, clause, is_whole=is_whole)
    if state.kind == "value" and state.quantity is not None:
        return Reading(state.quantity.plain, state.quantity.value, denied=denied)
    if state.kind in ("words", "name", "aside"):
        return Reading(is_silent=not is_whole, denied=denied)
    return UNREADABLE


_WORKED_OUT = frozenset(("found", "calculated", "computed", "obtained", "derived", "determined", "given"))


def _result_of(row: Sequence[Item], clauses: Sequence[Clause]) -> Reading | None:
    """The number in a remark such as "found by multiplying 9 by 2, which gives 18"; None for another remark."""
    words = [item.text.lower() if isinstance(item, Word) else "" for item in row[:2]]
    if len(words) < 2 or words[0] not in _WORKED_OUT or words[1] not in ("by", "as", "through", "from"):
        return None
    if not clauses or clauses[-1].link not in ("which", "so"):
        return None
    side = equation(clauses[-1].row, is_whole=False) if clauses[-1].row else Side("words")
    return Reading(side.quantity.plain, side.quantity.value) if side.kind == "value" and side.begins and side.quantity else None


def _next(state: Side, new: Side, clause: Clause, *, is_whole: bool) -> Side:
    """The result of the statement after one more clause."""
    following = next((item.text.lower() for item in clause.row[1:2] if isinstance(item, Word)), "")
    if clause.link == "comma" and following in ("more", "less", "fewer", "greater", "higher", "lower", "older", "younger", "of"):
        return state
    if clause.link == "or" and new.kind in ("several", "unread", "sum"):
        return Side("unread")
    if new.kind != "value" or new.quantity is None:
        if new.kind in ("several", "unread", "sum") and (is_whole or (new.kind == "several" and clause.link == "comma")):
            begins = bool(clause.row) and isinstance(clause.row[0], Quantity | Stop)
            return Side("unread") if is_whole or begins else state
        return state
    if state.kind == "value" and state.quantity is not None:
        if _same(state.quantity, new.quantity):
            return state
        if clause.link == "so" and not is_whole:
            return new if new.begins else Side("unread")
        if is_whole or new.begins or clause.link in ("but", "which"):
            return Side("unread")
        return state
    if clause.link in ("so", "which") or (clause.link == "or" and state.kind == "sum"):
        return new
    if clause.link in ("comma", "dot", "or", "but") and state.kind in ("words", "name"):
        return new if new.begins or is_whole else state
    if state.kind == "sum" and clause.link in ("comma", "dot") and new.begins:
        return Side("unread")
    return Side("unread") if new.begins else state


def _same(one: Quantity, other: Quantity) -> bool:
    """Whether two quantities are the same amount, possibly in two units."""
    if one.unit is not None and other.unit is not None and one.unit.kind == other.unit.kind:
        return one.value * one.unit.size == other.value * other.unit.size
    return one.value == other.value and (one.is_percent == other.is_percent)


def _is_remark(row: Sequence[Item]) -> bool:
    if not row or not isinstance(row[0], Word):
        return False
    if _is_about([item.text.lower() for item in row if isinstance(item, Word)]):
        return True
    word = row[0].text
    return word.lower() in REMARKS or (word.islower() and len(word) > 3 and word.endswith("ed"))


def _is_about(words: Sequence[str]) -> bool:
    """Whether the words are about an answer: "correct to 2 decimal places", "exact to 3 digits"."""
    return any(one in ("correct", "exact", "rounded", "accurate") and other == "to" for one, other in pairwise(words))


def _may_state(row: Sequence[Item]) -> bool:
    """Whether the first clause after "the answer is" begins like a statement: with a number, a filler, a variable or a subject."""
    at = next((n for n, item in enumerate(row) if isinstance(item, Quantity | Stop)), len(row))
    lead = [item for item in row[:at] if isinstance(item, Word)]
    words = [word.text.lower() for word in lead]
    if _is_about(words):
        return False
    if all(word in FILLERS or len(word) == 1 for word in words):
        return True
    if any(isinstance(item, Sign) and (item.kind in ("equals", "colon")) for item in row[:at]) and not _is_remark(row):
        return True
    starts = words[0] in SUBJECTS or lead[0].text[0].isupper()
    verb = any(word in VERBS or (len(word) > 3 and word.endswith(("s", "ed")) and lead[n].text[0].islower()) for n, word in enumerate(words[1:], 1))
    return starts and verb and not any(word in NOT or word in ("no", "never") for word in words)
