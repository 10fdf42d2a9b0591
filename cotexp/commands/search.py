"""`cotexp search`: Optuna chooses settings. Every trial is an ordinary run, and the same command continues an interrupted search."""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from cotexp import commands, extras, signals
from cotexp.commands.search_space import Dimension, Metric, read_metric, read_space
from cotexp.config import command_line, sweep_agents
from cotexp.config.spelling import as_typed
from cotexp.invocation import run_command
from cotexp.report.search_table import best_of, counts, write_report
from cotexp.settings.base import ConfigError, suggestion
from cotexp.settings.root import Settings
from cotexp.store.processes import is_remote, process_is_alive, this_process
from cotexp.store.stored_files import read_json, write_json

DEFINITION = "search.json"


@dataclass(frozen=True, slots=True)
class Search:
    """A search; `overrides` are the settings that all trials share."""

    name: str
    overrides: list[str]
    space: list[Dimension]
    metrics: list[Metric]
    seed: int
    folder: Path

    def overrides_of(self, values: dict[str, str]) -> list[str]:
        """The arguments of a run for one trial."""
        return [*self.overrides, *(f"{path}={value}" for path, value in values.items())]


def run_search(
    name: str, overrides: Sequence[str], *, space: Sequence[str], metrics: Sequence[str], direction: str | None, num_trials: int, seed: int
) -> None:
    """Run trials until there are `num_trials`, including those of earlier starts and other processes. Then write table and figure.

    Raises: ConfigError before anything runs if the space, a metric or the settings cannot be used.
    """
    optuna = _optuna()
    sweep_agents.leave()
    search, settings = _read(name, overrides, space, metrics, direction, seed)
    _introduce(search, settings, num_trials)
    search.folder.mkdir(parents=True, exist_ok=True)
    with signals.handled(), FileLock(search.folder / ".lock"):
        _check_definition(search)
        study = _study(optuna, search)
    try:
        with signals.handled():
            while trial := _next_trial(optuna, study, search, num_trials):
                _run(optuna, study, search, trial, num_trials)
    except signals.Stopped:
        print("All results are kept; the same command continues this search", flush=True)
        raise
    finally:
        best = write_report(search.folder, search.name, [metric.name for metric in search.metrics], study)
    for trial in best:
        arguments = [word for word in search.overrides_of(trial.user_attrs["values"]) if word != "evaluation.split=validation"]
        print(f"On the test questions, trial {trial.number}: {run_command(arguments)}")


def _optuna() -> Any:
    extras.check("search", "cotexp search")
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


# --- what is searched ----------------------------------------------------------------------------------------------------


def _read(
    name: str, overrides: Sequence[str], space: Sequence[str], metrics: Sequence[str], direction: str | None, seed: int
) -> tuple[Search, Settings]:
    """The search that the arguments describe, and its settings with the first value of every dimension."""
    dimensions, overrides = read_space(space), as_typed(overrides)
    overridden = [word.partition("=")[0] for word in overrides]
    if "name" in overridden:
        raise ConfigError(f"name is the name of the search, {name}, under which its runs are stored and form one W&B group; leave it out")
    if twice := [dimension.path for dimension in dimensions if dimension.path in overridden]:
        raise ConfigError(f"{twice[0]} is both in --space and after --; remove one of them")
    shared = [*overrides, f"name={name}", *([] if "evaluation.split" in overridden else ["evaluation.split=validation"])]
    settings = _checked(shared, dimensions)
    if settings.plan or settings.compress_only:
        raise ConfigError(f"{'plan' if settings.plan else 'compress_only'}=true computes no metric to search by; leave it out")
    folder = Path(settings.paths.outputs) / "searches" / name
    objectives = [read_metric(metric, settings, direction) for metric in metrics]
    if len({metric.name for metric in objectives}) < len(objectives):
        raise ConfigError(f"--front needs different metrics; got {', '.join(metrics)}")
    return Search(name, shared, dimensions, objectives, seed, folder), settings


def _checked(overrides: list[str], space: Sequence[Dimension]) -> Settings:
    """The settings of `overrides` with the first value of every dimension.

    Raises: ConfigError if they, or a value at the end of a dimension, cannot be used together.
    """
    first = {dimension.path: f"{dimension.path}={dimension.ends[0]}" for dimension in space}
    settings = _one([*overrides, *first.values()])
    problems: dict[str, None] = {}
    for dimension in space:
        for value in dimension.ends[1:]:
            try:
                _one([*overrides, *(first | {dimension.path: f"{dimension.path}={value}"}).values()])
            except ConfigError as error:
                problems.update({problem: None for problem in error.problems if problem.startswith(dimension.path)})
    if problems:
        raise ConfigError(*problems)
    return settings


def _one(overrides: list[str]) -> Settings:
    return command_line.check_command_line(overrides, multirun=False)[0]


