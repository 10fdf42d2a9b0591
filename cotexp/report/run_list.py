"""State, progress, results and cost of every run under outputs/runs. Reads only small files."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from cotexp.jobs.status import Status, read_status
from cotexp.report.finished_runs import RunIdentity, fits, identify, name_of, run_folders
from cotexp.report.stored import unless_broken
from cotexp.settings.base import ConfigError, RunFailed
from cotexp.settings.evaluation import MODES
from cotexp.store.ledger_files import complete_lines
from cotexp.store.stored_files import PLANNED, metrics_of, questions_of, reading_run, settings_of, stages_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedRun(RunIdentity):
    """A run as its folder describes it; its metrics are listed in the last evaluated mode.

    `status.state` is "unfinished" if an earlier version of this project wrote the folder.
    """

    folder: Path
    seed: int
    status: Status
    settings: dict[str, Any]
    metrics: dict[str, float]

    @property
    def key(self) -> str:
        return self.folder.name

    def metric(self, name: str) -> float | None:
        """A metric of the listed mode."""
        return self.metrics.get(f"eval/{self.mode}/{name}")

    @property
    def dollars(self) -> float | None:
        """Cost in dollars of the servers' texts that the run reads, whoever paid; None if it uses no server."""
        paid = {name: value for name, value in self.metrics.items() if name.endswith(("/dollars", "/cost_dollars"))}
        return sum(value for name, value in paid.items() if name.endswith("/dollars")) if paid else None

    @property
    def seconds(self) -> float | None:
        """Seconds of all stages that the last attempt computed; for a running or stopped one, the time since its start."""
        if self.metrics:
            return sum(value for name, value in self.metrics.items() if name.startswith("seconds/"))
        ended = time.time() if self.status.state == "running" else self.status.ended
        return None if self.status.started is None or ended is None else ended - self.status.started

    @property
    def modified(self) -> float:
        """Time of the end or the last start, in seconds since the epoch."""
        return self.status.ended or self.status.started or self.folder.stat().st_mtime


class RunList(NamedTuple):
    """Runs whose files can be read, and a line about each of the others."""

    runs: list[ListedRun]
    broken: list[str]


def list_runs(outputs: Path, patterns: Sequence[str] = (), states: Sequence[str] = ()) -> RunList:
    """Every run that has one of `states` and fits one of `patterns`, sorted by experiment and age; an empty list allows all.

    Raises: ConfigError if there are no runs, or a pattern fits none.
    """
    folders = run_folders(outputs)
    if not folders:
        raise ConfigError(f"runs: there are no runs under {outputs / 'runs'}; give the folder that holds them by --outputs DIR")
    fitting_folders: dict[Path, None] = {}
    for pattern in patterns or ["*"]:
        fitting = [
            folder for folder in folders if fits(folder, (pattern, f"{pattern}/*"), outputs) or (len(pattern) > 3 and folder.name.startswith(pattern))
        ]
        if not fitting:
            known = ", ".join(sorted({name_of(folder, outputs) for folder in folders}))
            raise ConfigError(f"runs: no run fits {pattern!r}; name an experiment ({known}), a run's key or its first digits")
        fitting_folders.update(dict.fromkeys(fitting))
    runs, broken = [], []
    for folder in fitting_folders:
        try:
            runs.append(read_listed(folder, outputs))
        except RunFailed as error:
            broken.append(f"{name_of(folder, outputs)}/{folder.name} cannot be read: {error}")
    return RunList(sorted((run for run in runs if not states or run.status.state in states), key=lambda run: (run.name, run.modified)), broken)


def read_listed(folder: Path, outputs: Path) -> ListedRun:
    """The run in `folder`. Raises: RunFailed."""
    with reading_run(folder):
        return _read(folder, outputs)


def _read(folder: Path, outputs: Path) -> ListedRun:
    settings, status = settings_of(folder), read_status(folder) or Status(state="unfinished")
    is_whole = status.state == "finished" and (folder / "metrics.json").is_file()
    seed, mode = settings["seed"], next((name for name in reversed(MODES) if name in settings["evaluation"]["modes"]), None)
    if not isinstance(seed, int) or mode is None:
        raise ValueError(f"seed {seed!r}, modes {settings['evaluation']['modes']!r}")
    identity = identify(settings, name_of(folder, outputs), mode)
    return ListedRun(**identity, folder=folder, seed=seed, status=status, settings=settings, metrics=metrics_of(folder) if is_whole else {})


