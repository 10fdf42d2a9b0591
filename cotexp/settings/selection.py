"""Settings of selection: how rationales are scored, and which of them are learnt from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cotexp.settings.base import Section, setting

ORDERS = ("sample", "random", "shortest", "longest", "lowest_perplexity", "lowest_rd", "highest_rd")


@dataclass(slots=True, kw_only=True)
class Scoring(Section):
    """How rationales are scored under the model as it is before fine-tuning: MoRSD's self-evaluation, and the perplexity of compressed chains."""

    connector: str = setting("The answer is ", "What stands before the gold answer, with a rationale and without.")
    answer: str = setting(
        "boxed",
        "How the gold answer stands there: in a box, as tasks ask for it, or plain, as many recorded rationales have it.",
        choices=("boxed", "plain"),
    )
    dtype: str = setting("float32", "Number format of the student; bfloat16 scores depend on the batch.", choices=("float32", "bfloat16"))
    max_batch_tokens: int | None = setting(
        None, "Most tokens that go through the student at once; by default 512 on a CPU and 8192 elsewhere.", low=64, keyed=False
    )
    perplexity_chains: int = setting(
        256,
        "Training chains whose perplexity is measured in every round, drawn by question; `cotexp forecast` needs it. 0 leaves it out.",
        low=0,
        keyed=False,
    )

    def contradictions(self) -> Iterator[str]:
        if not self.connector.strip():
            yield f"connector must not be blank; got {self.connector!r}"


COMMON_DIVERSITY = 0.5
"""Similarity from which rationales count as near duplicates when questions are chosen for all selections alike."""


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
    order: str = setting("sample", "Third filter: the order in which the first k of each question are kept.", choices=ORDERS)
    k: int | None = setting(None, "Most rationales kept per question; all by default.", low=1)
    rd: str = setting(
        "plain",
        "Which Rationale Difficulty orders: plain; masked, without the answer sentence; hidden, where equations do not show the answer either.",
        choices=("plain", "masked", "hidden"),
    )
    equal_questions: bool = setting(
        False, "Whether to train only on questions with k correct and diverse rationales (similarity below 0.5), the same for every selection."
    )
    max_rationales: int | None = setting(None, "Most training rationales in all, taken rank by rank over the questions; no limit by default.", low=1)
    max_tokens: int | None = setting(None, "Most tokens of training rationales in all, taken rank by rank; no limit by default.", low=1)
    validation: str = setting(
        "correct", "Which rationales of the validation questions choose the checkpoint, k of each in sample order.", choices=("all", "correct")
    )

    @property
    def needs_scores(self) -> bool:
        """Whether the student must score the rationales."""
        return self.order in ("lowest_perplexity", "lowest_rd", "highest_rd")

    def contradictions(self) -> Iterator[str]:
        limits = (self.k, self.max_rationales, self.max_tokens)
        if self.order != "sample" and limits == (None, None, None):
            yield f"order is read only with k, max_rationales or max_tokens; got order={self.order} without any"
        if self.rd != "plain" and not self.order.endswith("_rd"):
            yield f"rd is read only with order=lowest_rd or highest_rd; got rd={self.rd} with order={self.order}"
        if self.equal_questions and self.k is None:
            yield "equal_questions needs k, the rationales that every question must have; got k=None"
        if self.equal_questions and self.diversity is not None and self.diversity < COMMON_DIVERSITY:
            yield f"diversity must be at least {COMMON_DIVERSITY} with equal_questions, which counts rationales at that; got {self.diversity}"
