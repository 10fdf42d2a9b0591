"""Reads the runs under outputs/runs: which exist, the settings that identify them, and the answers of the finished ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import Field, dataclass
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from cotexp.compressions import compression_of
from cotexp.config.slots import SECTIONS
from cotexp.jobs.origin import origin_of
from cotexp.records import Prediction
from cotexp.selections.orders import ORDERS
from cotexp.settings.base import IF_SET, ConfigError, RunFailed, spelled, suggestion
from cotexp.settings.evaluation import FINE_TUNED_MODES, MODES
from cotexp.settings.root import READ_BY_TRAINING
from cotexp.stages.grades import predictions_of_run
from cotexp.store.stored_files import RunFolders, has_outputs, metrics_of, reading_run, settings_of, stages_of

T = TypeVar("T")
Flat = dict[str, str]
"""Dotted path of a setting -> its value as a command line spells it."""

NAMES_CONTENT = {"path", "revision", "files", "file", "validation_file", "test_file", "few_shot_file", "questions_file"}
"""Settings that name models and files. A key contains the content in place of the name."""
WITHOUT_EFFECT_ON_ANSWERS = ("evaluation.modes", "evaluation.latency")
"""Prefixes of keyed settings that do not change the answers of a mode."""
MAX_NAMED_RUNS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class RunIdentity:
    """Experiment and mode of a run, the settings that distinguish arms, and the name of each section."""

    name: str
    mode: str
    identity: Flat
    names: Flat


def identify(settings: dict[str, Any], name: str, mode: str) -> dict[str, Any]:
    """The fields of a `RunIdentity`."""
    names = {slot: str(section["name"]) for slot, section in settings.items() if isinstance(section, dict) and "name" in section}
    return {"name": name, "mode": mode, "identity": identity_of(settings, mode), "names": names}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(RunIdentity):
    """A finished run with the answers of the reported mode and those of the model before fine-tuning, if any.

    `base_keys` are the store keys of the answers before fine-tuning, `weights` the SHA-256 of the weights of each role's model (empty for runs of
    earlier versions), `finished` is the time in seconds since the epoch.
    """

    key: str
    seed: int
    settings: dict[str, Any]
    metrics: dict[str, float]
    answers: list[Prediction]
    base_answers: list[Prediction]
    base_keys: tuple[str, ...]
    weights: dict[str, str]
    finished: float
    folder: Path


class FinishedRuns(NamedTuple):
    """Finished runs, lines about those that are left out (one per reason), and folders of unfinished runs."""

    runs: list[Run]
    left_out: list[str]
    unfinished: list[Path]


def find_runs(names: Sequence[str], outputs: Path, *, mode: str | None, only: Sequence[str] = ()) -> FinishedRuns:
    """All finished runs of the named experiments with answers in `mode`, by default each run's last one.

    With `only`, all runs that match one of these patterns, see `fits`.
    Raises: ConfigError for an experiment without finished runs, or if no run has answers in this mode.
    """
    if only:
        folders_of = {pattern: [folder for folder in run_folders(outputs) if fits(folder, (pattern,), outputs)] for pattern in only}
    else:
        folders_of = {name: [folder for folder in run_folders(outputs, name) if name_of(folder, outputs) == name] for name in dict.fromkeys(names)}
    what = "run that fits" if only else "experiment"
    problems = [_nothing_finished(name, folders, outputs, what) for name, folders in folders_of.items() if not any(map(is_finished, folders))]
    if problems:
        raise ConfigError(*problems)
    folders = list(dict.fromkeys(folder for folders in folders_of.values() for folder in folders))
    runs, left_out = read_runs(filter(is_finished, folders), outputs, lambda folder: read_run(folder, outputs, mode))
    if not runs:
        raise ConfigError(f"report: no run of {', '.join(names)} can be shown", *(f"left out: {line}" for line in left_out))
    return FinishedRuns(runs, left_out, [folder for folder in folders if not is_finished(folder)])


def read_runs(folders: Iterable[Path], outputs: Path, read: Callable[[Path], T]) -> tuple[list[T], list[str]]:
    """What `read` returns for each run, and a line for each reason why some could not be read."""
    runs: list[T] = []
    reasons: dict[str, list[str]] = {}
    for folder in folders:
        try:
            with reading_run(folder):
                runs.append(read(folder))
        except RunFailed as error:
            reasons.setdefault(str(error), []).append(str(folder.relative_to(outputs / "runs")))
    return runs, [f"{listed(names)}: {reason}" for reason, names in reasons.items()]


def run_folders(outputs: Path, name: str = "") -> list[Path]:
    """The folder of every run that has begun, in this experiment and those below it; links are followed."""
    return [folder for folder in RunFolders(outputs / "runs" / name).folders if has_outputs(folder)]


def name_of(folder: Path, outputs: Path) -> str:
    """Name of the experiment that the run in `folder` belongs to."""
    return str(folder.parent.relative_to(outputs / "runs"))


def fits(folder: Path, patterns: Sequence[str], outputs: Path) -> bool:
    """Whether a run matches one of these patterns: the experiment, the run's key, or both joined by a slash, with * and ? as in a shell."""
    names = (name_of(folder, outputs), folder.name, f"{name_of(folder, outputs)}/{folder.name}")
    return any(fnmatch(name, pattern) for name in names for pattern in patterns)


def listed(names: Sequence[str], between: str = ", ") -> str:
    """The first MAX_NAMED_RUNS names and the number of others."""
    more = f" and {len(names) - MAX_NAMED_RUNS} more" if len(names) > MAX_NAMED_RUNS else ""
    return between.join(names[:MAX_NAMED_RUNS]) + more


