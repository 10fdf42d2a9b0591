"""The one number that a statement gives, read clause by clause; or that it gives none, or something that is no single number.

A statement is a first clause and what follows it: "60% of 30, or 18", "5 times 3, which is 15", "not 18 but 20", "18, since 9 * 2 = 18".
A clause is sides joined by "=": "x = 18", "9 + 9 = 18". A side gives a number only if nothing in it changes that number.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from cotexp.tasks.lexing import MOST_CHARACTERS, Token, tokens, undressed
from cotexp.tasks.quantities import Item, Quantity, Sign, Stop, Word, items
from cotexp.tasks.wording import AFTER_OR, BECAUSE, BOUND_BEFORE, EQUALS, FILLERS, MODIFIERS, NOT, REMARKS, SO, STOP_ANYWHERE, SUBJECTS, VERBS


class Reading(NamedTuple):
    """What a piece of text gives: a number, in plain characters and with its value; else whether it was a number's place at all.

    `is_silent`: it states nothing (a remark, a negation) and hides no earlier statement. `denied`: the value of "not 18".
    """

    text: str | None = None
    value: Fraction | None = None
    is_silent: bool = False
    denied: Fraction | None = None


SILENT = Reading(is_silent=True)
UNREADABLE = Reading()


class Side(NamedTuple):
    """One side of an equation. Kinds: "value" (a number), "sum" (it can be computed), "words", "aside" (words with a number that is not the
    answer's), "name" (a variable), "letters" (m+n), "several" (numbers beside each other) and "unread".
    """

    kind: str
    quantity: Quantity | None = None
    value: Fraction | None = None
    begins: bool = False


class Clause(NamedTuple):
    """`link`: how it is tied to what stands before it."""

    link: str
    row: list[Item]


_WORD_OPERATORS = {"times": "×", "plus": "+", "minus": "-", "x": "×"}


def one_reading(piece: str) -> Reading:
    """What a box, a gold answer or a `####` line holds as a whole: every clause of it counts."""
    return _reading(_clauses(_items(piece)), is_whole=True) if len(piece) <= MOST_CHARACTERS else UNREADABLE


def stated_reading(piece: str) -> Reading:
    """What the sentence behind "the answer is" gives."""
    return _reading(_clauses(_items(piece[:MOST_CHARACTERS])), is_whole=False)


def heading_reading(piece: str, *, goes_on: bool) -> Reading:
    """What a line behind "####" gives: a title such as "Step 2: Money" or "2 Checks" above more text gives nothing."""
    row = _items(piece[:MOST_CHARACTERS])
    at = next((n for n, each in enumerate(row) if isinstance(each, Quantity | Stop)), len(row))
    is_equation = any(isinstance(each, Sign) and each.kind == "equals" for each in row[:at])
    leads = [each.text for each in row[:at] if isinstance(each, Word)]
    is_label = any(isinstance(each, Sign) and each.kind == "colon" for each in row[:at])
    if at == len(row) or (not is_equation and (is_label or any(each.lower() not in FILLERS for each in leads))):
        return SILENT
    behind = row[at + 1] if at + 1 < len(row) else None
    if goes_on and isinstance(behind, Word) and behind.text[0].isupper():
        return SILENT
    return _reading(_clauses(row), is_whole=False)


def _items(piece: str) -> list[Item]:
    return _with_operators(items(_without_end(tokens(undressed(piece)))))


def _without_end(found: list[Token]) -> list[Token]:
    while found and found[-1].kind == "separator":
        found.pop()
    return found


def _with_operators(row: list[Item]) -> list[Item]:
    """Words such as "times" between two quantities are operators, "of" behind a share is "times"; a slash between units is none."""
    row = [each for at, each in enumerate(row) if not (_is_rate(row[at - 1 : at + 2]) or (isinstance(each, Word) and _is_rate(row[at - 2 : at + 1])))]
    row = [each for at, each in enumerate(row) if not _is_hyphen(row, at)]
    for at in range(1, len(row) - 1):
        item, before = row[at], row[at - 1]
        following = next((each for each in row[at + 1 :] if not (isinstance(each, Word) and each.text.lower() in ("the", "by", "of", "a"))), None)
        if not isinstance(item, Word) or not isinstance(following, Quantity):
            continue
        word = item.text.lower()
        operand = isinstance(before, Quantity) or (isinstance(before, Word) and at > 1 and isinstance(row[at - 2], Quantity))
        if word in _WORD_OPERATORS and operand:
            row[at] = Sign("operator", _WORD_OPERATORS[word], True)
        elif word in ("multiplied", "divided") and operand:
            row[at] = Sign("operator", "×" if word == "multiplied" else "/", True)
        elif word == "of" and isinstance(before, Quantity) and (before.is_percent or before.is_fraction):
            row[at] = Sign("operator", "of", True)
    return row


def _is_hyphen(row: Sequence[Item], at: int) -> bool:
    """Whether a "-" ties a number to a word, as in "6-year-old"."""
    item = row[at]
    if not (isinstance(item, Sign) and item.text == "-" and not item.spaced and 0 < at < len(row) - 1 and isinstance(row[at - 1], Quantity)):
        return False
    after = row[at + 1]
    return isinstance(after, Word) and not after.spaced and len(after.text) > 1


def _is_rate(three: Sequence[Item]) -> bool:
    if len(three) < 3:
        return False
    before, slash, after = three
    named = isinstance(before, Word) or (isinstance(before, Quantity) and bool(before.unit_name))
    return isinstance(slash, Sign) and slash.text == "/" and named and isinstance(after, Word)


# --- clauses -------------------------------------------------------------------------------------------------------------


def _clauses(row: Sequence[Item]) -> list[Clause]:
    """The clauses, cut at separators and at words that conclude, give a reason or deny; asides in parentheses are left out."""
    row = _without_asides(row)
    found = [Clause("first", [])]
    at = 0
    while at < len(row):
        link, width = _link(row, at, found[-1].row)
        if link is None:
            found[-1].row.append(row[at])
            at += 1
            continue
        at += width
        if found[-1].row or link not in ("comma", "dot") or len(found) == 1:
            if not found[-1].row and found[-1].link in ("comma", "dot", "or") and len(found) > 1:
                link = "or" if found[-1].link == "or" and link == "comma" else link
                found.pop()
            found.append(Clause(link, []))
    return [each for n, each in enumerate(found) if each.row or n == 0 or each.link == "not"]


def _link(row: Sequence[Item], at: int, clause: Sequence[Item]) -> tuple[str | None, int]:
    """How the item at `at` ties a new clause to the one before, and how many items say so; None inside a clause."""
    item = row[at]
    if isinstance(item, Sign):
        if item.kind == "separator":
            return ("comma" if item.text in ",&" else "dot"), 1
        if item.kind == "arrow":
            return "so", 1
        is_dash = item.kind == "operator" and item.text in "–—"
        if is_dash and (item.text == "—" or (item.spaced and clause and (at + 1 == len(row) or isinstance(row[at + 1], Word)))):
            return "comma", 1
        if (
            item.kind == "colon"
            and at + 1 < len(row)
            and not isinstance(row[at + 1], Quantity)
            and any(isinstance(each, Quantity) for each in clause)
        ):
            return "comma", 1
        return None, 0
    if not isinstance(item, Word):
        return None, 0
    return _word_link(row, at, clause)


def _word_link(row: Sequence[Item], at: int, clause: Sequence[Item]) -> tuple[str | None, int]:
    words = [each.text.lower() if isinstance(each, Word) else "" for each in row[at : at + 4]] + ["", "", "", ""]
    word = words[0]
    has_quantity = any(isinstance(each, Quantity | Stop) for each in row[:at])
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
    """Without parentheses behind a quantity or a longer word: "Tom (age 12) pays $18", "18 (9 * 2)"."""
    kept: list[Item] = []
    depth = 0
    for item in row:
        if isinstance(item, Sign) and item.kind in ("open", "close"):
            if item.kind == "open":
                behind = kept[-1] if kept else None
                aside = isinstance(behind, Quantity) or (isinstance(behind, Word) and len(behind.text) > 1)
                if depth or aside:
                    depth += 1
                    continue
            elif depth:
                depth -= 1
                continue
        if not depth:
            kept.append(item)
    return kept


# --- sides ---------------------------------------------------------------------------------------------------------------


def _sides(row: Sequence[Item]) -> list[list[Item]]:
    """What "=", "is" or a label's colon parts."""
    found: list[list[Item]] = [[]]
    for at, item in enumerate(row):
        is_verb = isinstance(item, Word) and item.text.lower() in EQUALS and bool(found[-1])
        is_label = isinstance(item, Sign) and item.kind == "colon" and not any(isinstance(each, Quantity | Stop) for each in found[-1])
        if (isinstance(item, Sign) and item.kind == "equals") or is_verb or is_label:
            if at + 1 < len(row) and isinstance(after := row[at + 1], Word) and after.text.lower() == "to" and is_verb:
                found.append([])
                continue
            if found[-1]:
                found.append([])
            continue
        if isinstance(item, Sign) and item.kind == "colon" and found[-1]:
            found[-1].append(Stop(":"))
            continue
        found[-1].append(item)
    return [each for each in found if each] if len(found) > 1 else found


def _side(row: Sequence[Item], *, is_whole: bool) -> Side:
    if row and isinstance(row[0], Word) and row[0].text.lower() == "to":
        row = row[1:]
    row = _bare(row)
    quantities = [each for each in row if isinstance(each, Quantity)]
    signs = [each for each in row if isinstance(each, Sign)]
    words = [each for each in row if isinstance(each, Word)]
    if any(isinstance(each, Stop) for each in row) or any(each.text.lower() in STOP_ANYWHERE for each in words):
        return Side("unread")
    if not quantities:
        return _side_of_words(row, words, signs)
    first = next(at for at, each in enumerate(row) if isinstance(each, Quantity))
    if any(each.kind == "operator" for each in signs):
        return _sum(row)
    if any(isinstance(each, Word) and each.text.lower() in BOUND_BEFORE for each in row[:first][-3:]):
        return Side("unread")
    if any(isinstance(each, Word) and len(each.text) == 1 and each.text.lower() not in ("a", "i") for each in row[:first]):
        return Side("unread")
    if _begins_bound(row[first + 1 :]):
        return Side("unread")
    if not is_whole:
        row = _head(row, first)
    if len([each for each in row if isinstance(each, Quantity)]) > 1:
        return Side("several")
    tail = row[first + 1 :]
    if tail and isinstance(tail[0], Word) and _is_variable(tail[0]):
        return Side("unread")
    quantity = row[first]
    assert isinstance(quantity, Quantity)
    return Side("value", quantity, quantity.value, begins=first == 0)


def _bare(row: Sequence[Item]) -> list[Item]:
    """Without brackets that hold the whole side, and those that stand at its edges."""
    row = list(row)
    while row and isinstance(row[-1], Sign) and row[-1].kind in ("separator", "colon"):
        row.pop()
    while len(row) > 2 and isinstance(row[0], Sign) and row[0].kind == "open" and isinstance(row[-1], Sign) and row[-1].kind == "close":
        depth = 0
        for at, each in enumerate(row):
            depth += isinstance(each, Sign) and {"open": 1, "close": -1}.get(each.kind, 0)
            if depth == 0 and at < len(row) - 1:
                return row
        row = row[1:-1]
    return row


def _side_of_words(row: Sequence[Item], words: Sequence[Word], signs: Sequence[Sign]) -> Side:
    operators = [each.text for each in signs if each.kind == "operator"]
    if operators:
        letters = [each.text for each in words]
        is_sum = len(row) == len(words) + len(operators) and all(len(each) == 1 for each in letters) and set(operators) == {"+"}
        return Side("letters" if is_sum and not {"x", "y", "z"} & set(letters) and len(letters) == len(operators) + 1 else "unread")
    if any(each.kind in ("open", "close") for each in signs) and words and len(words[0].text) == 1:
        return Side("unread")
    if len(words) == 1 and len(words[0].text) == 1:
        return Side("name")
    if any(each.text.lower() in NOT for each in words):
        return Side("unread")
    return Side("words")


def _head(row: Sequence[Item], first: int) -> list[Item]:
    """A side up to the modifier behind its first quantity. Quantities that "and" joins, or that stand beside each other, all belong to it."""
    for at in range(first + 1, len(row)):
        item = row[at]
        if isinstance(item, Word) and item.text.lower() in MODIFIERS:
            tail = row[at + 1 :]
            joined = any(isinstance(each, Word) and each.text.lower() == "and" for each in tail)
            article = bool(tail) and isinstance(tail[0], Word) and tail[0].text.lower() in ("the", "these", "those", "his", "her", "their", "all")
            numbers = [each for each in tail if isinstance(each, Quantity)]
            if item.text.lower() in ("to", "than", "through") and tail and isinstance(tail[0], Quantity):
                return [*row, *numbers]
            if item.text.lower() == "of" and numbers and not article:
                return [*row[:at], Sign("operator", "of", True), *tail, *numbers]
            return list(row) if joined and numbers else list(row[:at])
    return list(row)


def _is_variable(word: Word) -> bool:
    return len(word.text) == 1 and word.text.isascii() and word.text not in ("a", "i", "I", "A")


def _begins_bound(tail: Sequence[Item]) -> bool:
    words = [each.text.lower() if isinstance(each, Word) else "" for each in tail[:4]]
    pairs = [words[at : at + 2] for at in range(2)]
    return any(each in _BOUNDS_BEHIND for each in pairs) or words == ["give"]


_BOUNDS_BEHIND = (
    ["at", "least"],
    ["at", "most"],
    ["and", "up"],
    ["and", "above"],
    ["and", "over"],
    ["and", "more"],
    ["and", "counting"],
    ["or", "more"],
)


def _sum(row: Sequence[Item]) -> Side:
    """A calculation, with its value where all of it can be read."""
    core = [each for each in row if not isinstance(each, Word)]
    names = [each for each in row if isinstance(each, Word) and _is_variable(each)]
    if names:
        return Side("unread")
    return Side("sum", None, _computed(core))


def _computed(row: Sequence[Item]) -> Fraction | None:
    """The value of numbers, + - × ÷ and brackets; None for anything else."""
    values: list[Fraction] = []
    waiting: list[str] = []
    rank = {"+": 1, "-": 1, "×": 2, "/": 2}
    expects_value = True
    for item in row:
        if isinstance(item, Quantity) and expects_value:
            values.append(item.value / 100 if item.is_percent and len(row) > 1 else item.value)
            expects_value = False
        elif isinstance(item, Sign) and item.kind == "open" and expects_value:
            waiting.append("(")
        elif isinstance(item, Sign) and item.kind == "close" and not expects_value:
            while waiting and waiting[-1] != "(":
                if not _apply(values, waiting.pop()):
                    return None
            if not waiting:
                return None
            waiting.pop()
        elif isinstance(item, Sign) and item.kind == "operator" and not expects_value:
            name = {"−": "-", "–": "-", "*": "×", "·": "×", "⋅": "×", "÷": "/", "of": "×"}.get(item.text, item.text)
            if name not in rank:
                return None
            while waiting and waiting[-1] != "(" and rank[waiting[-1]] >= rank[name]:
                if not _apply(values, waiting.pop()):
                    return None
            waiting.append(name)
            expects_value = True
        else:
            return None
    while waiting:
        if waiting[-1] == "(" or not _apply(values, waiting.pop()):
            return None
    return values[0] if len(values) == 1 and not expects_value else None


def _apply(values: list[Fraction], name: str) -> bool:
    if len(values) < 2:
        return False
    second, first = values.pop(), values.pop()
    if name == "/" and second == 0:
        return False
    values.append({"+": first + second, "-": first - second, "×": first * second, "/": first / second if second else first}[name])
    return True


# --- equations -----------------------------------------------------------------------------------------------------------


def _equation(row: Sequence[Item], *, is_whole: bool) -> Side:
    """What a clause gives: the last side of a chain of equations, if all sides agree; a variable's or a label's value."""
    sides = [_side(each, is_whole=is_whole) for each in _sides(row)]
    if len(sides) == 1:
        return sides[0]
    if any(each.kind in ("unread", "several") for each in sides):
        return Side("unread")
    last = sides[-1]
    if last.kind == "sum" and sides[0].kind == "value" and sides[0].value == last.value:
        last = sides[0]  # "18 = 9 + 9"
    if last.quantity is not None and last.quantity.is_letter and sides[0].kind in ("name", "letters"):
        return Side("unread")  # "n = 3k"
    if last.kind != "value":
        return Side("unread" if last.kind != "words" else "words")
    numeric = [each for each in sides if each.value is not None]
    if not all(_agree(each, last) for each in numeric):
        return Side("unread")
    return last._replace(begins=True)


def _agree(one: Side, last: Side) -> bool:
    """Whether two sides are equal, but for rounding, a percent sign or another unit."""
    if one.value is None or last.value is None or last.quantity is None:
        return True
    if one.quantity is not None and one.quantity.unit != last.quantity.unit and one.quantity.unit_name != last.quantity.unit_name:
        return True
    places = len(last.quantity.plain.partition(".")[2])
    if one.value.denominator == last.value.denominator == 1:
        return one.value == last.value or (last.quantity.is_percent and one.value * 100 == last.value)
    for scale in (Fraction(1), Fraction(100)) if last.quantity.is_percent else (Fraction(1),):
        difference = abs(one.value * scale - last.value)
        if difference < max(Fraction(1, 10**places), abs(last.value) / 100):
            return True
    return False


# --- the statement -------------------------------------------------------------------------------------------------------


def _reading(clauses: Sequence[Clause], *, is_whole: bool) -> Reading:
    """Go through the clauses; each may replace, confirm or contradict what was read before it."""
    first = clauses[0]
    if not is_whole and first.row and not _may_state(first.row):
        if not any(isinstance(each, Quantity) for each in first.row) or _is_remark(first.row):
            rest = [each for each in clauses[1:] if each.link == "comma" and isinstance(each.row[0], Quantity)]
            if not rest or _is_remark(first.row):
                return SILENT
            return _reading([Clause("first", rest[0].row), *clauses[clauses.index(rest[0]) + 1 :]], is_whole=False)
        num_numbers = sum(isinstance(each, Quantity | Stop) for each in first.row)
        state = Side("unread" if num_numbers > 1 else "aside" if num_numbers else "words")
    else:
        state = _equation(first.row, is_whole=is_whole) if first.row else Side("words")
    denied: Fraction | None = None
    is_denied = False
    for clause in clauses[1:]:
        if clause.link == "because":
            break
        new = _equation(clause.row, is_whole=is_whole) if clause.row else Side("words")
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


def _next(state: Side, new: Side, clause: Clause, *, is_whole: bool) -> Side:
    """What stands after another clause."""
    behind = next((each.text.lower() for each in clause.row[1:2] if isinstance(each, Word)), "")
    if clause.link == "comma" and behind in ("more", "less", "fewer", "greater", "higher", "lower", "older", "younger", "of"):
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
    """Whether two quantities are the same amount, perhaps in two units."""
    if one.unit is not None and other.unit is not None and one.unit.kind == other.unit.kind:
        return one.value * one.unit.size == other.value * other.unit.size
    return one.value == other.value and (one.is_percent == other.is_percent)


def _is_remark(row: Sequence[Item]) -> bool:
    if not row or not isinstance(row[0], Word):
        return False
    word = row[0].text
    return word.lower() in REMARKS or (word.islower() and len(word) > 3 and word.endswith("ed"))


def _may_state(row: Sequence[Item]) -> bool:
    """Whether a first clause behind "the answer is" begins as one that states something: with a number, a filler, a variable, a subject."""
    at = next((n for n, each in enumerate(row) if isinstance(each, Quantity | Stop)), len(row))
    lead = [each for each in row[:at] if isinstance(each, Word)]
    words = [each.text.lower() for each in lead]
    if all(each in FILLERS or len(each) == 1 for each in words):
        return True
    if any(isinstance(each, Sign) and (each.kind in ("equals", "colon")) for each in row[:at]) and not _is_remark(row):
        return True
    starts = words[0] in SUBJECTS or lead[0].text[0].isupper()
    verb = any(each in VERBS or (len(each) > 3 and each.endswith(("s", "ed")) and lead[n].text[0].islower()) for n, each in enumerate(words[1:], 1))
    return starts and verb and not any(each in NOT or each in ("no", "never") for each in words)
