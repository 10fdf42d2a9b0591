"""The sweep whose point a process runs: what its points differ in, and an id if no file names it. Launchers pass it on by an environment variable."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cotexp.settings.base import keyed
from cotexp.store.specs import key_of

if TYPE_CHECKING:
    from cotexp.config.command_line import Point

VARIABLE = "COTEXP_SWEEP"
LENGTH = 12


@dataclass(frozen=True, slots=True)
class CurrentSweep:
    """`varied`: the settings and slots with several values among the points, in the order of the command. `id` is the same for the same points."""

    id: str
    varied: tuple[str, ...]


def enter(points: Sequence[Point]) -> None:
    """Let this process and those below it run points of the sweep of these points."""
    values: dict[str, dict[str, None]] = {}
    for point in points:
        for word in point.overrides:
            path, _, value = word.partition("=")
            values.setdefault(path, {})[value] = None
    ids = sorted({key_of({"name": each.settings.name, "settings": keyed(each.settings)}) for each in points})
    varied = [path for path, found in values.items() if len(found) > 1]
    os.environ[VARIABLE] = json.dumps({"id": key_of({"points": ids})[:LENGTH], "varied": varied})


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
