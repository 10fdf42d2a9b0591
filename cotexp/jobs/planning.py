"""The plan of a run: its stages, what of them is stored, and what would be computed. Nothing is computed or written here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cotexp.jobs import compressed_set, costs, pipeline, progress, rationales, scores, specs, stages
from cotexp.jobs.specs import Context
from cotexp.jobs.store import Spec
from cotexp.methods import reasoning
from cotexp.models import identity
from cotexp.records import Rationale, Round
from cotexp.settings import Settings


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """One line of a plan. `num_missing` is None when earlier stages decide how many rows there will be."""

    name: str
    spec: Spec
    num_wanted: int | None
    num_missing: int | None


def plan(context: Context) -> list[PlannedStage]:
    """The stages of a run with keys and missing rows; computes nothing and writes nothing."""
    planned = []
    for name, spec in pipeline.specs_of(context).items():
        wanted = _wanted_rows(context, name)
        if wanted is None:
            missing = int(not context.store.has_artifact(spec)) if spec.stage in ("model", "checkpoint") else None
            if spec.stage in ("rounds", "rewrites"):
                wanted, missing = _rounds_to_run(context, name.split("/")[1])
            if spec.stage == "importances":
                wanted, missing = _importances_to_make(context, name.split("/")[1], spec)
            if spec.stage == "perplexity":
                wanted, missing = _texts_to_read(context, name.split("/")[1], spec)
            if spec.stage == "scores":
                wanted, missing = _scores_to_make(context, name.split("/")[1], spec)
        else:
            missing = len(wanted - context.store.ledger(spec).read().keys())
        total = 1 if spec.stage in ("model", "checkpoint") else len(wanted) if isinstance(wanted, set) else wanted
        planned.append(PlannedStage(name, spec, total, missing))
    return planned


def print_plan(settings: Settings) -> None:
    """Print the stages with their keys, what is cached, and how many rows would be computed."""
    context = pipeline.make_context(settings, plan=True)
    from rich.table import Table

    table = Table(title=f"{settings.name}, run {specs.run_key(context)}: nothing is computed", title_justify="left")
    for column in ("stage", "key", "rows", "cached", "to compute"):
        table.add_column(column, justify="left" if column in ("stage", "key") else "right")
    planned = plan(context)
    for each in planned:
        total, missing = each.num_wanted or 0, each.num_missing or 0
        upper = "at most " if each.spec.stage in ("scores", "rewrites", "rounds", "importances", "perplexity") and missing else ""
        table.add_row(each.name, each.spec.key, str(total), str(total - missing), f"{upper}{missing}" if missing else "nothing")
    console = progress.page()
    console.print(table)
    for cost in costs.estimate(context, [(each.name, each.spec, each.num_missing or 0) for each in planned]):
        console.print(str(cost), markup=False)
    for name, path in _not_downloaded(context):
        console.print(f"{name} {path} is not downloaded yet: its weights are part of the keys, which will differ", markup=False)


def _not_downloaded(context: Context) -> Iterator[tuple[str, str]]:
    used = {"model": context.base, "compressor": context.compressor, "teacher": context.teacher, "classifier": context.classifier}
    for name, files in used.items():
        if files is not None and files.sha256.startswith(identity.NOT_DOWNLOADED):
            yield name, str(files.folder)


def _wanted_rows(context: Context, name: str) -> set[str] | None:
    kind, _, task = name.removeprefix("grades/").rpartition("/")
    if kind in ("texts", "rationales"):
        return set(specs.wanted_rationales(context, specs.by_task(context.training_questions)[task]))
    if kind == "latency":
        return set(specs.latency_rows(context))
    return set(pipeline.wanted_answers(context)[task]) if name.startswith(("predictions/", "grades/")) else None


def _rounds_to_run(context: Context, task: str) -> tuple[int, int]:
    """(most rows that the rounds can take, of these how many may be missing), exact once all rationales and rounds are stored.

    A chain whose stored rounds do not end yet counts with every round up to the limit, so the second number is an upper bound.
    """
    chains, num_unknown = _chains_so_far(context, task)
    rounds, missing = _rounds_so_far(context, task, chains)
    missing += _round_limit(context) * num_unknown
    return sum(map(len, rounds.values())) + missing, missing


def _rounds_so_far(context: Context, task: str, chains: Sequence[Rationale]) -> tuple[dict[str, list[Round]], int]:
    """(the stored rounds of each chain, as far as the stop rule reads them; how many more there may be)."""
    rule, deterministic = context.settings.compression, specs.is_deterministic(context.settings)
    spec = specs.spec_rounds(context, task)
    stored = context.store.ledger(spec).read() if spec else {}
    found: dict[str, list[Round]] = {each.id: [] for each in chains}
    missing = 0
    for rationale in chains:
        rounds = found[rationale.id]
        while rule.decide(rationale, rounds, deterministic=deterministic) is None:
            row = stored.get(f"{rationale.id}/{len(rounds) + 1}")
            if row is None:
                missing += _round_limit(context) - len(rounds)
                break
            rounds.append(Round.from_row(row))
    return found, missing


def _round_limit(context: Context) -> int:
    return getattr(context.settings.compression, "most_rounds", 1)


def _importances_to_make(context: Context, task: str, spec: Spec) -> tuple[int, int]:
    """(most chains whose tokens are ranked, of these how many may be missing), exact once all rationales are stored."""
    stored = context.store.ledger(spec).read()
    chains, num_unknown = _chains_so_far(context, task)
    return len(chains) + num_unknown, sum(each.id not in stored for each in chains) + num_unknown


def _chains_so_far(context: Context, task: str) -> tuple[list[Rationale], int]:
    """(chains of one task that will be compressed, as far as the store can tell; rationales of which it cannot tell yet)."""
    wanted = {name: sorted(_wanted_rows(context, f"rationales/{name}") or ()) for name in specs.by_task(context.training_questions)}
    found = []
    for name, ids in wanted.items():  # budgets are for all tasks together
        written = rationales.stored_rationales(context, name)
        found += [written[each] for each in ids if each in written]
    own = set(wanted[task])
    scored = scores.stored_scores(context, found)
    if context.settings.selection.needs_scores and any(each.id not in scored for each in scores.to_score(context, found)):
        return [], len(own)
    chains = reasoning.chains([each for each in stages.select(context, found, scored)[0] if each.id in own])
    return chains, len(own) - sum(each.id in own for each in found)


def _texts_to_read(context: Context, task: str, spec: Spec) -> tuple[int, int]:
    """(most texts whose perplexity is measured, of these how many may be missing): exact once all rounds are stored, else every round counts."""
    stored = context.store.ledger(spec).read()
    chains: list[Rationale] = []
    rounds: dict[str, list[Round]] = {}
    num_open = 0
    for name in specs.by_task(context.training_questions):  # chains are drawn from all tasks together
        own, num_unknown = _chains_so_far(context, name)
        own_rounds, missing = _rounds_so_far(context, name, own) if context.settings.compression.asks_compressor else ({}, 1)
        chains, rounds, num_open = chains + own, rounds | own_rounds, num_open + num_unknown + missing
    if not num_open:
        wanted = compressed_set.wanted_rows(context, chains, rounds, stages.compress(context, chains, rounds)).get(task, [])
        return len(wanted), sum(each not in stored for each in wanted)
    ids = {each.id for each in specs.by_task(context.questions.train)[task]}
    own, num_unknown = _chains_so_far(context, task)
    total = min(context.settings.scoring.perplexity_chains, sum(each.question_id in ids for each in own) + num_unknown) * (_round_limit(context) + 1)
    return total, max(0, total - len(stored))


def _scores_to_make(context: Context, task: str, spec: Spec) -> tuple[int, int]:
    """(most rows of scores, of these how many may be missing), exact once all rationales are stored."""
    questions = specs.by_task(context.questions.train).get(task, [])
    wanted = specs.wanted_rationales(context, questions)
    written = rationales.stored_rationales(context, task)
    found = scores.to_score(context, [written[each] for each in wanted if each in written])
    rows = scores.wanted_scores(questions, found)
    stored = context.store.ledger(spec).read()
    num_unknown = sum(each not in written for each in wanted) + (len(questions) if not rows else 0)
    return len(rows) + num_unknown, sum(each not in stored for each in rows) + num_unknown
