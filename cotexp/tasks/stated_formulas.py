"""The formula that a text states as its answer: its last box, with the boxes joined to it, or else the last statement with a formula.

A heading, a remark about the answer and a negated statement state nothing. A value with words that change it ("at least $5$",
"$5$ of $10$") is not a formula, and neither is the first of several values; "$3$ or $5$" is both.
"""

from __future__ import annotations

import re

from cotexp.tasks.boxes import parts_of_answer
from cotexp.tasks.equality import is_formula, kind_of
from cotexp.tasks.statement import Extracted
from cotexp.tasks.unit_words import Unsure, unit_of
from cotexp.tasks.word_lists import words

LONGEST = 4_000
"""Characters after a mark in which a formula may be."""
_MARK = re.compile(r"answers?\s+(?:is|are)(?![A-Za-z])|####", re.IGNORECASE)
_OPENING = re.compile(r"(?:[\s*_~:]|(?<=\n)>)*")
_SENTENCE_END = re.compile(r"[.!?][\"')*]*\s+|\n\s*|[.!?]?[\"')*]*$")
_MATH = (
    r"(?:\$\$(?P<dd>(?:\\.|[^$\\])+)\$\$|\$(?P<d>(?:\\.|[^$\\])+)\$|\\\[(?P<b>.+?)\\\]|\\\((?P<p>.+?)\\\)"
    r"|\\begin\{(?P<env>equation|align|gather|displaymath)\*?\}(?P<e>.+?)\\end\{(?P=env)\*?\})"
)
_FIRST_MATH = re.compile(rf"(?P<filler>(?:[A-Za-z'’-]+[,:]?\s+){{0,6}}){_MATH}", re.DOTALL)
_NEXT_MATH = re.compile(rf"\s*(?:[,;]\s*(?:and|or)?|and|or)\s*(?P<filler>){_MATH}", re.DOTALL)
_CONCLUSION = re.compile(
    r"[^.$\n]*?(?:\$[^$]*\$[^.$\n]*?|\\\(.*?\\\)[^.$\n]*?)?,?\s*"
    rf"(?:(?:which|that)\s+(?:is|equals|gives|makes|simplifies\s+to)\s+(?:equal\s+to\s+)?|i\.e\.,?\s*|namely,?\s+|giving\s+|or\s+(?:simply\s+)?)(?P<filler>){_MATH}",
    re.DOTALL,
)
_NEGATED = re.compile(r"(?:definitely\s+|certainly\s+)?(?:not|never|no\s+longer|neither)\b", re.IGNORECASE)
_BUT = re.compile(r"[^.\n]*?(?:\bbut\s+(?:rather\s+|instead\s+)?|[;,]\s*(?:rather|instead),?\s+|[;,]\s*it(?:'s|\s+is|\s+becomes)\s+)")
_FILLERS = words(
    "then thus therefore hence so simply just exactly indeed clearly obviously now equal to given by the a an set interval intervals pair pairs "
    "ordered point points value values number numbers expression fraction matrix vector ratio product solution solutions root roots polynomial "
    "function equation line integer integers positive real complex quantity that we get have it is both also either union pairs tuple triple "
    "coordinates angle angles length area volume probability only final all of which equals"
)
_CHANGING = re.compile(
    r"\s*(?:(?:of|times|plus|minus|more|less|divided|multiplied|squared|cubed|to|through|hundred|thousand|million|billion|trillion|dozen|percent\s+of"
    r"|in\s+base|base|mod|or\s+(?:more|less|fewer|higher|lower|greater|above|below)|and\s+a\s+(?:half|quarter|third))(?![A-Za-z])|or\s+\d|\\?%\s+of\b|[-+×*/^](?=\s*[\d$(])"
    r"|(?!(?:because|since|as|for|when|where|if|with|so|by|from|at|in|after|which|that|is|on|not)\b)[A-Za-z]+\s+(?:and\s+)?(?=\$\d|\\\(\d))",
    re.IGNORECASE,
)
"""Text after a formula that changes its value, makes it one of a range, or the first part of a compound ("$5$ hours $30$ minutes")."""
_UNIT = re.compile(r"\s*(?:(?:square|cubic|sq)\.?\s+)?(?P<name>[A-Za-z]{2,})(?:\s+per\s+[a-z]+)?(?![A-Za-z])")
_CASES = re.compile(r"\s*(?:when|if|for)\b[^.\n]{0,80}?(?:\band|\bor|,)\s+(?:\$|\\\()[^.\n]{1,80}?\b(?:when|if|for|otherwise)\b", re.IGNORECASE)
"""Another formula under another condition."""
_HYPOTHETICAL = re.compile(r"\b(?:if|whether|suppose|assuming|unless)\s+(?:that\s+)?(?:the|your|this|our|an|my)\s+(?:\w+\s+)?$", re.IGNORECASE)
MOST_MARKS = 100
"""Most statements that are read, so that a text of only marks costs no time."""
_REMARK = re.compile(
    r"(?:also\s+|very\s+|quite\s+|indeed\s+|clearly\s+)*(?:reasonable|valid|correct|right|consistent|independent|clear|unique|plausible|sensible|verified|"
    r"confirmed|helpful|what\s|as\s|an?\s+integer|an?\s+whole|in\s|based|because|since|supposed|expected|given|obtained|found|written|rounded|complete)\b",
    re.IGNORECASE,
)
_CLAUSE = re.compile(r",?\s+(?:because|since|as|which|where|when|if|so|with|after|for)\b|\s+\((?=[a-z])")
_HEADING = re.compile(r"\**\s*(?:the\s+)?(?:final\s+)?answer\s*:?\s*\**:?\s*", re.IGNORECASE)


