"""The disk of the outputs: full at any write, read-only, gone; exclusive locks."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch
from filelock import FileLock

from cotexp.config import command_line
from cotexp.jobs import pipeline
from cotexp.records import Rationale
from cotexp.stages import rationales
from cotexp.stages.context import Context
from cotexp.store import claims
from cotexp.store.disk import check_writable, exclusive, explained_disk_errors
from cotexp.store.ledgers import Ledger
from cotexp.store.specs import Spec
from cotexp.store.store import Store
from cotexp.store.stored_files import StoreError

# --- a full disk -----------------------------------------------------------------------------------------------------------


class FullFile(io.FileIO):
    """A file on a disk with room for `room` writes. Half of the next write fits, and nothing after it."""

    room = 0
    is_torn = False

    def write(self, content: Any) -> int:
        if FullFile.room:
            FullFile.room -= 1
            return super().write(content)
        if FullFile.is_torn or len(content) < 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        FullFile.is_torn = True
        return super().write(memoryview(content)[: len(content) // 2])


@contextmanager
def room_for(num_writes: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let files that are opened for writing fail after `num_writes` writes, below Python's buffers, as with the kernel."""
    opened = io.open

    def open_full(file: Any, mode: str = "r", *rest: Any, **named: Any) -> Any:
        if not set(mode) & set("wax+"):
            return opened(file, mode, *rest, **named)
        raw = FullFile(file, mode.replace("b", "").replace("t", ""))
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered)

    FullFile.room, FullFile.is_torn = num_writes, False
    with monkeypatch.context() as patch:
        patch.setattr(io, "open", open_full)
        yield


def context_of(model: Path, outputs: Path) -> Context:
    sizes = ["task.num_train=6", "task.num_validation=2", "task.num_test=2", "teacher=reference", "compression=none", "tracking=none"]
    return pipeline.prepare(command_line.check_command_line([f"model.path={model}", f"paths.outputs={outputs}", *sizes], multirun=False)[0])


def written(context: Context, failing: AbstractContextManager[None]) -> tuple[list[Rationale], bool]:
    """(the stage's rationales, whether `failing` made the first attempt fail). Checks that a failure is explained and breaks nothing."""
    outputs, failure = Path(context.settings.paths.outputs), ""
    try:
        with failing, explained_disk_errors(outputs):
            return rationales.make(context), False
    except StoreError as error:
        failure = str(error)
    assert "No space left on device while writing" in failure
    assert "free some space, and run the same command again" in failure
    for path in outputs.rglob("*.json"):
        orjson.loads(path.read_bytes())
    assert list(outputs.rglob("claims/*.json")) == [], "a claim is held by nobody"
    before = {each: read_rows(each) for each in outputs.glob("store/*/*")}
    again = rationales.make(context)
    for folder, kept in before.items():
        assert kept.items() <= read_rows(folder).items(), "a stored row was made again"
        lines = b"".join(path.read_bytes() for path in folder.glob("rows-*.jsonl")).splitlines()
        assert sum(map(is_row, lines)) == len(read_rows(folder)) == len(again), "a row is stored twice, or not at all"
    return again, True


def read_rows(folder: Path) -> dict[str, str]:
    spec = Spec(folder.parent.name, {})
    return {name: json.dumps(row) for name, row in Ledger(folder, spec, "reader").read().items()}


def is_row(line: bytes) -> bool:
    try:
        return isinstance(orjson.loads(line), dict)
    except orjson.JSONDecodeError:
        return False


@pytest.mark.slow
def test_a_disk_that_fills_up_at_any_write_of_a_stage_breaks_nothing(random_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    undisturbed = rationales.make(context_of(random_model, tmp_path / "undisturbed"))
    assert len(undisturbed) == 8
    for num_writes in range(200):
        context = context_of(random_model, tmp_path / str(num_writes))
        rows, failed = written(context, room_for(num_writes, monkeypatch))
        assert rows == undisturbed
        if not failed:
            break
    assert num_writes >= 20, "eight rows and their grades, claims and descriptions"


@pytest.fixture
def small_disk(tmp_path: Path, mounted: Callable[[Path, str], AbstractContextManager[None]]) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    with mounted(folder, "size=512k"):
        yield folder


@pytest.mark.slow
def test_a_real_disk_that_is_full_breaks_nothing(random_model: Path, small_disk: Path) -> None:
    undisturbed = rationales.make(context_of(random_model, small_disk / "undisturbed"))
    for num_pages in range(1, 9):
        context = context_of(random_model, small_disk / str(num_pages))
        rows, failed = written(context, filled(small_disk, num_pages))
        assert rows == undisturbed
        if not failed:
            break
    assert num_pages > 2, "several states of a full disk occurred"


@contextmanager
def filled(folder: Path, num_pages: int) -> Iterator[None]:
    """Fill the disk up to `num_pages` free pages."""
    free, ballast = os.statvfs(folder).f_bavail, folder / "ballast"
    ballast.write_bytes(b"\0" * ((free - num_pages) * os.statvfs(folder).f_bsize))
    try:
        yield
    finally:
        ballast.unlink()


# --- other errors of the disk ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "step"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EROFS, "make it writable, or choose another folder with paths.outputs=DIR"),
        (errno.ENOENT, "it existed a moment ago"),
        (errno.ENOLCK, "its file system has no locks"),
    ],
)
def test_an_error_of_the_disk_names_place_and_next_step(number: int, step: str, tmp_path: Path) -> None:
    place = tmp_path / "store" / "rows.jsonl"
    with pytest.raises(StoreError) as caught, explained_disk_errors(tmp_path):
        raise OSError(number, os.strerror(number), str(place))
    assert str(caught.value).startswith(f"paths.outputs: {os.strerror(number)} while writing {place}; {step}")
    assert str(caught.value).endswith("run the same command again, which resumes")


