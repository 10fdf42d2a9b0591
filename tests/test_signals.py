"""Signals to real processes: the first ends a process in order or at a safe point, the second at once."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cotexp import signals

PROGRAM = """
import select, signal, sys, time
from cotexp import signals

def steps(count):
    for number in range(count):
        print("step", number, flush=True)
        time.sleep(0.01)

def held():
    # until all signals were sent
    print("held", flush=True)
    was_noted = False
    while not select.select([sys.stdin], [], [], 0.01)[0]:
        if signals.noted() and not was_noted:
            was_noted = True
            print("noted", flush=True)

with signals.handled():
    try:
        {body}
        print("whole", flush=True)
    finally:
        print("tidied", flush=True)
"""


def ended(body: str, *sent: signal.Signals, together: bool = False, before: str = "", program: str = PROGRAM) -> tuple[int, list[str], str]:
    """(status, lines printed, errors) of a process that gets the signals `sent` once it has printed a line.

    The second signal is sent after the first was noted in `held()` and SAME_REQUEST_SECONDS have passed, or `together` with it.
    """
    code = before + program.format(body=body.replace("\n", "\n        "))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", code], **pipes)  # type: ignore[call-overload]
    lines = [process.stdout.readline().strip()]
    if together:
        process.send_signal(signal.SIGSTOP)
    for number, each in enumerate(sent):
        if number and not together:
            lines.append(process.stdout.readline().strip())
            assert lines[-1] == "noted"
            time.sleep(2 * signals.SAME_REQUEST_SECONDS)
        process.send_signal(each)
    if together:
        process.send_signal(signal.SIGCONT)
    output, errors = process.communicate()
    return process.returncode, [*lines, *output.splitlines()], errors


@pytest.mark.parametrize("number", signals.SIGNALS)
def test_the_first_signal_ends_a_process_in_order_with_its_status(number: signal.Signals) -> None:
    status, lines, errors = ended("steps(1200)", number)
    assert status == 128 + number
    assert lines[-1] == "tidied"
    assert "whole" not in lines
    assert errors == ""


def test_a_signal_is_held_back_until_the_next_safe_point() -> None:
    body = "with signals.at_safe_points('the end of this'):\n    held()\n    steps(10)\nprint('beyond', flush=True)"
    status, lines, errors = ended(body, signal.SIGTERM)
    assert (status, [each for each in lines if each != "noted"]) == (143, ["held", *(f"step {number}" for number in range(10)), "tidied"])
    assert errors == "cotexp: SIGTERM received: ends at the end of this; a second signal ends it at once\n"


def test_work_at_safe_points_can_ask_for_a_noted_signal() -> None:
    body = "with signals.at_safe_points():\n    while not signals.noted():\n        steps(1)\n    print('saved', flush=True)\n    signals.check()"
    status, lines, _ = ended(body, signal.SIGUSR1)
    assert status == 128 + signal.SIGUSR1
    assert lines[-2:] == ["saved", "tidied"]


def test_a_second_signal_ends_a_process_at_once() -> None:
    status, lines, errors = ended("with signals.at_safe_points('the very end'):\n    held()", signal.SIGINT, signal.SIGINT)
    assert (status, lines) == (130, ["held", "noted"])
    assert errors.endswith("cotexp: ended at once by a second signal (SIGINT); everything stored is kept\n")


def test_two_signals_at_the_same_time_are_one_request() -> None:
    _, lines, _ = ended("with signals.at_safe_points():\n    held()\n    steps(20)", signal.SIGTERM, signal.SIGINT, together=True)
    assert lines[-1] == "tidied"


def test_an_error_in_a_block_is_not_replaced_by_a_signal() -> None:
    body = "with signals.at_safe_points():\n    held()\n    raise RuntimeError('no space')"
    status, _, errors = ended(body, signal.SIGTERM)
    assert status == 1
    assert errors.splitlines()[-1] == "RuntimeError: no space"


def test_cleanup_is_not_interrupted_by_the_signal_that_caused_it() -> None:
    body = (
        "try:\n    steps(1200)\nfinally:\n    with signals.at_safe_points():\n        print('writing', flush=True)\n    print('written', flush=True)"
    )
    _, lines, _ = ended(body, signal.SIGTERM)
    assert lines[-3:] == ["writing", "written", "tidied"]


def test_a_signal_that_was_ignored_stays_ignored() -> None:
    status, lines, _ = ended("held()\nsteps(10)", signal.SIGINT, before="import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n")
    assert (status, lines[-2:]) == (0, ["whole", "tidied"])


SUBMITIT = """
import os, signal, sys
class Handler:
    def checkpoint_and_try_requeue(self, number, frame=None):
        print("requeued", signal.Signals(number).name, flush=True)
        sys.exit(-1)
    def bypass(self, number, frame=None):
        print("bypassed", flush=True)
