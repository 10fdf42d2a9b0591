"""What a round loses: how likely the model before fine-tuning finds a chain's own answer after each round's text, and without any chain.

The ratio of the two perplexities is MoRSD's Rationale Difficulty with the chain's own answer in place of the gold one, and the text of a round
in place of the rationale (without the sentence that states the answer). Its use on rounds is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cotexp.jobs import round_texts
from cotexp.jobs.likelihoods import SEPARATOR, answer_after, answers_read, text_after
from cotexp.jobs.round_texts import ChainTexts, RoundText
from cotexp.methods import difficulty, reasoning, statistics
from cotexp.models.encoding import Encoder
from cotexp.records import Compressed, Measured, Rationale, Round
from cotexp.stages.context import Context, hash_of, student_model
from cotexp.stages.training_set import TrainingSet
from cotexp.store.specs import Spec

if TYPE_CHECKING:
    from cotexp.inference.scoring import Text

NAME = "answer_perplexity"
VERSION = 1
READS = ("rationales", "rounds", "importances", "model")
BOUNDED = True


@dataclass(frozen=True, slots=True)
class _Answer:
    """A chain's answer after one of its texts, which is empty for the answer without any chain; `end` follows the text."""

    text: RoundText
    end: str
    answer: str

    @property
    def question_id(self) -> str:
        return self.text.question_id

    @property
    def row_id(self) -> str:
        """The same for equal answers after equal texts."""
        return f"{self.question_id}/{hash_of([self.text.before, self.text.text, self.end, self.answer])}"


@dataclass(frozen=True, slots=True)
class _Answers:
    """A chain's answer without a chain, after the kept text, and after those of all rounds."""

    alone: _Answer
    kept: _Answer
    rounds: list[_Answer | None]


def spec(context: Context, task: str) -> Spec | None:
    """None where nothing is compressed or measured. Ids of the rows stand for texts and answers, so every compression shares this ledger."""
    if not context.settings.scoring.answer_perplexity or not round_texts.is_measured(context, task):
        return None
    return Spec(NAME, {"version": VERSION, "model": context.base.sha256, **answers_read(context, task)})


model = student_model


def add(context: Context, made: TrainingSet) -> None:
    """The likelihoods of the chains' answers."""
    made.answers = make(context, made.chains, made.rounds, made.kept)


def metrics(context: Context, made: TrainingSet) -> dict[str, float]:
    """Nothing where no answer was measured."""
    return {f"compression/{name}": value for name, value in statistics.answer_perplexity_metrics(list(made.answers.values())).items()}


def make(context: Context, chains: Sequence[Rationale], rounds: Mapping[str, Sequence[Round]], kept: Sequence[Compressed]) -> dict[str, Measured]:
    """Chain id -> the likelihoods of its answer, for the chains whose perplexity is measured; a chain whose answer cannot be read has none."""
    if not context.settings.scoring.answer_perplexity:
        return {}
    if context.look is not None and context.look.is_open:
        round_texts.count_most(context, context.look, NAME, spec, chains, more=2)
        return {}
    wanted = {name: _answers(own) for name, own in round_texts.texts_of(context, chains, rounds, kept).items() if own.chain.answer is not None}
    answers = [each for own in wanted.values() for each in (own.alone, *own.rounds, own.kept) if each is not None]
    read = round_texts.likelihoods(context, NAME, spec, answers, _reader(context))
    return {
        name: Measured(read[own.kept.row_id], [read.get(each.row_id) if each else None for each in own.rounds], read[own.alone.row_id])
        for name, own in wanted.items()
        if own.kept.row_id in read and own.alone.row_id in read
    }


def _answers(own: ChainTexts) -> _Answers:
    answer = own.chain.answer
    assert answer is not None
    end = reasoning.AFTER_THINKING if own.chain.id.endswith(f"/{reasoning.THINKING}") else SEPARATOR
    after = [None if each is None else _Answer(each, end, answer) for each in own.rounds]
    return _Answers(_Answer(RoundText(own.chain.question_id, "", ""), "", answer), _Answer(own.kept, end, answer), after)


def _reader(context: Context) -> Callable[[_Answer, Encoder], Text]:
    """The tokens of an answer behind its text, in the form in which MoRSD's scores have the gold answer."""
    questions, scoring = {each.id: each for each in context.training_questions}, context.settings.scoring

    def text(own: _Answer, encoder: Encoder) -> Text:
        ids = text_after(own.text.before, own.text.text, encoder).ids
        answer = difficulty.answer_text(replace(questions[own.question_id], answer=own.answer), scoring.answer)
        return answer_after(ids, (own.end if ids else "") + scoring.connector, answer, encoder)

    return text
