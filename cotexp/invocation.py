"""How this process was started, and who reads what it prints."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import shlex
import signal
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path


def run_words() -> list[str]:
    """`python run.py` in a process of that script, with the path that was typed; else the installed command, which works in any folder."""
    return ["python", sys.argv[0]] if Path(sys.argv[0]).name == "run.py" else ["cotexp", "run"]


def run_command(arguments: Iterable[str] = ()) -> str:
    """A line for a shell that starts an experiment with these arguments."""
    return shlex.join([*run_words(), *arguments])


@contextlib.contextmanager
def while_read() -> Iterator[None]:
    """End without a word when whoever reads the output, such as `head`, has read enough: with the status of a process that SIGPIPE ends. End with one
    line if the output goes to a file and its disk is full.
    """
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:  # None where the shell closed it: >&-
                sys.stdout.flush()
    except BrokenPipeError:
        if not _reader_has_left():
            raise
        _drop_output()
        sys.exit(128 + signal.SIGPIPE)
    except OSError as error:
        if not _is_refused_by_output(error):
            raise
        _drop_output()
        sys.exit(f"cotexp: standard output cannot be written ({error.strerror}); make room on its disk, or send it elsewhere")


def _drop_output() -> None:
    """The end of the process writes what is not written yet, and would fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_refused_by_output(error: OSError) -> bool:
    """Whether a disk was full, and the output is on it: an empty line cannot be written either."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT) or error.filename is not None or sys.stdout is None or sys.stdout.isatty():
        return False
    try:
        os.write(sys.stdout.fileno(), b"\n")
    except OSError as refused:
        return refused.errno == error.errno
    return False


def _reader_has_left() -> bool:
    """Whether standard output is a pipe without a reader; a server may have closed another."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))
