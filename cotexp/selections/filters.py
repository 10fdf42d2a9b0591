"""What may be asked of a rationale before it is learnt from, and the filters of MoRSD: each takes the rationales of one question in sample order.

Source: MoRSD (Findings of EMNLP 2025, arXiv 2509.23574). Measure and threshold of diversity are not published; the defaults are ours.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from cotexp.methods.pruning import UNSPACED
from cotexp.records import Rationale

NGRAM = 3
_WORD = re.compile(rf"\d+(?:[.,]\d+)*|[{UNSPACED}]|[^\W\d_{UNSPACED}]+|[^\w\s]")
COMMON_DIVERSITY = 0.5
"""Similarity from which rationales count as near duplicates by default when questions are chosen for all selections alike."""


def usable(rationales: Sequence[Rationale]) -> list[Rationale]:
    """Those that can be learnt from in any arm: finished, with a chain of thought and a stated answer."""
    return [each for each in rationales if each.closing and each.cot.strip() and each.finish_reason == "stop"]


def accurate(rationales: Sequence[Rationale]) -> list[Rationale]:
    return [each for each in rationales if each.correct]


def diverse(rationales: Sequence[Rationale], threshold: float) -> list[Rationale]:
    """Visited in order, those that are less similar than `threshold` to all kept before them; exact, every pair is compared."""
    kept: list[tuple[Rationale, frozenset[tuple[str, ...]]]] = []
    for each in rationales:
        grams = ngrams(each.text)
        if all(jaccard(grams, other) < threshold for _, other in kept):
            kept.append((each, grams))
    return [each for each, _ in kept]


def ngrams(text: str) -> frozenset[tuple[str, ...]]:
    """The word 3-grams of a text; words are numbers, runs of letters (single ones where no spaces are written) and single signs, without case. A
    shorter text is one gram."""
    words = _WORD.findall(text.casefold())
    return frozenset(tuple(words[i : i + NGRAM]) for i in range(max(1, len(words) - NGRAM + 1)))


def jaccard(first: frozenset[tuple[str, ...]], second: frozenset[tuple[str, ...]]) -> float:
    """Shared grams over all grams, in [0, 1]."""
    return len(first & second) / len(first | second)