Handler.checkpoint_and_try_requeue.__module__ = Handler.bypass.__module__ = "submitit.core.job_environment"
handler = Handler()
signal.signal(signal.SIGUSR2, handler.checkpoint_and_try_requeue)
signal.signal(signal.SIGTERM, handler.bypass)
"""
SAVED = "with signals.at_safe_points('the end'):\n    held()\n    print('saved', flush=True)\n    signals.check()"


def in_slurm(folder: Path, state: str) -> str:
    """Program text that makes a job of Slurm of the process, whose queue says `state`; fails if it is empty."""
    squeue = folder / "squeue"
    squeue.write_text(f"#!/bin/sh\n[ -n '{state}' ] && echo {state}\n")
    squeue.chmod(0o755)
    return f"{SUBMITIT}\nos.environ['SUBMITIT_EXECUTOR'] = 'slurm'\nos.environ['PATH'] = {str(folder)!r} + ':' + os.environ['PATH']\n"


@pytest.mark.parametrize(("number", "state"), [(signal.SIGTERM, "SIGNALING"), (signal.SIGUSR1, "RUNNING"), (signal.SIGUSR2, "RUNNING")])
def test_a_job_whose_node_slurm_takes_away_saves_and_closes_everything_and_queues_again(number: signal.Signals, state: str, tmp_path: Path) -> None:
    status, lines, errors = ended(SAVED, number, before=in_slurm(tmp_path, state))
    assert status == 255
    assert lines[-3:] == ["saved", "tidied", f"requeued {number.name}"]
    assert errors == f"cotexp: {number.name} received: ends at the end\n"


@pytest.mark.parametrize("state", ["COMPLETING", "CANCELLED", "PENDING", ""])
def test_a_job_that_slurm_ends_or_has_queued_again_itself_ends_in_order(state: str, tmp_path: Path) -> None:
    status, lines, errors = ended(SAVED, signal.SIGTERM, before=in_slurm(tmp_path, state))
    assert (status, lines[-2:]) == (143, ["saved", "tidied"])
    assert ("Slurm does not say whether this job goes on" in errors) == (state == "")


def test_an_interrupt_ends_a_job_of_slurm(tmp_path: Path) -> None:
    status, lines, _ = ended(SAVED, signal.SIGINT, before=in_slurm(tmp_path, "RUNNING"))
    assert (status, lines[-2:]) == (130, ["saved", "tidied"])


def test_signals_that_slurm_repeats_do_not_end_a_job_before_it_has_saved(tmp_path: Path) -> None:
    status, lines, errors = ended(SAVED, signal.SIGTERM, signal.SIGTERM, before=in_slurm(tmp_path, "RUNNING"))
    assert (status, lines[-3:]) == (255, ["saved", "tidied", "requeued SIGTERM"])
    assert errors == "cotexp: SIGTERM received: ends at the end\n"


def test_another_task_of_a_job_ends_without_a_failure_while_the_first_one_requeues(tmp_path: Path) -> None:
    helper = in_slurm(tmp_path, "RUNNING").replace("sys.exit(-1)", "pass")
    status, lines, _ = ended(SAVED, signal.SIGTERM, before=helper)
    assert (status, lines[-2:]) == (0, ["tidied", "requeued SIGTERM"])


def test_a_job_that_cannot_be_put_back_says_so(tmp_path: Path) -> None:
    refused = in_slurm(tmp_path, "RUNNING").replace("sys.exit(-1)", "raise OSError('no scontrol')")
    status, lines, errors = ended(SAVED, signal.SIGTERM, before=refused)
    assert (status, lines[-2:]) == (143, ["tidied", "requeued SIGTERM"])
    assert errors.endswith("cotexp: this job could not be put back into its queue (no scontrol); the same command again continues it\n")


def test_a_local_job_of_submitit_continues_at_submitits_signal_and_ends_at_another() -> None:
    status, lines, _ = ended(SAVED, signal.SIGUSR2, before=SUBMITIT)
    assert (status, lines[-2:]) == (255, ["tidied", "requeued SIGUSR2"])
    status, lines, _ = ended(SAVED, signal.SIGTERM, before=SUBMITIT)
    assert (status, lines[-2:]) == (143, ["saved", "tidied"])


def test_a_worker_is_not_ended_by_a_signal_that_comes_twice() -> None:
    worker = PROGRAM.replace("signals.handled()", "signals.handled(are_repeated=True)")
    status, lines, _ = ended(SAVED, signal.SIGTERM, signal.SIGUSR1, program=worker)
    assert (status, lines[-2:]) == (143, ["saved", "tidied"])


def test_a_stop_can_be_pickled() -> None:
    stop = pickle.loads(pickle.dumps(signals.Stopped(signal.SIGTERM)))
    assert (stop.number, stop.code, str(stop)) == (15, 143, "stopped by SIGTERM")


@pytest.mark.parametrize(("num_killed", "state"), [(0, "RUNNING"), (2, "RUNNING"), (9, "")])
def test_a_signal_that_kills_the_question_for_a_jobs_state_does_not_answer_it(
    num_killed: int, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Slurm sends every signal to all processes of a job."""
    squeue = tmp_path / "squeue"
    squeue.write_text(f"#!/bin/sh\necho x >>{tmp_path}/asked\n[ $(wc -l <{tmp_path}/asked) -gt {num_killed} ] || kill -TERM $$\necho RUNNING\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert signals._slurm_state() == state
    assert ("Slurm does not say" in capfd.readouterr().err) == (not state)
