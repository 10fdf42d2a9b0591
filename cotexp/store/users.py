"""Users of a store: the outputs folders that share it, and the processes that work on it. `cotexp clean` reads both.

STORE/.outputs has one file per outputs folder that uses the store. STORE/.users has one file per process, with the keys that the process uses, or
null while it does not know them. A process removes its file when it ends; the file of a dead process is ignored.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from cotexp.store.claims import LEASE_SECONDS
from cotexp.store.processes import file_system_time, identifies_process, is_remote, process_is_alive, this_process
from cotexp.store.stored_files import Damaged, read_json, write_json

log = logging.getLogger(__name__)

OUTPUTS, USERS = ".outputs", ".users"
COMPLETE = "all"
"""File in .outputs of a store that was empty when its first folder was registered, so that every folder that uses it is registered."""


@contextlib.contextmanager
def registered(outputs: Path) -> Iterator[Callable[[Iterable[str]], None]]:
    """Register this process as a user of the store in this block. Yields a function to call with the keys that the process uses."""
    store, process = outputs / "store", this_process()
    path = store / USERS / f"{process['host']}-{os.getpid()}-{uuid.uuid4().hex[:6]}.json"
    is_new = not _has_entries(store)
    path.parent.mkdir(parents=True, exist_ok=True)

    def write(keys: Iterable[str] | None) -> None:
        write_json(path, {**process, "outputs": str(outputs.absolute()), "keys": None if keys is None else sorted(set(keys))}, fsync=False)

    def use(keys: Iterable[str]) -> None:
        register_outputs(outputs, is_new=is_new)
        write(keys)

    write(None)
    stop = threading.Event()
    renewer = threading.Thread(target=_renew, args=(path, stop), daemon=True)
    renewer.start()
    try:
        yield use
    finally:
        stop.set()
        renewer.join()
        with contextlib.suppress(OSError):
            path.unlink()


def _renew(path: Path, stop: threading.Event) -> None:
    while not stop.wait(LEASE_SECONDS / 4):
        with contextlib.suppress(OSError):
            os.utime(path)


def _has_entries(store: Path) -> bool:
    return store.is_dir() and any(not entry.name.startswith(".") for entry in store.iterdir())


def register_outputs(outputs: Path, *, is_new: bool = False) -> None:
    """Register an outputs folder as a user of its store. `is_new`: the store was empty before."""
    registry = outputs / "store" / OUTPUTS
    path = registry / f"{hashlib.sha256(str(outputs.absolute()).encode()).hexdigest()[:16]}.json"
    if path.is_file():
        return
    is_new = is_new and not registry.exists()
    registry.mkdir(parents=True, exist_ok=True)
    if is_new:
        (registry / COMPLETE).touch()
    write_json(path, {"outputs": str(outputs.absolute())})


def folders_sharing_store(outputs: Path) -> tuple[list[Path], list[str]]:
    """(outputs folders that share the store of `outputs`, itself first; reasons why there may be others whose runs are unknown)."""
    store = outputs / "store"
    real = store.resolve()
    folders, problems = [outputs.absolute()], []
    for path in sorted((store / OUTPUTS).glob("*.json")):
        try:
            other = Path(str(read_json(path, "outputs")["outputs"]))
        except Damaged as error:
            problems.append(str(error))
            continue
        if _uses_store(other, real):
            folders.append(other)
        else:
            problems.append(f"{other} has used this store but does not exist now; if it is gone for good, remove {path}")
    candidates = [real.parent, *_siblings_with_linked_store(outputs.absolute()), *_siblings_with_linked_store(real.parent)]
    folders += [folder for folder in candidates if _uses_store(folder, real)]
    if store.is_symlink() and not (store / OUTPUTS / COMPLETE).is_file() and not (real.parent / "runs").is_dir():
        problems.append(f"{store} is a link to {real}, which unregistered outputs folders of earlier versions may use; clean it by hand")
    distinct = {folder.resolve(): folder for folder in reversed(folders)}
    return list(reversed(distinct.values())), problems


def _uses_store(outputs: Path, store: Path) -> bool:
    try:
        return (outputs / "store").resolve() == store and (outputs / "store").is_dir()
    except OSError:
        return False


def _siblings_with_linked_store(folder: Path) -> list[Path]:
    try:
        return [sibling for sibling in sorted(folder.parent.iterdir()) if (sibling / "store").is_symlink()]
    except OSError:
        return []


def keys_in_use(outputs: Path) -> tuple[set[str], list[str]]:
    """(keys that living processes use, one line per process whose keys are unknown)."""
    registry = outputs / "store" / USERS
    paths = sorted(registry.glob("*.json"))
    if not paths:
        return set(), []
    try:
        now = file_system_time(registry / "clock")
    except OSError as error:
        return set(), [f"{registry} cannot be written ({error.strerror}), so it is unknown which processes work on this store"]
    keys: set[str] = set()
    problems = []
    for path in paths:
        try:
            age, user = now - path.stat().st_mtime, read_json(path, "keys")
            if not identifies_process(user):
                raise Damaged(path, "names no process")
        except FileNotFoundError:
            continue
        except Damaged as error:
            if path.exists():
                problems.append(str(error))
            continue
        if not _is_alive(user, age):
            if not is_remote(user):
                path.unlink(missing_ok=True)
            continue
        if isinstance(user["keys"], list):
            keys.update(map(str, user["keys"]))
        else:
            problems.append(f"process {user['pid']} on {user['host']} is starting, and its keys are not known yet; clean again in a moment")
    return keys, problems


def _is_alive(user: dict[str, Any], age: float) -> bool:
    return age < LEASE_SECONDS if is_remote(user) else process_is_alive(user)
