"""The store with interruptions, torn files, dead owners and several processes at once."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from cotexp import ownership
from cotexp.signals import Stopped
from cotexp.store import claims, ledgers
from cotexp.store.claims import Claims, claim_is_alive
from cotexp.store.ledgers import Ledger
from cotexp.store.processes import this_process
from cotexp.store.specs import Spec, key_of
from cotexp.store.store import Store
from cotexp.store.stored_files import Row, StoreError, write_json

SPEC = Spec("numbers", {"version": 1, "seed": 0})
Emit = Callable[[Row], None]


class Squares:
    """A computation that records the ids and chunks that it receives."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.chunks: list[int] = []

    def __call__(self, ids: list[str], emit: Emit) -> None:
        self.chunks.append(len(ids))
        for name in ids:
            self.asked.append(name)
            emit({"id": name, "value": int(name) ** 2})


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds, however busy the machine is."""
    deadline = time.monotonic() + 600
    while not is_so():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


def values(rows: dict[str, Row]) -> dict[str, int]:
    return {name: row["value"] for name, row in rows.items()}


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def run_together(code: str, *arguments: object, count: int) -> list[list[str]]:
    """The words that each of `count` processes prints; all start their work at the same time."""
    processes = [python(code, *arguments) for _ in range(count)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate()[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0] * count
    return outputs


# --- ledgers -------------------------------------------------------------------------------------------------------------


def test_fill_computes_only_the_missing_rows(tmp_path: Path) -> None:
    first, second = Squares(), Squares()
    Store(tmp_path).ledger(SPEC).fill(["1", "2"], first, chunk_size=8)
    missing: list[int] = []
    rows = Store(tmp_path).ledger(SPEC).fill(["3", "2", "1", "4"], second, chunk_size=8, on_missing=missing.append)
    assert missing == [2], "those that were stored before are not expected again"
    assert (first.asked, second.asked) == (["1", "2"], ["3", "4"])
    assert list(rows) == ["3", "2", "1", "4"]
    assert values(rows) == {"1": 1, "2": 4, "3": 9, "4": 16}


def test_fill_respects_chunk_size_and_order(tmp_path: Path) -> None:
    squares, seen = Squares(), []
    Store(tmp_path).ledger(SPEC).fill(list("54321"), squares, chunk_size=2, on_row=lambda row: seen.append(row["id"]))
    assert squares.chunks == [2, 2, 1]
    assert squares.asked == seen == list("54321")


def test_a_function_of_the_free_rows_decides_the_chunk_size(tmp_path: Path) -> None:
    ledger, squares, seen = Store(tmp_path).ledger(SPEC), Squares(), []
    claim = foreign_claim(ledger, ["2", "3"], seconds=3600)

    def chunk_size(ids: Sequence[str]) -> int:
        seen.append(list(ids))
        if len(seen) == 3:
            claim.unlink()
        return int(ids[0]) if ids else 0

    ledger.fill(list("1234567"), squares, chunk_size=chunk_size)
    assert squares.chunks[:2] == [1, 4]
    assert seen[:2] == [["1", "4", "5", "6", "7"], ["4", "5", "6", "7"]], "what another process holds is not offered"
    assert squares.asked[:5] == list("14567")
    assert sorted(squares.asked) == list("1234567")


def test_fill_of_a_complete_ledger_writes_nothing(tmp_path: Path) -> None:
    Store(tmp_path).ledger(SPEC).fill(["1"], Squares(), chunk_size=1)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    Store(tmp_path).ledger(SPEC).fill(["1"], Squares(), chunk_size=1)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_another_description_has_another_ledger(tmp_path: Path) -> None:
    squares = Squares()
    for version in (1, 2):
        Store(tmp_path).ledger(Spec("numbers", {"version": version})).fill(["1"], squares, chunk_size=1)
    assert squares.asked == ["1", "1"]


def test_rows_of_an_interrupted_fill_are_kept(tmp_path: Path) -> None:
    def breaks(ids: list[str], emit: Emit) -> None:
        emit({"id": ids[0], "value": -1})
        emit({"id": ids[1], "value": -1})
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Store(tmp_path).ledger(SPEC).fill(["1", "2", "3", "4"], breaks, chunk_size=4)
    assert not list(tmp_path.glob("*/*/claims/*.json")), "the claim of the interrupted fill is still in force"
    squares = Squares()
    rows = Store(tmp_path).ledger(SPEC).fill(["1", "2", "3", "4"], squares, chunk_size=4)
    assert squares.asked == ["3", "4"]
    assert values(rows) == {"1": -1, "2": -1, "3": 9, "4": 16}


def test_a_signal_at_any_moment_of_an_append_leaves_whole_lines(tmp_path: Path) -> None:
    ledger = Store(tmp_path).ledger(SPEC)

    def until_stopped(ids: list[str], emit: Emit) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.0002 + int(ids[0]) / 100_000)
        for number in itertools.count():
            emit({"id": f"{ids[0]}/{number}", "text": "0123456789" * 2000})

    def stop(number: int, frame: object) -> None:
        raise Stopped(number)

    before = signal.signal(signal.SIGALRM, stop)
    try:
        for attempt in range(30):
            with pytest.raises(Stopped):
                ledger.fill([str(attempt)], until_stopped, chunk_size=1)
    finally:
        signal.signal(signal.SIGALRM, before)
    (path,) = ledger.folder.glob("rows-*.jsonl")
    assert {len(json.loads(line)["text"]) for line in path.read_text().split("\n")[:-1]} == {20_000}
    assert path.read_bytes().endswith(b"\n")


def test_a_ledger_cut_at_any_byte_loses_only_the_torn_row_and_accepts_the_next(tmp_path: Path) -> None:
    texts = {"1": "plain", "2": "line\nbreak", "3": 'é { " } \\', "4": "\u2028 and \x00", "5": ""}
    whole = Ledger(tmp_path / "whole", SPEC, "w")
    whole.fill(list(texts), lambda ids, emit: [emit({"id": each, "value": 0, "text": texts[each]}) for each in ids], chunk_size=5)
    content = (tmp_path / "whole" / "rows-w.jsonl").read_bytes()
    ends = [number + 1 for number, byte in enumerate(content) if byte == ord(b"\n")]
    assert len(ends) == 5, "no text breaks a line"
    for cut in range(ends[1], len(content) + 1):
        folder = tmp_path / f"cut{cut}"
        folder.mkdir()
        (folder / "rows-w.jsonl").write_bytes(content[:cut])
        complete = list(texts)[: sum(end <= cut for end in ends)]
        stored = Ledger(folder, SPEC, "other").read()
        assert {name: row["text"] for name, row in stored.items()} == {name: texts[name] for name in complete}, cut
        again = Squares()
        if cut + 1 in ends:  # the row lacks its line break alone, which its writer adds
            complete = list(texts)[: len(complete) + 1]
        Ledger(folder, SPEC, "w").fill([*texts, "6"], again, chunk_size=6)
        assert again.asked == [each for each in [*texts, "6"] if each not in complete], cut
        read = Ledger(folder, SPEC, "other").read()
        assert set(read) == {*texts, "6"}, cut
        assert {name: read[name]["text"] for name in complete} == {name: texts[name] for name in complete}, cut
        assert read["6"]["value"] == 36


def test_the_earliest_of_rows_with_one_id_counts(tmp_path: Path) -> None:
    ledger = Store(tmp_path).ledger(SPEC)
    ledger.folder.mkdir(parents=True)
    for name, written in {"a": 20.0, "b": 10.0, "c": 30.0}.items():
        row = {"id": "1", "value": int(written), "written": written}
        (ledger.folder / f"rows-{name}.jsonl").write_text(json.dumps(row) + "\n")
    assert values(ledger.read()) == {"1": 10}
    assert ledger.num_duplicates == 2
    assert values(ledger.fill(["1"], Squares(), chunk_size=1)) == {"1": 10}


def test_a_failed_id_is_tried_once_per_call(tmp_path: Path) -> None:
    asked: list[str] = []

    def fails_at_2(ids: list[str], emit: Emit) -> None:
        asked.extend(ids)
        for name in ids:
            if name != "2":
                emit({"id": name, "value": 0})

    rows = Store(tmp_path).ledger(SPEC).fill(["1", "2", "3"], fails_at_2, chunk_size=1)
    assert set(rows) == {"1", "3"}
    assert asked == ["1", "2", "3"]
    Store(tmp_path).ledger(SPEC).fill(["1", "2", "3"], fails_at_2, chunk_size=1)
    assert asked == ["1", "2", "3", "2"]


FILL_SLOWLY = """
import sys, time
from pathlib import Path
from cotexp.store import claims, specs, store
claims.POLL_SECONDS = 0.02
def compute(ids, emit):
    for name in ids:
        time.sleep(0.005)
        print(name)
        emit({"id": name, "value": int(name) ** 2})
