"""What a run needs and leaves. The order of its stages: `cotexp.flow`; what of it would be computed: planning.py."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cotexp import flow
from cotexp.devices.stage_workers import check_devices, on_all_devices
from cotexp.flow import Walk, specs_of
from cotexp.inference.engines import ENGINES
from cotexp.jobs import api_texts, origin, questions, status
from cotexp.jobs.checks import check_compresses, check_models, check_room
from cotexp.jobs.course import course_of
from cotexp.jobs.status import Clock, Metrics
from cotexp.methods.calculations import num_steps
from cotexp.models import identity
from cotexp.models.identity import ModelFiles
from cotexp.settings.base import keyed
from cotexp.settings.evaluation import MODES
from cotexp.settings.models import PretrainedModel
from cotexp.settings.root import READ_BY_TRAINING, Settings
from cotexp.stages import checkpoint, importances, made_model, predictions
from cotexp.stages.context import Context, compressor_model, engine_of, hash_of
from cotexp.store.disk import check_writable, exclusive, explained_disk_errors
from cotexp.store.specs import Spec, key_of
from cotexp.store.store import Store
from cotexp.store.stored_files import METRICS, PLANNED, STAGES, Damaged, check_run, metrics_of, read_json, stages_of, write_json
from cotexp.tasks import hub
from cotexp.tasks.prompts import shown_options
from cotexp.visible import LogLines

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Result:
    """A finished run: its folder and its flat metrics. `computed` is false when everything lay there already."""

    folder: Path
    metrics: Metrics = field(repr=False)
    computed: bool

    @property
    def key(self) -> str:
        """The run's key, which names its folder."""
        return self.folder.name

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
    for spec in (each for each in specs_of(context).values() if each.stage in flow.FOLDERS):
        context.store.has_artifact(spec)  # one that is broken is told before anything is computed
    check_models(context)
    check_room(context)
    folder.mkdir(parents=True, exist_ok=True)
    outputs, course = Path(settings.paths.outputs), course_of(context, folder, wanted)
    with _log_file(folder / "log.txt"), status.recorded(folder, overrides, course) as enter, explained_disk_errors(outputs):
        for what in hub.REVISIONS.values():
            log.info("%s", what)
        _plan_once(folder / PLANNED, wanted)
        write_json(folder / "settings.json", dataclasses.asdict(settings))
        roles = {"model": context.base, "compressor": context.compressor, "teacher": context.teacher}
        origin.write(folder, overrides, {role: files.sha256 for role, files in roles.items() if files is not None})
        write_json(folder / "questions.json", {"test": predictions.wanted(context), "questions": _what_was_asked(context)})
        metrics = flow.computed(context, _walk(context, Clock(enter)), folder) | _duplicates(context, specs_of(context))
        write_json(folder / "metrics.json", metrics)
        write_json(folder / "stages.json", wanted)
    return Result(folder, metrics, computed=True)


def compress(context: Context) -> Metrics:
    """Compute what comes before fine-tuning, as far as it is missing, and return its metrics; no run is made.

    Raises: RunFailed if nothing would be compressed, or nothing is left to fine-tune on.
    """
    check_compresses(context.settings)
    api_texts.check_keys(context.settings)
    check_models(context)
    check_room(context)
    made = flow.training_set(context, _walk(context, Clock(lambda stage: None)))
    if not context.settings.compression.pairs_rationales:  # pairs are counted, also if there are none
        checkpoint.make_examples(context, made.chosen, made.compressed)
    return flow.metrics_of(context, made)


def _walk(context: Context, clock: Clock) -> Walk:
    """A walk that computes, with the other devices of this machine."""
    return Walk(clock, around=lambda stage, model: on_all_devices(context, stage, model))


def exclusive_run(context: Context) -> contextlib.AbstractContextManager[None]:
    """One process at a time computes, reports and publishes a run; another waits here until then, and says for whom.

    Raises: ConfigError when the run is not finished and the key of a server that it asks is missing.
    """
    folder = folder_of(context)
    if context.settings.trains and not is_finished(folder, stages_used(context)):
        api_texts.check_keys(context.settings)
    return exclusive(folder / ".lock", status.waiting(folder))


def folder_of(context: Context) -> Path:
    """The folder of a run's results."""
    return Path(context.settings.paths.outputs) / "runs" / context.settings.name / run_key(context)


