"""Control characters in texts of models and servers, escaped so that a terminal or a document shows them instead of obeying them."""

from __future__ import annotations

import logging
import re

_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0 with line break and tab, DEL, C1: terminals obey them; XML and LaTeX refuse them
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # change the direction of the following text
    "\u2028\u2029"  # end a line
    "\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"  # invisible
    "\ud800-\udfff]"  # surrogates, which UTF-8 cannot encode
)
_SHORT = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\0": "\\0"}


def visible(text: str, *, keep: str = "") -> str:
    """`text` with every control or invisible character escaped, such as \\x1b and \\u202e; except those in `keep`."""
    return _HIDDEN.sub(lambda match: match[0] if match[0] in keep else _SHORT.get(match[0]) or _code(ord(match[0])), text)


def visible_lines(text: str) -> str:
    """`visible` for a text of several lines: keeps line breaks and tabs, and turns Windows line breaks into plain ones."""
    return visible(text.replace("\r\n", "\n"), keep="\n\t")


def format_error(error: Exception) -> str:
    """An error as commands print it: one line per mistake."""
    return "\n".join(f"cotexp: {visible(line)}" for line in str(error).splitlines())


def in_json(line: str) -> str:
    """A line of JSON with the same value, in which control characters are JSON escapes."""
    return _HIDDEN.sub(lambda match: match[0] if match[0] == "\n" else json_escape(match[0]), line)


def json_escape(character: str) -> str:
    """The JSON escape of one character. A character beyond the Basic Multilingual Plane has two."""
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


class LogLines(logging.Formatter):
    """Formats log lines with control characters escaped, because parts of them come from servers and models."""

    def format(self, record: logging.LogRecord) -> str:
        return visible_lines(super().format(record))


def _code(number: int) -> str:
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
