"""The order of the stages, and what a run needs and leaves. What of it would be computed: planning.py."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cotexp.jobs import engines, evaluation, latency, pruning, questions, served, specs, stages, status, training_set
from cotexp.jobs.crew import beside, check_devices
from cotexp.jobs.disk import check_writable, clear_errors, exclusive
from cotexp.jobs.room import check_room
from cotexp.jobs.specs import Context
from cotexp.jobs.status import Clock, Metrics
from cotexp.jobs.store import Spec, Store
from cotexp.jobs.stored_files import METRICS, PLANNED, STAGES, Damaged, check_run, metrics_of, read_json, stages_of, write_json
from cotexp.model_settings import ApiCompressor, GgufModel, LocalTeacher, PretrainedModel, RecordedTeacher, ScratchModel
from cotexp.models import identity
from cotexp.models.identity import ModelFiles
from cotexp.settings import MODES, Settings
from cotexp.tasks.prompts import shown_options
from cotexp.visible import LogLines

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Result:
    """A finished run: its folder and its flat metrics. `computed` is false when everything lay there already."""

    folder: Path
    metrics: Metrics
    computed: bool

    @property
    def objective(self) -> float:
        """What a sweeper maximises: accuracy of the last mode evaluated (the short form, where there is one)."""
        return next(self.metrics[f"eval/{mode}/accuracy"] for mode in reversed(MODES) if f"eval/{mode}/accuracy" in self.metrics)


def prepare(settings: Settings) -> Context:
    """Questions, model files and store of a run, after every check that needs no model in memory.

    Raises: ConfigError, StoreError when settings, files or folders cannot be used.
    """
    check_writable(Path(settings.paths.outputs))
    check_devices(settings)
    return make_context(settings)


def run(context: Context, overrides: Sequence[str] = ()) -> Result:
    """Compute what is missing of a prepared run and write its metrics; `overrides` are the words that its status shows.

    Raises: ConfigError before anything is written when a model's weights cannot be used; RunFailed with what the user can do.
    """
    settings, folder, wanted = context.settings, folder_of(context), stages_used(context)
    if is_finished(folder, wanted):
        return Result(folder, metrics_of(folder), computed=False)
    for spec in (each for each in specs_of(context).values() if each.stage in ("model", "checkpoint")):
        context.store.has_artifact(spec)  # one that is broken is told before anything is computed
    engines.check_models(context)
    check_room(context)
    folder.mkdir(parents=True, exist_ok=True)
    outputs = Path(settings.paths.outputs)
    with _log_file(folder / "log.txt"), status.recorded(folder, overrides) as enter, clear_errors(outputs):
        _plan_once(folder / PLANNED, wanted)
        write_json(folder / "settings.json", dataclasses.asdict(settings))
        write_json(folder / "questions.json", {"test": wanted_answers(context), "questions": _what_was_asked(context)})
        metrics = _run_stages(context, folder, Clock(enter)) | _duplicates(context, specs_of(context))
        write_json(folder / "metrics.json", metrics)
        write_json(folder / "stages.json", wanted)
    return Result(folder, metrics, computed=True)


def alone(context: Context) -> contextlib.AbstractContextManager[None]:
    """One process at a time computes, reports and publishes a run; another waits here until then, and says for whom.

    Raises: ConfigError when the run is not finished and the key of a server that it asks is missing.
    """
    folder = folder_of(context)
    if context.settings.trains and not is_finished(folder, stages_used(context)):
        served.check_keys(context.settings)
    return exclusive(folder / ".lock", status.waiting(folder))


def folder_of(context: Context) -> Path:
    """Where the results of a run lie."""
    return Path(context.settings.paths.outputs) / "runs" / context.settings.name / specs.run_key(context)


def _plan_once(path: Path, wanted: dict[str, Any]) -> None:
    """Write what the run goes on from, unless it stands there: the file's time is that of the first attempt."""
    try:
        stands_there = read_json(path) == wanted
    except Damaged:
        stands_there = False
    if not stands_there:
        write_json(path, wanted)


