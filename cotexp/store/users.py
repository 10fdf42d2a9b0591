"""Who uses a store: the folders of outputs that share it, and the processes that work on it now, for the cleaning to ask.

STORE/.outputs holds a file for each folder of outputs whose runs lie on this store, STORE/.users one for each process that computes: with the
keys that it uses, or none while it has not found out. A process that ends takes its file away; of one that is gone otherwise it means nothing.
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
from cotexp.store.processes import is_elsewhere, is_owner, now_at, owner, process_is_alive
from cotexp.store.stored_files import Damaged, read_json, write_json

log = logging.getLogger(__name__)

OUTPUTS, USERS = ".outputs", ".users"
FROM_THE_BEGINNING = "all"
"""Stands in .outputs where the store was empty when the first folder was noted: no version before this one has used it."""


@contextlib.contextmanager
def present(outputs: Path) -> Iterator[Callable[[Iterable[str]], None]]:
    """While this block lasts, the store knows of this process. Call what it yields with the keys that it uses, once they are known."""
    store = outputs / "store"
    place = store / USERS / f"{owner()['host']}-{os.getpid()}-{uuid.uuid4().hex[:6]}.json"
    is_new = not _has_entries(store)
    place.parent.mkdir(parents=True, exist_ok=True)

    def write(keys: Iterable[str] | None) -> None:
        write_json(place, {**owner(), "outputs": str(outputs.absolute()), "keys": None if keys is None else sorted(set(keys))}, lasting=False)

    def use(keys: Iterable[str]) -> None:
        note_outputs(outputs, is_new=is_new)
        write(keys)

    write(None)
    stop = threading.Event()
    renewer = threading.Thread(target=_renew, args=(place, stop), daemon=True)
    renewer.start()
    try:
        yield use
    finally:
        stop.set()
        renewer.join()
        with contextlib.suppress(OSError):
            place.unlink()


def _renew(place: Path, stop: threading.Event) -> None:
    while not stop.wait(LEASE_SECONDS / 4):
        with contextlib.suppress(OSError):
            os.utime(place)


def _has_entries(store: Path) -> bool:
    return store.is_dir() and any(not each.name.startswith(".") for each in store.iterdir())


def note_outputs(outputs: Path, *, is_new: bool = False) -> None:
    """Let the store know of a folder whose runs lie on it. `is_new`: the store was empty before."""
    place = outputs / "store" / OUTPUTS
    path = place / f"{hashlib.sha256(str(outputs.absolute()).encode()).hexdigest()[:16]}.json"
    if is_new and not place.exists():
        place.mkdir(parents=True, exist_ok=True)
        (place / FROM_THE_BEGINNING).touch()
    if not path.is_file():
        place.mkdir(parents=True, exist_ok=True)
        write_json(path, {"outputs": str(outputs.absolute())})


def sharing(outputs: Path) -> tuple[list[Path], list[str]]:
    """(folders of outputs that share the store of `outputs`, itself first; why there may be others whose runs cannot be seen)."""
    store = outputs / "store"
    real = store.resolve()
    found, unknown = [outputs.absolute()], []
    noted = sorted((store / OUTPUTS).glob("*.json"))
    for path in noted:
        try:
            other = Path(str(read_json(path, "outputs")["outputs"]))
        except Damaged as error:
            unknown.append(str(error))
            continue
        if _is_store_of(other, real):
            found.append(other)
        else:
            unknown.append(f"{other} has used this store and is not there now; if it is gone for good, remove {path}")
    near = [real.parent, *_beside(outputs.absolute()), *_beside(real.parent)]
    found += [each for each in near if _is_store_of(each, real)]
    if store.is_symlink() and not (store / OUTPUTS / FROM_THE_BEGINNING).is_file() and not (real.parent / "runs").is_dir():
        unknown.append(f"{store} is a link to {real}, which other folders of outputs may use that this version has not seen; clean it by hand")
    distinct = {each.resolve(): each for each in reversed(found)}
    return list(reversed(distinct.values())), unknown


def _is_store_of(outputs: Path, real: Path) -> bool:
    try:
        return (outputs / "store").resolve() == real and (outputs / "store").is_dir()
    except OSError:
        return False


def _beside(folder: Path) -> list[Path]:
    try:
        return [each for each in sorted(folder.parent.iterdir()) if (each / "store").is_symlink()]
    except OSError:
        return []


def living(outputs: Path) -> tuple[set[str], list[str]]:
    """(keys that living processes use, lines on those that have not said yet what they use)."""
    place = outputs / "store" / USERS
    paths = sorted(place.glob("*.json"))
    if not paths:
        return set(), []
    try:
        now = now_at(place / "clock")
    except OSError as error:
        return set(), [f"{place} cannot be written ({error.strerror}), so that nobody can tell which processes work on this store"]
    keys: set[str] = set()
    silent = []
    for path in paths:
        try:
            age, user = now - path.stat().st_mtime, read_json(path, "keys")
            if not is_owner(user):
                raise Damaged(path, "names no process")
        except FileNotFoundError:
            continue
        except Damaged as error:
            if path.exists():
                silent.append(str(error))
            continue
        if not _is_alive(user, age):
            if not is_elsewhere(user):
                path.unlink(missing_ok=True)
            continue
        if isinstance(user["keys"], list):
            keys.update(map(str, user["keys"]))
        else:
            silent.append(f"process {user['pid']} on {user['host']} begins to work and has not said yet what it uses; clean again in a moment")
    return keys, silent


def _is_alive(user: dict[str, Any], age: float) -> bool:
    return age < LEASE_SECONDS if is_elsewhere(user) else process_is_alive(user)
