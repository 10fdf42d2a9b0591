"""Finished runs of experiments as arms: runs whose settings differ in the seed alone are one arm, and its label says what sets it apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from cotexp import schema
from cotexp.grids import spelled
from cotexp.jobs.grades import predictions_of_run
from cotexp.jobs.specs import READ_BY_TRAINING
from cotexp.jobs.stored_files import Folders, has_begun, metrics_of, settings_of, stages_of, understood
from cotexp.methods.statistics import Spread, mean_and_deviation
from cotexp.records import Prediction
from cotexp.sections import ConfigError, RunFailed, suggestion
from cotexp.settings import FINE_TUNED_MODES, MODES

Flat = dict[str, str]
"""Dotted path of a setting -> its value as a command line spells it."""

NAMES_CONTENT = {"path", "revision", "files", "file", "validation_file", "test_file", "few_shot_file", "questions_file"}
"""Settings outside the keys that name models and files, whose content is inside."""
MEASURED_BESIDES = ("evaluation.modes", "evaluation.latency")
"""Beginnings of keyed settings that change no answer of a mode."""
MAX_NAMED_RUNS = 5
DERIVED = ("tasks.", "mixture.full_ratio", "evaluation.ratio")
"""Settings that follow from others by default: part of a label only where it needs them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A finished run, with the answers of the mode that is reported and, where there are some, of the model before fine-tuning.

    `identity` holds every setting that makes an arm, `names` the name of each section, `base_keys` what the base answers lie under.
    """

    name: str
    key: str
    seed: int
    mode: str
    identity: Flat
    names: Flat
    settings: dict[str, Any]
    metrics: dict[str, float]
    answers: list[Prediction]
    base_answers: list[Prediction]
    base_keys: tuple[str, ...]
    finished: float
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """Runs that differ in their seeds alone, by seed."""

    label: str
    runs: list[Run]

    @property
    def seeds(self) -> list[int]:
        return [each.seed for each in self.runs]

    def answers(self, seeds: Iterable[int] | None = None) -> list[Prediction]:
        """Of all seeds, or of `seeds`: they count like samples of a question."""
        wanted = set(self.seeds if seeds is None else seeds)
        return [answer for each in self.runs if each.seed in wanted for answer in each.answers]

    def metric(self, name: str) -> Spread | None:
        """Mean and deviation over the seeds; None where a run is without this metric."""
        values = [each.metrics[name] for each in self.runs if name in each.metrics]
        return mean_and_deviation(values) if values and len(values) == len(self.runs) else None


class FinishedRuns(NamedTuple):
    """Finished runs, lines on those that are left out, by reason, and folders of runs that began and did not finish."""

    runs: list[Run]
    left_out: list[str]
    unfinished: list[Path]


# --- runs ----------------------------------------------------------------------------------------------------------------


def find_runs(names: Sequence[str], outputs: Path, *, mode: str | None, only: Sequence[str] = ()) -> FinishedRuns:
    """All finished runs of the named experiments with answers in `mode`, by default each run's last one.

    With `only`, runs of any experiment that fit one of these patterns instead: see `fits`.
    Raises: ConfigError for an experiment without any, or when none has answers in this mode.
    """
    if only:
        folders_of = {pattern: [each for each in run_folders(outputs) if fits(each, (pattern,), outputs)] for pattern in only}
    else:
        folders_of = {name: [each for each in run_folders(outputs, name) if name_of(each, outputs) == name] for name in dict.fromkeys(names)}
    what = "run that fits" if only else "experiment"
    problems = [_nothing_finished(name, own, outputs, what) for name, own in folders_of.items() if not any(map(is_finished, own))]
    if problems:
        raise ConfigError(*problems)
    runs: list[Run] = []
    reasons: dict[str, list[str]] = {}
    folders = list(dict.fromkeys(folder for own in folders_of.values() for folder in own))
    for folder in filter(is_finished, folders):
        try:
            runs.append(read_run(folder, outputs, mode))
        except RunFailed as error:
            reasons.setdefault(str(error), []).append(str(folder.relative_to(outputs / "runs")))
    left_out = [f"{listed(folders)}: {reason}" for reason, folders in reasons.items()]
    if not runs:
        raise ConfigError(f"report: no run of {', '.join(names)} can be shown", *(f"left out: {each}" for each in left_out))
    return FinishedRuns(runs, left_out, [each for each in folders if not is_finished(each)])


def run_folders(outputs: Path, name: str = "") -> list[Path]:
    """Every folder of a run that has begun, of this experiment and those below it, also through links."""
    return [each for each in Folders(outputs / "runs" / name).found if has_begun(each)]


def name_of(folder: Path, outputs: Path) -> str:
    """The experiment that the run in `folder` belongs to."""
    return str(folder.parent.relative_to(outputs / "runs"))


def fits(folder: Path, patterns: Sequence[str], outputs: Path) -> bool:
    """Whether a run is meant by one of these patterns: its experiment's name, its key, both joined by a slash, with * and ? as in a shell."""
    own = (name_of(folder, outputs), folder.name, f"{name_of(folder, outputs)}/{folder.name}")
    return any(fnmatch(name, pattern) for name in own for pattern in patterns)


