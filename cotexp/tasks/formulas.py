"""The formula that a statement gives: what stands behind "the answer is", all of it, and no more."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cotexp.tasks.statement import first_sentence

SILENT = ""
"""What a remark or a negation gives; None is a statement that cannot be read."""

_FORMULA = re.compile(
    r"\$\$([^$]+)\$\$|\$([^$]+)\$|\\\[(.+?)\\\]|\\\((.+?)\\\)|\\begin\s*\{(?:equation|align|gather|displaymath|math|multline)\*?\}(.+?)\\end\s*\{[a-z]+\*?\}",
    re.DOTALL,
)
MOST_CHARACTERS = 4000
_NEGATED = re.compile(r"[\s*_]*(?:not|never|no longer|neither)\b", re.IGNORECASE)
_BUT = re.compile(r"\b(?:but(?:\s+rather)?|instead(?!\s+of))\s*,?", re.IGNORECASE)
_REMARK = re.compile(
    r"[\s*_]*(?:reasonable|valid|consistent|independent|clear|plausible|sensible|verified|confirmed|helpful|obvious|justified|checked|complete|unclear"
    r"|based|derived|obtained|supported|correct|right|wrong|incorrect|found|shown|given|final|easy|simple|as\s+follows|in\s+(?:the|a)|because|since|what)\b",
    re.IGNORECASE,
)
_JOINING = re.compile(r"[\s,;]*(?:(?:and|or)\b[\s,]*)?(?:also\s+|(?:and|or)\s+)?", re.IGNORECASE)
_RESULT = re.compile(
    r".*(?:\b(?:which|that)\s+(?:is|equals|gives|simplifies\s+to|makes)|\b(?:so|hence|thus|therefore|giving|namely|i\.e\.)|=|\bis|\bequals|\bor\s+simply)[\s,:]*",
    re.IGNORECASE | re.DOTALL,
)
_REASON = re.compile(r"\b(?:because|since|as|where|for|when|if|with|given|by|from|due|while|not|rather|instead)\b", re.IGNORECASE)
_CASES = re.compile(r"\A[^.!?]{0,40}(?:\b(?:and|or)|,)\s+[$\\][^.!?]{1,80}?\b(?:when|if|for)\b", re.IGNORECASE)
"""Another formula under another condition."""
_LEAD = re.compile(
    r"[\s*_:]*(?:(?:simply|just|exactly|therefore|thus|then|hence|the|a|an|ordered|pair|pairs|point|interval|set|value|values|number|numbers|matrix|vector|fraction"
    r"|equal|to|given|by|of|approximately|about|either|both|clearly|indeed)\b[\s*_:,]*)*",
    re.IGNORECASE,
)
_ASSIGNED = re.compile(r"\s*([A-Za-z](?:_\{?\w+\}?)?)\s*=\s*([^=<>]+)")
_TITLE = re.compile(
    r"[\s*_]*(?:step|check|verif\w*|conclusion|explanation|solution|case|part|note|summary|final|given|problem|approach|method|analysis|answer|reason\w*|remark"
    r"|proof|result|example|question|understand\w*|setup|calculat\w*|simplif\w*|substitut\w*|solv\w*)\b",
    re.IGNORECASE,
)


def together(contents: Sequence[str]) -> str | None:
    """One answer of several boxes or formulas; a variable that all of them assign is left out."""
    parts = list(dict.fromkeys(each.strip() for each in contents if each.strip()))
    if len(parts) > 1:
        assigned = [_ASSIGNED.fullmatch(each) for each in parts]
        names = {each[1] if each else None for each in assigned}
        if len(names) == 1 and None not in names:
            parts = [each[2].strip() for each in assigned if each]
    return ", ".join(parts) or None


def stated(piece: str, *, is_remark: bool = False) -> str | None:
    """The formula behind "the answer is", several of them joined by commas, or the rest of its sentence."""
    piece = piece[:MOST_CHARACTERS]
    if _NEGATED.match(piece):
        line = first_sentence(piece)
        turn = _BUT.search(line)
        return stated(line[turn.end() :]) if turn else SILENT
    lead = _LEAD.match(piece)
    begin = lead.end() if lead else 0
    first = _FORMULA.match(piece, begin)
    if first is not None and not (is_remark and piece[:begin].strip(" *_:")):
        return _formulas(piece, first)
    sentence = first_sentence(piece).strip().strip("*$").strip()
    if _REMARK.match(sentence) or (is_remark and not sentence[:1].isdigit()):
        return SILENT
    return sentence if sentence and "\\boxed" not in sentence else SILENT


def _formulas(piece: str, first: re.Match[str]) -> str | None:
    """The formulas of one sentence: those that "and", "or" or a comma joins, or the one that a conclusion ends with."""
    found, complete, at = [_content(first)], True, first.end()
    for match in _FORMULA.finditer(piece, first.end()):
        gap = piece[at : match.start()]
        if len(gap) > 200 or re.search(r"[.!?]\s|\n\s*\n", gap):
            break
        if _JOINING.fullmatch(gap) and gap.strip():
            found.append(_content(match))
        elif _RESULT.fullmatch(gap):
            found, complete = [_content(match)], True
        elif re.match(r"\s*(?:of|times|plus|minus|divided|multiplied|to|through|[-–—+*/])(?![A-Za-z])", gap):
            complete = False
        elif _REASON.search(gap) or gap.strip():
            return None if _CASES.search(piece[match.end() : match.end() + 200]) else together(found) if complete else None
        at = match.end()
    return together(found) if complete else None


def _content(match: re.Match[str]) -> str:
    return next(each for each in match.groups() if each is not None).strip()


def heading(line: str, *, goes_on: bool) -> str | None:
    """What a line behind "####" gives; a title above more text gives nothing."""
    text = line.strip().strip("*").strip()
    if _TITLE.match(text) or (goes_on and not re.search(r"[\d$\\=^(\[]", text)):
        return SILENT
    return stated(line)