print("ready", flush=True)
sys.stdin.readline()
ids = [str(n) for n in range(60)]
rows = store.Store(Path(sys.argv[1])).ledger(specs.Spec("numbers", {"version": 1})).fill(ids, compute, chunk_size=3)
assert list(rows) == ids and all(row["value"] == int(name) ** 2 for name, row in rows.items())
"""


def test_two_processes_fill_one_ledger_and_compute_every_row_once(tmp_path: Path) -> None:
    first, second = run_together(FILL_SLOWLY, tmp_path, count=2)
    assert Counter(first + second) == Counter({str(n): 1 for n in range(60)})


CLAIM_AND_WAIT = """
import sys, time
from pathlib import Path
from cotexp.store.claims import Claims
with Claims(Path(sys.argv[1]), "doomed").take(sys.argv[2:], most=99):
    print("claimed", flush=True)
    time.sleep(600)
"""


def claiming_process(folder: Path, *ids: str) -> subprocess.Popen[str]:
    process = python(CLAIM_AND_WAIT, folder, *ids)
    assert process.stdout is not None
    assert process.stdout.readline() == "claimed\n"
    return process


def test_the_claim_of_a_living_process_holds_and_that_of_a_killed_one_is_taken_over_at_once(tmp_path: Path) -> None:
    ledger = Store(tmp_path).ledger(SPEC)
    process = claiming_process(ledger.folder / "claims", "1", "2")
    with Claims(ledger.folder / "claims", "me").take(["1", "2", "3"], most=3) as taken:
        assert taken == ["3"]
    process.kill()
    process.communicate()
    with Claims(ledger.folder / "claims", "me").take(["1", "2"], most=2) as taken:
        assert taken == ["1", "2"], "at the first look, not when the lease has run out"


def test_a_zombie_holds_no_claim(tmp_path: Path) -> None:
    process = claiming_process(tmp_path / "claims", "1")
    claim = json.loads(next((tmp_path / "claims").glob("doomed-*.json")).read_text())
    assert claim_is_alive(claim)
    process.send_signal(signal.SIGKILL)
    try:
        wait_until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE, "the process to die")
        assert not claim_is_alive(claim)
    finally:
        process.communicate()


def test_a_claim_of_a_reused_process_id_is_void() -> None:
    claim = {"ids": ["1"], **this_process(), "expires": time.time() + 60}
    assert claim_is_alive(claim)
    assert not claim_is_alive({**claim, "started": claim["started"] - 100})


def foreign_claim(ledger: Ledger, ids: list[str], *, seconds: float, **fields: float) -> Path:
    path = ledger.folder / "claims" / "elsewhere-1-abc-1.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"ids": ids, "host": "elsewhere", "pid": 1, "started": 0.0, "expires": time.time() + seconds, **fields}))
    return path


def test_an_expired_remote_lease_is_taken_over(tmp_path: Path) -> None:
    ledger, squares = Store(tmp_path).ledger(SPEC), Squares()
    foreign_claim(ledger, ["1", "2"], seconds=-1)
    ledger.fill(["1", "2", "3"], squares, chunk_size=3)
    assert squares.asked == ["1", "2", "3"]


def test_a_remote_lease_is_respected_until_it_expires_and_the_wait_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    ledger, squares, rows = Store(tmp_path).ledger(SPEC), Squares(), {}
    claim = foreign_claim(ledger, ["1", "2"], seconds=3600)
    filling = threading.Thread(target=lambda: rows.update(ledger.fill(["1", "2", "3"], squares, chunk_size=3)), daemon=True)
    filling.start()
    wait_until(lambda: any("claimed by" in record.getMessage() for record in caplog.records), "the wait to be logged")
    assert squares.asked == ["3"]
    assert filling.is_alive()
    logged = [record.getMessage() for record in caplog.records if "claimed by" in record.getMessage()]
    assert logged[0].startswith(f"waiting for 2 rows of numbers {SPEC.key}, claimed by process 1 on elsewhere; ")
    assert logged[0].endswith("the claim is taken over if it is not renewed within 45 s")
    (ledger.folder / "rows-elsewhere.jsonl").write_text(json.dumps({"id": "1", "value": -1, "written": time.time()}) + "\n")
    claim.unlink()
    filling.join()
    assert squares.asked == ["3", "2"], "row 1 was written by the other host"
    assert values(rows) == {"1": -1, "2": 4, "3": 9}


class Clock:
    """A monotonic clock that a test controls."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(claims, "time", SimpleNamespace(monotonic=lambda: self.now, time=time.time, sleep=self.sleep))

    def sleep(self, seconds: float) -> None:
        self.now += seconds


