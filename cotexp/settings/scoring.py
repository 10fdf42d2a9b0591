"""Settings of how rationales are scored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cotexp.settings.base import IF_SET, Section, setting


@dataclass(slots=True, kw_only=True)
class Scoring(Section):
    """How rationales are scored under the model as it is before fine-tuning: MoRSD's self-evaluation, and the perplexity of compressed chains."""

    connector: str = setting("The answer is ", "What stands before the gold answer, with a rationale and without.")
    answer: str = setting(
        "boxed",
        "How the gold answer stands there: in a box, as tasks ask for it, or plain, as many recorded rationales have it.",
        choices=("boxed", "plain"),
    )
    rank_limit: int = setting(
        100,
        "Ranks of a rationale's tokens count up to this one for selection.order=lowest_rank_surprisal (RSR's released code: 100).",
        low=1,
        keyed=IF_SET,
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

    answer_perplexity: bool = setting(
        True,
        "Whether the perplexity of the own answer of these chains is measured too, after each round's text and without any chain.",
        keyed=False,
    )

    def contradictions(self) -> Iterator[str]:
        if not self.connector.strip():
            yield f"connector must not be blank; got {self.connector!r}"