def _plan_once(path: Path, wanted: dict[str, Any]) -> None:
    """Write the file from which a run continues, unless it exists: its time is that of the first attempt."""
    try:
        is_written = read_json(path) == wanted
    except Damaged:
        is_written = False
    if not is_written:
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
    if made_model.is_made(settings.model):
        _check_place(settings.model, "model", plan)
        spec = made_model.spec(settings, sets, prompts)
        folder = store.artifact_path(spec) if plan else made_model.make(settings, store, sets, prompts)
        base = ModelFiles(folder, spec.key)
    else:
        base = _find(settings.model, "model", plan)
    context = Context(settings=settings, store=store, questions=sets, prompts=prompts, base=base)
    if not settings.trains:
        return context
    compressor = compressor_model(settings)
    if settings.compression.asks_compressor and compressor is not None:
        context.compressor = base if compressor is settings.model else _find(compressor, "compressor.model", plan)
    context.classifier = importances.find_classifier(settings.compression, plan=plan)
    if settings.teacher.model is not None:
        context.teacher = _find(settings.teacher.model, "teacher.model", plan)
    context.recorded = questions.recorded(settings, context.training_questions)
    context.recorded_rounds = questions.recorded_rounds(settings, context.training_questions)
    return context


def _find(model: PretrainedModel, setting: str, plan: bool) -> ModelFiles:
    files = identity.find(model, path_setting=f"{setting}.path", download=not plan)
    _check_place(model, setting, plan, files)
    return files


def _check_place(model: PretrainedModel, setting: str, plan: bool, files: ModelFiles | None = None) -> None:
    """Raises ConfigError when this machine cannot run the model as its settings say; a plan may be made anywhere."""
    identity.check_device(model.device, f"{setting}.device")
    if not plan:
        ENGINES[model.engine].check(model, setting, files)


def run_key(context: Context) -> str:
    """Twelve hex digits that stand for all that can change the run's result: settings however typed, questions, weights."""
    questions, settings = context.questions, keyed(context.settings)
    if settings["evaluation"]["split"] == "test":  # as it was before there was a choice
        del settings["evaluation"]["split"]
    if not context.settings.trains:
        settings = {name: value for name, value in settings.items() if name not in READ_BY_TRAINING}
    return key_of(
        {
            "settings": settings,
            "questions": [hash_of(each.id for each in questions[split]) for split in ("train", "validation", "test")],
            "prompts": {name: prompt.identity for name, prompt in sorted(context.prompts.items())},
            "models": [each.sha256 if each else None for each in (context.base, context.compressor, context.teacher)],
            **({"classifier": context.classifier.sha256} if context.classifier else {}),
            "recorded": {task: recorded.sha256 for task, recorded in context.recorded.items()},
            **({"rounds": {task: rounds.sha256 for task, rounds in context.recorded_rounds.items()}} if context.recorded_rounds else {}),
            "devices": [identity.device_type(context.settings.model.device), identity.device_type(context.settings.trainer.accelerator)],
            **(checkpoint.frozen_of(context.settings.trainer) if context.settings.trains else {}),
            "engines": [engine_of(each) for each in _models(context.settings)],
        }
    )[:12]


def _models(settings: Settings) -> list[PretrainedModel]:
    """The models that the settings name: the one that is fine-tuned, and those of teacher and compressor that are models of their own."""
    return [settings.model, *(role.model for role in (settings.teacher, settings.compressor) if role.model is not None)]


def stages_used(context: Context) -> dict[str, Any]:
    """What stages.json says of a finished run: the key and place of every stage, and how much of it was read where no key says so."""
    used: dict[str, Any] = {name: {"key": spec.key, "path": str(Path("store") / spec.stage / spec.key)} for name, spec in specs_of(context).items()}
    for name in (each for each in used if each.startswith(("perplexity/", "answer_perplexity/"))):
        used[name]["num_chains"] = context.settings.scoring.perplexity_chains
    return used


def _what_was_asked(context: Context) -> dict[str, dict[str, Any]]:
    """Id of every question of the run -> its text, with the options of a choice, its gold answer, and the steps of its worked solution if it has
    one: a reader of answers needs no task.
    """
    return {
        each.id: {"text": "\n".join(filter(None, [each.text, shown_options(each.options)])), "answer": each.answer}
        | ({"num_steps": num_steps(each.references[0], each.answer_type)} if each.references else {})
        for each in [*context.training_questions, *context.questions.test]
    }


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
