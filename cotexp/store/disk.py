"""The disk under the outputs: whether it can be written, one process at a time in a place, and its errors in words."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from cotexp import signals
from cotexp.models import identity
from cotexp.settings.base import ConfigError, RunFailed
from cotexp.store.claims import LOCK_SECONDS, POLL_SECONDS
from cotexp.store.stored_files import StoreError, read_json, write_json

PROBE_BYTES = 65536

HASHES = "hashes.json"
"""File of a stored model that names the content of the others."""

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NEXT_STEPS = {
    **dict.fromkeys(FULL, "free some space"),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "make it writable, or choose another folder with paths.outputs=DIR"),
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR, errno.ESTALE), "it was there a moment ago: bring it back, or let what is gone be made anew"),
    **dict.fromkeys((errno.ENOLCK, errno.ENOSYS), "its file system has no locks: choose another folder with paths.outputs=DIR"),
    errno.ENOTEMPTY: "remove that folder, which is incomplete",
    errno.EISDIR: "a folder stands where a file belongs: move it away",
    errno.EEXIST: "a file, or a link that leads nowhere, stands where a folder belongs: move it away",
    errno.ELOOP: "a link there leads back to itself: remove it",
    errno.EIO: "look at the disk",
}


def check_writable(folder: Path, what: str = "paths.outputs") -> None:
    """Raises StoreError when nothing can be written under `folder`, which `what` names: read-only, or full."""
    probe = folder / f".probe-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with probe.open("wb") as file:
            file.write(b"\0" * PROBE_BYTES)
            file.flush()
            os.fsync(file.fileno())
        probe.unlink()
    except OSError as error:
        with contextlib.suppress(OSError):
            probe.unlink()
        other = "choose another folder with paths.outputs=DIR" if what == "paths.outputs" else "name another folder"
        raise StoreError(f"{what}: cannot write to {folder} ({error.strerror}); free some space, or {other}") from None


@contextlib.contextmanager
def exclusive(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock file `path`. While a living process holds it this one waits, and calls `waiting()` again and again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=POLL_SECONDS)
    while not lock.is_locked:
        signals.check()
        try:
            lock.acquire()
        except Timeout:
            waiting()
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def clear_errors(outputs: Path) -> Iterator[None]:
    """Raises StoreError, with the next step, where the disk under `outputs` fails the block: full, read-only, vanished, without locks."""
    try:
        yield
    except Timeout as error:
        raise StoreError(
            f"paths.outputs: another process has held {error.lock_file} for {LOCK_SECONDS:.0f} s, which takes milliseconds: it hangs or was "
            "suspended; resume or end it, and run the same command again, it goes on"
        ) from error
    except OSError as error:
        place = Path(str(error.filename2 or error.filename or outputs))
        if error.errno in FULL or (error.errno in NEXT_STEPS and place.absolute().is_relative_to(outputs.absolute())):
            raise _failure(place, error.errno) from error
        raise
    except (RunFailed, ConfigError):
        raise
    except Exception as error:
        if os.strerror(errno.ENOSPC) in str(error) or is_full(outputs):  # what is written in other languages fails in its own words
            raise _failure(outputs, errno.ENOSPC) from error
        raise


def is_full(folder: Path) -> bool:
    """Whether not even a small file has room on the disk of `folder`."""
    return folder.is_dir() and shutil.disk_usage(folder).free < PROBE_BYTES


def _failure(place: Path, number: int) -> StoreError:
    return StoreError(
        f"paths.outputs: {os.strerror(number)} while writing {place}; {NEXT_STEPS[number]}, and run the same command again: it goes on where it was"
    )


def sealed(build: Callable[[Path], None]) -> Callable[[Path], None]:
    """`build`, and then the sha256 of every file of the model that it left, by which `check_unchanged` knows them again."""

    def build_and_seal(folder: Path) -> None:
        build(folder)
        write_json(folder / HASHES, {name: sha256 for name, sha256 in identity.hashes(folder, code=True).items() if name != HASHES})

    return build_and_seal


def check_unchanged(folder: Path) -> None:
    """Raises StoreError when a file of the stored model in `folder` is not what was written. Folders that are no stored model pass."""
    if not (folder / HASHES).is_file():
        return
    try:
        written: dict[str, str] = read_json(folder / HASHES)
        changed = [name for name, sha256 in written.items() if not (folder / name).is_file() or identity.file_sha256(folder / name) != sha256]
    except (ValueError, AttributeError, StoreError):
        changed = [HASHES]
    if changed:
        raise StoreError(
            f"paths.outputs: {', '.join(changed)} in {folder} changed after it was stored, on a failing disk or by hand; "
            "remove that folder, and run the same command again: it is made anew"
        )
