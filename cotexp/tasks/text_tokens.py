"""Tokens of a short text, with or without LaTeX: the words, numbers and signs that the grammar of quantities reads.

LaTeX loses its formatting first (`without_formatting`), so that the content of a `\\boxed` and a sentence are the same kind of text.
"""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction
from typing import NamedTuple

MOST_DIGITS = 100
"""Longer runs of digits answer no benchmark, and their conversion would be slow."""
MOST_CHARACTERS = 1000
"""Most characters of a text that are read; no stated answer is longer."""


class Token(NamedTuple):
    """`kind`: "number", "word", "operator", "equals", "separator", "colon", "open", "close", "currency", "percent", "degree", "bang", "arrow" or
    "bad" (it changes a number's value in an unknown way). `plain`: a number as written, without separators. `spaced`: white
    space precedes it.
    """

    kind: str
    text: str
    spaced: bool
    value: Fraction | None = None
    plain: str = ""


# --- LaTeX's formatting -------------------------------------------------------------------------------------------------------

_WIDE: dict[int, int | str] = {0xFF10 + n: 48 + n for n in range(10)} | {
    0xFF0C: ",",
    0xFF0E: ".",
    0xFF05: "%",
    0xFF1D: "=",
    0xFF1A: ":",
    0xFF08: "(",
    0xFF09: ")",
    0xFF04: "$",
    0xFF0B: "+",
    0xFF0D: "-",
}
_COMMA = re.compile(r"\s*(?:\\(?:text|mathord|mathrm|mathpunct)\s*\{\s*,\s*\}|\{\s*,\s*\}(?:\\!)?|,\s*\\!|\\!\s*,)\s*(?=\d)")
_COLOR = re.compile(r"\\(?:text)?color\s*(?:\[[^\[\]]*\])?\s*\{[^{}]*\}")
_WORDS_OF = re.compile(
    r"\\(?:text|textbf|textit|textrm|texttt|textsf|textsc|textup|textnormal|emph|mathrm|mathbf|mathit|mathsf|mathtt|mathcal|mathnormal|boldsymbol|bm"
    r"|mbox|hbox|operatorname|underline|underbrace|overbrace|fbox|boxed|cancel|ensuremath|pmb)\s*\*?\s*\{([^{}]*)\}"
)
_SWITCH = re.compile(
    r"\\(?:displaystyle|textstyle|scriptstyle|left|right|bigl?|bigr?|Bigl?|Bigr?|biggl?|biggr?|Biggl?|Biggr?|tiny|scriptsize|footnotesize|small"
    r"|normalsize|large|Large|LARGE|huge|Huge|bf|it|rm|sf|tt|bfseries|itshape|mathstrut|strut|limits|nolimits|hfill|par|noindent|protect)(?![A-Za-z])"
)
_NAMED = (
    {"times": "×", "cdot": "×", "div": "÷", "ast": "×", "pm": "±", "mp": "±", "le": "≤", "leq": "≤", "leqslant": "≤", "ge": "≥", "geq": "≥"}
    | {"geqslant": "≥", "neq": "≠", "ne": "≠", "lt": "<", "gt": ">", "approx": "≈", "simeq": "≈", "pi": "π", "sqrt": "√", "infty": "∞"}
    | {"degree": "°", "textdollar": "$", "pounds": "£", "textsterling": "£", "euro": "€", "texteuro": "€", "yen": "¥", "cents": " cents "}
    | {"quad": " ", "qquad": " ", "enspace": " ", "enskip": " ", "thinspace": " ", "space": " ", "lbrace": "(", "rbrace": ")", "lbrack": "["}
    | {"rbrack": "]", "lvert": "|", "rvert": "|", "to": "→", "rightarrow": "→", "Rightarrow": "→", "implies": "→", "therefore": "→"}
    | {"ldots": "...", "dots": "...", "cdots": "...", "equiv": "=", "colon": ":", "percent": "%", "copyright": "\\?"}
)
_COMMAND = re.compile(r"\\([A-Za-z]+)")
_CIRCLE = re.compile(r"\^\s*(?:\{\s*(?:\\circ|o)\s*\}|\\circ(?![A-Za-z]))")
_ORDINAL = re.compile(r"\^\s*\{\s*(?:st|nd|rd|th)\s*\}")
_ROUNDED = re.compile(r"\\l(?:ceil|floor)(?![A-Za-z])\s*(\d+)\s*\\r(?:ceil|floor)(?![A-Za-z])")
_BAR = re.compile(r"(?<!\d)(\d+\.\d*)\\(?:overline|bar|dot)\s*(?:\{\s*(\d+)\s*\}|(\d))")
_PAIR = re.compile(r"(?<!\\)\$([^$]*)(?<!\\)\$(?![\d.])")
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,30}>|<\|[^<>|]{1,40}\|>")
_CALCULATION = re.compile(r"<<[^<>\n]{0,200}>>")
"""A calculator mark, as in GSM8K's solutions: "9*2=<<9*2=18>>18"."""
_ANGLED = re.compile(r"<([^<>\s][^<>]*)>")
_EMPHASIS = re.compile(r"\*{2,}|`+|[\"“”„«»]|(?<!\w)_+|_+(?![\w{])|^\s*\*(?=[^\s*])|(?<=[^\s*])\*(?=\s*[.,;:!?]?\s*$)")
_QUOTED = re.compile(r"(?<!\w)['‘]([^'’\n]*)['’](?!\w)")
_UNIT = r"(?:cm|mm|km|dm|m|in|ft|yd|mi|inch|inches|feet|foot|yards?|miles?|met(?:er|re)s?|centimet(?:er|re)s?|units?|sq|square)"
_UNIT_POWER = re.compile(rf"(?<![A-Za-z])({_UNIT})\s*(?:\^\s*(?:\{{\s*[-−]?[23]\s*\}}|[-−]?[23])|[²³])(?![\d])")
_UNIT_FRACTION = re.compile(r"\\[dtc]?frac\s*\{\s*([A-Za-z$£€ ]*)\s*\}\s*\{\s*([A-Za-z ²³]+)\s*\}")


