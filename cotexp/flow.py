"""The order of the stages, walked to compute them, to inspect the store, or to help another process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from cotexp.jobs.status import Clock, Metrics
from cotexp.stages import checkpoint, made_model, merged, perplexity
from cotexp.stages.context import Context, Look, by_task, ledgers
from cotexp.stages.evaluation import Evaluation
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
            "cotexp.stages.ranks",
            "cotexp.stages.selecting",
            "cotexp.stages.rewrites",
            "cotexp.stages.rounds",
            "cotexp.stages.importances",
            "cotexp.stages.compressing",
            "cotexp.stages.perplexity",
            "cotexp.stages.answer_perplexity",
        ),
    )
)
"""The steps that make a training set, in order; `cotexp.stages` says what each file holds. A new one is a line here."""
AFTER_TRAINING = tuple(
    map(
        import_module,
        (
            "cotexp.stages.budgets",
            "cotexp.stages.predictions",
            "cotexp.stages.grades",
            "cotexp.stages.latency",
        ),
    )
)
"""The steps that measure the base model and the fine-tuned one, in order. A new one is a line here."""
OF_TASK = [each for each in BEFORE_TRAINING if hasattr(each, "spec")]
"""Those before fine-tuning that store rows: each has a ledger per task to train on."""
STAGES: dict[str, ModuleType] = {each.NAME: each for each in (*OF_TASK, made_model, checkpoint, merged, *AFTER_TRAINING)}
"""Every stage by name."""
FOLDERS, BOUNDED = ({name for name, stage in STAGES.items() if hasattr(stage, trait)} for trait in ("FOLDER", "BOUNDED"))
"""Stages that make one folder in place of rows, and those whose number of rows follows from earlier texts."""
ARTIFACTS = ("dataset", *(name for name, stage in STAGES.items() if getattr(stage, "IS_ARTIFACT", True)), "selection")
"""Kinds of what a run makes and reads, as trackers name them."""


def specs_before_training(context: Context) -> dict[str, Spec]:
    """Every stage of this run before fine-tuning with what it depends on, in order."""
    settings = context.settings
    found: dict[str, Spec | None] = {}
    if made_model.is_made(settings.model):
        found["model"] = made_model.spec(settings, context.questions, context.prompts)
    for task in by_task(context.training_questions) if settings.trains else ():
        for stage in OF_TASK:
            found |= stage.specs(context, task) if hasattr(stage, "specs") else {f"{stage.NAME}/{task}": stage.spec(context, task)}
    return {name: spec for name, spec in found.items() if spec is not None}


def specs_of(context: Context) -> dict[str, Spec]:
    """Every stage of this run with what it depends on, in order."""
    found, settings = specs_before_training(context), context.settings
    if settings.trains:
        found["checkpoint"] = checkpoint.spec(context)
    for mode in settings.evaluation.modes:
        for stage in AFTER_TRAINING:
            found |= stage.specs(context, mode) if hasattr(stage, "specs") else {}
    return found


class _Reached(Exception):
    """The walk has come to the stage that it was to end at."""


@dataclass(slots=True)
class Walk:
    """One walk: `around(stage, model)` holds while a stage is at work, and it ends after the stage `until`."""

    clock: Clock = field(default_factory=lambda: Clock(lambda stage: None))
    around: Any = lambda stage, model: contextlib.nullcontext()
    until: str = ""

    @contextlib.contextmanager
    def stage(self, stage: ModuleType, context: Context) -> Iterator[None]:
        """While a stage is at work. A step that stores nothing, or nothing in this run, takes no time and is not named."""
        if _is_named(stage, context):
            model = stage.model(context.settings) if hasattr(stage, "model") else None
            with self.clock.timed(timed_as(stage)), self.around(stage.NAME, model):
                yield
        else:
            yield
        if self.until and self.until == getattr(stage, "NAME", ""):
            raise _Reached


def _is_named(stage: ModuleType, context: Context) -> bool:
    return hasattr(stage, "NAME") and (stage not in OF_TASK or bool(ledgers(context, stage.spec)))


def timed_as(stage: ModuleType) -> str:
    """The name of a stage in times and progress."""
    return str(getattr(stage, "TIMED_AS", stage.NAME))


def _measures(stage: ModuleType, context: Context) -> bool:
    """Whether a stage after fine-tuning has something to store, or makes metrics alone."""
    return not hasattr(stage, "specs") or any(stage.specs(context, mode) for mode in context.settings.evaluation.modes)


def course_of(context: Context) -> list[str]:
    """The stages of this run as its clock will name them, in order."""
    before = [each for each in BEFORE_TRAINING if hasattr(each, "add")] if context.settings.trains else []
    stages = [*before, *([checkpoint] if context.settings.trains else []), *(each for each in AFTER_TRAINING if _measures(each, context))]
    return list(dict.fromkeys(timed_as(each) for each in stages if _is_named(each, context)))


def training_set(context: Context, walk: Walk) -> TrainingSet:
    """Every stage before fine-tuning."""
    made = TrainingSet()
    for stage in BEFORE_TRAINING:
        if hasattr(stage, "add"):
            with walk.stage(stage, context):
                stage.add(context, made)
    return made


def metrics_of(context: Context, made: TrainingSet) -> Metrics:
    """Everything that is said of a training set: counts, selection, difficulty, lengths, perplexity and cost."""
    parts = [stage.metrics(context, made) for stage in BEFORE_TRAINING if hasattr(stage, "metrics")]
    return {name: value for part in parts for name, value in part.items()}


def write_training_set(made: TrainingSet, folder: Path) -> None:
    """A line per training question and per compressed chain, for reports."""
    write_lines(folder / SELECTION, [each.line for each in made.outcomes])
    write_lines(folder / COMPRESSED, perplexity.lines(made.chains, made.rounds, made.kept, made.likelihoods, made.answers))


def measured(context: Context, walk: Walk) -> Metrics:
    """Every stage after fine-tuning that has something to store, and the metrics made of what they store, unless others make them."""
    made, metrics = Evaluation(), Metrics()
    for stage in AFTER_TRAINING:
        if not _measures(stage, context):
            continue
        with walk.stage(stage, context):
            stage.add(context, made)
        if hasattr(stage, "metrics") and context.look is None and not walk.until:
            metrics |= stage.metrics(context, made)
            context.on_metrics(metrics)
    return metrics


def computed(context: Context, walk: Walk, folder: Path) -> Metrics:
    """Every stage of a run, and its metrics."""
    metrics = _question_metrics(context)
    context.on_metrics(metrics)
    if context.settings.trains:
        made = training_set(context, walk)
        write_training_set(made, folder)
        with walk.stage(checkpoint, context):
            trained = checkpoint.make(context, checkpoint.make_examples(context, made.chosen, made.compressed))
        numbers = {name: value for name, value in read_json(trained / "training.json").items() if not isinstance(value, str)}
        metrics |= metrics_of(context, made) | {f"training/{name}": value for name, value in numbers.items()}
        context.on_metrics(metrics)
    return metrics | measured(context, walk) | walk.clock.seconds


def take_part(context: Context, stage: str) -> None:
    """Compute rows of the stages up to `stage` that no other process has claimed, until all are there; another process writes the run's files."""
    walk, walked = Walk(until=stage), measured if STAGES[stage] in AFTER_TRAINING else training_set
    with contextlib.suppress(_Reached):
        walked(context, walk)


@contextlib.contextmanager
def looking(context: Context) -> Iterator[Look]:
    """In this block, stages compute and write nothing: they count what is missing and return what is stored."""
    context.look = Look()
    try:
        yield context.look
    finally:
        context.look = None


def assist(context: Context) -> None:
    """The work of a further machine in a run: its share of the texts and of the fine-tuning."""
    if context.settings.trains:
        take_part(context, OF_TASK[-1].NAME)
        checkpoint.join_training(context)
    take_part(context, "predictions")


def _question_metrics(context: Context) -> Metrics:
    sets = context.questions
    counts: Metrics = {f"questions/num_{split}": len(sets[split]) for split in ("train", "validation", "test")}
    counts |= {f"questions/num_dropped_{reason}": count for reason, count in sets.dropped.items()}
    for name, (count, official) in sets.incomplete.items():
        counts |= {f"questions/{name}/num_rows": count, f"questions/{name}/num_rows_official": official}
    return counts
