"""`cotexp search`: Optuna chooses settings. Every trial is an ordinary run, and the same command continues an interrupted search."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from cotexp import commands, signals
from cotexp.commands.search_space import Dimension, Metric, read_metric, read_space
from cotexp.config import command_line, sweep_agents
from cotexp.report.search_table import best_of, counts, write_report
from cotexp.settings.base import ConfigError, suggestion
from cotexp.settings.root import Settings
from cotexp.store.processes import is_remote, process_is_alive, this_process
from cotexp.store.stored_files import read_json, write_json

DEFINITION = "search.json"


@dataclass(frozen=True, slots=True)
class Search:
    """What is searched: `words` are the settings that all trials share."""

    name: str
    words: list[str]
    space: list[Dimension]
    metrics: list[Metric]
    seed: int
    folder: Path

    def words_of(self, values: dict[str, str]) -> list[str]:
        """The command line of one trial's run."""
        return [*self.words, *(f"{path}={value}" for path, value in values.items())]


def run_search(
    name: str, words: Sequence[str], *, space: Sequence[str], metrics: Sequence[str], direction: str | None, num_trials: int, seed: int
) -> None:
    """Run trials until there are `num_trials`, those of earlier starts and of other processes included; then write table and figure.

    Raises: ConfigError before anything runs when the space, a metric or the settings cannot be used.
    """
    optuna = _optuna()
    sweep_agents.leave()
    search, settings = _read(name, words, space, metrics, direction, seed)
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
        print("Everything computed is kept; the same command again goes on with this search", flush=True)
        raise
    finally:
        best = write_report(search.folder, search.name, [metric.name for metric in search.metrics], study)
    for trial in best:
        tested = [word for word in search.words_of(trial.user_attrs["values"]) if word != "evaluation.split=validation"]
        print(f"On the test questions, trial {trial.number}: python run.py {shlex.join(tested)}")


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise ConfigError("cotexp search needs the package optuna, which is not installed; pip install 'cotexp[search]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


# --- what is searched ----------------------------------------------------------------------------------------------------


def _read(name: str, words: Sequence[str], space: Sequence[str], metrics: Sequence[str], direction: str | None, seed: int) -> tuple[Search, Settings]:
    """The search that a command line means, and the settings before anything is varied."""
    dimensions = read_space(space)
    given = [word.partition("=")[0] for word in words]
    if "name" in given:
        raise ConfigError(f"name is that of the search, {name}: its runs lie in outputs/runs/{name} and form one W&B group; leave it out")
    if twice := [dimension.path for dimension in dimensions if dimension.path in given]:
        raise ConfigError(f"{twice[0]} is searched by --space and set after --; choose one of the two")
    shared = [*words, f"name={name}", *([] if "evaluation.split" in given else ["evaluation.split=validation"])]
    settings = _checked(shared, dimensions)
    if settings.plan or settings.compress_only:
        raise ConfigError(f"{'plan' if settings.plan else 'compress_only'}=true computes nothing that a search could choose by; leave it out")
    folder = Path(settings.paths.outputs) / "searches" / name
    wanted = [read_metric(metric, settings, direction) for metric in metrics]
    if len({dimension.name for dimension in wanted}) < len(wanted):
        raise ConfigError(f"--front needs different metrics; got {', '.join(metrics)}")
    return Search(name, shared, dimensions, wanted, seed, folder), settings


def _checked(words: list[str], space: Sequence[Dimension]) -> Settings:
    """The settings of `words` with the first value of every dimension.

    Raises: ConfigError when they, or a value at the end of a dimension, cannot be used beside them.
    """
    first = {dimension.path: f"{dimension.path}={dimension.ends[0]}" for dimension in space}
    settings = _one([*words, *first.values()])
    problems: dict[str, None] = {}
    for dimension in space:
        for value in dimension.ends[1:]:
            try:
                _one([*words, *(first | {dimension.path: f"{dimension.path}={value}"}).values()])
            except ConfigError as error:
                problems.update({problem: None for problem in error.problems if problem.startswith(dimension.path)})
    if problems:
        raise ConfigError(*problems)
    return settings


def _one(words: list[str]) -> Settings:
    return command_line.check_command_line(words, multirun=False)[0]


def _introduce(search: Search, settings: Settings, num_trials: int) -> None:
    wanted = " and ".join(f"{'small' if metric.minimized else 'large'} {metric.name}" for metric in search.metrics)
    split = settings.evaluation.split
    print(f"Search {search.name}: {num_trials} trials for {wanted}; tree-structured Parzen estimator, ten random trials first, seed {search.seed}")
    if any(metric.name.startswith("eval/") for metric in search.metrics):  # measured on the questions of evaluation.split
        if split == "test":
            print("WARNING: this search chooses by test questions; its best value is too good, and must not be reported as a result")
        else:
            print("Answers are to validation questions; test questions are not read (evaluation.split=test would choose by them)")
    elif any(not dimension.path.startswith(("trainer.", "seed")) for dimension in search.space):
        print("Note: a loss compares settings that leave the validation examples alone, such as trainer.*; others change what it is measured on")


def _check_definition(search: Search) -> None:
    """Raises ConfigError when the search was begun as another one."""
    now = {
        "space": {dimension.path: [dimension.kind, *dimension.ends] for dimension in search.space},
        "metrics": [[metric.name, metric.direction] for metric in search.metrics],
        "settings": sorted(search.words),
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
            f"take another name, or remove {search.folder} to begin anew (its runs stay)"
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
    """A trial for this process with its values chosen, None when there are enough.

    Chosen one at a time over all processes, each with a seed of its own: a search that was stopped goes on as if it had not been.
    """
    with FileLock(search.folder / ".lock"), signals.at_safe_points():
        for dead in _dead(optuna, study):
            study.tell(dead.number, state=optuna.trial.TrialState.FAIL)
            study.enqueue_trial(dead.params)
        taken = [trial for trial in study.get_trials(deepcopy=False) if counts(trial)]
        if len(taken) >= num_trials:
            return None
        study.sampler = optuna.samplers.TPESampler(seed=search.seed + len(taken), constant_liar=True)
        trial = study.ask()
        trial.set_user_attr("values", {dimension.path: dimension.suggest(trial) for dimension in search.space})
        trial.set_user_attr("owner", this_process())
        trial.set_user_attr("place", len(taken) + 1)
    return trial


def _dead(optuna: Any, study: Any) -> Iterator[Any]:
    """Trials whose process is gone."""
    for trial in study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.RUNNING]):
        its_owner = trial.user_attrs.get("owner")
        if its_owner is None or not (is_remote(its_owner) or process_is_alive(its_owner)):
            yield trial


