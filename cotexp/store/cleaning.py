"""Cleaning of the store: an entry is needed if a run under outputs/runs has used it or resumes from it, or if a needed entry was made from it."""

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
from cotexp.store.claims import claim_is_alive, parse_claim
from cotexp.store.processes import file_system_time
from cotexp.store.stored_files import PLANNED, STAGES, Damaged, RunFolders, StoreError, read_json, stages_of

RECENT_SECONDS = 600.0
"""Entries modified this recently are kept, because a process of an earlier version, which does not register, may be writing them."""
MAX_NAMED_RUNS = 5
REMOVED = ".removed"
"""Suffix of an entry that is being deleted, so that a part of it is never mistaken for a complete entry."""
ENTRY_NAME = re.compile(r"(?P<key>[0-9a-f]{16})(?:\.partial)?(?:\.removed)?")
"""Names of entries. Anything else in the store was not written by this project."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A ledger, an artifact or an unfinished artifact. `modified` is in seconds since 1970; `is_paid` means that its texts came from a paid server.

    `problem` is the reason why it is unknown what the entry is or what deleting it would delete; otherwise "".
    """

    stage: str
    key: str
    folder: Path
    num_bytes: int
    modified: float
    inputs: frozenset[str]
    is_paid: bool
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Cleaning:
    """The entries of a store. Cleaning removes `unneeded`; it keeps unneeded entries that are `paid` or `recent`.

    `unproven` maps a reason to the entries that seem unneeded but for that reason may be needed.
    """

    needed: list[Entry]
    unneeded: list[Entry]
    paid: list[Entry]
    recent: list[Entry]
    num_runs: int
    unproven: dict[str, list[Entry]] = field(default_factory=dict)


def plan_cleaning(outputs: Path, *, paid: bool = False, now: float | None = None) -> Cleaning:
    """The entries that cleaning would remove and keep; nothing is removed. With `paid`, unneeded texts of paid servers count as unneeded.

    Raises: ConfigError for an unfinished run of an earlier version, which does not record what it resumes from.
    """
    sharing, share_problems = users.folders_sharing_store(outputs)
    runs, run_problems = _runs(sharing)
    run_keys, key_problems = _needed_keys(runs)
    used_keys, user_problems = users.keys_in_use(outputs)
    entries = list(_entries(outputs / "store"))
    needed = _with_inputs(run_keys | used_keys, entries)
    input_problems = [f"the inputs of {entry.folder} are unknown: {entry.problem}" for entry in entries if _has_unknown_inputs(entry, needed)]
    problems = [*share_problems, *run_problems, *key_problems, *user_problems, *input_problems]
    cleaning = Cleaning([], [], [], [], len(runs))
    recent = (time.time() if now is None else now) - RECENT_SECONDS
    for entry in entries:
        if entry.key in needed:
            cleaning.needed.append(entry)
        elif entry.is_paid and not paid:
            cleaning.paid.append(entry)
        elif entry.modified > recent or _is_claimed(entry):
            cleaning.recent.append(entry)
        elif reasons := [*filter(None, [entry.problem]), *problems]:
            more = f" (and {len(reasons) - 1} more such reasons)" if len(reasons) > 1 else ""
            cleaning.unproven.setdefault(f"{reasons[0]}{more}", []).append(entry)
        else:
            cleaning.unneeded.append(entry)
    return cleaning


def remove(entries: Iterable[Entry]) -> list[Entry]:
    """Delete entries, and return the deleted ones. A partly deleted entry is no longer found under its key.

    Entries that have become links or were claimed after planning are kept. Raises: StoreError if the disk refuses a deletion.
    """
    deleted = []
    for entry in entries:
        try:
            if _delete(entry):
                deleted.append(entry)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StoreError(
                f"clean: {entry.folder} cannot be deleted ({error.strerror}); {len(deleted)} entries before it were; correct that and clean again"
            ) from None
    return deleted


def _delete(entry: Entry) -> bool:
    """Delete an entry unless it is a link or claimed. Returns whether it was deleted."""
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


def _runs(outputs_folders: Iterable[Path]) -> tuple[list[Path], list[str]]:
    """(the folders of all runs, also behind links; one line per folder that cannot be read)."""
    folders: list[Path] = []
    problems: list[str] = []
    for outputs in outputs_folders:
        runs = RunFolders(outputs / "runs")
        folders += runs.folders
        problems += runs.problems
    return folders, problems


def _needed_keys(runs: Iterable[Path]) -> tuple[set[str], list[str]]:
    """(keys that the runs in these folders have used or resume from, one line per run whose keys cannot be read).

    Raises: ConfigError for unfinished runs of earlier versions.
    """
    keys: set[str] = set()
    problems: list[str] = []
    unrecorded: list[str] = []
    for run in runs:
        names = [name for name in (STAGES, PLANNED) if os.path.lexists(run / name)]
        if not names and _is_locked(run):
            problems.append(f"a process is starting {run}, and its needs are not known yet")
        elif not names and not _is_empty(run):
            unrecorded.append(str(run))
        for name in names:
            try:
                keys.update(stage["key"] for stage in stages_of(run, name, complete=True).values())
            except Damaged as error:
                problems.append(str(error))
    if unrecorded:
        more = f" and {len(unrecorded) - MAX_NAMED_RUNS} more" if len(unrecorded) > MAX_NAMED_RUNS else ""
        raise ConfigError(
            f"clean: {', '.join(unrecorded[:MAX_NAMED_RUNS])}{more} did not finish and does not record what it resumes from, because an earlier "
            "version wrote it; run its command again, or delete its folder"
        )
    return keys, problems