YEAR = 365 * 86400.0


@pytest.mark.parametrize("ahead", [YEAR, 60.0, 1e12])
@pytest.mark.parametrize("written", [{}, {"renewed": 0.0}])
def test_a_remote_lease_ends_after_its_length_even_if_the_remote_clock_is_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, ahead: float, written: dict[str, float]
) -> None:
    caplog.set_level("INFO")
    clock, ledger, squares = Clock(monkeypatch), Store(tmp_path).ledger(SPEC), Squares()
    claim = foreign_claim(ledger, ["1", "2"], seconds=ahead, **written)
    os.utime(claim, (time.time() + YEAR, time.time() + YEAR))
    rows = ledger.fill(["1", "2", "3"], squares, chunk_size=3)
    assert squares.asked == ["3", "1", "2"]
    assert claims.LEASE_SECONDS <= clock.now < claims.LEASE_SECONDS + 2 * claims.POLL_SECONDS
    assert len(rows) == 3
    messages = [record.getMessage() for record in caplog.records]
    assert sum("waiting for 2 rows" in each for each in messages) == 2, "at once, and once more after half a minute"


def test_a_renewed_remote_lease_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, ledger, squares = Clock(monkeypatch), Store(tmp_path).ledger(SPEC), Squares()
    foreign_claim(ledger, ["1"], seconds=-YEAR, renewed=0.0)

    def passes(seconds: float) -> None:
        clock.now += seconds
        if clock.now < 300:
            foreign_claim(ledger, ["1"], seconds=-YEAR, renewed=clock.now)

    monkeypatch.setattr(claims.time, "sleep", passes)
    ledger.fill(["1"], squares, chunk_size=1)
    assert squares.asked == ["1"]
    assert clock.now + claims.POLL_SECONDS >= 300 + claims.LEASE_SECONDS


