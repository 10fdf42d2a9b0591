"""Selects the rationales of each question for training.

Source: MoRSD (Findings of EMNLP 2025, arXiv 2509.23574): first accuracy, then diversity, then the k of lowest difficulty. Measure and
threshold of diversity and k are not published; the defaults are ours. The controls differ only in a filter or in the order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cotexp.records import Rationale, Score, Selected
from cotexp.selections.base import Selection
from cotexp.selections.filters import accurate, diverse, usable
from cotexp.selections.orders import spread


def select(
    rationales: Mapping[str, Sequence[Rationale]], scores: Mapping[str, Score], selection: Selection, *, seed: int
) -> tuple[list[Rationale], list[Selected]]:
    """The kept rationales in the order of their ranks, and the outcome of each question.

    `rationales` maps every question to its rationales in sample order, `scores` the ids of the usable ones to the student's scores;
    it may be empty if the order reads none. A larger `max_rationales` or `max_tokens` keeps all that a smaller one
    keeps, and so does a larger `k` unless it removes questions (`equal_questions`).
    """
    ranked: dict[str, list[Rationale]] = {}
    outcomes: dict[str, Selected] = {}
    for question_id, written in rationales.items():
        left = usable(written)
        counts = {"written": len(written), "usable": len(left)}
        takes_part = not selection.equal_questions or len(diverse(accurate(left), selection.common_diversity)) >= (selection.k or 1)
        for word, keep in selection.filters(scores, seed=seed):
            left = keep(left)
            counts[word] = len(left)
        if not takes_part:
            left, counts[word] = [], 0
        ranked[question_id], outcomes[question_id] = left, Selected(question_id=question_id, counts=counts, kept=[])
    kept = _within_budget(ranked, selection, seed)
    for each in kept:
        outcomes[each.question_id].kept.append(each.id)
    return kept, list(outcomes.values())


def for_validation(rationales: Mapping[str, Sequence[Rationale]], selection: Selection) -> list[Rationale]:
    """The rationales whose likelihood chooses the checkpoint. They do not depend on order and filters, so
    all selections of one `k` are judged alike."""
    usable_of = {name: usable(written) for name, written in rationales.items()}
    return [each for left in usable_of.values() for each in (accurate(left) if selection.validation == "correct" else left)[: selection.k]]


def _within_budget(ranked: Mapping[str, Sequence[Rationale]], selection: Selection, seed: int) -> list[Rationale]:
    """Every question's best, then every question's second, ..., until a rationale does not fit. `seed` determines the order of the questions."""
    order = sorted(ranked, key=lambda each: spread(each, seed)) if selection.max_rationales or selection.max_tokens else list(ranked)
    last = max((len(each) for each in ranked.values()), default=0)
    kept: list[Rationale] = []
    num_tokens = 0
    for each in (ranked[name][rank] for rank in range(last) for name in order if rank < len(ranked[name])):
        num_tokens += each.num_tokens
        if len(kept) == selection.max_rationales or (selection.max_tokens is not None and num_tokens > selection.max_tokens):
            break
        kept.append(each)
    return kept
