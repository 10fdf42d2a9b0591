"""The order of the stages, walked to compute them, to look at what is stored, or to take part beside another process."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from cotexp.compressions.base import Tools
from cotexp.jobs import api_texts
from cotexp.jobs.engines import load_encoder
from cotexp.jobs.status import Clock, Metrics
from cotexp.methods import reasoning, statistics
from cotexp.records import Compressed, FinishReason, Rationale, Selected
from cotexp.settings.models import PretrainedModel
from cotexp.stages import (
    checkpoint,
    grades,
    importances,
    latency,
    made_model,
    merged,
    perplexity,
    predictions,
    rationales,
    rewrites,
    rounds,
    scores,
    selecting,
    texts,
)
from cotexp.stages.context import Context, Look, by_task, compressor_model, is_deterministic, teacher_model
from cotexp.stages.rounds import Rounds
from cotexp.stages.scores import Scores
from cotexp.store.specs import Spec
from cotexp.store.stored_files import COMPRESSED, SELECTION, read_json, write_lines

OF_TASK: tuple[ModuleType, ...] = (texts, rationales, scores, rewrites, rounds, importances, perplexity)
"""Stages before fine-tuning, in order; each has a ledger per task to train on."""
STAGES: dict[str, ModuleType] = {each.NAME: each for each in (made_model, *OF_TASK, checkpoint, merged, predictions, grades, latency)}
"""Every stage by name."""
WITHOUT_TEXT: tuple[FinishReason, ...] = ("empty", "refused", "filtered", "overflow")
"""Outcomes that leave no text; they count, and are never used."""


def specs_of(context: Context) -> dict[str, Spec]:
    """Every stage of this run with what it depends on, in order."""
    settings = context.settings
    found: dict[str, Spec | None] = {}
    if made_model.is_made(settings.model):
        found["model"] = made_model.spec(settings, context.questions, context.prompts)
    for task, questions in by_task(context.training_questions).items() if settings.trains else ():
        for stage in OF_TASK:
            found[f"{stage.NAME}/{task}"] = spec = stage.spec(context, task)
            if stage is rationales:
                found[f"grades/rationales/{task}"] = grades.spec(spec, questions[0].answer_type, whole_text=False)
    found["checkpoint"] = checkpoint.spec(context) if settings.trains else None
    for mode in settings.evaluation.modes:
        for task, questions in by_task(context.questions.test).items():
            found[f"predictions/{mode}/{task}"] = spec = predictions.spec(context, mode, task)
            found[f"grades/{mode}/{task}"] = grades.spec(spec, questions[0].answer_type, whole_text=True)
        found[f"latency/{mode}"] = latency.spec(context, mode) if mode in latency.timed_modes(context) else None
    return {name: spec for name, spec in found.items() if spec is not None}


class _Reached(Exception):
    """The walk has come to the stage that it was to end at."""


@dataclass(slots=True)
class Walk:
    """One walk: `around(stage, model)` holds while a stage is at work, and it ends after the stage `until`."""

    clock: Clock = field(default_factory=lambda: Clock(lambda stage: None))
    around: Any = lambda stage, model: contextlib.nullcontext()
    until: str = ""

    @contextlib.contextmanager
    def stage(self, name: str, model: PretrainedModel | None, *, timed_as: str | None = None) -> Iterator[None]:
        with self.clock.timed(timed_as or name), self.around(name, model):
            yield
        if name == self.until:
            raise _Reached


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """What every stage before fine-tuning made: the rationales `written` and `chosen` of them, each one's `chains`, and what these became."""

    written: list[Rationale]
    scored: Scores
    chosen: list[Rationale]
    outcomes: list[Selected]
    chains: list[Rationale]
    rewritten: Rounds
    kept: list[Compressed]
    likelihoods: dict[str, perplexity.Measured]

    @property
    def compressed(self) -> list[Compressed]:
        """The short form of each chosen rationale, its parts joined."""
        return reasoning.joined(self.chosen, self.kept)


def training_set(context: Context, walk: Walk) -> TrainingSet:
    """Every stage before fine-tuning."""
    settings = context.settings
    with walk.stage("rationales", teacher_model(settings)):
        written = rationales.make(context)
    with walk.stage("scores", settings.model):
        scored = scores.make(context, written)
    chosen, outcomes = selecting.select(context, written, scored)
    if context.look is None:
        selecting.check_selection(context, written, chosen, outcomes)
    chains = reasoning.chains(chosen)
    with walk.stage("rounds", compressor_model(settings)):
        rewritten = rounds.make(context, chains)
    with walk.stage("importances", settings.model, timed_as="rounds"):
        kept = compress(context, chains, rewritten)
    with walk.stage("perplexity", settings.model):
        likelihoods = perplexity.make(context, chains, rewritten, kept)
    return TrainingSet(written, scored, chosen, outcomes, chains, rewritten, kept, likelihoods)