def without_formatting(text: str) -> str:
    """A short text without the formatting of LaTeX and Markdown: fonts, sizes, spaces, dollars around a formula; signs in place of their names."""
    text = _CALCULATION.sub("", text.translate(_WIDE))
    for _ in range(8):
        text, num_found = _WORDS_OF.subn(r" \1 ", _COLOR.sub("", _COMMA.sub(",", text)))
        if not num_found:
            break
    text = _EMPHASIS.sub("", _QUOTED.sub(r"\1", text))
    text = _EMPHASIS.sub("", _ANGLED.sub(r" \1 ", _TAG.sub(" ", _BAR.sub(_repeating, _ROUNDED.sub(r"\1", _SWITCH.sub("", text))))))
    text = text.replace("\\(", " ").replace("\\)", " ").replace("\\[", " ").replace("\\]", " ").replace("\\{", "(").replace("\\}", ")")
    text = re.sub(r"(?<=\d)(?:\\[,;: ]|~)(?=\d)", "\u2009", text.replace("\\!", "")).replace("~", " ")
    text = re.sub(r"\\[,;:> ]|\\\n", " ", text).replace("\\$", "＄").replace("\\%", "%").replace("\\_", "_").replace("\\&", "&").replace("\\#", "#")
    text = _ORDINAL.sub("", _CIRCLE.sub("°", text))
    text = _COMMAND.sub(lambda match: _NAMED.get(match[1], match[0]), _UNIT_FRACTION.sub(r" \1/\2 ", text))
    return _UNIT_POWER.sub(r"\1", _PAIR.sub(r" \1 ", text).replace("＄", "$")).strip()


def _repeating(match: re.Match[str]) -> str:
    """The fraction of `0.\\overline{3}`."""
    start, cycle = match[1], match[2] or match[3]
    if len(start) + len(cycle) > MOST_DIGITS:
        return match[0]
    whole = Fraction(start.rstrip(".") if not start[:-1].isdigit() or start[-1] != "." else start[:-1])
    places = len(start) - start.index(".") - 1
    value = whole + Fraction(int(cycle), (10 ** len(cycle) - 1) * 10**places)
    return f" {value.numerator}/{value.denominator} "


# --- tokens --------------------------------------------------------------------------------------------------------------

