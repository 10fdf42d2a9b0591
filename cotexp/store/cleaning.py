"""What of the store no run needs: everything but what the runs under outputs/runs have used, or will go on from, and what that was made of."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from cotexp.settings.base import ConfigError
from cotexp.store import users
from cotexp.store.claims import claim_in, claim_is_alive
from cotexp.store.processes import now_at
from cotexp.store.stored_files import PLANNED, STAGES, Damaged, Folders, StoreError, read_json, stages_of

RECENT_SECONDS = 600.0
"""What was written so recently is left alone: versions of this project that do not say that they work may have written it."""
MAX_NAMED_RUNS = 5
REMOVED = ".removed"
"""Ends the name of an entry that is being deleted, so that a part of it is never taken for the whole."""
NAME = re.compile(r"(?P<key>[0-9a-f]{16})(?:\.partial)?(?:\.removed)?")
"""How the store calls its entries; what is called otherwise is not its own."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A ledger, an artifact, or an unfinished artifact of the store. `is_paid`: a server was paid for its texts.

    `doubt` says why it cannot be told what it is or what deleting it would delete.
    """

    stage: str
    key: str
    folder: Path
    num_bytes: int
    modified: float
    inputs: frozenset[str]
    is_paid: bool
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class Cleaning:
    """Entries of the store by what happens to them; `unneeded` are removed, `paid` and `recent` would be but for that.

    `unproven` are those that seem unneeded, by the reason for which that cannot be proven.
    """

    needed: list[Entry]
    unneeded: list[Entry]
    paid: list[Entry]
    recent: list[Entry]
    num_runs: int
    unproven: dict[str, list[Entry]] = field(default_factory=dict)


def plan_cleaning(outputs: Path, *, paid: bool = False, now: float | None = None) -> Cleaning:
    """What cleaning would do; removes nothing. With `paid`, texts of servers that no run needs are unneeded too.

    Raises: ConfigError for an unfinished run that does not say what it goes on from, as versions before this one left it.
    """
    everyone, doubts = users.sharing(outputs)
    runs, unknown = _runs(everyone)
    wanted, unread = _wanted(runs)
    used, silent = users.living(outputs)
    entries = list(_entries(outputs / "store"))
    needed = _with_inputs(wanted | used, entries)
    doubts += [
        *unknown,
        *unread,
        *silent,
        *(f"what {each.folder} was made of is not known: {each.doubt}" for each in entries if _hides(each, needed)),
    ]
    found = Cleaning([], [], [], [], len(runs))
    recent = (time.time() if now is None else now) - RECENT_SECONDS
    for each in entries:
        if each.key in needed:
            found.needed.append(each)
        elif each.is_paid and not paid:
            found.paid.append(each)
        elif each.modified > recent or _is_claimed(each):
            found.recent.append(each)
        elif reasons := [*filter(None, [each.doubt]), *doubts]:
            more = f" (and {len(reasons) - 1} more such reasons)" if len(reasons) > 1 else ""
            found.unproven.setdefault(f"{reasons[0]}{more}", []).append(each)
        else:
            found.unneeded.append(each)
    return found


def remove(entries: Iterable[Entry]) -> list[Entry]:
    """Delete entries, and return those that were; one that is deleted in part is no longer found under its key.

    An entry that has become a link, or that a process has claimed since it was looked at, stays.
    Raises: StoreError where the disk does not let it.
    """
    gone = []
    for each in entries:
        try:
            if _taken_away(each):
                gone.append(each)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StoreError(
                f"clean: {each.folder} cannot be deleted ({error.strerror}); {len(gone)} entries before it are; put that right and clean again"
            ) from None
    return gone


def _taken_away(entry: Entry) -> bool:
    folder = entry.folder
    if folder.is_symlink() or folder.parent.is_symlink():
        return False
    if not folder.name.endswith(REMOVED):
        lock = folder / "claims" / "lock"
        try:
            with FileLock(lock, timeout=0) if lock.is_file() else FileLock(folder.parent / "claims" / "lock", timeout=0):
                if _is_claimed(entry):
                    return False
                folder = folder.rename(folder.with_name(folder.name + REMOVED))
        except Timeout:
            return False
    shutil.rmtree(folder)
    return True


def _runs(everyone: Iterable[Path]) -> tuple[list[Path], list[str]]:
    """(the folders of runs, also through links; lines on places that cannot be looked into)."""
    found: list[Path] = []
    unknown: list[str] = []
    for outputs in everyone:
        own = Folders(outputs / "runs")
        found += own.found
        unknown += own.unknown
    return found, unknown


def _wanted(runs: Iterable[Path]) -> tuple[set[str], list[str]]:
    """(keys that the runs in these folders have used or will go on from, lines on files that should say so and cannot be read)."""
    wanted: set[str] = set()
    silent: list[str] = []
    unread: list[str] = []
    for run in runs:
        names = [name for name in (STAGES, PLANNED) if os.path.lexists(run / name)]
        if not names:
            (unread if _begins(run) else silent).append(f"a process begins {run} and has not said yet what it needs" if _begins(run) else str(run))
        for name in names:
            try:
                wanted.update(each["key"] for each in stages_of(run, name, whole=True).values())
            except Damaged as error:
                unread.append(str(error))
    silent = [each for each in silent if not _is_untouched(Path(each))]
    if silent:
        more = f" and {len(silent) - MAX_NAMED_RUNS} more" if len(silent) > MAX_NAMED_RUNS else ""
        raise ConfigError(
            f"clean: {', '.join(silent[:MAX_NAMED_RUNS])}{more} did not finish and does not say what it goes on from, as earlier versions of this "
            "project left it; run its command again, or delete its folder"
        )
    return wanted, unread


def _is_untouched(run: Path) -> bool:
    """Whether nothing but the lock of a run was ever written."""
    return {each.name for each in run.iterdir()} <= {".lock"}


def _begins(run: Path) -> bool:
    """Whether a process holds the lock of a run."""
    try:
        with FileLock(run / ".lock", timeout=0):
            return False
    except Timeout:
        return True
    except OSError:
        return False


def _hides(entry: Entry, needed: set[str]) -> bool:
    """Whether a needed entry does not say what it was made of. An unfinished one need not: its run names all of that."""
    return entry.key in needed and bool(entry.doubt) and entry.folder.name == entry.key


def _entries(store: Path) -> Iterator[Entry]:
    for folder in sorted(store.glob("*/*")):
        stage = folder.parent.name
        if folder.name == "claims" or stage.startswith(".") or not (folder.is_dir() or folder.is_symlink()):
            continue
        named = NAME.fullmatch(folder.name)
        key = named["key"] if named else folder.name.split(".")[0]
        try:
            own = folder.lstat()
        except FileNotFoundError:
            continue
        files = list(_files(folder))
        described, doubt = _description(folder)
        if not named:
            doubt = f"{folder} is called as nothing that this project stores"
        elif folder.is_symlink() or folder.parent.is_symlink():
            doubt = f"{folder if folder.is_symlink() else folder.parent} is a link, and others may use what it leads to; delete it by hand"
        elif any(each.st_dev != own.st_dev for each in files):
            doubt = f"another disk is mounted in {folder}"
        is_paid = stage == "rewrites" or (stage == "texts" and _engine(described) == "api")
        modified = max([each.st_mtime for each in files] or [own.st_mtime])
        inputs = frozenset(_keys_in(described)) - {key}
        yield Entry(stage, key, folder, sum(each.st_size for each in files), modified, inputs, is_paid, doubt)


def _files(folder: Path) -> Iterator[os.stat_result]:
    """Of the files, links and mounted folders in an entry; a living process may take some away meanwhile."""
    for each in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            if each.is_symlink() or not each.is_dir() or each.is_mount():
                yield each.lstat()


def _engine(described: dict[str, Any]) -> Any:
    teacher = described.get("teacher")
    return teacher.get("engine") if isinstance(teacher, dict) else None


def _description(folder: Path) -> tuple[dict[str, Any], str]:
    """(what an entry says of itself, why it cannot be read). An unfinished or half-deleted one, or an empty one, need not say anything."""
    paths = [folder / name for name in ("spec.json", "manifest.json") if os.path.lexists(folder / name)]
    if not paths:
        rows = folder.is_dir() and any(each.name != "claims" for each in folder.iterdir())
        is_whole = folder.name == folder.name.split(".")[0]
        return {}, f"{folder} has no spec.json and no manifest.json, so that nothing says what it is" if rows and is_whole else ""
    try:
        return read_json(paths[0], "stage", "key"), ""
    except Damaged as error:
        return {}, "" if folder.name.endswith(REMOVED) else str(error)


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
    """Whether a living process is at work on an entry. Whoever has written what is no claim may be."""
    own, beside = entry.folder / "claims", entry.folder.parent / "claims"
    return any(_holds(path, None) for path in own.glob("*.json")) or any(_holds(path, entry.key) for path in beside.glob("*.json"))


def _holds(path: Path, key: str | None) -> bool:
    try:
        claim, age = claim_in(path.read_bytes()), now_at(path.with_name("clock")) - path.stat().st_mtime
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        return True
    return (key is None or key in claim["ids"]) and claim_is_alive(claim, age=age)
