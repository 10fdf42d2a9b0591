"""What a selection is: settings, and the filters that the rationales of each question pass.

A package of another project extends `Selection`: its class adds settings and filters, and names its words for reports.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from cotexp.records import Rationale, Score
from cotexp.selections.filters import COMMON_DIVERSITY, accurate, diverse
from cotexp.selections.orders import ORDERS, Candidate
from cotexp.settings.base import IF_SET, Section, setting


class Filter(NamedTuple):
    """`word` counts what it leaves (metrics `selection/num_WORD`, `selection/num_dropped_WORD`); `keep` gets the rationales of one question that
    the filters before it left, and returns those that it keeps."""

    word: str
    keep: Callable[[Sequence[Rationale]], list[Rationale]]


class Label(NamedTuple):
    """What reports call a filter, and whether the settings turn it off."""

    text: str
    off: bool = False


@dataclass(slots=True, kw_only=True)
class Selection(Section):
    """Which rationales are learnt from: MoRSD's filters in its order, each removable; the controls are the same filters, set otherwise."""

    name: str = setting("all", "Name of the selection.", keyed=False)
    accuracy: bool = setting(False, "First filter: keep only rationales whose answer is the gold one.")
    diversity: float | None = setting(
        None,
        "Second filter: drop a rationale whose word 3-grams have this Jaccard similarity or more with one kept before; off by default.",
        above=0,
        high=1,
    )
    order: str = setting("sample", "Third filter: the order in which the first k of each question are kept.", choices=tuple(ORDERS))
    k: int | None = setting(None, "Most rationales kept per question; all by default.", low=1)
    rd: str = setting(
        "plain",
        "Which Rationale Difficulty orders: plain; masked, without the answer sentence; hidden, where equations do not show the answer either.",
        choices=("plain", "masked", "hidden"),
    )
    equal_questions: bool = setting(
        False, "Whether to train only on questions with k correct rationales less similar than common_diversity, the same for every selection."
    )
    common_diversity: float = setting(
        COMMON_DIVERSITY,
        "Jaccard similarity of word 3-grams from which equal_questions counts two rationales as one; at most the diversity of any selection.",
        above=0,
        high=1,
        keyed=IF_SET,
    )
    max_rationales: int | None = setting(None, "Most training rationales in all, taken rank by rank over the questions; no limit by default.", low=1)
    max_tokens: int | None = setting(None, "Most tokens of training rationales in all, taken rank by rank; no limit by default.", low=1)
    validation: str = setting(
        "correct", "Which rationales of the validation questions choose the checkpoint, k of each in sample order.", choices=("all", "correct")
    )

    @property
    def needs_scores(self) -> bool:
        """Whether the student must score the rationales."""
        return ORDERS[self.order].needs_scores

    @property
    def needs_ranks(self) -> bool:
        """Whether the scores must hold the ranks of the rationales' tokens."""
        return ORDERS[self.order].needs_ranks

    @property
    def reads_grades(self) -> bool:
        """Whether it matters which rationales are correct."""
        return self.accuracy or self.equal_questions or self.validation == "correct"

    def contradictions(self) -> Iterator[str]:
        limits = (self.k, self.max_rationales, self.max_tokens)
        if self.order != "sample" and limits == (None, None, None):
            yield f"order is read only with k, max_rationales or max_tokens; got order={self.order} without any"
        if self.rd != "plain" and not (self.order in ORDERS and ORDERS[self.order].reads_rd):
            readers = " or ".join(name for name, each in ORDERS.items() if each.reads_rd)
            yield f"rd is read only with order={readers}; got rd={self.rd} with order={self.order}"
        if self.equal_questions and self.k is None:
            yield "equal_questions needs k, the rationales that every question must have; got k=None"
        if self.equal_questions and self.diversity is not None and self.diversity < self.common_diversity:
            yield f"diversity must be at least common_diversity ({self.common_diversity}) with equal_questions; got {self.diversity}"
        if not self.equal_questions and self.common_diversity != COMMON_DIVERSITY:
            yield f"common_diversity is read only with equal_questions=true; got {self.common_diversity}"

    def filters(self, scores: Mapping[str, Score], *, seed: int) -> Iterator[Filter]:
        """The filters in order. `scores`: rationale id -> what the student makes of it, for usable ones if this selection `needs_scores`."""
        yield Filter("accurate", accurate if self.accuracy else list)
        yield Filter("diverse", list if self.diversity is None else lambda left: diverse(left, self.diversity or 1))
        yield Filter("ordered", lambda left: self._in_order(left, scores, seed)[: self.k])

    def _in_order(self, rationales: Sequence[Rationale], scores: Mapping[str, Score], seed: int) -> list[Rationale]:
        """Best first; of equals the earlier sample."""
        rank = ORDERS[self.order].rank
        return sorted(rationales, key=lambda each: rank(Candidate(each, scores.get(each.id), self.rd, seed)))

    @classmethod
    def labels(cls, settings: Mapping[str, Any]) -> dict[str, Label]:
        """Word of each filter -> how reports show it, from a run's stored settings."""
        own = settings["selection"]
        first = f"first {own['k']} of each question" if own["k"] else "all of each question"
        common = ", common questions alone" if own["equal_questions"] else ""
        order = own["order"].replace("_rd", f" {own['rd']} RD").replace("_", " ")
        accuracy = own["accuracy"] or settings["mixture"]["originals"] == "correct"
        return {
            "accurate": Label("accuracy: the answer is the gold one", not accuracy),
            "diverse": Label(f"diversity: similarity below {own['diversity']}", own["diversity"] is None),
            "ordered": Label(f"order {order}: {first}{common}", not own["k"] and not common),
        }