def is_finished(folder: Path, wanted: dict[str, Any]) -> bool:
    """Whether this run has metrics, all of its stages are the ones that would be used now, and what it left can be read."""
    if not (folder / STAGES).exists() or not (folder / METRICS).exists():
        return False
    try:
        is_current = stages_of(folder) == wanted
        if is_current:
            check_run(folder)
            status.read_status(folder)
        return is_current
    except Damaged as error:
        log.warning("%s: this is that command", error)
        return False


def make_context(settings: Settings, *, plan: bool = False) -> Context:
    """Questions, model files and store of a run; a model from scratch is made here unless only a plan is wanted."""
    sets, prompts = questions.load(settings)
    store = Store(Path(settings.paths.outputs) / "store")
    identity.check_device(settings.trainer.accelerator, "trainer.accelerator")
    if is_made(settings.model):
        _check_place(settings.model, "model", plan)
        spec = specs.spec_model(settings, sets, prompts)
        folder = store.artifact_path(spec) if plan else engines.make_model(settings, store, sets, prompts)
        base = ModelFiles(folder, spec.key)
    else:
        base = _find(settings.model, "model", plan)
    context = Context(settings=settings, store=store, questions=sets, prompts=prompts, base=base)
    if not settings.trains:
        return context
    if settings.compression.asks_compressor:
        own = settings.compressor.name == "self"
        if not isinstance(settings.compressor, ApiCompressor):
            context.compressor = base if own else _find(settings.compressor.model, "compressor.model", plan)
    context.classifier = pruning.find_classifier(settings.compression, plan=plan)
    if isinstance(settings.teacher, LocalTeacher):
        context.teacher = _find(settings.teacher.model, "teacher.model", plan)
    if isinstance(settings.teacher, RecordedTeacher):
        context.recorded = questions.recorded(settings, context.training_questions)
    return context


def is_made(model: PretrainedModel) -> bool:
    """Whether the run makes this model's folder itself."""
    return isinstance(model, ScratchModel | GgufModel)


def _find(model: PretrainedModel, setting: str, plan: bool) -> ModelFiles:
    files = identity.find(model, path_setting=f"{setting}.path", download=not plan)
    _check_place(model, setting, plan, files)
    return files


def _check_place(model: PretrainedModel, setting: str, plan: bool, files: ModelFiles | None = None) -> None:
    """Raises ConfigError when this machine cannot run the model as its settings say; a plan may be made anywhere for engine vllm."""
    identity.check_device(model.device, f"{setting}.device")
    if model.engine == "vllm" and not plan:
        from cotexp.inference import vllm

        vllm.check(model, setting, files)


def specs_of(context: Context) -> dict[str, Spec]:
    """Every stage of this run with what it depends on, in order."""
    settings = context.settings
    found = {"model": specs.spec_model(settings, context.questions, context.prompts) if is_made(settings.model) else None}
    for task, own in specs.by_task(context.training_questions).items() if settings.trains else ():
        found[f"texts/{task}"] = specs.spec_texts(context, task)
        found[f"rationales/{task}"] = spec = specs.spec_rationales(context, task)
        found[f"grades/rationales/{task}"] = specs.spec_grades(spec, own[0].answer_type, whole_text=False)
        found[f"scores/{task}"] = specs.spec_scores(context, task) if settings.selection.needs_scores else None
        found[f"rewrites/{task}"] = specs.spec_rewrites(context, task)
        found[f"rounds/{task}"] = specs.spec_rounds(context, task)
        found[f"importances/{task}"] = specs.spec_importances(context, task)
        found[f"perplexity/{task}"] = specs.spec_perplexity(context, task) if specs.by_task(context.questions.train).get(task) else None
    found["checkpoint"] = specs.spec_checkpoint(context) if settings.trains else None
    for mode in settings.evaluation.modes:
        for task, own in specs.by_task(context.questions.test).items():
            found[f"predictions/{mode}/{task}"] = predictions = specs.spec_predictions(context, mode, task)
            found[f"grades/{mode}/{task}"] = specs.spec_grades(predictions, own[0].answer_type, whole_text=True)
        found[f"latency/{mode}"] = specs.spec_latency(context, mode) if mode in specs.timed_modes(context) else None
    return {name: spec for name, spec in found.items() if spec is not None}


