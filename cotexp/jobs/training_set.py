"""Every stage before fine-tuning: rationales, their scores and selection, rounds, what is kept of them, and how likely the model finds it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cotexp.jobs import compressed_set, engines, rationales, served, stages
from cotexp.jobs.crew import beside, compressor_model, teacher_model
from cotexp.jobs.room import check_room
from cotexp.jobs.specs import Context
from cotexp.jobs.status import Clock, Metrics
from cotexp.jobs.stored_files import COMPRESSED, SELECTION, write_lines
from cotexp.methods import reasoning, statistics
from cotexp.records import Compressed, FinishReason, Rationale, Round
from cotexp.sections import RunFailed

WITHOUT_TEXT: tuple[FinishReason, ...] = ("empty", "refused", "filtered", "overflow")
"""Outcomes that leave no text; they count, and are never used."""


def compress(context: Context) -> Metrics:
    """Compute what comes before fine-tuning, as far as it is missing, and return its metrics; no run is made.

    Raises: RunFailed where nothing would be compressed.
    """
    settings = context.settings
    if not settings.trains or not settings.compression.has_short_form:
        raise RunFailed(f"compress_only: compression={settings.compression.name} with modes {settings.evaluation.modes} compresses nothing")
    served.check_keys(settings)
    engines.check_models(context)
    check_room(context)
    return make(context, None, Clock(lambda stage: None)).metrics


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """The rationales that take part, what each became, and the metrics of all stages up to here."""

    chosen: list[Rationale]
    compressed: list[Compressed]
    metrics: Metrics


def make(context: Context, folder: Path | None, clock: Clock) -> TrainingSet:
    """Every stage before fine-tuning; `folder` gets a line per question and per compressed chain."""
    settings = context.settings
    with clock.timed("rationales"), beside(context, "rationales", teacher_model(settings)):
        written = rationales.write_rationales(context)
    with clock.timed("scores"), beside(context, "scores", settings.model):
        scored = stages.score(context, written)
    chosen, outcomes = stages.select(context, written, scored)
    stages.check_selection(context, written, chosen, outcomes)
    with clock.timed("rounds"):
        chains = reasoning.chains(chosen)
        with beside(context, "rounds", compressor_model(settings)):
            rounds = stages.write_rounds(context, chains)
        with beside(context, "compression", settings.model):
            kept = stages.compress(context, chains, rounds)
        compressed = reasoning.joined(chosen, kept)
    with clock.timed("perplexity"), beside(context, "perplexity", settings.model):
        likelihoods = compressed_set.measure(context, chains, rounds, kept)
    if folder:
        write_lines(folder / SELECTION, [dataclasses.asdict(each) for each in outcomes])
        write_lines(folder / COMPRESSED, compressed_set.lines(chains, rounds, kept, likelihoods))
    metrics = _rationale_metrics(context, written, chosen) | _round_metrics(rounds) | served.metrics(context)
    if compressed:
        metrics |= compressed_set.metrics(context, chains, kept, likelihoods, num_dropped=len(chosen) - len(compressed))
    selected = statistics.selection_metrics(outcomes, chosen) | statistics.difficulty_metrics(written, scored)
    return TrainingSet(chosen, compressed, metrics | {f"selection/{name}": value for name, value in selected.items()})


def _rationale_metrics(context: Context, written: Sequence[Rationale], chosen: Sequence[Rationale]) -> Metrics:
    """Counts over training and validation questions."""
    counts: Metrics = {
        "rationales/num_written": len(written),
        "rationales/num_correct": sum(each.correct for each in written),
        "rationales/num_dropped": len(written) - len(chosen),
        "rationales/num_truncated": sum(each.finish_reason == "length" for each in written),
        **{f"rationales/num_{outcome}": sum(each.finish_reason == outcome for each in written) for outcome in WITHOUT_TEXT},
    }
    if context.recorded:
        counts["rationales/num_unmatched"] = sum(each.num_unmatched for each in context.recorded.values())
    return counts


def _round_metrics(rounds: dict[str, list[Round]]) -> Metrics:
    """How many rewrites there are, and how many of them cannot be used, by outcome; nothing where no compressor was asked."""
    outcomes = [each.outcome for run in rounds.values() for each in run]
    failed = ("length", *WITHOUT_TEXT)
    return {"rounds/num_written": len(outcomes), **{f"rounds/num_{each}": outcomes.count(each) for each in failed}} if outcomes else {}