def test_a_remote_lease_that_was_not_renewed_is_over_at_the_first_look(tmp_path: Path) -> None:
    ledger, squares = Store(tmp_path).ledger(SPEC), Squares()
    claim = foreign_claim(ledger, ["1"], seconds=YEAR)
    os.utime(claim, (time.time() - 60, time.time() - 60))
    ledger.fill(["1", "2"], squares, chunk_size=2)
    assert squares.asked == ["1", "2"]


def test_a_process_that_lost_its_lease_keeps_the_rows_that_another_has_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledgers, "CHECK_SECONDS", -1.0)
    ledger = Store(tmp_path).ledger(SPEC)

    def slowly(ids: list[str], emit: Emit) -> None:
        emit({"id": "1", "value": 1})
        next((ledger.folder / "claims").glob("*.json")).unlink()  # as a process does that takes over an expired claim
        other = {"id": "2", "value": -4, "written": time.time() + YEAR}
        (ledger.folder / "rows-other.jsonl").write_text(json.dumps(other) + "\n")
        emit({"id": "2", "value": 4})
        emit({"id": "3", "value": 9})

    assert values(ledger.fill(["1", "2", "3"], slowly, chunk_size=3)) == {"1": 1, "2": -4, "3": 9}
    assert "another process has already written row '2'; its row counts" in caplog.text
    again = Store(tmp_path).ledger(SPEC)
    assert values(again.read()) == {"1": 1, "2": -4, "3": 9}
    assert again.num_duplicates == 0