def progress(run: ListedRun, outputs: Path) -> str:
    """Progress of a run: its stage, with rows or steps done and in total; empty for a finished run."""
    stage = run.status.stage
    return "" if run.status.state == "finished" or stage is None else f"{stage} {rows_done(run, stage, outputs)}".rstrip()


def rows_done(run: ListedRun, stage: str, outputs: Path) -> str:
    """Rows or steps of the stage at work that are done, and in total; empty if their number is not known in advance."""
    done, total = unless_broken(run.folder, lambda folder: _done(run, stage, outputs), lambda: (0, 0))
    return f"{min(done, total):,} of {total:,}" if total else ""


def _done(run: ListedRun, stage: str, outputs: Path) -> tuple[int, int]:
    """(done, total) of the current stage; (0, 0) if the number of rows is not known in advance."""
    planned = stages_of(run.folder, PLANNED) if (run.folder / PLANNED).exists() else {}
    if stage == "training" and "checkpoint" in planned:
        curve = outputs / f"{planned['checkpoint']['path']}.partial" / "curve.jsonl"
        rows = [line for line in complete_lines(curve) if isinstance(line, dict)] if curve.is_file() else []
        row = rows[-1] if rows else {}
        return int(row.get("step", 0)), int(row.get("num_steps", 0))
    answers, asked = questions_of(run.folder)
    num_answers = {task: len(ids) for task, ids in answers.items()}
    if stage in ("evaluation", "grading"):
        kind = "predictions" if stage == "evaluation" else "grades"
        ledgers = [(planned.get(f"{kind}/{mode}/{task}"), num) for mode in run.settings["evaluation"]["modes"] for task, num in num_answers.items()]
        return sum(min(_num_rows(ledger, outputs), num) for ledger, num in ledgers), sum(num for _, num in ledgers)
    if stage == "rationales":
        names = [name for name in planned if name.startswith("texts/")] or [name for name in planned if name.startswith("rationales/")]
        tests = {name.rsplit("/", 1)[0] for ids in answers.values() for name in ids}
        total = (len(asked) - len(tests)) * run.settings["teacher"].get("num_samples", 1)
        return sum(_num_rows(planned[name], outputs) for name in names), max(0, total)
    return 0, 0


def _num_rows(entry: Mapping[str, Any] | None, outputs: Path) -> int:
    """Number of lines of a ledger."""
    return sum(path.read_bytes().count(b"\n") for path in (outputs / entry["path"]).glob("rows-*.jsonl")) if entry else 0


def differing(first: ListedRun, second: ListedRun) -> list[tuple[str, str, str]]:
    """(setting, value in the first run, value in the second) for every differing setting that can change a result; "-" if a run lacks it."""
    flats = [{"seed": str(run.seed), **run.identity} for run in (first, second)]
    paths = dict.fromkeys(path for flat in flats for path in flat)
    rows = [(path, *(flat.get(path, "-") for flat in flats)) for path in paths]
    return [(path, ours, theirs) for path, ours, theirs in rows if ours != theirs]


@functools.cache
def _is_shown(name: str) -> bool:
    last = name.rsplit("/", 1)[-1]
    listed = {"accuracy", "num_tokens", "num_cot_tokens", "compression_ratio", "latency_seconds_batch1", "latency_seconds_batchN", "num_rounds_mean"}
    return (last in listed and name.count("/") < 3) or name in ("training/num_examples", "training/num_steps", "training/best_validation_loss")


def metrics_side_by_side(runs: Iterable[ListedRun]) -> list[tuple[str, list[float | None]]]:
    """(metric, its value in each run) for the metrics of tables that at least one run has."""
    compared = list(runs)
    names = dict.fromkeys(name for run in compared for name in run.metrics if _is_shown(name))
    return [(name, [run.metrics.get(name) for run in compared]) for name in names]
