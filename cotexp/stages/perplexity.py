"""What is known of a compressed training set before fine-tuning: lengths, answers that survived, and how likely the model finds the texts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cotexp.jobs.engines import share
from cotexp.jobs.likelihoods import score_rows, text_after
from cotexp.methods import reasoning, statistics
from cotexp.records import Compressed, Likelihood, Measured, Rationale, Round
from cotexp.settings.models import ScratchModel
from cotexp.stages.context import Compute, Context, Emit, Look, by_task, environment, hash_of, scoring_model, student_model
from cotexp.stages.training_set import TrainingSet
from cotexp.store.specs import Spec
from cotexp.store.stored_files import Row
from cotexp.tasks.grading import is_kept

NAME = "perplexity"
VERSION = 2
READS = ("rationales", "rounds", "importances", "model")
BOUNDED = True

CHUNK = 512
"""Rows claimed at once."""

Texts = dict[str, "_Text"]
"""Row id -> its text."""


@dataclass(frozen=True, slots=True)
class _Text:
    """A text about one question; `before` is the thinking that precedes the answer of a reasoning model."""

    question_id: str
    before: str
    text: str

    @property
    def row_id(self) -> str:
        """The same for equal texts, whoever wrote them in whichever round."""
        return f"{self.question_id}/{hash_of([self.before, self.text])}"


def spec(context: Context, task: str) -> Spec | None:
    """None where nothing is compressed or measured. Ids of the rows stand for the texts, so every compression and compressor shares this ledger."""
    settings = context.settings
    if not settings.scoring.perplexity_chains or not settings.compression.compresses_chains or isinstance(settings.model, ScratchModel):
        return None
    if task not in by_task(context.questions.train):
        return None
    model = scoring_model(settings)
    own = {"model": context.base.sha256, "task": task, "prompt": context.prompts[task].identity, **environment(model)}
    return Spec(NAME, {"version": VERSION, **own})


model = student_model


def add(context: Context, made: TrainingSet) -> None:
    """The likelihoods of the chains."""
    made.likelihoods = make(context, made.chains, made.rounds, made.kept)


def metrics(context: Context, made: TrainingSet) -> dict[str, float]:
    """Nothing without a compressed chain."""
    compressed = made.compressed
    num_dropped = len(made.chosen) - len(compressed)
    return compression_metrics(context, made.chains, made.kept, made.likelihoods, num_dropped=num_dropped) if compressed else {}


def make(context: Context, chains: Sequence[Rationale], rounds: Mapping[str, Sequence[Round]], kept: Sequence[Compressed]) -> dict[str, Measured]:
    """Chain id -> its likelihoods, for at most scoring.perplexity_chains training chains that are kept; none without a compression.

    Equal texts are read once, and every run that shares rounds shares the rows.
    """
    if context.look is not None and context.look.is_open:
        _count_most(context, context.look, chains)
        return {}
    wanted = _wanted(context, chains, rounds, kept)
    texts_of = _by_task(context, wanted)
    rows: dict[str, Row] = {}
    for task in by_task(context.questions.train):
        own, texts = spec(context, task), texts_of.get(task, {})
        if own is not None:
            compute, chunk_size = _reader(context, texts), share(context.settings.model, CHUNK)
            rows |= context.rows(f"perplexity/{task}", own, list(texts), compute, chunk_size=chunk_size, shown=f"perplexity, {task}")
    return _measured(wanted, rows)


def _count_most(context: Context, look: Look, chains: Sequence[Rationale]) -> None:
    """Most texts that may be read while it is open which rounds there will be: each round up to the limit."""
    for task, questions in by_task(context.questions.train).items():
        if (own := spec(context, task)) is None:
            continue
        ids = {each.id for each in questions}
        num_chains = sum(each.question_id in ids for each in chains) + look.num_unwritten[task]
        most_rounds = getattr(context.settings.compression, "most_rounds", 1)
        num_texts = min(context.settings.scoring.perplexity_chains, num_chains) * (most_rounds + 1)
        look.count(f"perplexity/{task}", num_texts, max(0, num_texts - len(context.store.ledger(own).read())))


def compression_metrics(
    context: Context, chains: Sequence[Rationale], kept: Sequence[Compressed], likelihoods: Mapping[str, Measured], *, num_dropped: int
) -> dict[str, float]:
    """Everything that `metrics.json` says of the compressed chains."""
    of_chain, questions = {each.id: each for each in chains}, {each.id: each for each in context.training_questions}
    survived = [is_kept(own.answer, each.text, questions[own.question_id]) for each in kept for own in (of_chain[each.rationale_id],)]
    found = statistics.compression_metrics(kept, num_dropped) | {"answer_kept_ratio": statistics.mean(survived)}
    if likelihoods:
        found |= statistics.perplexity_metrics([each.kept for each in likelihoods.values()], [each.rounds for each in likelihoods.values()])
    return {f"compression/{name}": value for name, value in found.items()}


def lines(
    chains: Sequence[Rationale], rounds: Mapping[str, Sequence[Round]], kept: Sequence[Compressed], likelihoods: Mapping[str, Measured]
) -> list[dict[str, Any]]:
    """One line per compressed chain for the report: the lengths of its rounds and, where they were measured, their likelihoods."""
    by_id = {each.id: each for each in chains}
    found = []
    for each in kept:
        run = rounds.get(each.rationale_id, [])[: each.num_rounds_run]
        line = asdict(each) | {"round_num_tokens": [by_id[each.rationale_id].num_cot_tokens, *(one.num_tokens for one in run)]}
        if own := likelihoods.get(each.rationale_id):
            line |= {"nll": own.kept.nll, "round_nll": [one and one.nll for one in own.rounds]}
        found.append(line)
    return found


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The texts of one chain; None for a round that cannot be used."""

    kept: _Text
    rounds: list[_Text | None]