@pytest.mark.parametrize(
    "content", ["", "{", "{}", "[]", "123", "null", '{"ids": ["1"]}', '{"ids": 1, "host": "h", "pid": 1, "started": 0, "expires": 9e9}', None]
)
def test_an_invalid_claim_is_ignored_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str | None) -> None:
    ledger, squares = Store(tmp_path).ledger(SPEC), Squares()
    path = ledger.folder / "claims" / "who.json"
    path.mkdir(parents=True) if content is None else path.parent.mkdir(parents=True)
    if content is not None:
        path.write_text(content)
    ledger.fill(["1"], squares, chunk_size=1)
    assert squares.asked == ["1"]
    assert f"{path} is not a valid claim" in caplog.text
    assert "remove it if no process is working here" in caplog.text


@pytest.mark.parametrize(
    "line", ["123", "{}", "null", "[]", '"id"', '{"id": 7, "written": 0}', '{"id": "1"}', '{"id": "1", "written": null}', "\x00\x01", ""]
)
def test_invalid_lines_cause_a_warning_and_their_rows_are_computed_again(tmp_path: Path, caplog: pytest.LogCaptureFixture, line: str) -> None:
    ledger, squares = Store(tmp_path).ledger(SPEC), Squares()
    ledger.fill(["1", "2"], squares, chunk_size=2)
    path = next(ledger.folder.glob("rows-*.jsonl"))
    _, second = path.read_text().splitlines()
    path.write_text(f"{line}\n{second}\n")
    assert values(Store(tmp_path).ledger(SPEC).fill(["1", "2"], squares, chunk_size=2)) == {"1": 1, "2": 4}
    assert squares.asked == ["1", "2", "1"]
    assert caplog.text.count(f"{path}: 1 lines are torn or not rows and are ignored") == 1


@pytest.mark.parametrize("content", ["", "{", "{}", "[]", "123", "null"])
def test_a_broken_description_is_written_again(tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str) -> None:
    ledger = Store(tmp_path).ledger(SPEC)
    ledger.fill(["1"], Squares(), chunk_size=1)
    path = ledger.folder / "spec.json"
    whole = path.read_bytes()
    path.write_text(content)
    Store(tmp_path).ledger(SPEC).fill(["2"], Squares(), chunk_size=1)
    assert path.read_bytes() == whole
    assert f"{path} " in caplog.text


def test_the_first_of_two_rows_in_a_file_counts_and_a_conflict_causes_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ledger = Store(tmp_path).ledger(SPEC)
    ledger.fill(["1", "2"], Squares(), chunk_size=2)
    path = next(ledger.folder.glob("rows-*.jsonl"))
    with path.open("a") as file:
        file.write('{"id": "1", "value": -1, "written": 0}\n')
    assert values(ledger.read()) == {"1": 1, "2": 4}
    assert "1 rows are stored twice with different results, such as '1'" in caplog.text
    caplog.clear()
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2] * 2))
    assert values(ledger.read()) == {"1": 1, "2": 4}
    assert ledger.num_duplicates == 2
    assert not caplog.text, "the same thing twice changes nothing"


