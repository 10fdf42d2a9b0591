"""Draws what a command shows in a terminal as an SVG file: python docs/terminal_picture.py FILE.svg SECONDS COMMAND [WORD ...]

The command runs in a terminal of its own, and gets Ctrl-C after SECONDS. The picture is the last one that it drew.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shlex
import struct
import sys
import termios
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

COLUMNS, LINES = 124, 32


def shown_by(command: list[str], seconds: float) -> str:
    """All that a command writes to its terminal."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(command[0], command, {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "LINES": str(LINES)})
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    written, end, is_asked = b"", time.monotonic() + seconds, False
    while True:
        if time.monotonic() > end and not is_asked:
            is_asked = True
            os.write(terminal, b"\x03")
        try:
            if select.select([terminal], [], [], 0.2)[0]:
                written += (read := os.read(terminal, 65536))
                if not read:
                    break
        except OSError:  # the command has closed it
            break
    os.waitpid(pid, 0)
    return written.decode(errors="replace").replace("\r\n", "\n").replace("^C", "")


def last_frame(text: str) -> str:
    """What stands after the last lines that were cleared to be drawn anew."""
    drawn = re.split(r"(?:\r?\x1b\[2K(?:\x1b\[1A)?)+", text)[-1]
    return re.sub(r"\x1b\[\?25[lh]", "", drawn).strip("\n\r")


def picture(text: str, title: str) -> str:
    """The SVG of a text with colours, with no font from elsewhere."""
    console = Console(record=True, width=COLUMNS, file=Path(os.devnull).open("w"), force_terminal=True)  # noqa: SIM115 - as long as the process
    console.print(Text.from_ansi(text))
    svg = console.export_svg(title=title, unique_id="terminal")
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)


if __name__ == "__main__":
    file, limit, *words = sys.argv[1:]
    Path(file).write_text(picture(last_frame(shown_by(words, float(limit))), shlex.join(words)), encoding="utf-8")
