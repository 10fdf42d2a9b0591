"""The texts of compressed chains that are measured under the model before fine-tuning: as written, of every round, and the kept ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from cotexp.jobs.engines import share
from cotexp.jobs.likelihoods import score_rows
from cotexp.methods import reasoning
from cotexp.models.encoding import Encoder
from cotexp.records import Compressed, Likelihood, Rationale, Round
from cotexp.settings.models import ScratchModel
from cotexp.stages.context import Compute, Context, Emit, Look, by_task, hash_of
from cotexp.store.specs import Spec

if TYPE_CHECKING:
    from cotexp.inference.scoring import Text

CHUNK = 512
"""Rows claimed at once."""


class Read(Protocol):
    """Something about one question whose likelihood is read; equal ones have equal row ids."""

    @property
    def question_id(self) -> str: ...
    @property
    def row_id(self) -> str: ...


ReadT = TypeVar("ReadT", bound=Read)


@dataclass(frozen=True, slots=True)
class RoundText:
    """A text about one question; `before` is the thinking that precedes the answer of a reasoning model."""

    question_id: str
    before: str
    text: str

    @property
    def row_id(self) -> str:
        """The same for equal texts, whoever wrote them in whichever round."""
        return f"{self.question_id}/{hash_of([self.before, self.text])}"


@dataclass(frozen=True, slots=True)
class ChainTexts:
    """The texts of one chain; None for a round that cannot be used."""

    chain: Rationale
    kept: RoundText
    rounds: list[RoundText | None]


def is_measured(context: Context, task: str) -> bool:
    """Whether anything is compressed and measured."""
    settings = context.settings
    if not settings.scoring.perplexity_chains or not settings.compression.compresses_chains or isinstance(settings.model, ScratchModel):
        return False
    return task in by_task(context.questions.train)


def texts_of(
    context: Context, chains: Sequence[Rationale], rounds: Mapping[str, Sequence[Round]], kept: Sequence[Compressed]
) -> dict[str, ChainTexts]:
    """Chain id -> its texts, for at most scoring.perplexity_chains training chains that are kept."""
    compressed, of_chain = {each.rationale_id: each for each in kept}, {each.id: each for each in chains}
    questions = {each.id for each in context.questions.train}
    own = [each for each in chains if each.id in compressed and each.question_id in questions]
    drawn = sorted(own, key=lambda each: (hash_of([each.question_id]), each.id))[: context.settings.scoring.perplexity_chains]
    found = {}
    for each in drawn:
        before, last = reasoning.before_answer_part(each, of_chain), compressed[each.id].num_rounds_run
        texts = [each.cot.strip(), *(one.text if one.outcome == "ok" else None for one in rounds.get(each.id, [])[:last])]
        read = [None if text is None else RoundText(each.question_id, before, text) for text in texts]
        found[each.id] = ChainTexts(each, RoundText(each.question_id, before, compressed[each.id].text), read)
    return found


def likelihoods(
    context: Context, name: str, spec: Callable[[Context, str], Spec | None], wanted: Iterable[ReadT], text: Callable[[ReadT, Encoder], Text]
) -> dict[str, Likelihood]:
    """Row id -> likelihood of the tokens that are read of its `text`, None of a row that a look does not find. Equal ones are read once.

    `name` is the stage's; those of a question stand together.
    """
    distinct = {each.row_id: each for each in sorted(wanted, key=lambda each: each.question_id)}
    found: dict[str, Likelihood] = {}
    for task, questions in by_task(context.questions.train).items():
        if (own := spec(context, task)) is None:
            continue
        ids = {each.id for each in questions}
        texts = {row: each for row, each in distinct.items() if each.question_id in ids}
        compute, chunk_size, shown = _reader(context, texts, text), share(context.settings.model, CHUNK), f"{name.replace('_', ' ')}, {task}"
        rows = context.rows(f"{name}/{task}", own, list(texts), compute, chunk_size=chunk_size, shown=shown)
        found |= {row: Likelihood.from_row(content) for row, content in rows.items()}
    return found


def count_most(context: Context, look: Look, name: str, spec: Callable[[Context, str], Spec | None], chains: Sequence[Rationale], more: int) -> None:
    """Most rows that may be read while it is open which rounds there will be: each round up to the limit, and `more` of each chain."""
    for task, questions in by_task(context.questions.train).items():
        if (own := spec(context, task)) is None:
            continue
        ids = {each.id for each in questions}
        num_chains = sum(each.question_id in ids for each in chains) + look.num_unwritten[task]
        most_rounds = getattr(context.settings.compression, "most_rounds", 1)
        num_texts = min(context.settings.scoring.perplexity_chains, num_chains) * (most_rounds + more)
        look.count(f"{name}/{task}", num_texts, max(0, num_texts - len(context.store.ledger(own).read())))


def _reader(context: Context, texts: Mapping[str, ReadT], text: Callable[[ReadT, Encoder], Text]) -> Compute:
    def compute(ids: list[str], emit: Emit) -> None:
        def emitted(row: str, num_tokens: int, nll: float | None) -> None:
            emit({"id": row, "num_tokens": num_tokens, "nll": nll})

        score_rows(
            context,
            {each: texts[each].question_id for each in ids},
            lambda row, encoder: [text(texts[row], encoder)],
            lambda row, scores: emitted(row, len(scores[0]), -math.fsum(scores[0])),
            lambda row, own: emitted(row, len(own[0].read), None),
        )

    return compute
