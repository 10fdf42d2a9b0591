"""The status of a run: what its folder says of every ending, and whom a second process waits for."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cotexp import progress
from cotexp.jobs import status
from cotexp.jobs.status import Course, Status, read_status, recorded
from cotexp.settings.base import RunFailed, TrainingDiverged
from cotexp.signals import Stopped
from cotexp.store.processes import this_process
from cotexp.store.stored_files import Damaged


def test_a_run_is_running_with_its_stage_owner_and_words_until_it_is_finished(tmp_path: Path) -> None:
    assert read_status(tmp_path) is None
    with recorded(tmp_path, ["seed=1", "task=stories"]) as enter:
        enter("rounds")
        now = read_status(tmp_path)
        assert now is not None
        assert (now.state, now.stage, now.error, now.ended) == ("running", "rounds", None, None)
        assert (now.owner, now.overrides) == (this_process(), ["seed=1", "task=stories"])
    done = read_status(tmp_path)
    assert done is not None
    assert (done.state, done.stage, done.error) == ("finished", "rounds", None)
    assert done.started is not None
    assert done.ended is not None
    assert done.started <= done.ended


@pytest.mark.parametrize(
    ("error", "state", "text"),
    [
        (TrainingDiverged("the loss became nan"), "diverged", "the loss became nan"),
        (RunFailed("no credit is left"), "failed", "no credit is left"),
        (ZeroDivisionError(), "failed", "ZeroDivisionError"),
        (Stopped(signal.SIGTERM), "stopped", "stopped by SIGTERM"),
        (KeyboardInterrupt(), "stopped", "KeyboardInterrupt"),
    ],
)
def test_every_ending_is_told_apart(error: BaseException, state: str, text: str, tmp_path: Path) -> None:
    with pytest.raises(type(error)):
        ends_with(error, tmp_path)
    ended = read_status(tmp_path)
    assert ended is not None
    assert (ended.state, ended.error, ended.stage) == (state, text, "training")


def ends_with(error: BaseException, folder: Path) -> None:
    with recorded(folder, []) as enter:
        enter("training")
        raise error


RUNS = """
import sys, time
from pathlib import Path
from cotexp import progress
from cotexp.jobs import status
progress.WATCH_SECONDS = 0
with status.recorded(Path(sys.argv[1]), []) as enter:
    enter("rounds")
    with progress.bar("round 1", 40) as advance:
        for _ in range(12):
            advance()
        print("at work", flush=True)
        time.sleep(600)
"""


def test_a_run_whose_process_is_gone_was_killed_and_a_second_one_says_for_whom_it_waits(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    process = subprocess.Popen([sys.executable, "-c", RUNS, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "at work\n"
    try:
        alive = read_status(tmp_path)
        with caplog.at_level(logging.INFO, logger="cotexp"):
            say = status.waiting(tmp_path)
            (tmp_path / "status.json").rename(tmp_path / "kept.json")
            say()
            say()
            (tmp_path / "kept.json").rename(tmp_path / "status.json")
            say()
            say()
    finally:
        process.kill()
        process.communicate()
    gone = read_status(tmp_path)
    assert alive is not None
    assert gone is not None
    assert (alive.state, gone.state) == ("running", "killed")
    assert (gone.stage, gone.done, gone.total) == ("rounds", 12, 40)
    early, line = caplog.messages
    assert early == f"waiting for another process that works on this run: {tmp_path}", "it has not begun yet"
    assert line.startswith(f"waiting for process {process.pid} on {gone.owner['host']}, which has worked on this run since ")
    assert line.endswith(f"(now at rounds, 12 of 40): {tmp_path}")


def test_of_another_host_nothing_can_be_told_and_a_run_from_before_there_were_states_is_finished(tmp_path: Path) -> None:
    running = {"state": "running", "owner": {"host": "elsewhere", "pid": 1, "started": 0.0}, "unknown": 1}
    (tmp_path / "status.json").write_text(json.dumps(running))
    found = read_status(tmp_path)
    assert found is not None
    assert found.state == "running"
    (tmp_path / "status.json").unlink()
    (tmp_path / "stages.json").write_text("{}")
    old = read_status(tmp_path)
    assert old is not None
    assert old.state == "finished"


def test_a_watcher_hears_of_progress_only_while_it_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "WATCH_SECONDS", -1.0)
    heard: list[tuple[str, int, int | None]] = []
    with progress.bar("texts", 3) as advance:
        advance()
        with progress.watched(lambda reached: heard.append(reached[:3])):
            advance()
        advance()
    assert heard == [("texts", 2, 3)]


def test_the_time_left_of_a_run_is_what_stages_took_before_and_what_is_measured_now() -> None:
    course = {"stages": ["rounds", "training", "grading"], "expected": {"rounds": 60.0, "grading": 7.0}}
    rounds = Status(state="running", stage="rounds", entered=100.0, **course)  # type: ignore[arg-type]
    assert rounds.place == "1 of 3"
    assert rounds.seconds_left(110.0) is None, "nothing says how long training takes"
    course["expected"]["training"] = 30.0  # type: ignore[index]
    assert rounds.seconds_left(110.0) == 50.0 + 30.0 + 7.0
    assert rounds.seconds_left(300.0) == 30.0 + 7.0, "a stage that takes longer than before may end at any time"
    rounds.done, rounds.total, rounds.rate, rounds.seen = 20, 100, 0.5, 110.0
    assert rounds.seconds_left(112.0) == 158.0 + 30.0 + 7.0, "this round alone takes longer than all did"
    training = Status(state="running", stage="training", entered=100.0, done=10, total=20, rate=2.0, seen=104.0, **course)  # type: ignore[arg-type]
    assert training.seconds_left(105.0) == 4.0 + 7.0, "steps are counted from the first to the last"
    assert Status(state="running", stage="elsewhere", entered=1.0, **course).seconds_left(2.0) is None  # type: ignore[arg-type]


def test_a_run_notes_seconds_and_computed_rows_of_its_stages(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    course = Course(["rounds", "training"], {"training": 5.0})
    with caplog.at_level(logging.INFO, logger="cotexp"), recorded(tmp_path, [], course) as enter:
        enter("rounds")
        for number in (1, 2):
            with progress.bar(f"round {number}", 3) as advance:
                for _ in range(3):
                    advance()
        enter("training")
        during = read_status(tmp_path)
    ended = read_status(tmp_path)
    assert during is not None
    assert ended is not None
    assert (during.place, during.expected) == ("2 of 2", {"training": 5.0})
    assert {stage: each["rows"] for stage, each in ended.timed.items()} == {"rounds": 6, "training": 0}
    assert caplog.messages[0].startswith("stage 1 of 2, round 1: 3 computed in ")
    for broken in ({"timed": {"rounds": {"seconds": 1}}}, {"expected": []}, {"stages": [1]}, {"rate": "fast"}):
        (tmp_path / "status.json").write_text(json.dumps({"state": "finished", **broken}))
        with pytest.raises(Damaged):
            read_status(tmp_path)