def listed(names: Sequence[str]) -> str:
    """The first few of `names`, and how many more there are."""
    more = f" and {len(names) - MAX_NAMED_RUNS} more" if len(names) > MAX_NAMED_RUNS else ""
    return ", ".join(names[:MAX_NAMED_RUNS]) + more


def is_finished(folder: Path) -> bool:
    """Whether the run in `folder` has ended with its metrics."""
    return (folder / "metrics.json").is_file() and (folder / "stages.json").is_file()


def _nothing_finished(name: str, folders: Sequence[Path], outputs: Path, what: str) -> str:
    known = sorted({str(path.parent.parent.relative_to(outputs / "runs")) for path in (outputs / "runs").rglob("stages.json")})
    there = f"; experiments with finished runs: {', '.join(known) or 'none'}"
    if folders:
        unfinished = ", ".join(each.name for each in folders)
        return f"report: {name} has no finished run under {outputs / 'runs'}, only unfinished ones ({unfinished}){there}"
    return f"report: no {what} {name!r} under {outputs / 'runs'}{suggestion(name, known)}{there}"


def read_run(folder: Path, outputs: Path, mode: str | None) -> Run:
    """The run in `folder` with its answers in `mode`, by default its last.

    Raises: RunFailed when it is not finished, or its answers cannot be read.
    """
    if not is_finished(folder):
        raise RunFailed("not finished")
    if not (folder / "questions.json").is_file():
        raise RunFailed("made by an earlier version of this project; run it again")
    with understood(folder):
        return _run(folder, outputs, mode)


def _run(folder: Path, outputs: Path, mode: str | None) -> Run:
    answers = predictions_of_run(folder)
    chosen = mode or next(each for each in reversed(MODES) if each in answers)
    if chosen not in answers:
        raise RunFailed(f"no answers in mode {chosen!r}, only in {', '.join(answers)}")
    settings, stages = settings_of(folder), stages_of(folder)
    return Run(
        name=str(folder.parent.relative_to(outputs / "runs")),
        key=folder.name,
        seed=settings["seed"],
        mode=chosen,
        identity=identity_of(settings, chosen),
        names=names_of(settings),
        settings=settings,
        metrics=metrics_of(folder),
        answers=answers[chosen],
        base_answers=answers.get("base", []),
        base_keys=tuple(stage["key"] for name, stage in sorted(stages.items()) if name.startswith("predictions/base/")),
        finished=(folder / "metrics.json").stat().st_mtime,
        folder=folder,
    )


def names_of(settings: dict[str, Any]) -> Flat:
    """The name of each section."""
    return {slot: str(section["name"]) for slot, section in settings.items() if isinstance(section, dict) and "name" in section}


def identity_of(settings: dict[str, Any], mode: str) -> Flat:
    """The stored settings that can change a run's answers in one mode, its seed apart."""
    flat: Flat = {}
    for slot, section in settings.items():
        if slot == "tasks":
            for task, own in section.items():
                flat |= _flatten(own, f"tasks.{task}", "task")
        elif isinstance(section, dict):
            flat |= _flatten(section, slot, slot)
    if flat.get("evaluation.split") == "test":  # runs made before there was a choice do not state it
        del flat["evaluation.split"]
    unread = (*MEASURED_BESIDES, *_unread(settings, mode))
    return {path: value for path, value in flat.items() if not path.startswith(unread)}


def _unread(settings: dict[str, Any], mode: str) -> Iterator[str]:
    """Beginnings of the settings that answers in this mode do not depend on: no rationale is scored or rewritten, nothing is trained or cut."""
    order = settings.get("selection", {}).get("order", "")
    if not order.endswith("_rd") and order != "lowest_perplexity":
        yield "scoring."
    name = settings.get("compression", {}).get("name")
    if name in ("none", "reference", "truncate"):
        yield "compressor."
    if name == "prompt_only" or mode not in FINE_TUNED_MODES:
        yield from (f"{each}." for each in READ_BY_TRAINING)
    if mode not in FINE_TUNED_MODES:
        yield "compression."
    if mode != "truncate":
        yield "evaluation.truncate_ratio"


def _flatten(section: dict[str, Any], path: str, slot: str) -> Flat:
    flat: Flat = {}
    for name, value in section.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{path}.{name}", name if name in schema.SECTIONS else slot)
        elif name in NAMES_CONTENT or name not in _not_keyed(slot):
            flat[f"{path}.{name}"] = spelled(value)
    return flat


@cache
def _not_keyed(slot: str) -> set[str]:
    """Names of the settings of a slot that enter no key."""
    fields = (field for section in schema.SECTIONS.get(slot, {}).values() for field in section.__dataclass_fields__.values())  # type: ignore[attr-defined]
    return {each.name for each in fields if not each.metadata.get("keyed", True)}


# --- arms ----------------------------------------------------------------------------------------------------------------


