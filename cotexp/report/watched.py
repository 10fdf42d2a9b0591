"""The points of a sweep as they stand: which have begun, where each is, and when all will be done. Reads only files of runs and manifests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cotexp.compressions import compression_of
from cotexp.jobs.sweeps import Overrides, Sweep, SweptPoint, failure_of, sweeps_in
from cotexp.report.expected_runs import last_mode
from cotexp.report.finished_runs import RunIdentity, differing, exact_identity, identify, name_of, run_folders
from cotexp.report.run_list import ListedRun, read_listed
from cotexp.settings.base import RunFailed
from cotexp.settings.evaluation import FINE_TUNED_MODES
from cotexp.store.ledger_files import warn_once
from cotexp.store.stored_files import SETTINGS, STATUS

NOT_BEGUN = "not begun"
ENDED_BADLY = ("failed", "diverged", "killed", "stopped")


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedPoint(RunIdentity):
    """A point and its run, if it has begun. `why` is the last line of what ended it. `seconds_left` is None if nothing measured says it."""

    seed: int
    overrides: Overrides
    run: ListedRun | None
    state: str
    why: str = ""
    seconds_left: float | None = None

    @property
    def took(self) -> float | None:
        """Seconds from the last start of a run that has ended to its end; None if they are not known."""
        status = self.run.status if self.run and self.state != "running" else None
        return None if status is None or status.started is None or status.ended is None else status.ended - status.started


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedSweep:
    """A sweep, or the runs of an experiment that no manifest describes (`sweep` is None): then nobody knows which are still to come."""

    name: str
    sweep: Sweep | None
    points: Sequence[WatchedPoint]

    def count(self, *states: str) -> int:
        return sum(each.state in states for each in self.points)

    @property
    def is_over(self) -> bool:
        """Whether every point has finished; a search may always go on."""
        return self.sweep is not None and self.count("finished") == len(self.points)

    @property
    def is_alive(self) -> bool:
        """Whether points are at work, or the command that started them may begin others."""
        return bool(self.count("running")) or (self.sweep is not None and self.sweep.may_be_alive)

    def _waits(self, point: WatchedPoint) -> bool:
        """Whether a point has not begun, or ended badly before the sweep was started again, which will come to it."""
        if point.state == NOT_BEGUN or point.run is None or self.sweep is None:
            return point.state == NOT_BEGUN
        return point.state in ENDED_BADLY and self.is_alive and (point.run.status.started or 0.0) < self.sweep.started

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the running points and those that have not begun are done, as many at a time as now; None if nothing measured says it, or
        nobody computes them."""
        running, now = [each for each in self.points if each.state == "running"], time.time()
        num_waiting = sum(map(self._waits, self.points))
        totals = [each.took for each in self.points if each.took is not None and each.state == "finished" and _has_computed(each)]
        totals += [_age(each, now) + each.seconds_left for each in running if each.seconds_left is not None]
        mean = sum(totals) / len(totals) if totals else None
        if num_waiting and mean is None:
            return None
        if not running:
            return num_waiting * (mean or 0.0) if self.is_alive else None
        left = [_left(each, mean, now) for each in running]
        known = [each for each in left if each is not None]
        return max(*known, (sum(known) + num_waiting * (mean or 0.0)) / len(known)) if len(known) == len(left) else None


def _has_computed(point: WatchedPoint) -> bool:
    """Whether the last attempt of a point computed something; otherwise all lay there."""
    return point.run is not None and any(each["rows"] for each in point.run.status.timed.values())


def _age(point: WatchedPoint, now: float) -> float:
    """Seconds since a running point began."""
    return now - point.run.status.started if point.run and point.run.status.started is not None else 0.0


def _left(point: WatchedPoint, mean: float | None, now: float) -> float | None:
    """Seconds left of a running point: by its own progress, or else those that a point takes, less the time since it began."""
    return point.seconds_left if point.seconds_left is not None or mean is None else max(0.0, mean - _age(point, now))


# --- points and their runs -------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Runs:
    """The runs under a folder of outputs. What has ended is read once."""

    outputs: Path
    ended: dict[Path, tuple[Any, ListedRun]] = field(default_factory=dict)

    def of(self, names: Iterable[str]) -> list[ListedRun]:
        """The runs of these experiments. One that cannot be read is told once, and left out."""
        folders = [folder for name in sorted(set(names)) for folder in run_folders(self.outputs, name) if name_of(folder, self.outputs) == name]
        return [run for folder in folders if (run := self._read(folder)) is not None]

    def _read(self, folder: Path) -> ListedRun | None:
        stamp = [_changed(folder / name) for name in (STATUS, SETTINGS)]
        known, run = self.ended.get(folder, (None, None))
        if run is not None and known == stamp:
            return run
        try:
            run = read_listed(folder, self.outputs)
        except RunFailed as error:
            warn_once(f"{name_of(folder, self.outputs)}/{folder.name} cannot be read: {error}")
            return None
        if run.status.state != "running":
            self.ended[folder] = stamp, run
        return run