_GAP = "\u2009\u202f\u00a0\u2007"
_DIGITS = rf"(?:[1-9]\d{{0,2}}(?P<gap>[ {_GAP}'’])\d{{3}}(?:(?P=gap)\d{{3}})*(?![\d])(?!(?P=gap)\d)|\d{{1,3}}(?:,\d{{3}})+(?!\d)|\d+)(?:\.\d+)?|\.\d+"
_FRAC = r"\\[dtc]?frac\s*(?:\{\s*(?P<minus>[-−])?\s*(?P<top>[\d.]{1,100})\s*\}|(?P<top1>\d))\s*(?:\{\s*(?P<bottom>[\d.]{1,100})\s*\}|(?P<bottom1>\d))"
_TOKEN = re.compile(
    rf"(?P<space>\s+)|(?P<frac>{_FRAC})|(?P<scientific>(?:{_DIGITS.replace('gap', 'gap2')})(?:[eE](?P<e>[-+−]?\d{{1,3}})(?![\w.])"
    r"|\s*(?:[×x*])\s*10\s*\^\s*(?:\{\s*(?P<power>[-−+]?\s*\d{1,3})\s*\}|(?P<power1>[-−]?\d{1,3}))(?![\d])))"
    rf"|(?P<number>{_DIGITS})|(?P<by>(?<=\d)x(?=\d))|(?P<other>[¼-¾⅐-⅞⅟²³¹⁰-₉])|(?P<glued>(?<=\d)(?:hrs?|h|mins?|m|ft|lbs?|kg|km)(?=\d))"
    r"|(?P<word>[^\W\d_]+(?:[-'’][^\W\d_]+|(?<=[A-Za-z])\.(?=[A-Za-z]\.)[A-Za-z]|(?<=[A-Za-z\d_])[\d_])*)|(?P<dots>\.\.+|…)"
    r"|(?P<arrow>→|=>|->|⇒|∴)|(?P<equals>==?|≈|≅)|(?P<operator>[-+*/×÷·⋅^−–—])|(?P<separator>[,;&]|\.)|(?P<colon>:)"
    r"|(?P<open>[(\[{])|(?P<close>[)\]}])|(?P<currency>[$£€¥₹₩])|(?P<percent>%)|(?P<degree>°)|(?P<bang>!)|(?P<rest>.)",
    re.DOTALL,
)
_BROKEN = re.compile(r"[,.:'’]?\d[\d,.:'’]*|,\d")


def tokens(text: str) -> list[Token]:
    """The tokens of a text from `without_formatting`."""
    result: list[Token] = []
    at, spaced = 0, False
    while at < len(text):
        match = _TOKEN.match(text, at)
        assert match is not None
        at = match.end()
        kind = match.lastgroup or ""
        if kind == "space":
            spaced = True
            continue
        token = _token(kind, match, spaced)
        if kind in ("number", "scientific", "frac") and (broken := _BROKEN.match(text, at)) and not text.startswith(". ", at):
            at, token = broken.end(), Token("bad", match.group() + broken.group(), spaced)
        if kind == "rest" and match.group() in "'’" and result and result[-1].kind == "number" and not spaced:
            token = Token("bad", "'", spaced)
        if kind == "dots" and result and "." in result[-1].plain and not spaced:
            token = Token("bad", "...", spaced)
        if token is not None:
            result.append(token)
        spaced = False
    return result


def _token(kind: str, match: re.Match[str], spaced: bool) -> Token | None:
    text = match.group()
    if kind == "number":
        return _number(text, spaced)
    if kind == "scientific":
        return _scientific(match, spaced)
    if kind == "frac":
        return _fraction(match, spaced)
    if kind == "glued":
        return Token("word", text, spaced)
    if kind == "dots":
        return None
    if kind == "by":
        return Token("operator", "×", spaced)
    if kind in ("other", "rest"):
        return _other(text, spaced)
    return Token(kind, text, spaced)


def _number(text: str, spaced: bool) -> Token:
    plain = re.sub(r"[^\d.]", "", text)
    return Token("number", text, spaced, Fraction(plain), plain) if len(plain) <= MOST_DIGITS else Token("bad", "", spaced)


def _scientific(match: re.Match[str], spaced: bool) -> Token:
    power = re.sub(r"\s|\+", "", match["e"] or match["power"] or match["power1"]).replace("−", "-")
    base = _number(re.split(r"[eE×x*]", match.group(), maxsplit=1)[0].strip(), spaced)
    if base.value is None or abs(int(power)) > MOST_DIGITS:
        return Token("bad", "", spaced)
    return Token("number", match.group(), spaced, base.value * Fraction(10) ** int(power))


def _fraction(match: re.Match[str], spaced: bool) -> Token:
    top, bottom = match["top"] or match["top1"], match["bottom"] or match["bottom1"]
    sign = "-" if match["minus"] else ""
    try:
        return Token("number", "fraction", spaced, Fraction(f"{sign}{top}") / Fraction(bottom), f"{sign}{top}/{bottom}")
    except (ValueError, ZeroDivisionError):
        return Token("bad", match.group(), spaced)


def _other(text: str, spaced: bool) -> Token | None:
    vulgar = unicodedata.numeric(text, None)
    if vulgar is not None and "FRACTION" in unicodedata.name(text, ""):
        value = Fraction(vulgar).limit_denominator(100)
        return Token("number", "fraction", spaced, value, f"{value.numerator}/{value.denominator}")
    if text in "<>≤≥≠±√π∞|‰′″\\^_" or vulgar is not None:
        return Token("bad", text, spaced)
    return None
