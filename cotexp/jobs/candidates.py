"""What the store already knows of a configuration that is compressed but perhaps not fine-tuned; no model is loaded, nothing is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cotexp.jobs import compressed_set, pipeline, rationales, scores, stages
from cotexp.jobs.specs import Context, by_task, hash_of, is_deterministic, spec_checkpoint, spec_perplexity, spec_rounds, wanted_rationales
from cotexp.jobs.store import Row, key_of
from cotexp.methods import reasoning
from cotexp.records import Rationale, Round
from cotexp.sections import RunFailed, keyed
from cotexp.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """`metrics` are those that a run would write of its compressed training set; `is_trained`: the fine-tuned model is there already.

    `answers`: task -> ids of the answers that its run would ask for.
    """

    metrics: dict[str, float]
    is_trained: bool
    answers: dict[str, list[str]]


class Lookup:
    """Candidates one after the other; configurations that share a compressed training set read it once."""

    def __init__(self) -> None:
        self.known: dict[str, dict[str, float] | RunFailed] = {}

    def candidate(self, settings: Settings) -> Candidate:
        """The compressed training set that these settings would be fine-tuned on. Raises: RunFailed with what is still missing."""
        if not settings.trains or not settings.compression.asks_compressor:
            raise RunFailed(f"compression={settings.compression.name} makes no rounds to forecast from")
        context = pipeline.make_context(settings, plan=True)
        key = _key(context)
        if key not in self.known:
            try:
                self.known[key] = _metrics(context)
            except RunFailed as error:
                self.known[key] = error
        found = self.known[key]
        if isinstance(found, RunFailed):
            raise found
        is_trained = context.store.has_artifact(spec_checkpoint(context))
        return Candidate(metrics=found, is_trained=is_trained, answers=pipeline.wanted_answers(context))


def _key(context: Context) -> str:
    """The same for configurations that have one compressed training set: they differ in how it is trained on."""
    settings, tasks = context.settings, by_task(context.training_questions)
    rounds = [spec.key for task in tasks if (spec := spec_rounds(context, task))]
    return key_of(
        {
            "rounds": rounds,
            "questions": hash_of(each.id for each in context.training_questions),
            "selection": keyed(settings.selection),
            "perplexity": [spec.key for task in tasks if (spec := spec_perplexity(context, task))],
            "seed": settings.seed,
            "originals": settings.mixture.originals,
            "num_samples": getattr(settings.teacher, "num_samples", 1),
            "compression": keyed(settings.compression),
            "perplexity_chains": settings.scoring.perplexity_chains,
        }
    )


def _metrics(context: Context) -> dict[str, float]:
    settings, written = context.settings, _written(context)
    scored = scores.stored_scores(context, written)
    if settings.selection.needs_scores and any(each.id not in scored for each in scores.to_score(context, written)):
        raise RunFailed("rationales are not scored yet")
    chosen, _ = stages.select(context, written, scored)
    chains = reasoning.chains(chosen)
    rounds = _rounds(context, chains)
    kept = stages.compress(context, chains, rounds)
    likelihoods, num_missing = compressed_set.stored(context, chains, rounds, kept)
    if num_missing or not likelihoods:
        raise RunFailed("the perplexity of its chains is not measured yet")
    num_dropped = len(chosen) - len(reasoning.joined(chosen, kept))
    return {
        "rationales/num_written": len(written),
        "rationales/num_correct": sum(each.correct for each in written),
        **compressed_set.metrics(context, chains, kept, likelihoods, num_dropped=num_dropped),
    }


def _written(context: Context) -> list[Rationale]:
    found: list[Rationale] = []
    for task, questions in by_task(context.training_questions).items():
        stored, wanted = rationales.stored_rationales(context, task), wanted_rationales(context, questions)
        if missing := sum(each not in stored for each in wanted):
            raise RunFailed(f"{missing} of {len(wanted)} rationales are not written yet")
        found += [stored[each] for each in wanted]
    return found


def _rounds(context: Context, chains: Sequence[Rationale]) -> dict[str, list[Round]]:
    rule, deterministic = context.settings.compression, is_deterministic(context.settings)
    task_of = {each.id: each.task for each in context.training_questions}
    stored: dict[str, dict[str, Row]] = {}
    for task in dict.fromkeys(task_of.values()):
        spec = spec_rounds(context, task)
        assert spec is not None
        stored[task] = context.store.ledger(spec).read()
    found: dict[str, list[Round]] = {}
    num_unfinished = 0
    for each in chains:
        own = found[each.id] = []
        while rule.decide(each, own, deterministic=deterministic) is None:
            row = stored[task_of[each.question_id]].get(f"{each.id}/{len(own) + 1}")
            if row is None:
                num_unfinished += 1
                break
            own.append(Round.from_row(row))
    if num_unfinished:
        raise RunFailed(f"rounds of {num_unfinished} of {len(chains)} chains are not written yet")
    return found
