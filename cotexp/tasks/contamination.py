"""How much of a test split's wording is also in the training questions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cotexp.records import Question
from cotexp.tasks.splits import normal_text

NUM_WORDS = 13
"""Length of the compared runs of words. Source: GPT-3 (arXiv:2005.14165, appendix C) looks for overlaps of 8 to 13 words."""

_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class OverlapRow:
    """A test question that shares at least one run of words with a training question; `found_ratio` is the share of its runs found in training."""

    question: Question
    found_ratio: float


@dataclass(frozen=True, slots=True)
class Overlap:
    """`rows` in the order of the test split. `num_exact` counts test questions that are in training, up to case and white space."""

    rows: list[OverlapRow]
    num_exact: int


def overlap(train: Iterable[Question], test: Sequence[Question], num_words: int = NUM_WORDS) -> Overlap:
    """The test questions that share a run of `num_words` words with a training question. Options are not compared.

    A shorter question is one run as a whole, which only an equally short question can share.
    """
    train = list(train)
    known = {run for question in train for run in word_runs(question.text, num_words)}
    rows = []
    for question in test:
        runs = word_runs(question.text, num_words)
        if num_found := sum(run in known for run in runs):
            rows.append(OverlapRow(question, num_found / len(runs)))
    exact = {normal_text(question) for question in train}
    return Overlap(rows, sum(normal_text(question) in exact for question in test))


def word_runs(text: str, num_words: int) -> set[tuple[str, ...]]:
    """All different runs of `num_words` words, without case and punctuation; the whole text if it is shorter."""
    words = _WORD.findall(text.casefold())
    return {tuple(words[start : start + num_words]) for start in range(max(1, len(words) - num_words + 1))}