def stated_formula(text: str) -> Extracted:
    """The formula or words that `text` gives as its answer."""
    if boxes := parts_of_answer(text):
        parts = in_one([box.content.strip() for box in boxes])
        return Extracted(joined(parts), "boxed", boxes[-len(parts)].start)
    in_words: Extracted | None = None
    for mark in reversed(list(_MARK.finditer(text))[-MOST_MARKS:]):
        if _HYPOTHETICAL.search(text[max(0, mark.start() - 40) : mark.start()]):
            continue
        formula = _heading(text, mark.end()) if mark.group() == "####" else _after_mark(text[mark.end() : mark.end() + LONGEST])
        if formula == "":
            return Extracted(None, "none", len(text))
        if formula is None or _REMARK.match(formula):
            continue
        if re.search(r"[\d\\$=<>^_{}|+*/]", formula) or is_formula(formula):
            return Extracted(formula, "statement", mark.start())
        if in_words is None:
            in_words = Extracted(formula, "statement", mark.start())
    return in_words or Extracted(None, "none", len(text))


def joined(parts: list[str]) -> str:
    """Several parts as one answer, separated by commas."""
    parts = list(dict.fromkeys(parts))
    return ", ".join(_BY_THREE.sub("{,}", part) if len(parts) > 1 and _ONE_NUMBER.fullmatch(part) else part for part in parts)


_BY_THREE = re.compile(r"(?<=\d),(?=\d{3})")
_ONE_NUMBER = re.compile(r"[^,\d]*\d{1,3}(?:,\d{3})+(?:\.\d+)?[^,\d]*")


def in_one(parts: list[str]) -> list[str]:
    """`parts`, or only the last one if they are forms of one answer and not of one readable kind, such as 28 and 28_9."""
    kinds = {kind_of(part) for part in parts}
    return parts if len(kinds) == 1 and None not in kinds else parts[-1:]


def _heading(text: str, place: int) -> str | None:
    """The formula of a line after "####", or below a heading that says "Final answer"; None for any other heading."""
    line, _, rest = text[place : place + LONGEST].lstrip(" \t#").partition("\n")
    label = _HEADING.match(line)
    bare = _clean(line[label.end() :] if label else line)
    if label and not bare:
        line, _, rest = rest.lstrip().partition("\n")
        bare = _clean(line)
    if not bare or "\\boxed" in bare:
        return None
    if (first := _FIRST_MATH.match(line.lstrip("* "))) and not first["filler"]:
        return _after_mark(line)
    if is_formula(bare):
        return bare
    return bare if not rest.strip() and not bare.endswith(":") and not re.match(r"\d+\.\s|step\b", bare, re.IGNORECASE) else None


def _after_mark(rest: str) -> str | None:
    """The formula directly after "answer is"; "" for a value that cannot be read, None if the statement gives none."""
    rest = rest[_OPENING.match(rest).end() :]  # type: ignore[union-attr]
    if negation := _NEGATED.match(rest):
        but = _BUT.match(rest, negation.end())
        return _after_mark(rest[but.end() :]) if but else None
    if (first := _FIRST_MATH.match(rest)) is not None:
        fillers = re.findall(r"[A-Za-z]+", first["filler"].lower())
        if all(filler in _FILLERS for filler in fillers):
            return _several(rest, first)
        if any(filler in _BOUNDS for filler in fillers):
            return ""
    return _sentence(rest)


_BOUNDS = words("least most than below above under over almost nearly about between minus negative half twice double not")


def _several(rest: str, first: re.Match[str]) -> str | None:
    """The formula and those joined to it."""
    formulas, end = [_inside(first)], first.end()
    while (more := _NEXT_MATH.match(rest, end)) is not None:
        formulas.append(_inside(more))
        end = more.end()
    if any("\\boxed" in formula for formula in formulas):
        return None
    if _CASES.match(rest, end):
        return ""
    if _CHANGING.match(rest, end):
        conclusion = _CONCLUSION.match(rest, end)
        return _inside(conclusion) if conclusion else ""
    return formulas[0] + _unit_after(rest[end:]) if len(formulas) == 1 else ", ".join(formulas)


def _unit_after(rest: str) -> str:
    """The known unit after a formula, as LaTeX. "in" need not mean inches."""
    unit = _UNIT.match(rest)
    if unit is None or unit["name"] == "in":
        return ""
    try:
        named = unit_of(unit[0]).name
    except Unsure:
        return ""
    return "" if named is None else f"\\text{{ {unit[0].strip()}}}"


def _inside(match: re.Match[str]) -> str:
    statement = next(match[group] for group in ("dd", "d", "b", "p", "e") if match[group] is not None)
    return statement.strip().rstrip(".,;").replace("&", "") if match["e"] else statement.strip().strip("*").strip()


def _sentence(rest: str) -> str | None:
    """The rest of the sentence, or its first clause if only that is a formula; None for a box that was cut off."""
    end = _SENTENCE_END.search(rest)
    whole = _clean(rest[: end.start()] if end else rest)
    if "\\boxed" in whole:
        return None
    if not is_formula(whole) and (clause := _CLAUSE.search(whole)) and is_formula(_clean(whole[: clause.start()])):
        return _clean(whole[: clause.start()])
    return whole or None


def _clean(text: str) -> str:
    return text.strip().strip("*$`").strip().removesuffix(".").strip()