def metrics_of(context: Context, made: TrainingSet) -> Metrics:
    """Everything that is said of a training set: counts, selection, difficulty, lengths, perplexity and cost."""
    metrics = _rationale_metrics(context, made.written, made.chosen) | _round_metrics(made.rewritten)
    for role, _ in api_texts.roles(context.settings):
        asked = texts if role == "teacher" else rewrites
        metrics |= api_texts.metrics(context, role, asked.specs(context))
    if compressed := made.compressed:
        num_dropped = len(made.chosen) - len(compressed)
        metrics |= perplexity.metrics(context, made.chains, made.kept, made.likelihoods, num_dropped=num_dropped)
    selected = statistics.selection_metrics(made.outcomes, made.chosen) | statistics.difficulty_metrics(made.written, made.scored)
    return metrics | {f"selection/{name}": value for name, value in selected.items()}


def write_training_set(made: TrainingSet, folder: Path) -> None:
    """A line per training question and per compressed chain, for reports."""
    write_lines(folder / SELECTION, [dataclasses.asdict(each) for each in made.outcomes])
    write_lines(folder / COMPRESSED, perplexity.lines(made.chains, made.rewritten, made.kept, made.likelihoods))


def compress(context: Context, chains: Sequence[Rationale], written: Rounds) -> list[Compressed]:
    """What each chain becomes under this run's compression, which may drop some; in a look none while rounds or importances are missing."""
    settings = context.settings
    tools = Tools(
        rounds=written,
        importances=importances.make(context, chains),
        encoder=lambda: load_encoder(context),
        deterministic=is_deterministic(settings) if settings.compression.asks_compressor else True,
        seed=settings.seed,
    )
    if context.look is not None and context.look.is_open:
        return []
    kept: list[Compressed] = settings.compression.compress(chains, tools)
    return kept


def measured(context: Context, walk: Walk) -> Metrics:
    """Answers of every mode, their grades and times, and the metrics made of them."""
    with walk.stage("evaluation", context.settings.model):
        answers = predictions.make(context)
    with walk.stage("grading", None):
        graded = predictions.grade(context, answers)
    if context.look is not None:
        for mode in latency.timed_modes(context):
            latency.make(context, mode)
        return {}
    metrics = predictions.metrics_of(context, graded)
    context.on_metrics(metrics)
    if timed := latency.timed_modes(context):
        metrics["eval/latency_batch_size"] = min(context.settings.evaluation.latency_batch_size, len(latency.timed_questions(context)))
        with walk.stage("latency", None):
            for mode in timed:
                metrics |= {f"eval/{mode}/{name}": value for name, value in latency.make(context, mode).items()}
    return metrics


def computed(context: Context, walk: Walk, folder: Path) -> Metrics:
    """Every stage of a run, and its metrics."""
    metrics = _question_metrics(context)
    context.on_metrics(metrics)
    if context.settings.trains:
        made = training_set(context, walk)
        write_training_set(made, folder)
        with walk.stage("training", None):
            trained = checkpoint.make(context, checkpoint.make_examples(context, made.chosen, made.compressed))
        metrics |= metrics_of(context, made) | {f"training/{name}": value for name, value in read_json(trained / "training.json").items()}
        context.on_metrics(metrics)
    return metrics | measured(context, walk) | walk.clock.seconds


def take_part(context: Context, stage: str) -> None:
    """Compute rows of the stages up to `stage` that no other process has claimed, until all are there; another process writes the run's files."""
    walk = Walk(until=stage)
    with contextlib.suppress(_Reached):
        if stage == "evaluation":
            measured(context, walk)
        else:
            training_set(context, walk)


@contextlib.contextmanager
def looking(context: Context) -> Iterator[Look]:
    """In this block, stages compute and write nothing: they count what is missing and return what is stored."""
    context.look = Look()
    try:
        yield context.look
    finally:
        context.look = None


def assist(context: Context) -> None:
    """What a machine beside the first one does for a run: its share of the texts, and of the fine-tuning."""
    if context.settings.trains:
        take_part(context, "perplexity")
        checkpoint.join_training(context)
    take_part(context, "evaluation")


def _question_metrics(context: Context) -> Metrics:
    sets = context.questions
    counts: Metrics = {f"questions/num_{split}": len(sets[split]) for split in ("train", "validation", "test")}
    counts |= {f"questions/num_dropped_{reason}": count for reason, count in sets.dropped.items()}
    for name, (count, official) in sets.incomplete.items():
        counts |= {f"questions/{name}/num_rows": count, f"questions/{name}/num_rows_official": official}
    return counts


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


def _round_metrics(written: Rounds) -> Metrics:
    """How many rewrites there are, and how many of them cannot be used, by outcome; nothing where no compressor was asked."""
    outcomes: list[str] = [each.outcome for run in written.values() for each in run]
    failed = ("length", *WITHOUT_TEXT)
    return {"rounds/num_written": len(outcomes), **{f"rounds/num_{each}": outcomes.count(each) for each in failed}} if outcomes else {}
