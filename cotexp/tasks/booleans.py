"""Yes or no in the statement of an answer: "a clear yes: no bird ...", "not true", "no doubt yes", "No. 10 ..., so yes"."""

from __future__ import annotations

import re

from cotexp.tasks.text_tokens import MOST_CHARACTERS, without_formatting
from cotexp.tasks.word_lists import AFTER_NO, MILD

WORDS = {"yes": "yes", "true": "yes", "no": "no", "false": "no"}
_OTHER = {"yes": "no", "no": "yes"}
_MENTION = re.compile(r"(?<![^\W_])(yes|no|true|false)(?![^\W_])(?![-'’]\w)", re.IGNORECASE)
_EITHER = re.compile(r"\b(?:yes|true)\s*(?:(?:or|nor|/)\s*(?:no|false)\b|and\s+(?:no|false)(?=\s*(?:[.,;]|$)))", re.IGNORECASE)
"""Phrases that give no answer: "not a simple yes or no", "yes and no"."""
_REASON = re.compile(
    r"(?<=\w)[\s,;:—–-]*\b(?:because|since|as|although|though|even\s+though|while|whereas|when|if|unless|given|despite|considering|due)\b",
    re.IGNORECASE,
)
_TURN = re.compile(r"[;:—]|\s[–-]\s|\bbut\b|(?<=[\w,])\s+\b(?:so|thus|hence|therefore|meaning)\b", re.IGNORECASE)
_DENIAL = re.compile(
    r"(?:\b(?:not|never|hardly|cannot|unlikely|doubtful|no\s+longer|far\s+from|anything\s+but|instead\s+of|rather\s+than|than)|n['’]t)\s+((?:\w+\s+){0,3})\Z",
    re.IGNORECASE,
)
_ANYTHING_BUT = re.compile(r"\b(?:anything|everything)\s+but\b", re.IGNORECASE)
_NUMBERED = re.compile(r"no\.?\s*\d", re.IGNORECASE)
_NEXT_WORD = re.compile(r"\s+([^\W\d_]+)")


def boolean_word(text: str) -> str | None:
    """ "yes" or "no" for a text that is only yes, no, true or false."""
    bare = text.strip(" \t\r\n.!*_$`()\"'“”‘’").lower()
    return WORDS.get(bare) or (WORDS.get(without_formatting(text).strip(" .!()").lower()) if len(text) <= MOST_CHARACTERS else None)


def last_word(text: str) -> str | None:
    """The last yes, no, true or false anywhere in a text."""
    mentions = _MENTION.findall(_EITHER.sub(" ", text))
    return WORDS[mentions[-1].lower()] if mentions else None


def stated_word(sentence: str) -> str | None:
    """The answer in the sentence after "the answer is": "yes", "no", None for neither, or "" if it is ambiguous."""
    text = _EITHER.sub(" ", _ANYTHING_BUT.sub("never", without_formatting(sentence[:MOST_CHARACTERS]))).lstrip(" .,:;(*")
    first = _MENTION.match(text)
    if _ABOUT.match(text):
        return None
    if first is not None and _is_meant(text, first):
        word = WORDS[first[1].lower()]
        return "" if _OTHERWISE.search(text) or _is_contradicted(text, first.end(), word) else word
    reason = _REASON.search(text)
    text = text[: reason.start()] if reason else text
    start, is_unsure = 0, False
    for end in (*(turn.start() for turn in _TURN.finditer(text)), len(text)):
        words = [_word_meant(text, start, mention) for mention in _MENTION.finditer(text, start, end) if _is_meant(text, mention)]
        if words and words[-1]:
            last = [mention for mention in _MENTION.finditer(text, start, end) if _is_meant(text, mention)][-1]
            return "" if _is_contradicted(text, last.end(), words[-1]) else words[-1]
        is_unsure = is_unsure or bool(words)
        start = end
    return "" if is_unsure else None


