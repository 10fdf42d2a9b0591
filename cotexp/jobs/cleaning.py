"""What of the store no run needs: everything but what the runs under outputs/runs have used, or will go on from, and what that was made of."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cotexp.jobs.status import PLANNED
from cotexp.jobs.store import claim_is_alive, read_json
from cotexp.sections import ConfigError

RECENT_SECONDS = 600.0
"""A run that is only beginning has no folder yet: what was written so recently is left alone."""
MAX_NAMED_RUNS = 5
REMOVED = ".removed"
"""Ends the name of an entry that is being deleted, so that a part of it is never taken for the whole."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A ledger, an artifact, or an unfinished artifact of the store. `is_paid`: a server was paid for its texts."""

    stage: str
    key: str
    folder: Path
    num_bytes: int
    modified: float
    inputs: frozenset[str]
    is_paid: bool


@dataclass(frozen=True, slots=True)
class Cleaning:
    """Entries of the store by what happens to them; `unneeded` are removed, `paid` and `recent` would be but for that."""

    needed: list[Entry]
    unneeded: list[Entry]
    paid: list[Entry]
    recent: list[Entry]
    num_runs: int


def plan_cleaning(outputs: Path, *, paid: bool = False, now: float | None = None) -> Cleaning:
    """What cleaning would do; removes nothing. With `paid`, texts of servers that no run needs are unneeded too.

    Raises: ConfigError for an unfinished run that does not say what it goes on from, as versions before this one left it.
    """
    runs = [path.parent for path in sorted((outputs / "runs").rglob("settings.json"))]
    wanted = _wanted(runs)
    entries = list(_entries(outputs / "store"))
    needed = _with_inputs(wanted, entries)
    found = Cleaning([], [], [], [], len(runs))
    recent = (time.time() if now is None else now) - RECENT_SECONDS
    for each in entries:
        if each.key in needed:
            found.needed.append(each)
        elif each.is_paid and not paid:
            found.paid.append(each)
        elif each.modified > recent or _is_claimed(each):
            found.recent.append(each)
        else:
            found.unneeded.append(each)
    return found


def remove(entries: Iterable[Entry]) -> None:
    """Delete entries; one that is deleted in part is no longer found under its key."""
    for each in entries:
        gone = each.folder if each.folder.name.endswith(REMOVED) else each.folder.rename(each.folder.with_name(each.folder.name + REMOVED))
        shutil.rmtree(gone)


def _wanted(runs: Iterable[Path]) -> set[str]:
    """Keys that the runs in these folders have used or will go on from."""
    wanted: set[str] = set()
    silent = []
    for run in runs:
        files = [path for name in ("stages.json", PLANNED) if (path := run / name).is_file()]
        if not files:
            silent.append(str(run))
        wanted.update(each["key"] for path in files for each in read_json(path).values())
    if silent:
        more = f" and {len(silent) - MAX_NAMED_RUNS} more" if len(silent) > MAX_NAMED_RUNS else ""
        raise ConfigError(
            f"clean: {', '.join(silent[:MAX_NAMED_RUNS])}{more} did not finish and does not say what it goes on from, as earlier versions of this "
            "project left it; run its command again, or delete its folder"
        )
    return wanted


def _entries(store: Path) -> Iterator[Entry]:
    for folder in sorted(store.glob("*/*")):
        if folder.is_dir() and folder.name != "claims":
            stage, key = folder.parent.name, folder.name.split(".")[0]
            files = [each.stat() for each in folder.rglob("*") if each.is_file()]
            described = _description(folder)
            is_paid = stage == "rewrites" or (stage == "texts" and described.get("teacher", {}).get("engine") == "api")
            modified = max([each.st_mtime for each in files] or [folder.stat().st_mtime])
            yield Entry(stage, key, folder, sum(each.st_size for each in files), modified, frozenset(_keys_in(described)) - {key}, is_paid)


def _description(folder: Path) -> dict[str, Any]:
    for name in ("spec.json", "manifest.json"):
        if (folder / name).is_file():
            description: dict[str, Any] = read_json(folder / name)
            return description
    return {}


def _keys_in(value: Any) -> Iterator[str]:
    """Everything in a description that looks like a key of the store."""
    if isinstance(value, str):
        if re.fullmatch("[0-9a-f]{16}", value):
            yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _keys_in(each)


def _with_inputs(wanted: set[str], entries: Iterable[Entry]) -> set[str]:
    """`wanted`, what that was made of, and the merged weights of its fine-tuned models, which no run names."""
    inputs: dict[str, set[str]] = {}
    for each in entries:
        inputs.setdefault(each.key, set()).update(each.inputs)
        if each.stage == "merged":
            for checkpoint in each.inputs:
                inputs.setdefault(checkpoint, set()).add(each.key)
    needed, new = set(wanted), list(wanted)
    while new:
        found = inputs.get(new.pop(), set()) - needed
        needed |= found
        new += found
    return needed


def _is_claimed(entry: Entry) -> bool:
    """Whether a living process is at work on an entry."""
    own = (entry.folder / "claims").glob("*.json")
    beside = (path for path in (entry.folder.parent / "claims").glob("*.json") if entry.key in read_json(path)["ids"])
    return any(claim_is_alive(read_json(path)) for path in (*own, *beside))