def _wanted(context: Context, chains: Sequence[Rationale], rounds: Mapping[str, Sequence[Round]], kept: Sequence[Compressed]) -> dict[str, _Wanted]:
    compressed, of_chain = {each.rationale_id: each for each in kept}, {each.id: each for each in chains}
    questions = {each.id for each in context.questions.train}
    own = [each for each in chains if each.id in compressed and each.question_id in questions]
    drawn = sorted(own, key=lambda each: (hash_of([each.question_id]), each.id))[: context.settings.scoring.perplexity_chains]
    found = {}
    for each in drawn:
        before, last = reasoning.before_answer_part(each, of_chain), compressed[each.id].num_rounds_run
        texts = [each.cot.strip(), *(one.text if one.outcome == "ok" else None for one in rounds.get(each.id, [])[:last])]
        read = [None if text is None else _Text(each.question_id, before, text) for text in texts]
        found[each.id] = _Wanted(_Text(each.question_id, before, compressed[each.id].text), read)
    return found


def _by_task(context: Context, wanted: Mapping[str, _Wanted]) -> dict[str, Texts]:
    """The distinct texts of each task; those of a question stand together."""
    task_of = {each.id: task for task, own in by_task(context.questions.train).items() for each in own}
    found: dict[str, Texts] = {}
    for each in sorted(wanted.values(), key=lambda each: each.kept.question_id):
        for text in (*each.rounds, each.kept):
            if text is not None:
                found.setdefault(task_of[text.question_id], {})[text.row_id] = text
    return found


def _measured(wanted: Mapping[str, _Wanted], rows: Mapping[str, Row]) -> dict[str, Measured]:
    read = {name: Likelihood.from_row(row) for name, row in rows.items()}
    return {
        name: Measured(read[each.kept.row_id], [read.get(text.row_id) if text else None for text in each.rounds])
        for name, each in wanted.items()
        if each.kept.row_id in read
    }


def _reader(context: Context, texts: Texts) -> Compute:
    def compute(ids: list[str], emit: Emit) -> None:
        score_rows(
            context,
            {each: texts[each].question_id for each in ids},
            lambda name, encoder: [text_after(texts[name].before, texts[name].text, encoder)],
            lambda name, scores: emit({"id": name, "num_tokens": len(scores[0]), "nll": -math.fsum(scores[0])}),
            lambda name, own: emit({"id": name, "num_tokens": len(own[0].read), "nll": None}),
        )

    return compute
