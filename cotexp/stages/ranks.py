"""How high the student, before distillation, ranks the tokens of the rationales among all tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from cotexp.jobs.engines import share
from cotexp.jobs.likelihoods import score_rows, text_after
from cotexp.records import Rationale
from cotexp.stages.context import Compute, Context, Emit, by_task, environment, scoring_model, student_model, wanted_rationales
from cotexp.stages.scores import CHUNK, Scores, row_id, to_score
from cotexp.stages.training_set import TrainingSet
from cotexp.store.specs import Spec

NAME = "ranks"
VERSION = 1
READS = ("rationales", "model")
BOUNDED = True


def spec(context: Context, task: str) -> Spec | None:
    """None unless the order of the selection reads ranks. Ids of the rows stand for the texts, as in the scores, so every teacher shares this
    ledger."""
    if not context.settings.selection.needs_ranks:
        return None
    own = {"student": context.base.sha256, "task": task, "prompt": context.prompts[task].identity, **environment(scoring_model(context.settings))}
    return Spec(NAME, {"version": VERSION, "rank_limit": context.settings.scoring.rank_limit, **own})


model = student_model


def add(context: Context, made: TrainingSet) -> None:
    """The ranks, as a part of the scores."""
    made.scores = make(context, made.written, made.scores)


def make(context: Context, written: Sequence[Rationale], scores: Scores) -> Scores:
    """The `scores` with the sum of the ranks of each rationale's tokens; unchanged unless the order of the selection reads ranks."""
    sums: dict[str, int] = {}
    own = to_score(context, written)
    for task, questions in by_task(context.questions.train).items():
        ledger = spec(context, task)
        if ledger is None:
            return scores
        ids = {each.id for each in questions}
        of_row = {row_id(each): each for each in sorted(own, key=lambda each: each.question_id) if each.question_id in ids}
        chunk_size = share(context.settings.model, CHUNK)
        rows = context.rows(f"ranks/{task}", ledger, list(of_row), _ranker(context, of_row), chunk_size=chunk_size, shown=f"ranks, {task}")
        sums |= {name: row["rank_sum"] for name, row in rows.items()}
        if context.look is not None:
            known = {each.id for each in written}
            num_unknown = sum(each not in known for each in wanted_rationales(context, questions))
            context.look.count(f"ranks/{task}", num_unknown, num_unknown)
    sum_of = {each.id: sums.get(row_id(each)) for each in own}
    return {name: replace(score, rank_sum=sum_of.get(name)) for name, score in scores.items()}


def _ranker(context: Context, of_row: Mapping[str, Rationale]) -> Compute:
    limit = context.settings.scoring.rank_limit

    def compute(ids: list[str], emit: Emit) -> None:
        score_rows(
            context,
            {each: of_row[each].question_id for each in ids},
            lambda name, encoder: [text_after("", of_row[name].text.strip(), encoder)],
            lambda name, found: emit({"id": name, "num_tokens": len(found[0]), "rank_sum": sum(min(int(rank), limit) for rank in found[0])}),
            ranks=True,
        )

    return compute
