"""Kinds of arguments that several commands take."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from cotexp.settings.base import LARGEST, broken_path

AddParser = Callable[..., argparse.ArgumentParser]
"""Adds a command by name, with the texts of its help."""


def number(low: int, high: int = LARGEST) -> Callable[[str], int]:
    """A parser of integers within bounds, both included."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be an integer; got {text[:40]!r}") from None
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"must be at {f'least {low}' if value < low else f'most {high}'}; got {text[:40]}")
        return value

    return read


def path(text: str) -> Path:
    """The path that an argument names. Raises: ArgumentTypeError for a name that no file system accepts."""
    if problem := broken_path(text):
        raise argparse.ArgumentTypeError(f"{problem}; got {text[:40]!r}")
    return Path(text)


def add_formats(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", default="md", metavar="FORMATS", help="md, latex, csv, html, several joined by commas, or all (default md)")
    parser.add_argument(
        "--paper",
        default="acl",
        metavar="STYLE",
        help="acl, icml, neurips or iclr: the paper whose column and text the tables and the PDF of --format latex fit (default acl, also for EMNLP)",
    )


def add_outputs(command: argparse.ArgumentParser) -> None:
    command.add_argument("--outputs", type=path, default=Path("outputs"), help="folder of the store and of the runs (default outputs)")