def _changed(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


Key = tuple[str, int | None, frozenset[tuple[str, str]]]


def _key(settings: dict[str, Any], name: str) -> Key:
    """What decides which run this is: experiment, seed where something is trained, and the settings that can change a result."""
    mode = last_mode(settings)
    trains = mode in FINE_TUNED_MODES and compression_of(settings).trains
    return name, settings["seed"] if trains else None, frozenset(exact_identity(settings, mode).items())


def match(points: Sequence[SweptPoint], runs: Sequence[ListedRun]) -> list[ListedRun | None]:
    """The newest run of each point. A run from before a setting existed matches the points that leave that setting at its default."""
    found: dict[Key, ListedRun] = {}
    for run in sorted(runs, key=lambda each: each.modified):
        found[_key(run.settings, run.name)] = run
    wanted = [_key(each.settings, each.settings["name"]) for each in points]
    older = [(key, run) for key, run in found.items() if key not in set(wanted)]
    return [found.get(key) or next((run for other, run in older if _is_alike(key, other)), None) for key in wanted]


def _is_alike(first: Key, second: Key) -> bool:
    return first[:2] == second[:2] and not differing(dict(first[2]), dict(second[2]))


def watch(sweep: Sweep, runs: Runs) -> WatchedSweep:
    """The points of a sweep as they stand now."""
    stored = runs.of(each.settings["name"] for each in sweep.points)
    points = [_point(each, run, runs.outputs) for each, run in zip(sweep.points, match(sweep.points, stored), strict=True)]
    return WatchedSweep(name=sweep.name or " and ".join(dict.fromkeys(each.name for each in points)), sweep=sweep, points=points)


def not_begun(outputs: Path, runs: Sequence[ListedRun], names: Callable[[str], bool]) -> list[tuple[Sweep, list[WatchedPoint]]]:
    """(sweep, its points without a run among `runs`) of the experiments that `names` accepts; a point of two sweeps counts for the later one."""
    seen: set[str] = set()
    found = []
    for sweep in sweeps_in(outputs)[0]:
        points = [each for each in sweep.points if names(each.settings["name"]) and each.point not in seen]
        seen.update(each.point for each in points)
        waiting = [_point(each, None, outputs) for each, run in zip(points, match(points, runs), strict=True) if run is None]
        found += [(sweep, waiting)] if waiting else []
    return found


def watch_runs(name: str, runs: Runs) -> WatchedSweep:
    """The runs of an experiment as they stand now."""
    points = [
        WatchedPoint(**_identity(run.settings, run.name), overrides=tuple(run.status.overrides), run=run, **_stands(run)) for run in runs.of([name])
    ]
    return WatchedSweep(name=name, sweep=None, points=points)


def _identity(settings: dict[str, Any], name: str) -> dict[str, Any]:
    return {**identify(settings, name, last_mode(settings)), "seed": settings["seed"]}


def _point(point: SweptPoint, run: ListedRun | None, outputs: Path) -> WatchedPoint:
    stands = {"state": NOT_BEGUN} if run is None else _stands(run)
    failure = failure_of(outputs, point.point)
    if failure is not None and (run is None or (run.status.state != "finished" and failure[1] > (run.status.started or 0.0))):
        stands = {"state": "failed", "why": _last_line(failure[0])} if run is None or run.status.state == "killed" else stands
    return WatchedPoint(**_identity(point.settings, point.settings["name"]), overrides=point.overrides, run=run, **stands)


def _stands(run: ListedRun) -> dict[str, Any]:
    """State of a run, the last line of what ended it, and its seconds left."""
    status = run.status
    if status.state == "running":
        return {"state": "running", "seconds_left": status.seconds_left(time.time())}
    why = _last_line(status.error or _log(run.folder)) if status.state in ENDED_BADLY else ""
    return {"state": status.state, "why": why}


def _log(folder: Path) -> str:
    """The end of the log of a run."""
    try:
        with (folder / "log.txt").open("rb") as file:
            file.seek(max(0, (folder / "log.txt").stat().st_size - 10_000))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