def _introduce(search: Search, settings: Settings, num_trials: int) -> None:
    goals = " and ".join(f"{'small' if metric.minimized else 'large'} {metric.name}" for metric in search.metrics)
    split = settings.evaluation.split
    print(f"Search {search.name}: {num_trials} trials for {goals}; tree-structured Parzen estimator, ten random trials first, seed {search.seed}")
    if any(metric.name.startswith("eval/") for metric in search.metrics):  # measured on the questions of evaluation.split
        if split == "test":
            print("WARNING: this search chooses by test questions; its best value is biased and must not be reported as a result")
        else:
            print("Answers are to validation questions; test questions are not read (evaluation.split=test would choose by them)")
    elif any(not dimension.path.startswith(("trainer.", "seed")) for dimension in search.space):
        print("Note: a loss can compare only settings that keep the validation examples, such as trainer.*; the others change the examples")


def _check_definition(search: Search) -> None:
    """Raises: ConfigError if a search of this name was begun with another definition."""
    now = {
        "space": {dimension.path: [dimension.kind, *dimension.ends] for dimension in search.space},
        "metrics": [[metric.name, metric.direction] for metric in search.metrics],
        "settings": sorted(search.overrides),
        "seed": search.seed,
    }
    path = search.folder / DEFINITION
    if not path.is_file():
        write_json(path, now)
        return
    begun = read_json(path)
    if changed := [part for part in now if begun.get(part) != now[part]]:
        raise ConfigError(
            f"search {search.name} was begun with another {' and '.join(changed)} ({begun.get(changed[0])}); "
            f"choose another name, or remove {search.folder} to begin again (its runs stay)"
        )


def _study(optuna: Any, search: Search) -> Any:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    storage = JournalStorage(JournalFileBackend(str(search.folder / "journal.log")))
    return optuna.create_study(
        study_name=search.name, storage=storage, directions=[metric.direction for metric in search.metrics], load_if_exists=True
    )


# --- trials --------------------------------------------------------------------------------------------------------------


def _next_trial(optuna: Any, study: Any, search: Search, num_trials: int) -> Any:
    """The next trial of this process, with its values; None if there are enough.

    All processes together choose one trial at a time, and every trial has a seed, so an interrupted search continues as if uninterrupted.
    """
    with FileLock(search.folder / ".lock"), signals.at_safe_points():
        for dead in _dead(optuna, study):
            study.tell(dead.number, state=optuna.trial.TrialState.FAIL)
            study.enqueue_trial(dead.params)
        taken = [trial for trial in study.get_trials(deepcopy=False) if counts(trial)]
        if len(taken) >= num_trials:
            return None
        study.sampler = optuna.samplers.TPESampler(seed=seed_of(search.seed, len(taken)), constant_liar=True)
        trial = study.ask()
        trial.set_user_attr("values", {dimension.path: dimension.suggest(trial) for dimension in search.space})
        trial.set_user_attr("owner", this_process())
        trial.set_user_attr("place", len(taken) + 1)
    return trial


def seed_of(seed: int, number: int) -> int:
    """The seed of a trial: another one for every seed of a search and every number, so that searches with other seeds share no trial."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{number}".encode()).digest()[:4])


def _dead(optuna: Any, study: Any) -> Iterator[Any]:
    """Trials whose process is gone."""
    for trial in study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.RUNNING]):
        owner = trial.user_attrs.get("owner")
        if owner is None or not (is_remote(owner) or process_is_alive(owner)):
            yield trial


def _run(optuna: Any, study: Any, search: Search, trial: Any, num_trials: int) -> None:
    """Run one trial and report its values to Optuna; a failed trial is reported as failed."""
    values = trial.user_attrs["values"]
    chosen = " ".join(f"{path}={value}" for path, value in values.items())
    print(f"\nTrial {trial.number} ({trial.user_attrs['place']} of {num_trials}): {chosen}", flush=True)
    overrides = search.overrides_of(values)
    try:
        result = commands.run_experiment(_one(overrides), overrides)
        assert result is not None
        trial.set_user_attr("run", str(result.folder))
        numbers = [_number(result.metrics, metric.name) for metric in search.metrics]
        if not all(map(math.isfinite, numbers)):
            raise ValueError(f"{', '.join(metric.name for metric in search.metrics)} is not a finite number: {numbers}")
    except _UnknownMetric:
        raise
    except Exception as error:  # noqa: BLE001 - no error of one trial may end the search
        reason = " ".join(str(error).split()) or type(error).__name__
        trial.set_user_attr("error", reason)
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        print(f"cotexp: trial {trial.number} failed: {reason}", file=sys.stderr)
        return
    study.tell(trial, numbers)
    shown = ", ".join(f"{metric.name} {number:.6g}" for metric, number in zip(search.metrics, numbers, strict=True))
    best = ", ".join(str(trial.number) for trial in best_of(study))
    print(f"Trial {trial.number}: {shown}; best so far: trial {best}", flush=True)


class _UnknownMetric(ConfigError):
    """No run of this search will have the metric. The search ends, and the next start repeats the trial."""


def _number(metrics: dict[str, float], name: str) -> float:
    if name not in metrics:
        known = sorted(metrics)
        raise _UnknownMetric(f"a run of this search has no metric {name}{suggestion(name, known)}; metrics.json of any run lists the names")
    return float(metrics[name])