def _is_empty(run: Path) -> bool:
    """Whether the folder of a run contains at most a lock."""
    return {path.name for path in run.iterdir()} <= {".lock"}


def _is_locked(run: Path) -> bool:
    """Whether a process holds the lock of a run."""
    try:
        with FileLock(run / ".lock", timeout=0):
            return False
    except Timeout:
        return True
    except OSError:
        return False


def _has_unknown_inputs(entry: Entry, needed: set[str]) -> bool:
    """Whether the inputs of a needed entry are unknown. Those of an unfinished entry are known, because its run names them."""
    return entry.key in needed and bool(entry.problem) and entry.folder.name == entry.key


def _entries(store: Path) -> Iterator[Entry]:
    for folder in sorted(store.glob("*/*")):
        stage = folder.parent.name
        if folder.name == "claims" or stage.startswith(".") or not (folder.is_dir() or folder.is_symlink()):
            continue
        name = ENTRY_NAME.fullmatch(folder.name)
        key = name["key"] if name else folder.name.split(".")[0]
        try:
            folder_stat = folder.lstat()
        except FileNotFoundError:
            continue
        files = list(_file_stats(folder))
        description, problem = _description(folder)
        if not name:
            problem = f"{folder} does not have the name of a stored entry"
        elif folder.is_symlink() or folder.parent.is_symlink():
            problem = f"{folder if folder.is_symlink() else folder.parent} is a link, and others may use its target; delete it by hand"
        elif any(file.st_dev != folder_stat.st_dev for file in files):
            problem = f"another disk is mounted in {folder}"
        is_paid = stage == "rewrites" or (stage == "texts" and _engine(description) == "api")
        modified = max([file.st_mtime for file in files] or [folder_stat.st_mtime])
        inputs = frozenset(_keys_in(description)) - {key}
        yield Entry(stage, key, folder, sum(file.st_size for file in files), modified, inputs, is_paid, problem)


def _file_stats(folder: Path) -> Iterator[os.stat_result]:
    """The status of each file, link and mounted folder in an entry. A living process may remove some of them meanwhile."""
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            if path.is_symlink() or not path.is_dir() or path.is_mount():
                yield path.lstat()


def _engine(description: dict[str, Any]) -> Any:
    teacher = description.get("teacher")
    return teacher.get("engine") if isinstance(teacher, dict) else None


def _description(folder: Path) -> tuple[dict[str, Any], str]:
    """(the description of an entry, or {}; the reason why it cannot be read, or ""). Unfinished, partly deleted and empty entries need none."""
    paths = [folder / name for name in ("spec.json", "manifest.json") if os.path.lexists(folder / name)]
    if not paths:
        has_files = folder.is_dir() and any(path.name != "claims" for path in folder.iterdir())
        is_complete = "." not in folder.name
        return {}, f"{folder} has neither spec.json nor manifest.json, so it is unknown what it is" if has_files and is_complete else ""
    try:
        return read_json(paths[0], "stage", "key"), ""
    except Damaged as error:
        return {}, "" if folder.name.endswith(REMOVED) else str(error)


def _keys_in(value: Any) -> Iterator[str]:
    """Every text in a description that has the form of a key."""
    if isinstance(value, str):
        if re.fullmatch("[0-9a-f]{16}", value):
            yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _keys_in(part)


def _with_inputs(keys: set[str], entries: Iterable[Entry]) -> set[str]:
    """`keys`, their inputs at any depth, and the merged weights of their checkpoints, which no run names."""
    inputs: dict[str, set[str]] = {}
    for entry in entries:
        inputs.setdefault(entry.key, set()).update(entry.inputs)
        if entry.stage == "merged":
            for checkpoint in entry.inputs:
                inputs.setdefault(checkpoint, set()).add(entry.key)
    needed, queue = set(keys), list(keys)
    while queue:
        new = inputs.get(queue.pop(), set()) - needed
        needed |= new
        queue += new
    return needed


def _is_claimed(entry: Entry) -> bool:
    """Whether a living process has claimed an entry or rows of it. An unreadable claim counts as alive."""
    row_claims, artifact_claims = (entry.folder / "claims").glob("*.json"), (entry.folder.parent / "claims").glob("*.json")
    return any(_holds_key(path, None) for path in row_claims) or any(_holds_key(path, entry.key) for path in artifact_claims)


def _holds_key(path: Path, key: str | None) -> bool:
    """Whether the claim in a file is in force and contains `key`, if given."""
    try:
        claim, age = parse_claim(path.read_bytes()), file_system_time(path.with_name("clock")) - path.stat().st_mtime
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        return True
    return (key is None or key in claim["ids"]) and claim_is_alive(claim, age=age)