def test_a_claim_is_gone_after_use_even_when_the_work_raises(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="boom"), Claims(tmp_path, "a").take(["1"]):
        raise RuntimeError("boom")
    assert not list(tmp_path.glob("*.json"))


def test_a_vanished_ledger_folder_fails_the_next_row(tmp_path: Path) -> None:
    ledger = Store(tmp_path).ledger(SPEC)

    def loses_it(ids: list[str], emit: Emit) -> None:
        emit({"id": "1", "value": 1})
        shutil.rmtree(tmp_path)
        emit({"id": "2", "value": 4})

    with pytest.raises(FileNotFoundError, match="rows-"):
        ledger.fill(["1", "2"], loses_it, chunk_size=2)


# --- keys ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [Path("x"), {1, 2}, object(), b"bytes", float("nan"), float("inf"), 1j])
def test_a_key_refuses_values_that_are_not_plain_json(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        key_of({"setting": [value]})


def test_a_key_does_not_depend_on_the_order_of_a_dict_but_on_every_value() -> None:
    first = {"a": 1, "b": {"c": [1, 2], "d": None}}
    assert key_of(first) == key_of({"b": {"d": None, "c": [1, 2]}, "a": 1})
    others = [
        {"a": 2, "b": first["b"]},
        {"a": 1.5, "b": first["b"]},
        {"a": "1", "b": first["b"]},
        {"a": 1, "b": {"c": [2, 1], "d": None}},
        {"a": 1, "b": {"c": [1, 2]}},
    ]
    assert len({key_of(each) for each in [first, *others]}) == 6
    assert len(key_of(first)) == 16


# --- artifacts -----------------------------------------------------------------------------------------------------------


def test_an_artifact_appears_complete_or_not_at_all(tmp_path: Path) -> None:
    store, seen = Store(tmp_path), []

    def build(folder: Path) -> None:
        seen.append((store.has_artifact(SPEC), store.artifact_path(SPEC).exists()))
        (folder / "weights").write_text("whole")

    path = store.artifact(SPEC, build)
    assert seen == [(False, False)]
    assert path == store.artifact_path(SPEC)
    assert store.has_artifact(SPEC)
    assert (path / "weights").read_text() == "whole"
    manifest = json.loads((path / "manifest.json").read_text())
    assert (manifest["stage"], manifest["key"], manifest["seed"]) == ("numbers", SPEC.key, 0)
    assert "torch" in manifest["libraries"]
    assert [each.name for each in path.parent.iterdir() if each.name != "claims"] == [SPEC.key], "nothing is left beside the artifact"
    store.artifact(SPEC, build)
    assert len(seen) == 1, "a finished artifact is not built again"


@pytest.mark.parametrize("content", [None, "", "{", "{}", "[]", "123", "null", '{"stage": "numbers", "key": "another"}'])
def test_a_folder_without_a_valid_manifest_is_refused_before_anything_is_built(tmp_path: Path, content: str | None) -> None:
    store, built = Store(tmp_path), []

    def build(folder: Path) -> None:
        built.append(folder)
        (folder / "weights").write_text("whole")

    path = store.artifact(SPEC, build)
    manifest = path / "manifest.json"
    manifest.unlink() if content is None else manifest.write_text(content)
    with pytest.raises(StoreError) as refused:
        store.artifact(SPEC, build)
    assert str(refused.value).startswith(f"{manifest} ")
    assert f"restore it, or remove the folder {path}, which is then computed again" in str(refused.value)
    assert len(built) == 1
    shutil.rmtree(path)
    store.artifact(SPEC, build)
    assert len(built) == 2


def test_a_failed_build_leaves_a_partial_folder_that_the_next_build_continues(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def fails(folder: Path) -> None:
        (folder / "step1").write_text("done")
        raise RuntimeError("no power")

    with pytest.raises(RuntimeError, match="no power"):
        store.artifact(SPEC, fails)
    assert not store.has_artifact(SPEC)
    assert not store.artifact_path(SPEC).exists()
    files: list[str] = []

    def goes_on(folder: Path) -> None:
        files.extend(each.name for each in folder.iterdir())
        (folder / "step2").write_text("done")

    path = store.artifact(SPEC, goes_on)
    assert sorted(files) == ["owner", "step1"]
    assert {each.name for each in path.iterdir()} == {"step1", "step2", "manifest.json"}


def remote_build(store: Store, content: str, *, finishes: bool) -> None:
    """Another host takes the artifact over whose builder has been suspended."""
    (claim,) = (store.root / "numbers" / "claims").glob("*.json")
    claim.unlink()
    partial = store.unfinished_path(SPEC)
    ownership.take(partial, "elsewhere")
    (partial / "weights").write_text(content)
    if finishes:
        write_json(partial / "manifest.json", {"stage": SPEC.stage, "key": SPEC.key})
        partial.rename(store.artifact_path(SPEC))


@pytest.mark.parametrize("finishes", [True, False])
@pytest.mark.parametrize("writes", [True, False])
def test_an_artifact_that_another_host_took_over_is_left_to_that_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, finishes: bool, writes: bool
) -> None:
    store, built = Store(tmp_path), []

    def build(folder: Path) -> None:
        built.append(len(built))
        if len(built) == 1:
            remote_build(store, "theirs", finishes=finishes)
            if writes:
                (folder / "notes").write_text("ours")
            return
        assert (folder / "weights").read_text() == "theirs", "goes on from what the other host left"

    path = store.artifact(SPEC, build)
    assert (path / "weights").read_text() == "theirs"
    assert len(built) == (1 if finishes else 2), "the other host has not finished and holds no claim any more"
    new_owner = "another process" if finishes else "elsewhere"
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith(f"numbers {SPEC.key} has been taken over by {new_owner}, because this process was suspended")
    assert (path / "owner").exists() == finishes, "the other host removes its own file"


def test_an_error_of_a_build_that_nobody_took_over_is_told(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def loses_its_folder(folder: Path) -> None:
        shutil.rmtree(folder)
        (folder / "weights").write_text("whole")

    with pytest.raises(FileNotFoundError):
        store.artifact(SPEC, loses_its_folder)


BUILD = """
import sys, time
from pathlib import Path
from cotexp.store import claims, specs, store
claims.POLL_SECONDS = float(sys.argv[2])
store.libraries = dict
def build(folder):
    print(spec.key)
    time.sleep(float(sys.argv[3]))
    (folder / "weights").write_text("whole")
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[4])):
    spec = specs.Spec("numbers", {"number": number})
    path = store.Store(Path(sys.argv[1])).artifact(spec, build)
    assert (path / "weights").read_text() == "whole"
"""


def test_two_processes_build_an_artifact_once(tmp_path: Path) -> None:
    first, second = run_together(BUILD, tmp_path, 0.05, 0.5, 1, count=2)
    assert len(first + second) == 1


def test_processes_that_build_the_same_artifacts_build_each_once(tmp_path: Path) -> None:
    outputs = run_together(BUILD, tmp_path, 0.0, 0.001, 100, count=3)
    built = Counter(name for each in outputs for name in each)
    assert len(built) == 100
    assert set(built.values()) == {1}


def test_a_signal_that_comes_with_the_claim_leaves_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that lives on, such as the kernel of a notebook, would wait for itself."""
    write = Claims._write

    def interrupted(self: Claims, path: Path, ids: list[str]) -> None:
        write(self, path, ids)
        raise Stopped(signal.SIGINT)

    monkeypatch.setattr(Claims, "_write", interrupted)
    with pytest.raises(Stopped), Claims(tmp_path, "first").take(["a", "b"]):
        pytest.fail("nothing is computed after the signal")
    monkeypatch.undo()
    with Claims(tmp_path, "second").take(["a", "b"], most=2) as taken:
        assert taken == ["a", "b"]
