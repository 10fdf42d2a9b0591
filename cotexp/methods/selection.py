"""Which rationales of each question are learnt from.

Source: MoRSD (Findings of EMNLP 2025, arXiv 2509.23574): first accuracy, then diversity, then the k of lowest difficulty. Measure and
threshold of diversity and k are not published; the defaults are ours. The controls differ in a filter or in the order, in nothing else.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence

from cotexp.records import Rationale, Score, Selected
from cotexp.settings.selection import COMMON_DIVERSITY, Selection

NGRAM = 3


def select(
    rationales: Mapping[str, Sequence[Rationale]], scores: Mapping[str, Score], selection: Selection, *, seed: int
) -> tuple[list[Rationale], list[Selected]]:
    """The rationales that are kept, rank by rank, and what became of each question.

    `rationales` maps every question to its rationales in sample order, `scores` the ids of the usable ones to what the student makes of
    them; it may be empty where the order reads none. A larger `max_rationales` or `max_tokens` keeps all that a smaller one
    keeps, and so does a larger `k` unless it takes questions away (`equal_questions`).
    """
    ranked: dict[str, list[Rationale]] = {}
    outcomes: dict[str, Selected] = {}
    for question_id, written in rationales.items():
        left = usable(written)
        outcome = Selected(
            question_id=question_id, num_written=len(written), num_usable=len(left), num_accurate=0, num_diverse=0, num_ordered=0, kept=[]
        )
        takes_part = not selection.equal_questions or len(diverse(accurate(left), COMMON_DIVERSITY)) >= (selection.k or 1)
        left = accurate(left) if selection.accuracy else left
        outcome.num_accurate = len(left)
        left = left if selection.diversity is None else diverse(left, selection.diversity)
        outcome.num_diverse = len(left)
        left = in_order(left, scores, selection, seed=seed)[: selection.k] if takes_part else []
        outcome.num_ordered = len(left)
        ranked[question_id], outcomes[question_id] = left, outcome
    kept = _within_budget(ranked, selection, seed)
    for each in kept:
        outcomes[each.question_id].kept.append(each.id)
    return kept, list(outcomes.values())


def for_validation(rationales: Mapping[str, Sequence[Rationale]], selection: Selection) -> list[Rationale]:
    """The rationales whose likelihood chooses the checkpoint: the same for every order and filter, so that no selection chooses its own judge."""
    usable_of = {name: usable(written) for name, written in rationales.items()}
    return [each for left in usable_of.values() for each in (accurate(left) if selection.validation == "correct" else left)[: selection.k]]


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
    """The word 3-grams of a text; words are numbers, runs of letters and single signs, without case. A shorter text is one gram."""
    words = re.findall(r"\d+(?:[.,]\d+)*|[^\W\d_]+|[^\w\s]", text.casefold())
    return frozenset(tuple(words[i : i + NGRAM]) for i in range(max(1, len(words) - NGRAM + 1)))


def jaccard(first: frozenset[tuple[str, ...]], second: frozenset[tuple[str, ...]]) -> float:
    """Shared grams over all grams, in [0, 1]."""
    return len(first & second) / len(first | second)


def in_order(rationales: Sequence[Rationale], scores: Mapping[str, Score], selection: Selection, *, seed: int) -> list[Rationale]:
    """The rationales of one question, best first; of equals the earlier sample."""
    if selection.order == "random":
        return sorted(rationales, key=lambda each: _spread(each.id, seed))
    keys: dict[str, Callable[[Rationale], float]] = {
        "sample": lambda each: each.sample,
        "shortest": lambda each: each.num_tokens,
        "longest": lambda each: -each.num_tokens,
        "lowest_perplexity": lambda each: scores[each.id].perplexity,
        "lowest_rd": lambda each: scores[each.id].rd(selection.rd),
        "highest_rd": lambda each: -scores[each.id].rd(selection.rd),
    }
    return sorted(rationales, key=keys[selection.order])


def _within_budget(ranked: Mapping[str, Sequence[Rationale]], selection: Selection, seed: int) -> list[Rationale]:
    """Every question's best, then every question's second, ..., until a rationale does not fit; questions in an order that `seed` fixes."""
    order = sorted(ranked, key=lambda each: _spread(each, seed)) if selection.max_rationales or selection.max_tokens else list(ranked)
    last = max((len(each) for each in ranked.values()), default=0)
    kept: list[Rationale] = []
    num_tokens = 0
    for each in (ranked[name][rank] for rank in range(last) for name in order if rank < len(ranked[name])):
        num_tokens += each.num_tokens
        if len(kept) == selection.max_rationales or (selection.max_tokens is not None and num_tokens > selection.max_tokens):
            break
        kept.append(each)
    return kept


def _spread(text: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}/{text}".encode()).digest()
