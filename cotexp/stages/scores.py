"""What the student, before distillation, makes of the rationales: likelihoods of the gold answer with and without each of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cotexp.jobs.engines import share
from cotexp.jobs.likelihoods import SEPARATOR, answer_after, answers_read, score_rows
from cotexp.methods import difficulty
from cotexp.models.encoding import Encoder
from cotexp.records import Question, Rationale, Score
from cotexp.selections.filters import usable
from cotexp.settings.scoring import Scoring
from cotexp.stages.context import Compute, Context, Emit, Look, by_task, hash_of, student_model, wanted_rationales
from cotexp.stages.training_set import TrainingSet
from cotexp.store.specs import Spec
from cotexp.store.stored_files import Row

if TYPE_CHECKING:
    from cotexp.inference.scoring import Text

NAME = "scores"
VERSION = 5
READS = ("rationales", "model")
BOUNDED = True

CHUNK = 512
"""Rows claimed at once."""

Scores = dict[str, Score]


def spec(context: Context, task: str) -> Spec | None:
    """None unless a filter reads scores. Ids of the rows stand for the texts, so every teacher shares this ledger."""
    if not context.settings.selection.needs_scores:
        return None
    return Spec(NAME, {"version": VERSION, "student": context.base.sha256, **answers_read(context, task)})


model = student_model


def add(context: Context, made: TrainingSet) -> None:
    """The scores of the written rationales."""
    made.scores = make(context, made.written)


def make(context: Context, written: Sequence[Rationale]) -> Scores:
    """Rationale id -> its score, for the usable rationales of training questions; nothing unless a filter reads scores."""
    if not context.settings.selection.needs_scores:
        return {}
    found = score(context, to_score(context, written))
    if context.look is not None:
        _count_unknown(context, context.look, written)
    return found


def score(context: Context, rationales: Sequence[Rationale]) -> Scores:
    """Rationale id -> its score; equal texts are scored once, and the question alone once per question."""
    found: Scores = {}
    for task, questions in by_task(context.questions.train).items():
        ledger = spec(context, task)
        assert ledger is not None
        own = _of(questions, rationales)
        ids, chunk_size = wanted_scores(questions, own), share(context.settings.model, CHUNK)
        rows = context.rows(f"scores/{task}", ledger, ids, _scorer(context, questions, own), chunk_size=chunk_size, shown=f"scores, {task}")
        found |= _scores(own, rows)
    return found


def _count_unknown(context: Context, look: Look, written: Sequence[Rationale]) -> None:
    """Add the rows that rationales which are not written yet may need."""
    known, usable = {each.id for each in written}, to_score(context, written)
    for task, questions in by_task(context.questions.train).items():
        num_unknown = sum(each not in known for each in wanted_rationales(context, questions))
        if not wanted_scores(questions, _of(questions, usable)):
            num_unknown += len(questions)
        look.count(f"scores/{task}", num_unknown, num_unknown)


def to_score(context: Context, rationales: Sequence[Rationale]) -> list[Rationale]:
    """Those that selection needs a score of: the usable ones of training questions."""
    return _of(context.questions.train, usable(rationales))


def wanted_scores(questions: Sequence[Question], rationales: Sequence[Rationale]) -> list[str]:
    """Ids of the rows: one for each question, one for each distinct text about it; a question's rows stand together."""
    rows: dict[str, list[str]] = {each.id: [each.id] for each in sorted(questions, key=lambda each: (len(each.text), each.id))}
    for each in rationales:
        rows[each.question_id].append(row_id(each))
    return [row for ids in rows.values() if len(ids) > 1 for row in dict.fromkeys(ids)]


def row_id(rationale: Rationale) -> str:
    """The same for equal texts about one question, whoever wrote them, as long as they are split alike."""
    return f"{rationale.question_id}/{hash_of([rationale.cot.strip(), rationale.text])}"


def _of(questions: Iterable[Question], rationales: Iterable[Rationale]) -> list[Rationale]:
    ids = {each.id for each in questions}
    return [each for each in rationales if each.question_id in ids]


def _scores(rationales: Sequence[Rationale], rows: dict[str, Row]) -> Scores:
    both = {each.id: (rows.get(row_id(each)), rows.get(each.question_id)) for each in rationales}
    return {name: Score.from_row({**own, **alone, "id": name}) for name, (own, alone) in both.items() if own is not None and alone is not None}


def _scorer(context: Context, questions: Sequence[Question], rationales: Sequence[Rationale]) -> Compute:
    by_id = {each.id: each for each in questions}
    rationale_of = {row_id(each): each for each in rationales}

    def compute(ids: list[str], emit: Emit) -> None:
        question_of = {each: rationale_of[each].question_id if each in rationale_of else each for each in ids}
        forms: dict[str, _Forms] = {}

        def texts(name: str, encoder: Encoder) -> list[Text]:
            forms[name] = _Forms(by_id[question_of[name]], context.settings.scoring, encoder)
            return forms[name].texts(rationale_of.get(name))

        score_rows(context, question_of, texts, lambda name, found: emit({"id": name, **forms[name].row(rationale_of.get(name), iter(found))}))

    return compute


@dataclass(frozen=True, slots=True)
class _Forms:
    """What is scored about one question: the answer without a rationale, or a rationale in three forms, each followed by the answer."""

    question: Question
    scoring: Scoring
    encoder: Encoder

    def texts(self, rationale: Rationale | None) -> list[Text]:
        if rationale is None:
            return [self._before_answer([], self.scoring.connector)]
        whole = self.encoder.text_ids(rationale.text.strip())
        masked = difficulty.masked(rationale, self.question)
        shorter = [self.encoder.text_ids(text) for text in (masked, difficulty.hidden(masked, self.question))]
        joint = SEPARATOR + self.scoring.connector
        return [
            self._before_answer(whole, joint, read_text=True),
            *(self._before_answer(each, joint if each else self.scoring.connector) for each in shorter),
        ]

    def row(self, rationale: Rationale | None, values: Iterator[list[float]]) -> Row:
        """The sums of what the student gave for the texts of `rationale`, which come next in `values`."""
        if rationale is None:
            answer = next(values)
            return {"num_answer_tokens": len(answer), "answer_nll": -math.fsum(answer)}
        num_tokens = len(self.encoder.text_ids(rationale.text.strip()))
        plain, masked, hidden = (next(values) for _ in range(3))
        return {
            "question_id": self.question.id,
            "num_tokens": num_tokens,
            "nll": -math.fsum(plain[:num_tokens]),
            "answer_nll_plain": -math.fsum(plain[num_tokens:]),
            "answer_nll_masked": -math.fsum(masked),
            "answer_nll_hidden": -math.fsum(hidden),
        }

    def _before_answer(self, ids: list[int], joint: str, *, read_text: bool = False) -> Text:
        return answer_after(ids, joint, difficulty.answer_text(self.question, self.scoring.answer), self.encoder, read_text=read_text)
