"""The order of the stages, walked to compute them, to look at what is stored, or to take part beside another process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from cotexp.jobs.status import Clock, Metrics
from cotexp.settings.models import PretrainedModel
from cotexp.stages import checkpoint, grades, latency, made_model, merged, perplexity, predictions
from cotexp.stages.context import Context, Look, by_task
from cotexp.stages.training_set import TrainingSet
from cotexp.store.specs import Spec
from cotexp.store.stored_files import COMPRESSED, SELECTION, read_json, write_lines

BEFORE_TRAINING = tuple(
    map(
        import_module,
        (
            "cotexp.stages.texts",
            "cotexp.stages.rationales",
            "cotexp.stages.scores",
            "cotexp.stages.selecting",
            "cotexp.stages.rewrites",
            "cotexp.stages.rounds",
            "cotexp.stages.importances",
            "cotexp.stages.compressing",
            "cotexp.stages.perplexity",
        ),
    )
)
"""The steps that make a training set, in order; `cotexp.stages` says what each file holds. A new one is a line here."""
OF_TASK = [each for each in BEFORE_TRAINING if hasattr(each, "spec")]
"""Those that store rows: each has a ledger per task to train on."""
STAGES: dict[str, ModuleType] = {each.NAME: each for each in (made_model, *OF_TASK, checkpoint, merged, predictions, grades, latency)}
"""Every stage by name."""
ARTIFACTS = ("dataset", *(each.NAME for each in OF_TASK), "selection", "model", "checkpoint", "predictions")
"""Kinds of what a run makes and reads, as trackers name them. Grades and times belong to their texts."""


def specs_of(context: Context) -> dict[str, Spec]:
    """Every stage of this run with what it depends on, in order."""
    settings = context.settings
    found: dict[str, Spec | None] = {}
    if made_model.is_made(settings.model):
        found["model"] = made_model.spec(settings, context.questions, context.prompts)
    for task, questions in by_task(context.training_questions).items() if settings.trains else ():
        for stage in OF_TASK:
            found[f"{stage.NAME}/{task}"] = spec = stage.spec(context, task)
            if stage.NAME == "rationales":
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


def training_set(context: Context, walk: Walk) -> TrainingSet:
    """Every stage before fine-tuning."""
    made = TrainingSet()
    for stage in BEFORE_TRAINING:
        if hasattr(stage, "model"):
            with walk.stage(stage.NAME, stage.model(context.settings), timed_as=getattr(stage, "TIMED_AS", None)):
                stage.add(context, made)
        elif hasattr(stage, "add"):
            stage.add(context, made)
    return made


def metrics_of(context: Context, made: TrainingSet) -> Metrics:
    """Everything that is said of a training set: counts, selection, difficulty, lengths, perplexity and cost."""
    parts = [stage.metrics(context, made) for stage in BEFORE_TRAINING if hasattr(stage, "metrics")]
    return {name: value for part in parts for name, value in part.items()}


def write_training_set(made: TrainingSet, folder: Path) -> None:
    """A line per training question and per compressed chain, for reports."""
    write_lines(folder / SELECTION, [each.line for each in made.outcomes])
    write_lines(folder / COMPRESSED, perplexity.lines(made.chains, made.rounds, made.kept, made.likelihoods))


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
