"""LaTeX as strings: normalisation removes what does not change a formula, and tokenisation splits the rest.

Nothing is guessed here: an unknown command stays, and `grammar` then refuses the whole formula.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from cotexp.tasks.unit_words import Unsure, number_in_words, units_agree
from cotexp.tasks.word_lists import words

_TEXT = r"\\(?:text|textbf|textit|textrm|textnormal|mbox|hbox|mathrm|mathbf)\s*\{(?P<text>[^{}]*)\}"
_GROUPING = re.compile(r"(?<=\d)(?:,?\\[,!]|\{,\}(?:\\!)?)(?=\d{3}(?!\d))")
_SPACING = re.compile(r"\\(?:[,!;: ]|(?:left|right|displaystyle|quad|qquad|big|Big|bigl|bigr)(?![A-Za-z]))|\\?\$|~")
_ONE_LONG_NUMBER = re.compile(r"[^,\d]*\d{1,3}(?:(?:,|\{,\})\d{3})+(?:\.\d+)?[^,\d]*")
_SAME = (
    (re.compile(r"\\[dtc]frac"), r"\\frac"),
    (re.compile(_TEXT), r"\g<text>"),
    (re.compile(r"\\[lc]?dots(?:[cbm](?![A-Za-z]))?|…|\.\.\."), r"\\ldots"),
    (re.compile(r"\^\s*(?:\{\s*)?\\circ(?:\s*\})?|\\degree|\\?%"), ""),
    (re.compile(r"\\frac\s*([^{\s\\])"), r"\\frac{\1}"),
    (re.compile(r"(\\frac\{[^{}]*\})\s*([^{\s\\])"), r"\1{\2}"),
    (re.compile(r"\\sqrt\s*([^{\[\s\\])"), r"\\sqrt{\1}"),
    (re.compile(r"\{([:;])\}"), r"\1"),
    (re.compile(r"(?<!\d)\.(?=\d)"), "0."),
    (re.compile(r"(\d)\.0+(?!\d)"), r"\1"),
    (re.compile(r"−"), "-"),
    (re.compile(r"([\^_])\s*([A-Za-z\d])(?![A-Za-z\d])"), r"\1{\2}"),
    (re.compile(r"(?<=\d)\s+(?=\d)"), "␣"),
    (re.compile(r"\s+"), ""),
)


def normalised(latex: str) -> str:
    """A formula without marks that do not change it: spaces, sizes, dollar, percent and degree signs, separators of thousands, `\\dfrac`."""
    latex = _SPACING.sub(" ", _GROUPING.sub(",", latex)).replace("{,}", ",").strip()
    if _ONE_LONG_NUMBER.fullmatch(latex):
        latex = latex.replace(",", "")
    for pattern, replacement in _SAME:
        latex = pattern.sub(replacement, latex)
    return latex.rstrip(".")


_OF_ANGLE = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![a-z])")
_LETTER_IN_BRACKETS = re.compile(r"^\(([A-Z])\)$")


def same_spelling(gold: str, answer: str) -> bool:
    """Whether the normalised strings are the same, up to the case of words."""
    ours, theirs = (_LETTER_IN_BRACKETS.sub(r"\1", normalised(stripped(text))) for text in (answer, gold))
    if ours == theirs:
        signs = _sign_of(gold), _sign_of(answer)
        return signs[0] == signs[1] if _OF_ANGLE.search(ours) else units_agree(*signs)
    return ours.casefold() == theirs.casefold() and ours.isalpha() and len(ours) > 2 and not ours.isupper() and not theirs.isupper()


def _sign_of(latex: str) -> str | None:
    if re.search(r"\\\$|^\s*\$[^$]*$|€|£", latex):
        return "$"
    return "%" if "%" in latex else "°" if re.search(r"\\circ|\\degree|°", latex) else None


def parts_of(latex: str) -> list[str]:
    """The parts between commas that a space follows, outside of brackets and braces; the formula itself if there is no such comma."""
    parts, depth, start = [], 0, 0
    for match in _BRACKET_OR_COMMA.finditer(latex):
        if match.group() == ", " and depth == 0:
            parts.append(latex[start : match.start()])
            start = match.end()
        elif match.group() != ", ":
            depth += 1 if match.group()[-1] in "([{" else -1
    return [*parts, latex[start:]]


_BRACKET_OR_COMMA = re.compile(r"\\[{}]|[()\[\]{}]|, ")


# --- tokens --------------------------------------------------------------------------------------------------------------

MOST_CHARACTERS = 2_000
"""Longer formulas are not answers, and are compared only as strings."""
_UNICODE = {
    "−": "-", "–": "-", "×": "\\times ", "÷": "\\div ", "·": "\\cdot ", "⋅": "\\cdot ", "π": "\\pi ", "∞": "\\infty ", "≤": "\\le ", "≥": "\\ge ",
    "≠": "\\ne ", "±": "\\pm ", "∓": "\\mp ", "∪": "\\cup ", "∩": "\\cap ", "∈": "\\in ", "∅": "\\emptyset ", "ℝ": "\\mathbb{R}", "θ": "\\theta ",
    "≈": "\\approx ", "α": "\\alpha ", "β": "\\beta ", "γ": "\\gamma ", "λ": "\\lambda ", "φ": "\\phi ", "ω": "\\omega ", "√": "\\sqrt ",
    "°": "^\\circ ", "²": "^{2}", "³": "^{3}", "⁴": "^{4}", "½": "\\frac{1}{2}", "⅓": "\\frac{1}{3}", "⅔": "\\frac{2}{3}",
    "¼": "\\frac{1}{4}", "¾": "\\frac{3}{4}",
    "⅕": "\\frac{1}{5}", "⅖": "\\frac{2}{5}", "⅗": "\\frac{3}{5}", "⅘": "\\frac{4}{5}", "⅙": "\\frac{1}{6}", "⅚": "\\frac{5}{6}", "⅛": "\\frac{1}{8}",
    "⅜": "\\frac{3}{8}", "⅝": "\\frac{5}{8}", "⅞": "\\frac{7}{8}", "，": ",", "\u00a0": " ", "\u202f": "\\,", "\u2009": "\\,", "…": "\\ldots ",
}  # fmt: skip
_DRESS = re.compile(
    r"\\(?:left|right|bigl|bigr|Bigl|Bigr|biggl|biggr|big|Big|bigg|displaystyle|textstyle|limits|large|Large|small|tiny|rm|bf|it|boldsymbol)"
    r"(?![A-Za-z])\.?|\\color\s*\{[a-z]+\}|\\phantom\s*\{[^{}]*\}|\\hfill(?![A-Za-z])"
)
_ALIASES = (
    (re.compile(r"\\lbrace(?![A-Za-z])"), r"\\{"),
    (re.compile(r"\\rbrace(?![A-Za-z])"), r"\\}"),
    (re.compile(r"\(\s*(\d+)\s*\)\s*_"), r"\1_"),
    (re.compile("¢"), r"\\text{ cent}"),
    (re.compile(r"\\lbrack(?![A-Za-z])"), "["),
    (re.compile(r"\\rbrack(?![A-Za-z])"), "]"),
    (re.compile(r"\{([:;])\}"), r" \1 "),
    (re.compile(r"(\\\\)\s*\[\s*-?[\d.]+\s*(?:pt|em|ex|mm|cm)\s*\]"), r"\1"),
    (
        re.compile(r"\\left\s*[(\[]\s*\\begin\s*\{array\}\s*\{[clr ]+\}(.*?)\\end\s*\{array\}\s*\\right\s*[)\]]", re.DOTALL),
        r"\\begin{pmatrix}\1\\end{pmatrix}",
    ),
)
"""Other spellings of a few commands, and commands that only change the space between lines."""
_WORDS = re.compile(r"(?:\\(?:text|textbf|textrm|mbox|mathrm)\s*\{)?([A-Za-z -]+)\}?")
_TEXT_DOLLAR = re.compile(r"\\text(?:dollar|degree|euro)(?![A-Za-z])")
_DOLLAR = re.compile(r"(?<!\\)\$")
_FONT = re.compile(
    r"\\(?:mathit|mathsf|mathtt|mathnormal|texttt|textsf|underline|mathord|boxed|fbox|ensuremath|operatorname|bold)(?![A-Za-z])\s*(?=\{)"
)
_COLOURED = re.compile(r"\\textcolor\s*\{[a-z]+\}")
_SPACE = re.compile(r"(?<!\\)\\(?:quad|qquad|enspace|thinspace|;|:|!|,| |\n)(?![A-Za-z])|(?<!\\)\\[;:!, ]|~")
_THIN = re.compile(r"(?<![\d.,])(\d{1,3})((?:(?:,?\\,|,\\!|\{,\}\\!|\s?\{,\}\s?|\\text\{,\}|~|\\ | )\d{3})+)(?![\d])")
_COMMAS = re.compile(r"(?<![\d.])\d+(?:,\d+)+(?!\d)")
_BY_THREE = re.compile(r"\d{1,3}(?:,\d{3})+")
_TOKEN = re.compile(
    rf"(?P<space>\s+)|{_TEXT}"
    r"|(?P<number>\d+\.\d+|\d+|\.\d+)"
    r"|\\begin\s*\{(?P<begin>[a-z*]+)\}|\\end\s*\{(?P<end>[a-z*]+)\}"
    r"|\\mathbb\s*\{?(?P<blackboard>[A-Z])\}?|(?P<row>\\\\)|(?P<command>\\(?:[A-Za-z]+|[{}|%$#&_]))|(?P<letters>[A-Za-z]+)|(?P<sign>.)",
    re.DOTALL,
)


class Token(NamedTuple):
    """One token of a formula. Kinds: "number", "letter", "command", "text", "sign", "begin", "end"."""

    kind: str
    text: str


_LONE_BACKSLASH = re.compile(r"(?<!\\)\\$")
"""The rest of a space command after a formula."""


def _end_of_formula(latex: str) -> int:
    """Where the full stops, commas and spaces at its end begin, space commands among them."""
    end = len(latex)
    while end:
        if latex[max(end - 2, 0) : end] in ("\\,", "\\;", "\\ "):
            end -= 2
        elif latex[end - 1] in ".;," or latex[end - 1].isspace():
            end -= 1
        else:
            break
    return end


def stripped(latex: str) -> str:
    """A formula without the marks around it: dollars, `\\( \\)`, `\\[ \\]`, a final full stop."""
    latex = _LONE_BACKSLASH.sub("", latex.strip())
    before = ""
    while latex != before:
        before = latex
        latex = latex[: _end_of_formula(latex)]
        for opening, closing in (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"), ("**", "**")):
            inside = latex[len(opening) : len(latex) - len(closing)]
            if latex.startswith(opening) and latex.endswith(closing) and len(latex) > len(opening) + len(closing) and opening not in inside:
                latex = inside.strip()
    return latex


def tokens(latex: str) -> list[Token]:
    """The tokens of a formula. Raises: Unsure if it is too long."""
    if len(latex) > MOST_CHARACTERS:
        raise Unsure("too long")
    latex = stripped(latex).replace("\\(", " ").replace("\\)", " ")
    if (words := _WORDS.fullmatch(latex)) and (value := number_in_words(words[1])) is not None:
        latex = f"{'-' * (value < 0)}\\frac{{{abs(value.numerator)}}}{{{value.denominator}}}" if value.denominator > 1 else str(value)
    for pattern, spelled in _ALIASES:
        latex = pattern.sub(spelled, latex)
    latex = _TEXT_DOLLAR.sub(lambda match: {"\\textdollar": "\\$", "\\textdegree": "^\\circ ", "\\texteuro": "€"}[match.group()], latex)
    if len(dollars := _DOLLAR.findall(latex)) % 2 == 0 and dollars:
        latex = _DOLLAR.sub(" ", latex)
    for sign, command in _UNICODE.items():
        latex = latex.replace(sign, command)
    latex = _FONT.sub("", _COLOURED.sub("", _DRESS.sub(" ", latex)))
    latex = _THIN.sub(lambda match: re.sub(r"\D", "", match.group()), latex)
    latex = _without_commas(_SPACE.sub(" ", latex).replace("{,}", ","))
    result: list[Token] = []
    after_space = True
    for match in _TOKEN.finditer(latex):
        kind, text = match.lastgroup or "", match[match.lastgroup or ""]
        if kind == "letters":
            result += _letter_tokens(text, after_space, result[-1] if result else None)
        elif kind == "text":
            result += _text_tokens(text)
        elif kind == "blackboard":
            result.append(Token("command", f"\\mathbb{text}"))
        elif kind == "row":
            result.append(Token("sign", "\\\\"))
        elif kind != "space":
            result.append(Token(kind, text))
        after_space = kind == "space"
    return result


def _without_commas(latex: str) -> str:
    """The text with numbers such as 1,200 without commas, unless these separate the members of a pair or set."""
    pieces, last = [], 0
    for match in _COMMAS.finditer(latex):
        before = latex[: match.start()]
        depth = len(re.findall(r"[(\[]|\\\{|\\langle", before)) - len(re.findall(r"[)\]]|\\\}|\\rangle", before))
        is_one = depth <= 0 and _BY_THREE.fullmatch(match.group())
        pieces += [latex[last : match.start()], match.group().replace(",", "") if is_one else match.group()]
        last = match.end()
    return "".join([*pieces, latex[last:]])


_FUNCTION_NAMES = "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh ln log exp"
FUNCTIONS = {f"\\{name}": name for name in _FUNCTION_NAMES.split()}
_GREEK_NAMES = (
    "alpha beta gamma delta epsilon varepsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau phi varphi chi psi omega "
    "Gamma Delta Theta Lambda Sigma Phi Psi Omega pi infty ell"
)
GREEK = frozenset(f"\\{name}" for name in _GREEK_NAMES.split())
RELATIONS = {
    "=": "=", "<": "<", ">": ">", "\\lt": "<", "\\gt": ">", "\\le": "<=", "\\leq": "<=", "\\leqslant": "<=", "\\ge": ">=", "\\geq": ">=",
    "\\geqslant": ">=", "\\approx": "~", "\\ne": "!=", "\\neq": "!=", "\\in": "in",
}  # fmt: skip
WORDS_OF_MATHS = {
    "sqrt": "\\sqrt", "pi": "\\pi", "infinity": "\\infty", "inf": "\\infty", "infty": "\\infty", "sin": "\\sin", "cos": "\\cos", "tan": "\\tan",
    "log": "\\log", "ln": "\\ln", "exp": "\\exp", "theta": "\\theta", "alpha": "\\alpha", "beta": "\\beta", "cup": "\\cup", "union": "\\cup",
}  # fmt: skip
_WORD = re.compile(r"(?=.*[aeiouyAEIOUY])[A-Za-z]{3,}|[ck]m|mm|[mk]g|ml|mL|ft|oz|lbs?|hrs?|mph|min|or|and|in")
"""Letters after a space that form a word or a unit. Other letters are variables, as in "3xyz" and "12mn"."""
_SMALL_WORDS = words("an is it at on of no to so we if by as")
_LETTERS_OF_VARIABLES = re.compile(r"[a-d]{3,}|[x-z]{3,}|[p-t]{3}|[A-D]{3,}|[P-T]{3}|[X-Z]{3}")


def _letter_tokens(text: str, after_space: bool, before: Token | None) -> list[Token]:
    if text in WORDS_OF_MATHS:
        return [Token("command", WORDS_OF_MATHS[text])]
    if text in _SMALL_WORDS and (before is None or before.kind in ("number", "text") or before.text == ","):
        return [Token("text", text)]
    is_word = _WORD.fullmatch(text) and not _LETTERS_OF_VARIABLES.fullmatch(text)
    if is_word and (after_space or (before is not None and before.kind == "number" and text in ("cm", "km", "mm", "kg", "mg"))):
        return [Token("text", text)]
    return [Token("letter", sign) for sign in text]


def _text_tokens(text: str) -> list[Token]:
    """The tokens of a text command: its words and numbers. A single letter or number in another font is an ordinary one."""
    bare = text.strip()
    if re.fullmatch(r"[A-Za-z]", bare) and text == bare and bare not in "kmgshlLM":
        return [Token("letter", bare)]
    if not bare:
        return []
    if bare.lower() in ("all real numbers", "all reals", "all real"):
        return [Token("command", "\\mathbbR")]
    if re.fullmatch(r"[A-Z](?:(?:,|,? and )\s*[A-Z])+", bare):
        return [Token("letter" if sign.isalpha() else "sign", sign) for sign in bare.replace(" and ", ",").replace(",,", ",") if not sign.isspace()]
    pieces = re.findall(r"\d[\d,]*(?:\.\d+)?|[^\d]+", bare)
    if len(pieces) == 2 and pieces[0][0].isdigit() and "/" not in bare and _BY_THREE.fullmatch(pieces[0]) is None and "," in pieces[0]:
        return [Token("text", bare)]
    if len(pieces) > 2 or (len(pieces) == 2 and not pieces[0][0].isdigit() and pieces[0].strip() not in ("$", "\\$", "-")):
        return [Token("text", bare)]
    result = []
    for piece in pieces:
        if piece[0].isdigit():
            result.append(Token("number", piece.replace(",", "")))
        elif piece.strip() in ("-", "$", "\\$", ",", "/", "%", "\\%"):
            result.append(Token("sign", piece.strip().removeprefix("\\")))
        elif piece.strip():
            result.append(Token("text", piece.strip()))
    return result
