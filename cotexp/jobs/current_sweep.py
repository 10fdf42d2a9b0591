"""The sweep whose point a process runs: what its points differ in, and an id if no file names it. Launchers pass it on by an environment variable."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cotexp.settings.base import keyed
from cotexp.store.specs import key_of

if TYPE_CHECKING:
    from cotexp.settings.root import Settings

VARIABLE = "COTEXP_SWEEP"
LENGTH = 12


@dataclass(frozen=True, slots=True)
class CurrentSweep:
    """`varied`: the settings and slots with several values among the points, in the order of the command. `id` is the same for the same points."""

    id: str
    varied: tuple[str, ...]


def point_of(settings: Settings) -> str:
    """Sixteen hex digits that stand for a point: its experiment and all settings that can change a result, however typed."""
    return key_of({"name": settings.name, "settings": keyed(settings)})


def key_of_points(points: Iterable[str]) -> str:
    """Twelve hex digits that stand for a set of points, whatever their order."""
    return key_of({"points": sorted(set(points))})[:LENGTH]


def enter(points: Sequence[tuple[Sequence[str], Settings]]) -> None:
    """Let this process and those below it run points of the sweep of these points, each with its overrides."""
    values: dict[str, dict[str, None]] = {}
    for overrides, _ in points:
        for word in overrides:
            path, _, value = word.partition("=")
            values.setdefault(path, {})[value] = None
    varied = [path for path, found in values.items() if len(found) > 1]
    os.environ[VARIABLE] = json.dumps({"id": key_of_points(point_of(settings) for _, settings in points), "varied": varied})


def leave() -> None:
    """This process runs no point of a sweep."""
    os.environ.pop(VARIABLE, None)


def current() -> CurrentSweep | None:
    """The sweep whose point this process runs; None if it runs none."""
    try:
        stored = json.loads(os.environ.get(VARIABLE, ""))
        return CurrentSweep(str(stored["id"]), tuple(map(str, stored["varied"])))
    except (ValueError, LookupError, TypeError):
        return None
