"""Control characters in texts of models and servers, escaped so that a terminal or a document shows them instead of obeying them."""

from __future__ import annotations

import logging
import re

_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0 with line break and tab, DEL, C1: a terminal obeys them, XML and LaTeX refuse them
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # turn the direction of what follows
    "\u2028\u2029"  # end a line
    "\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"  # cannot be seen
    "\ud800-\udfff]"  # halves of characters, which no file can hold
)
_SHORT = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\0": "\\0"}


def visible(text: str, *, keep: str = "") -> str:
    """`text` with every control or invisible character escaped, such as \\x1b and \\u202e; those of `keep` stay."""
    return _HIDDEN.sub(lambda found: found[0] if found[0] in keep else _SHORT.get(found[0]) or _code(ord(found[0])), text)


def visible_lines(text: str) -> str:
    """`visible` for a text of several lines: line breaks and tabs stay, and Windows line breaks become plain ones."""
    return visible(text.replace("\r\n", "\n"), keep="\n\t")


def format_error(error: Exception) -> str:
    """One line per mistake, as commands print it."""
    return "\n".join(f"cotexp: {visible(line)}" for line in str(error).splitlines())


def in_json(line: str) -> str:
    """A line of JSON with the same content, in which control characters are JSON escapes."""
    return _HIDDEN.sub(lambda found: found[0] if found[0] == "\n" else json_spelled(found[0]), line)


def json_spelled(sign: str) -> str:
    """The JSON escape of one character; two escapes beyond the basic plane."""
    units = sign.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


class LogLines(logging.Formatter):
    """Formats log lines for the terminal and log.txt with control characters escaped, since servers and models wrote parts of them."""

    def format(self, record: logging.LogRecord) -> str:
        return visible_lines(super().format(record))


def _code(number: int) -> str:
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
