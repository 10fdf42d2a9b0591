"""What the store already knows of a configuration that is compressed but perhaps not fine-tuned; no model is loaded, nothing is written."""

from __future__ import annotations

from dataclasses import dataclass

from cotexp import flow
from cotexp.flow import Walk
from cotexp.jobs import pipeline
from cotexp.settings.base import RunFailed, keyed
from cotexp.settings.root import Settings
from cotexp.stages import checkpoint, perplexity, predictions, ranks, rounds, scores
from cotexp.stages.context import Context, hash_of, ledgers
from cotexp.store.specs import key_of

MISSING = {
    "rationales": "rationales are not written yet",
    "grades": "rationales are not graded yet",
    "scores": "scores of rationales are not stored yet",
    "ranks": "ranks of rationales are not stored yet",
    "rounds": "rounds of its chains, at most, are not written yet",
    "perplexity": "texts, at most, are not read yet: the perplexity of its chains is not measured yet",
}
"""Stage -> what is said of the rows that it lacks."""
COUNTS = ("rationales/num_written", "rationales/num_correct")


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
        is_trained = context.store.has_artifact(checkpoint.spec(context))
        return Candidate(metrics=found, is_trained=is_trained, answers=predictions.wanted(context))


def _key(context: Context) -> str:
    """The same for configurations that have one compressed training set: they differ in how it is trained on."""
    settings = context.settings
    return key_of(
        {
            **{stage.NAME: [each.key for each in ledgers(context, stage.spec)] for stage in (scores, ranks, rounds, perplexity)},
            "questions": hash_of(each.id for each in context.training_questions),
            "selection": keyed(settings.selection),
            "seed": settings.seed,
            "originals": settings.mixture.originals,
            "num_samples": settings.teacher.num_samples,
            "compression": keyed(settings.compression),
            "perplexity_chains": settings.scoring.perplexity_chains,
        }
    )


def _metrics(context: Context) -> dict[str, float]:
    with flow.looking(context) as look:
        made = flow.training_set(context, Walk())
    for kind, what in MISSING.items():
        rows = look.counted(kind)
        if rows.num_missing:
            raise RunFailed(f"{rows.num_missing} of {rows.num_wanted} {what}")
    metrics = {name: value for name, value in flow.metrics_of(context, made).items() if name in COUNTS or name.startswith("compression/")}
    if "compression/perplexity" not in metrics:
        raise RunFailed("the perplexity of its chains is not measured yet: scoring.perplexity_chains is 0")
    return metrics