def stages_used(context: Context) -> dict[str, Any]:
    """What stages.json says of a finished run: the key and place of every stage, and how much of it was read where no key says so."""
    used: dict[str, Any] = {name: {"key": spec.key, "path": str(Path("store") / spec.stage / spec.key)} for name, spec in specs_of(context).items()}
    for name in (each for each in used if each.startswith("perplexity/")):
        used[name]["num_chains"] = context.settings.scoring.perplexity_chains
    return used


def wanted_answers(context: Context) -> dict[str, list[str]]:
    """Task -> ids of its answers in one mode."""
    samples = context.settings.evaluation.num_samples
    return {task: specs.wanted_rows(own, samples) for task, own in specs.by_task(context.questions.test).items()}


def _what_was_asked(context: Context) -> dict[str, dict[str, str]]:
    """Id of every question of the run -> its text, with the options of a choice, and its gold answer: a reader of answers needs no task."""
    return {
        each.id: {"text": "\n".join(filter(None, [each.text, shown_options(each.options)])), "answer": each.answer}
        for each in [*context.training_questions, *context.questions.test]
    }


def _run_stages(context: Context, folder: Path, clock: Clock) -> Metrics:
    metrics = _question_metrics(context)
    context.on_metrics(metrics)
    metrics |= _fine_tune(context, folder, clock) if context.settings.trains else {}
    context.on_metrics(metrics)
    with clock.timed("evaluation"), beside(context, "answers", context.settings.model):
        answers = evaluation.write_answers(context)
    with clock.timed("grading"):
        predictions = evaluation.grade_answers(context, answers)
    metrics |= evaluation.metrics_of(context, predictions)
    context.on_metrics(metrics)
    if timed := specs.timed_modes(context):
        metrics["eval/latency_batch_size"] = min(context.settings.evaluation.latency_batch_size, len(specs.timed_questions(context)))
        with clock.timed("latency"):
            for mode in timed:
                metrics |= {f"eval/{mode}/{name}": value for name, value in latency.measure(context, mode).items()}
    return metrics | clock.seconds


def _fine_tune(context: Context, folder: Path, clock: Clock) -> Metrics:
    """Every stage up to the fine-tuned model, and its metrics."""
    made = training_set.make(context, folder, clock)
    with clock.timed("training"):
        checkpoint = stages.train(context, stages.make_examples(context, made.chosen, made.compressed))
    return made.metrics | {f"training/{name}": value for name, value in read_json(checkpoint / "training.json").items()}


def _duplicates(context: Context, used: dict[str, Spec]) -> Metrics:
    """How many rows of this run's ledgers two processes wrote, though each claims before it computes: never counted twice, but paid."""
    num_duplicates = 0
    for name, spec in used.items():
        ledger = context.store.ledger(spec)
        ledger.read()
        if ledger.num_duplicates:
            log.warning("%s: %d rows were computed twice, since the first process was out of reach; the earlier count", name, ledger.num_duplicates)
        num_duplicates += ledger.num_duplicates
    return {"store/num_duplicates": num_duplicates}


def _question_metrics(context: Context) -> Metrics:
    sets = context.questions
    counts = {f"questions/num_{split}": len(sets[split]) for split in ("train", "validation", "test")}
    counts |= {f"questions/num_dropped_{reason}": count for reason, count in sets.dropped.items()}
    for name, (count, official) in sets.incomplete.items():
        counts |= {f"questions/{name}/num_rows": count, f"questions/{name}/num_rows_official": official}
    return counts


@contextlib.contextmanager
def _log_file(path: Path) -> Iterator[None]:
    handler = logging.FileHandler(path)
    handler.handleError = lambda record: None  # type: ignore[method-assign]  # a full disk is told by the work itself
    handler.setFormatter(LogLines("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("cotexp")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        with contextlib.suppress(OSError):
            handler.close()