def test_a_full_disk_reported_in_a_librarys_own_words_is_recognised(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="free some space"), explained_disk_errors(tmp_path):
        raise RuntimeError("I/O error: No space left on device (os error 28)")


def test_a_checkpoint_that_does_not_fit_is_reported_as_a_full_disk(small_disk: Path) -> None:
    with pytest.raises(StoreError, match=r"No space left on device while writing .*free some space"), explained_disk_errors(small_disk):
        torch.save({"weights": torch.zeros(200_000)}, small_disk / "resumable.new")


def test_errors_about_other_folders_are_not_changed(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), explained_disk_errors(tmp_path / "outputs"):
        (tmp_path / "elsewhere").read_text()
    with pytest.raises(RuntimeError, match="boom"), explained_disk_errors(tmp_path):
        raise RuntimeError("boom")


def test_a_store_that_vanishes_under_a_run_is_named(random_model: Path, tmp_path: Path) -> None:
    context = context_of(random_model, tmp_path / "outputs")

    def loses_it(ids: list[str], emit: Any) -> None:
        (tmp_path / "outputs").rename(tmp_path / "moved")
        for path in (tmp_path / "moved").rglob("rows-*.jsonl"):
            path.unlink()
        emit({"id": ids[0]})

    message = r"No such file or directory while writing .*rows-.*; it existed a moment ago"
    with pytest.raises(StoreError, match=message), explained_disk_errors(tmp_path):
        context.store.ledger(Spec("numbers", {})).fill(["1"], loses_it, chunk_size=1)


def test_a_lock_that_a_hanging_process_holds_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "LOCK_SECONDS", 0.1)
    ledger = Store(tmp_path).ledger(Spec("numbers", {}))
    (ledger.folder / "claims").mkdir(parents=True)
    refused = pytest.raises(StoreError, match=r"another process has held .*lock for .* s.*suspended")
    with FileLock(ledger.folder / "claims" / "lock"), refused, explained_disk_errors(tmp_path):
        ledger.fill(["1"], lambda ids, emit: None, chunk_size=1)


def test_a_writable_folder_passes_the_check_and_stays_empty(tmp_path: Path) -> None:
    check_writable(tmp_path / "deep" / "outputs")
    assert list((tmp_path / "deep" / "outputs").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StoreError, match=r"paths\.outputs.*file/outputs"):
        check_writable(tmp_path / "file" / "outputs")


# --- one process at a time -------------------------------------------------------------------------------------------------


HOLD = """
import sys
from pathlib import Path
from cotexp.store import claims
from cotexp.store.disk import exclusive
with exclusive(Path(sys.argv[1]), lambda: print("waiting", flush=True)):
    print("held", flush=True)
    sys.stdin.read()
"""


def holding(lock: Path) -> tuple[subprocess.Popen[str], str]:
    """A process that acquires the lock or waits for it, and the first line that it prints."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


@pytest.mark.parametrize("ending", ["finishes", "is killed"])
def test_an_exclusive_lock_passes_to_the_next_process_when_the_first(ending: str, tmp_path: Path) -> None:
    lock = tmp_path / "run" / "lock"
    first, word = holding(lock)
    assert word == "held"
    second, word = holding(lock)
    assert word == "waiting"
    if ending == "is killed":
        first.kill()
    first.communicate("")
    assert second.stdout is not None
    while (word := second.stdout.readline().strip()) == "waiting":
        pass
    assert word == "held"
    second.communicate("")
    with exclusive(lock, lambda: pytest.fail("nobody holds it")):
        pass