def arms_of(runs: Sequence[Run]) -> tuple[list[Arm], list[str]]:
    """The arms of `runs` in the order of their labels, and a line on each run that a newer one with equal settings and seed replaces."""
    groups: dict[tuple[Any, ...], dict[int, Run]] = {}
    replaced: dict[str, str] = {}
    for each in sorted(runs, key=lambda run: run.finished):
        own = groups.setdefault((each.mode, *sorted(each.identity.items())), {})
        older = own.get(each.seed)
        if older is not None and older.key != each.key:
            replaced[f"{older.name}/{older.key}"] = f"{older.name}/{older.key}: {each.name}/{each.key} has the same settings and seed, and is newer"
        own[each.seed] = each
    members = [[own[seed] for seed in sorted(own)] for own in groups.values()]
    labelled = zip(labels([own[0] for own in members]), members, strict=True)
    arms = [Arm(label=label, runs=own) for label, own in labelled]
    return sorted(arms, key=lambda each: _by_number(each.label)), list(replaced.values())


class Labelled(Protocol):
    """What a label is made of: a run, or one that is expected."""

    @property
    def name(self) -> str: ...
    @property
    def mode(self) -> str: ...
    @property
    def identity(self) -> Flat: ...
    @property
    def names(self) -> Flat: ...


def labels(runs: Sequence[Labelled]) -> list[str]:
    """One label for each arm, given by one of its runs: the settings that differ between the arms.

    The name of a section stands for all of it, besides settings that differ between arms of the same name. A single arm is called by its
    experiment's name.
    """
    if len(runs) == 1:
        return [runs[0].name]
    needed = [{path: value for path, value in each.identity.items() if not path.startswith(DERIVED)} for each in runs]
    short = _labels(runs, needed)
    return short if len(set(short)) == len(short) else _labels(runs, [each.identity for each in runs])


def _labels(runs: Sequence[Labelled], flats: Sequence[Flat]) -> list[str]:
    parts: list[list[str]] = [[] for _ in runs]
    for slot in dict.fromkeys(path.partition(".")[0] for flat in flats for path in flat):
        own = [{path: value for path, value in flat.items() if path.startswith(f"{slot}.")} for flat in flats]
        present = [each for each in own if each]
        if all(each == present[0] for each in present):
            continue
        names = [each.names.get(slot, "") for each in runs]
        varying = {name: _varying([flat for flat, other in zip(own, names, strict=True) if flat and other == name]) for name in set(names)}
        for index, name in enumerate(names):
            if own[index] and len(varying) > 1:
                parts[index].append(f"{slot}={name}")
            parts[index] += [f"{path}={value}" for path, value in own[index].items() if path != f"{slot}.name" and path in varying[name]]
    if len({each.mode for each in runs}) > 1:
        parts = [[*own, f"mode={each.mode}"] for own, each in zip(parts, runs, strict=True)]
    return [", ".join(own) or each.name for own, each in zip(parts, runs, strict=True)]


def _varying(flats: Sequence[Flat]) -> set[str]:
    """Settings that have several values in `flats`, or are not in all of them."""
    return {path for path in {path for flat in flats for path in flat} if len({flat.get(path) for flat in flats}) > 1}


def _by_number(label: str) -> list[tuple[bool, float, str]]:
    """Sorts the values in a label by number where they are numbers."""
    words = label.replace("=", " ").replace(",", " ").split()
    return [(False, float(each), "") if each.replace(".", "", 1).isdigit() else (True, 0.0, each) for each in words]


def baseline_of(arms: Sequence[Arm], selector: str | None) -> Arm:
    """The arm that the others are measured against: the one that `selector` names, see `label_of`.

    By default the first arm that selects at random among all rationales, or else the first. Raises: ConfigError unless exactly one fits.
    """
    if selector is None:
        return next((each for each in arms if _is_random(each.runs[0].settings.get("selection") or {})), arms[0])
    label = label_of([each.label for each in arms], selector)
    return next(each for each in arms if each.label == label)


def label_of(known: Sequence[str], selector: str) -> str:
    """The label that has all parts of `selector`, such as "selection=random". Raises: ConfigError unless exactly one fits."""
    found = fitting(known, selector)
    if len(found) != 1:
        which = f"fits {len(found)} arms, name more of its settings" if found else f"is no arm{suggestion(selector, list(known))}"
        raise ConfigError(f"report: --baseline {selector!r} {which}; arms: {'; '.join(known)}")
    return found[0]


def fitting(known: Sequence[str], selector: str) -> list[str]:
    """The labels that have all parts of `selector`; none where it has none."""
    wanted = set(_parts(selector))
    return [each for each in known if each == selector] or [each for each in known if wanted and wanted <= set(_parts(each))]


def _parts(label: str) -> list[str]:
    """The settings in a label; commas within brackets belong to a list."""
    return [each.strip() for each in label.split(", ") if each.strip()]


def _is_random(selection: dict[str, Any]) -> bool:
    return selection.get("order") == "random" and not selection["accuracy"] and selection["diversity"] is None
