"""Options of multiple choice: their letters, their order, and their labels in files."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def shuffled_options(texts: Iterable[str]) -> dict[str, str]:
    """Letters for option texts, in an order that depends only on the texts and not on their order in a source.

    Sources such as BIG-bench's Date Understanding list the correct option first.
    """
    unique = sorted(set(texts))
    whole = "\n".join(unique)
    order = sorted(unique, key=lambda text: hashlib.sha256(f"{whole}\n\n{text}".encode()).digest())
    return dict(zip(LETTERS, order, strict=False))


def label_and_text(option: str) -> tuple[str, str]:
    """The label of an option as a capital, or an empty one, and its text."""
    match = _LABELLED.fullmatch(option)
    return ((match[1] or match[2]).upper(), match[3].strip()) if match else ("", option)


_LABELLED = re.compile(r"\s*(?:\(?([A-Za-z])\)\s*|([A-Za-z])[.:]\s+)(\S.*)", re.DOTALL)
"""An option after its label: "A) cat", AQuA's "A)cat", "(A) cat", "A. cat"."""