_ABOUT = re.compile(
    r"(?:based|derived|supported|consistent|confirmed|verified|backed|drawn|taken)\s+(?:on|upon|by|with|from)\b|true\s+(?:to|of|regardless|no\s+matter|for\s+(?:all|every|any))\b",
    re.IGNORECASE,
)
"""Words after which "the answer is ..." is a remark about the answer."""
_OTHERWISE = re.compile(r"\b(?:yes|no|true|false),?\s+otherwise\b|\botherwise,?\s+(?:it\s+is\s+)?(?:yes|no|true|false)\b", re.IGNORECASE)
_SECOND = re.compile(
    r"(?:\b(?:but|and|or)\s+(?:\w+ly\s+)?|(?:\.{2,}|…|\?)\s*(?:wait,?\s*)?|\()(?P<word>yes|no|true|false)\b(?![-'’]\w)"
    r"|\b(?:this|that|it|which)(?:['’]s|\s+is)\s+(?P<denied>not\s+)?(?P<said>true|false)\b",
    re.IGNORECASE,
)


def _is_contradicted(text: str, begin: int, word: str) -> bool:
    """Whether the rest of the sentence also says the opposite: "yes for dogs but no for cats", "yes (false)"."""
    reason = _REASON.search(text, begin)
    rest = text[begin : reason.start() if reason else len(text)]
    for match in _SECOND.finditer(rest):
        if match["word"] is not None:
            following = rest[match.end() :]
            is_own = match["word"].lower() != "no" or not re.match(r"\s+(?!for\b|to\b|in\b|today\b|now\b)\w", following)
            if is_own and WORDS[match["word"].lower()] != word:
                return True
        else:
            other_word = WORDS[match["said"].lower()]
            if (_OTHER[other_word] if match["denied"] else other_word) != word:
                return True
    return False


def _is_meant(text: str, mention: re.Match[str]) -> bool:
    """Whether "no" is an answer, and not part of "No. 10" or "no doubt"."""
    if mention[1].lower() != "no":
        return True
    following = _NEXT_WORD.match(text, mention.end())
    return not _NUMBERED.match(text, mention.start()) and (following is None or following[1].lower() in AFTER_NO)


def _word_meant(text: str, begin: int, mention: re.Match[str]) -> str:
    word = WORDS[mention[1].lower()]
    denial = _DENIAL.search(text, max(begin, mention.start() - 60), mention.start())
    if denial is None:
        return word
    is_plain = mention[1].lower() in ("true", "false") and all(word.lower() in MILD for word in denial[1].split())
    return _OTHER[word] if is_plain else ""


_LED = re.compile(r"\W*(?:(?:a|an|[a-z]{2,})\s+){0,4}(?:yes|no|true|false)(?![^\W_])", re.IGNORECASE)
"""A statement of yes or no, and not an option or a number with such a word behind it."""
_CORRECTION = re.compile(
    r"(?:\s+a\s+(?:minute|moment|second))?\W*(?:(?:oh|hmm+|well|actually|in\s+fact|i\s+(?:think|mean))\b\W*){0,3}"
    r"(?:(?P<word>yes|no)\b(?!\s*/|\s+(?:or|and)\b)|(?P<said>true|false)\b(?=[\s*_\"”')\]]*(?:[^\w\s]|\Z)|\s+(?:since|because|as|given)\b))(?![-'’]\w)",
    re.IGNORECASE,
)
_AFFIRMS = re.compile(
    r"\W*(?:(?:that|this|it)(?:['’]s|\s+(?:is|was|looks|seems))\s+(?:\w+\s+)?(?:right|correct|fine|settled)|i(?:['’]m|\s+am)\s+(?:\w+\s+)?sure|correct|right)\b"
    r"|\W*(?:that|this|it)\s+(?:\w+\s+)?(?:holds|checks\s+out|makes\s+sense)\b",
    re.IGNORECASE,
)
_CONCEDES = re.compile(r"\s*,[^.!?\n]*\b(?:but|however|yet|still)\b", re.IGNORECASE)


def correction(following: str) -> str | None:
    """ "yes" or "no" if the text after "wait" or "actually" begins with this bare word: ", yes, since dogs bark".

    "Wait, yes, that is right" upholds what is stated, and "actually, true, ..., but ..." concedes something else.
    """
    match = _CORRECTION.match(following)
    if match is None:
        return None
    behind = following[match.end() :]
    concedes = match["said"] is not None and _CONCEDES.match(behind)
    return None if concedes or _AFFIRMS.match(behind) else WORDS[(match["word"] or match["said"]).lower()]


def plainly_stated(statement: str) -> str | None:
    """ "yes" or "no" for a box or sentence that states it and nothing else, such as an option; None or "" for others."""
    return boolean_word(statement) or (stated_word(statement) if _LED.match(statement) else None)
