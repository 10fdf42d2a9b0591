"""Text for LaTeX: escaped, broken where it is too long, and measured."""

from __future__ import annotations

import unicodedata

from cotexp.visible import visible_lines

MARKUP = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "'": "{'}",
    "`": "{`}",
    "-": "-{}",
    "?": "?{}",
    "!": "!{}",
    "≈": r"$\approx$",
    "±": r"$\pm$",
    "−": "$-$",
    "×": r"$\times$",
    "→": r"$\rightarrow$",
    "“": "``",
    "”": "''",
    "–": "--",
    "…": r"\ldots{}",
}
"""Characters that LaTeX would not print as they are. The empty groups prevent ligatures of hyphens, ? and !."""
BREAKS = "._=/-:,;)"
"""Characters after which a word that is too long may be broken."""
LONGEST_PIECE = 14
"""Characters of a long word without one of BREAKS, after which it may be broken anywhere."""
WIDTHS = {
    **dict.fromkeys("ijl.,:;!|'`", 0.28),
    **dict.fromkeys("ftrsI()[]- ", 0.4),
    **dict.fromkeys("mw%+=<>~±×≈−→", 0.84),
    **dict.fromkeys("ABCDEFGHJKLNOPQRSTUVXYZ&", 0.76),
    **dict.fromkeys("MW@…", 1.03),
    **dict.fromkeys("0123456789acegosvxyz", 0.53),
}
"""Widths in em of characters of Computer Modern, which is wider than Times; others are at most WIDEST_LETTER."""
WIDEST_LETTER = 0.59
OTHER = 1.0
BOLD = 1.15


def escaped(text: str) -> str:
    """`text` escaped for LaTeX. Characters that its usual fonts lack are replaced by their ASCII form or their code point."""
    return "".join(map(_sign, " ".join(visible_lines(text).split())))


def breakable(text: str, points: float, room: float) -> str:
    """`text` escaped, with places to break words that are wider than `room`, both in points."""
    return " ".join(escaped(word) if width(word, points) <= room else _with_breaks(word) for word in visible_lines(text).split())


def prose(text: str) -> str:
    """`text` escaped, with places to break words that may be wider than the rest of a line."""
    return breakable(text, 1.0, 9.0)


def _with_breaks(word: str) -> str:
    pieces, length = [], 0
    for sign in word:
        length += 1
        is_break = sign in BREAKS or length >= LONGEST_PIECE
        pieces.append(_sign(sign) + (r"\allowbreak{}" if is_break else ""))
        length = 0 if is_break else length
    return "".join(pieces)


def _sign(sign: str) -> str:
    if sign in MARKUP:
        return MARKUP[sign]
    if " " <= sign <= "~" or (sign.isalpha() and sign <= "ÿ"):
        return sign
    plain = unicodedata.normalize("NFKD", sign).encode("ascii", "ignore").decode()
    return "".join(MARKUP.get(letter, letter) for letter in plain) if plain.isprintable() and plain else f"[U+{ord(sign):04X}]"


def width(text: str, points: float, *, bold: bool = False) -> float:
    """Points that a line of text takes at most. The fonts for small sizes are wider."""
    return points * (1 + 0.045 * max(0.0, 9.5 - points)) * sum(map(_width, " ".join(visible_lines(text).split()))) * (BOLD if bold else 1.0)


def _width(sign: str) -> float:
    if sign in WIDTHS:
        return WIDTHS[sign]
    if " " <= sign <= "ÿ":
        return WIDEST_LETTER
    return 9 * WIDEST_LETTER if _sign(sign).startswith("[U+") else OTHER * len(_sign(sign))
