"""The disk of the outputs: write checks, exclusive locks, explained errors, and checksums of stored models."""

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
"""File of a stored model with the SHA-256 of its other files."""

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NEXT_STEPS = {
    **dict.fromkeys(FULL, "free some space"),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "make it writable, or choose another folder with paths.outputs=DIR"),
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR, errno.ESTALE), "it existed a moment ago: restore it, or let the run compute what is gone"),
    **dict.fromkeys((errno.ENOLCK, errno.ENOSYS), "its file system has no locks: choose another folder with paths.outputs=DIR"),
    errno.ENOTEMPTY: "remove that folder, which is incomplete",
    errno.EISDIR: "a folder is in the place of a file: move it away",
    errno.EEXIST: "a file or a broken link is in the place of a folder: move it away",
    errno.ELOOP: "a link there points to itself: remove it",
    errno.EIO: "check the disk",
}


def check_writable(folder: Path, setting: str = "paths.outputs") -> None:
    """Raises: StoreError if `folder`, the value of `setting`, cannot be written, because the disk is read-only or full."""
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
        other = "choose another folder with paths.outputs=DIR" if setting == "paths.outputs" else "name another folder"
        raise StoreError(f"{setting}: cannot write to {folder} ({error.strerror}); free some space, or {other}") from None


@contextlib.contextmanager
def exclusive(path: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold the lock file `path` in this block. Calls `on_wait()` every POLL_SECONDS while another process holds it. Raises: Stopped on a signal."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=POLL_SECONDS)
    while not lock.is_locked:
        signals.check()
        try:
            lock.acquire()
        except Timeout:
            on_wait()
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def explained_disk_errors(outputs: Path) -> Iterator[None]:
    """Raises: StoreError with the next step if the block fails because the disk of `outputs` is full, read-only, gone or without locks."""
    try:
        yield
    except Timeout as error:
        raise StoreError(
            f"paths.outputs: another process has held {error.lock_file} for {LOCK_SECONDS:.0f} s instead of milliseconds, so it hangs or is "
            "suspended; resume or end it, and run the same command again, which resumes"
        ) from error
    except OSError as error:
        place = Path(str(error.filename2 or error.filename or outputs))
        if error.errno in FULL or (error.errno in NEXT_STEPS and place.absolute().is_relative_to(outputs.absolute())):
            raise _failure(place, error.errno) from error
        raise
    except (RunFailed, ConfigError):
        raise
    except Exception as error:
        if os.strerror(errno.ENOSPC) in str(error) or is_full(outputs):  # native libraries raise errors of their own
            raise _failure(outputs, errno.ENOSPC) from error
        raise


def is_full(folder: Path) -> bool:
    """Whether less than PROBE_BYTES are free on the disk of `folder`."""
    return folder.is_dir() and shutil.disk_usage(folder).free < PROBE_BYTES


def _failure(place: Path, number: int) -> StoreError:
    return StoreError(
        f"paths.outputs: {os.strerror(number)} while writing {place}; {NEXT_STEPS[number]}, and run the same command again, which resumes"
    )


def sealed(build: Callable[[Path], None]) -> Callable[[Path], None]:
    """A function that calls `build(folder)` and then stores the SHA-256 of every file of the model, for `check_unchanged`."""

    def build_and_seal(folder: Path) -> None:
        build(folder)
        write_json(folder / HASHES, {name: sha256 for name, sha256 in identity.hashes(folder, code=True).items() if name != HASHES})

    return build_and_seal


def check_unchanged(folder: Path) -> None:
    """Raises: StoreError if a file of the stored model in `folder` has changed. A folder without checksums passes."""
    if not (folder / HASHES).is_file():
        return
    try:
        hashes: dict[str, str] = read_json(folder / HASHES)
        changed = [name for name, sha256 in hashes.items() if not (folder / name).is_file() or identity.file_sha256(folder / name) != sha256]
    except (ValueError, AttributeError, StoreError):
        changed = [HASHES]
    if changed:
        raise StoreError(
            f"paths.outputs: {', '.join(changed)} in {folder} changed after it was stored, on a failing disk or by hand; "
            "remove that folder, and run the same command again, which makes it again"
        )