def _run(optuna: Any, study: Any, search: Search, trial: Any, num_trials: int) -> None:
    """Run one trial and report its values to Optuna; a trial that fails is reported as failed."""
    values = trial.user_attrs["values"]
    chosen = " ".join(f"{path}={value}" for path, value in values.items())
    print(f"\nTrial {trial.number} ({trial.user_attrs['place']} of {num_trials}): {chosen}", flush=True)
    words = search.words_of(values)
    try:
        result = commands.run_experiment(_one(words), words)
        assert result is not None
        trial.set_user_attr("run", str(result.folder))
        numbers = [_number(result.metrics, metric.name) for metric in search.metrics]
        if not all(map(math.isfinite, numbers)):
            raise ValueError(f"{', '.join(metric.name for metric in search.metrics)} is not a finite number: {numbers}")
    except _UnknownMetric:
        raise
    except Exception as error:  # noqa: BLE001 - whatever breaks one trial must not end the search
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
    """No run of this search will have the metric: it ends the search, and the trial is made again by the next."""


def _number(metrics: dict[str, float], name: str) -> float:
    if name not in metrics:
        known = sorted(metrics)
        raise _UnknownMetric(f"a run of this search has no metric {name}{suggestion(name, known)}; its names stand in metrics.json of any run")
    return float(metrics[name])