def is_finished(folder: Path) -> bool:
    """Whether the run in `folder` has its metrics."""
    return (folder / "metrics.json").is_file() and (folder / "stages.json").is_file()


def _nothing_finished(name: str, folders: Sequence[Path], outputs: Path, what: str) -> str:
    known = sorted({str(path.parent.parent.relative_to(outputs / "runs")) for path in (outputs / "runs").rglob("stages.json")})
    there = f"; experiments with finished runs: {', '.join(known) or 'none'}"
    if folders:
        unfinished = ", ".join(folder.name for folder in folders)
        return f"report: {name} has no finished run under {outputs / 'runs'}, only unfinished ones ({unfinished}){there}"
    return f"report: no {what} {name!r} under {outputs / 'runs'}{suggestion(name, known)}{there}"


def read_run(folder: Path, outputs: Path, mode: str | None) -> Run:
    """The run in `folder` with its answers in `mode`, by default its last mode.

    Raises: RunFailed if it is not finished or its answers cannot be read.
    """
    if not is_finished(folder):
        raise RunFailed("not finished")
    if not (folder / "questions.json").is_file():
        raise RunFailed("made by an earlier version of this project; run it again")
    with reading_run(folder):
        return _run(folder, outputs, mode)


def _run(folder: Path, outputs: Path, mode: str | None) -> Run:
    answers = predictions_of_run(folder)
    chosen = mode or next(name for name in reversed(MODES) if name in answers)
    if chosen not in answers:
        raise RunFailed(f"no answers in mode {chosen!r}, only in {', '.join(answers)}")
    settings, stages = settings_of(folder), stages_of(folder)
    return Run(
        **identify(settings, name_of(folder, outputs), chosen),
        key=folder.name,
        seed=settings["seed"],
        settings=settings,
        metrics=metrics_of(folder),
        answers=answers[chosen],
        base_answers=answers.get("base", []),
        base_keys=tuple(stage["key"] for name, stage in sorted(stages.items()) if name.startswith("predictions/base/")),
        weights=origin_of(folder).get("weights", {}),
        finished=(folder / "metrics.json").stat().st_mtime,
        folder=folder,
    )


def identity_of(settings: dict[str, Any], mode: str) -> Flat:
    """The stored settings, except the seed, that can change a run's answers in one mode."""
    flat: Flat = {}
    for slot, section in settings.items():
        if slot == "tasks":
            for task, of_task in section.items():
                flat |= _flatten(of_task, f"tasks.{task}", "task")
        elif isinstance(section, dict):
            flat |= _flatten(section, slot, slot)
    if flat.get("evaluation.split") == "test":  # older runs lack this setting
        del flat["evaluation.split"]
    unread = (*WITHOUT_EFFECT_ON_ANSWERS, *_unread(settings, mode))
    return {path: value for path, value in flat.items() if not path.startswith(unread)}


def exact_identity(settings: dict[str, Any], mode: str) -> Flat:
    """The stored settings that decide which run this is, except the seed: also what of the evaluation changes no answer."""
    evaluation = _flatten(settings.get("evaluation", {}), "evaluation", "evaluation")
    return {path: value for path, value in (evaluation | identity_of(settings, mode)).items() if (path, value) != ("evaluation.split", "test")}


def _unread(settings: dict[str, Any], mode: str) -> Iterator[str]:
    """Prefixes of the settings that answers in this mode do not depend on, since the run has no scoring, rewriting, training or cutting."""
    order = ORDERS.get(settings.get("selection", {}).get("order", ""))
    if not (order and order.needs_scores) and not compression_of(settings).learns_labels:
        yield "scoring."
    if not compression_of(settings).asks_compressor:
        yield "compressor."
    if not compression_of(settings).trains or mode not in FINE_TUNED_MODES:
        yield from (f"{section}." for section in READ_BY_TRAINING)
    if mode not in FINE_TUNED_MODES:
        yield "compression."
    if mode != "truncate":
        yield "evaluation.truncate_ratio"


def _flatten(section: dict[str, Any], path: str, slot: str) -> Flat:
    flat: Flat = {}
    for name, value in section.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{path}.{name}", name if name in SECTIONS else slot)
        elif name in NAMES_CONTENT or not (name in _not_keyed(slot) or spelled(value) in _added_later(slot).get(name, ())):
            flat[f"{path}.{name}"] = spelled(value)
    return flat


def differing(first: Flat, second: Flat) -> list[str]:
    """The settings in which two runs differ, among those that both have and those that are missing at their default."""
    return [
        path
        for path in {**first, **second}
        if first.get(path) != second.get(path) and ((path in first and path in second) or _is_missing_at_default(path))
    ]


def _is_missing_at_default(path: str) -> bool:
    """Whether a setting was added after runs had been made, so that one that is not in `Flat` is at its default, as those runs were."""
    *places, name = path.split(".")
    slot = next((place for place in reversed(places) if place in SECTIONS), "task" if places[:1] == ["tasks"] else "")
    return name in _added_later(slot)


@cache
def _not_keyed(slot: str) -> set[str]:
    """Names of the settings of a slot that are not part of a key."""
    return {field.name for field in _fields(slot) if not field.metadata.get("keyed", True)}


@cache
def _added_later(slot: str) -> dict[str, set[str]]:
    """Names of the settings of a slot that are part of a key only where they are not at their default, and these defaults."""
    found: dict[str, set[str]] = {}
    for field in _fields(slot):
        if field.metadata.get("keyed") == IF_SET:
            found.setdefault(field.name, set()).add(spelled(field.default))
    return found


def _fields(slot: str) -> Iterator[Field[Any]]:
    return (field for section in SECTIONS.get(slot, {}).values() for field in section.__dataclass_fields__.values())  # type: ignore[attr-defined]
