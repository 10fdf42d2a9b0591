"""Manifests of sweeps: OUTPUTS/sweeps/KEY.json names every point of a command with -m, also those that no process has begun.

A manifest is written once, before the first point; the same sweep again keeps it, and only its time of change is new. It holds checked settings and
overrides of them, as the folder of a run does, and of Hydra's own settings no more than the launcher's name: others may hold keys.
OUTPUTS/sweeps/failed/POINT.json says why a point failed that has no run, because it was refused before its folder was made.
OUTPUTS/sweeps/owners/KEY.json is the process that started the sweep last.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cotexp.jobs.current_sweep import key_of_points, point_of
from cotexp.jobs.origin import commit
from cotexp.settings.root import Settings, config_dir_words
from cotexp.store.processes import identifies_process, is_remote, process_is_alive, this_process
from cotexp.store.stored_files import Damaged, read_json, write_json
from cotexp.version import __version__

FOLDER, FAILURES, OWNERS = "sweeps", "failed", "owners"
Overrides = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SweptPoint:
    """A point of a sweep: the arguments of a run for only this point, and its settings as `settings.json` of that run has them."""

    overrides: Overrides
    settings: dict[str, Any]
    point: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """A sweep as its manifest describes it. `name` is that of the named grid, or empty; `command` are the arguments of the sweep.

    `began` and `started` are the first and the last time that it was started, in unix seconds. `commit` is that of the clone it was started in.
    """

    path: Path
    name: str
    command: Overrides
    began: float
    started: float
    commit: str | None
    points: tuple[SweptPoint, ...]

    @property
    def key(self) -> str:
        return self.path.stem

    @property
    def may_be_alive(self) -> bool:
        """Whether the command that started it last still waits for points; of a process on another host that is not known."""
        try:
            owner = read_json(self.path.parent / OWNERS / self.path.name)
        except Damaged:
            return False
        return identifies_process(owner) and (is_remote(owner) or process_is_alive(owner))


def write(points: Sequence[tuple[Overrides, Settings]], command: Sequence[str], name: str) -> list[Path]:
    """Write the manifest of these points, one in each folder of outputs that they name, and return the files. Plans are no points."""
    groups: dict[str, list[tuple[Overrides, Settings]]] = {}
    for overrides, settings in points:
        if not (settings.plan or settings.compress_only):
            groups.setdefault(settings.paths.outputs, []).append((overrides, settings))
    return [_write(Path(outputs), members, command, name) for outputs, members in groups.items()]


def _write(outputs: Path, points: Sequence[tuple[Overrides, Settings]], command: Sequence[str], name: str) -> Path:
    ids = [point_of(settings) for _, settings in points]
    path = outputs / FOLDER / f"{key_of_points(ids)}.json"
    (path.parent / OWNERS).mkdir(parents=True, exist_ok=True)
    write_json(path.parent / OWNERS / path.name, this_process(), fsync=False)
    with contextlib.suppress(Damaged):
        read(path)
        os.utime(path)
        return path
    every = [dataclasses.asdict(settings) for _, settings in points]
    shared = _shared(every)
    content = {
        "name": name,
        "command": [*config_dir_words(), *command],
        "began": time.time(),
        "version": __version__,
        "commit": commit().get("commit"),
        "settings": shared,
        "points": [
            {"point": point, "overrides": [*config_dir_words(), *overrides], "settings": _without(own, shared)}
            for point, (overrides, _), own in zip(ids, points, every, strict=True)
        ],
    }
    write_json(path, content)
    return path


# --- reading ---------------------------------------------------------------------------------------------------------------


def read(path: Path) -> Sweep:
    """The sweep of a manifest. Raises: Damaged."""
    content = read_json(path, "name", "command", "began", "settings", "points")
    try:
        points = tuple(
            SweptPoint(_words(each["overrides"]), _joined(content["settings"], each["settings"]), str(each["point"])) for each in content["points"]
        )
        for each in points:
            _check(each.settings)
        return Sweep(
            path=path,
            name=str(content["name"]),
            command=_words(content["command"]),
            began=float(content["began"]),
            started=path.stat().st_mtime,
            commit=content.get("commit"),
            points=points,
        )
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise Damaged(path, f"describes no sweep ({type(error).__name__}: {error})") from None


def manifests(outputs: Path) -> tuple[tuple[Path, int], ...]:
    """The manifests of a folder of outputs with their times of change, in nanoseconds."""
    found = []
    for path in sorted((outputs / FOLDER).glob("*.json")):
        with contextlib.suppress(FileNotFoundError):
            found.append((path, path.stat().st_mtime_ns))
    return tuple(found)


def sweeps_in(outputs: Path) -> tuple[list[Sweep], list[str]]:
    """(the sweeps of a folder of outputs, the one that was started last first; a line about each manifest that cannot be read)."""
    sweeps, problems = [], []
    for path, _ in manifests(outputs):
        try:
            sweeps.append(read(path))
        except Damaged as error:
            problems.append(str(error))
    return sorted(sweeps, key=lambda each: each.started, reverse=True), problems


def _check(settings: Mapping[str, Any]) -> None:
    if not isinstance(settings["name"], str) or not isinstance(settings["seed"], int) or not isinstance(settings["evaluation"]["modes"], list):
        raise ValueError("a point without name, seed or evaluation.modes")


def _words(value: Any) -> Overrides:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ValueError("overrides are no list of texts")
    return tuple(value)


# --- settings that all points have -----------------------------------------------------------------------------------------


def _shared(every: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The values that are equal in all of these nested settings."""
    shared: dict[str, Any] = {}
    for key, value in every[0].items():
        values = [each[key] for each in every if key in each]
        if len(values) < len(every):
            continue
        if all(isinstance(each, dict) for each in values):
            shared[key] = _shared(values)
        elif all(each == value and type(each) is type(value) for each in values):
            shared[key] = value
    return shared


def _without(own: dict[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """The values that are not among the shared ones."""
    rest: dict[str, Any] = {}
    for key, value in own.items():
        if key not in shared:
            rest[key] = value
        elif isinstance(value, dict) and isinstance(shared[key], dict) and (below := _without(value, shared[key])):
            rest[key] = below
    return rest


def _joined(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a point. The order of a section's names is that of the shared ones, then its own."""
    joined = {**shared, **own}
    return {
        key: _joined(shared[key], own[key]) if isinstance(shared.get(key), dict) and isinstance(own.get(key), dict) else value
        for key, value in joined.items()
    }


# --- points that failed ----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def failure_noted(settings: Settings) -> Iterator[None]:
    """If the block, a point of a sweep, fails: note why, until it succeeds."""
    path = Path(settings.paths.outputs) / FOLDER / FAILURES / f"{point_of(settings)}.json"
    try:
        yield
    except Exception as error:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, {"error": str(error) or type(error).__name__, "ended": time.time()})
        raise
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def failure_of(outputs: Path, point: str) -> tuple[str, float] | None:
    """(why a point failed at its last attempt, when); None if it did not."""
    try:
        content = read_json(outputs / FOLDER / FAILURES / f"{point}.json", "error", "ended")
        return str(content["error"]), float(content["ended"])
    except (Damaged, TypeError, ValueError):
        return None
