"""What is known of a compressed training set before fine-tuning: lengths, answers that survived, and how likely the model finds the texts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cotexp.jobs import progress
from cotexp.jobs.engines import load_local, share
from cotexp.jobs.specs import Context, by_task, hash_of, scoring_model, spec_perplexity
from cotexp.jobs.store import Row
from cotexp.methods import reasoning, statistics
from cotexp.records import Compressed, Likelihood, Rationale, Round
from cotexp.tasks.grading import is_kept

CHUNK = 512
"""Rows claimed at once."""

Texts = dict[str, "_Text"]
"""Row id -> what it stands for."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One chain's likelihoods: of the text that is kept, and of round 0 (the chain as it was written), 1, 2, ...; None for an unusable round."""

    kept: Likelihood
    rounds: list[Likelihood | None]


@dataclass(frozen=True, slots=True)
class _Text:
    """A text about one question, behind what was thought `before` it where it is the answer part of a model that thinks."""

    question_id: str
    before: str
    text: str

    @property
    def row_id(self) -> str:
        """The same for equal texts, whoever wrote them in whichever round."""
        return f"{self.question_id}/{hash_of([self.before, self.text])}"


def measure(context: Context, chains: Sequence[Rationale], rounds: Mapping[str, Sequence[Round]], kept: Sequence[Compressed]) -> dict[str, Measured]:
    """Chain id -> its likelihoods, for at most scoring.perplexity_chains training chains that are kept; none without a compression.

    Equal texts are read once, and every run that shares rounds shares the rows.
    """
    wanted = _wanted(context, chains, rounds, kept)
    rows: dict[str, Row] = {}
    for task, texts in _by_task(context, wanted).items():
        spec = spec_perplexity(context, task)
        if spec is None:
            return {}
        with progress.bar(f"perplexity, {task}", len(texts)) as advance:
            chunk_size = share(context.settings.model, CHUNK)
            rows |= context.store.ledger(spec).fill(list(texts), _reader(context, texts), chunk_size=chunk_size, on_row=advance)
    return _measured(wanted, rows)


def stored(
    context: Context, chains: Sequence[Rationale], rounds: Mapping[str, Sequence[Round]], kept: Sequence[Compressed]
) -> tuple[dict[str, Measured], int]:
    """(those of `measure` that are in the store already, the number of texts that are not)."""
    wanted = _wanted(context, chains, rounds, kept)
    rows: dict[str, Row] = {}
    num_missing = 0
    for task, texts in _by_task(context, wanted).items():
        spec = spec_perplexity(context, task)
        found = context.store.ledger(spec).read() if spec else {}
        rows |= {name: found[name] for name in texts if name in found}
        num_missing += sum(name not in found for name in texts)
    return _measured(wanted, rows), num_missing


def wanted_rows(
    context: Context, chains: Sequence[Rationale], rounds: Mapping[str, Sequence[Round]], kept: Sequence[Compressed]
) -> dict[str, list[str]]:
    """Task -> ids of the rows that `measure` reads."""
    return {task: list(texts) for task, texts in _by_task(context, _wanted(context, chains, rounds, kept)).items()}


def metrics(
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


def _reader(context: Context, texts: Texts) -> Callable[[list[str], Callable[[Row], None]], None]:
    questions = {each.id: each for each in context.questions.train}

    def compute(ids: list[str], emit: Callable[[Row], None]) -> None:
        from cotexp.inference.scoring import Item, Scorer, Text

        loaded = load_local(context, context.base, scoring_model(context.settings)).loaded
        encoder, scorer = loaded.encoder, Scorer(loaded, max_batch_tokens=context.settings.scoring.max_batch_tokens)
        asked: dict[str, list[str]] = {}
        items: dict[str, Item] = {}
        for name in ids:
            each = texts[name]
            before, own = encoder.text_ids(each.before), encoder.text_ids(each.text, goes_on=bool(each.before))
            item = Item(each.question_id, encoder.prompt(context.prompt_for(questions[each.question_id])), [])
            text = Text([*before, *own], list(range(len(before), len(before) + len(own))))
            if not scorer.fits(item._replace(texts=[text])):
                emit({"id": name, "num_tokens": len(own), "nll": None})
                continue
            items.setdefault(item.id, item).texts.append(text)
            asked.setdefault(item.id, []).append(name)

        def on_item(question_id: str, found: list[list[float]]) -> None:
            for name, values in zip(asked[question_id], found, strict=True):
                emit({"id": name, "num_tokens": len(values), "nll": -math.fsum(values)})

        scorer.score(list(items.values()), on_item)

    return compute
