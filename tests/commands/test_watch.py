"""`cotexp watch`: every point of a sweep, what is measured of it, and what is not known."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from run_folders import MORSD, RANDOM, write_run

from cotexp.commands.cli import main
from cotexp.commands.watch import clock
from cotexp.jobs.sweeps import read
from cotexp.report.watched import Runs, watch
from cotexp.store.processes import this_process

ROOT = Path(__file__).resolve().parents[2]
KEY = "0123456789ab"


def manifest(outputs: Path, points: list[dict[str, Any]], settings: dict[str, Any]) -> Path:
    """The manifest of a sweep over these differing settings."""
    path = outputs / "sweeps" / f"{KEY}.json"
    path.parent.mkdir(parents=True)
    listed = [
        {"point": f"p{number}", "overrides": [f"selection={each['selection']['name']}", f"seed={each['seed']}"], "settings": each}
        for number, each in enumerate(points)
    ]
    path.write_text(
        json.dumps({"name": "", "command": ["-m", "selection=random,morsd", "seed=0,1"], "began": 1.0, "settings": settings, "points": listed})
    )
    os.utime(path, (1.0, 1.0))
    return path


def later_sweep(outputs: Path) -> None:
    """The manifest of a sweep of one other point, written after that of `manifest`."""
    content = json.loads((outputs / "sweeps" / f"{KEY}.json").read_text())
    [first, *_] = content["points"]
    content["points"] = [{**first, "point": "later", "settings": {**first["settings"], "name": "later"}}]
    del content["settings"]["name"]
    (outputs / "sweeps" / f"{KEY[::-1]}.json").write_text(json.dumps({**content, "began": 2.0}))


def status(folder: Path, **own: Any) -> None:
    (folder / "status.json").write_text(json.dumps({"owner": this_process(), "overrides": [], **own}))


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """Four points: one finished in 40 s, one at work, one killed, one not begun; and a run of no sweep."""
    finished = write_run(tmp_path, "aaaa00000000", "1100")
    status(finished, state="finished", started=100.0, ended=140.0, stage="grading", timed={"training": {"seconds": 30.0, "rows": 9}})
    running = write_run(tmp_path, "bbbb00000000", "10", seed=1)
    killed = write_run(tmp_path, "cccc00000000", "10", selection=MORSD)
    for folder in (running, killed):
        for name in ("metrics.json", "stages.json"):
            (folder / name).unlink()
    now = time.time()
    course = {"stages": ["rounds", "training", "evaluation"], "expected": {"rounds": 0.0, "evaluation": 5.0}}
    status(
        running, state="running", stage="training", started=now - 9, entered=now - 9, seen=now, done=20, total=40, rate=0.5, what="training", **course
    )
    status(killed, state="running", stage="training", started=now - 60, owner={**this_process(), "pid": 2**22 + 1}, **course)
    (killed / "log.txt").write_text("INFO round 1\nINFO [bold]training[/bold]: 3 of 9 \x1b[31m\n\n")
    write_run(tmp_path, "dddd00000000", "11", selection={**MORSD, "k": 5})
    base = json.loads((finished / "settings.json").read_text())
    shared = {key: value for key, value in base.items() if key not in ("selection", "seed")}
    points = [{"selection": {**selection, "equal_questions": False}, "seed": seed} for selection in (RANDOM, MORSD) for seed in (0, 1)]
    manifest(tmp_path, points, shared)
    return tmp_path


def rows(text: str) -> list[dict[str, str]]:
    lines = [line for line in text.splitlines() if line[:1] in "┃│"]
    cells = [[each.strip() for each in line.replace("┃", "│").split("│")[1:-1]] for line in lines]
    return [dict(zip(cells[0], each, strict=True)) for each in cells[1:]]


def test_every_point_is_shown_with_its_state_and_what_is_measured(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["watch", "--once", "--outputs", str(outputs)])
    text = capsys.readouterr().out
    assert text.startswith("exp: 4 points: 1 finished, 1 running, 1 killed, 1 not begun; 0:01:")
    found = rows(text)
    assert [(each["point"], each["seed"], each["state"]) for each in found] == [
        ("selection=random", "0", "finished"),
        ("selection=random", "1", "running"),
        ("selection=morsd", "0", "killed"),
        ("selection=morsd", "1", "not begun"),
    ]
    assert {name: found[0][name] for name in ("run", "stage", "rate", "left", "took")} == {
        "run": "aaaa00",
        "stage": "",
        "rate": "",
        "left": "",
        "took": "0:00:40",
    }
    assert {name: found[1][name] for name in ("stage", "done", "rate")} == {"stage": "2/3 training", "done": "20 of 40", "rate": "2.0 s each"}
    assert "0:00:40" <= found[1]["left"] <= "0:00:45", "40 s of this stage and 5 of the next one, less the seconds of this test"
    assert "selection=morsd, seed 0, killed in training: INFO [bold]training[/bold]: 3 of 9 \\x1b[31m" in text, "model text is data"
    assert "    cotexp run selection=morsd seed=0" in text


def test_the_time_of_a_sweep_follows_from_its_finished_points_and_is_unknown_without_one(outputs: Path) -> None:
    path = outputs / "sweeps" / f"{KEY}.json"
    left = watch(read(path), Runs(outputs)).seconds_left
    assert left is not None
    assert 80 < left <= 93, "45 s of the running point, and for the one not begun the mean of 40 s and of the 54 s that the running one takes"
    (outputs / "runs/exp/aaaa00000000/status.json").unlink()
    status(outputs / "runs/exp/bbbb00000000", state="running", stage="training", started=time.time())
    assert watch(read(path), Runs(outputs)).seconds_left is None


def test_a_running_point_is_read_again_and_an_ended_one_only_if_its_files_change(outputs: Path) -> None:
    runs, sweep = Runs(outputs), read(outputs / "sweeps" / f"{KEY}.json")
    first = watch(sweep, runs)
    folder = outputs / "runs/exp/bbbb00000000"
    status(folder, state="failed", error="first\nout of memory")
    second = watch(sweep, runs)
    assert [each.state for each in first.points][1:3] == ["running", "killed"]
    assert [(each.state, each.why) for each in second.points][1] == ("failed", "out of memory")
    assert first.points[0].run is second.points[0].run


def test_a_point_that_was_refused_before_it_had_a_run_has_failed(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (outputs / "sweeps/failed").mkdir()
    (outputs / "sweeps/failed/p3.json").write_text(json.dumps({"error": "model.path: no model", "ended": time.time()}))
    main(["watch", "exp", "--once", "--outputs", str(outputs)])
    assert "selection=morsd, seed 1, failed: model.path: no model" in capsys.readouterr().out
    main(["runs", "exp", "--outputs", str(outputs)])
    assert "seed 1 failed before it had a folder: model.path: no model\n    cotexp run selection=morsd seed=1" in capsys.readouterr().out


def test_runs_without_a_manifest_are_shown_without_a_word_about_those_to_come(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (outputs / "sweeps" / f"{KEY}.json").unlink()
    main(["watch", "exp", "--once", "--outputs", str(outputs)])
    text = capsys.readouterr().out
    assert text.startswith("exp: 4 runs: ")
    assert "agents and searches have no fixed grid" in text
    with pytest.raises(SystemExit, match=r"watch: no sweep was started with -m under .*; name an experiment with runs \(exp\)"):
        main(["watch", "--once", "--outputs", str(outputs)])


def test_an_unknown_name_is_refused_in_one_line(outputs: Path) -> None:
    with pytest.raises(
        SystemExit, match=r"^cotexp: watch: no sweep and no experiment under \S+ is named 'exq' \(did you mean 'exp'\?\); there are exp$"
    ):
        main(["watch", "exq", "--outputs", str(outputs)])


def test_runs_and_a_report_name_the_points_that_are_missing(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["runs", "exp", "--outputs", str(outputs)])
    text = capsys.readouterr().out
    assert "exp: 2 finished, 1 running, 1 killed, 1 not begun" in text
    assert "1 of 4 points of a sweep are missing; `cotexp watch 0123456789ab` shows it" in text
    assert "    cotexp run -m selection=random,morsd seed=0,1" in text
    main(["runs", "--failed", "--outputs", str(outputs)])
    assert "not begun" not in capsys.readouterr().out
    main(["report", "exp", "--outputs", str(outputs)])
    text = " ".join(capsys.readouterr().out.split())
    assert "Missing: selection=random, seed 1: running: in training" in text
    assert "seed 1: missing cotexp run selection=morsd seed=1" in text
    assert "seed 0: killed: in training" in text


def test_between_two_points_a_sweep_whose_command_lives_has_time_left(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status(outputs / "runs/exp/bbbb00000000", state="stopped", error="stopped by SIGINT", stage="training", started=1.0, ended=2.0)
    owners = outputs / "sweeps/owners"
    owners.mkdir()
    (owners / f"{KEY}.json").write_text(json.dumps(this_process()))
    main(["watch", "--once", "--outputs", str(outputs)])
    text = capsys.readouterr().out
    assert text.startswith("exp: 4 points: 1 finished, 1 killed, 1 stopped, 1 not begun; 0:00:40 left"), "the others ended after its start"
    os.utime(outputs / "sweeps" / f"{KEY}.json")
    main(["watch", "--once", "--outputs", str(outputs)])
    assert "; 0:02:00 left" in capsys.readouterr().out, "started again, it comes to them as well"
    assert "No point is at work" not in text
    (owners / f"{KEY}.json").write_text(json.dumps({**this_process(), "pid": 2**22 + 1}))
    main(["watch", "--once", "--outputs", str(outputs)])
    text = capsys.readouterr().out
    assert " left" not in text.splitlines()[0]
    assert "No point is at work. What is missing is computed by\n    cotexp run -m selection=random,morsd seed=0,1" in text


def test_without_a_name_the_newest_sweep_is_shown_and_others_only_while_they_are_at_work(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    later_sweep(outputs)
    main(["watch", "--once", "--outputs", str(outputs)])
    text = capsys.readouterr().out
    assert text.startswith("later: 1 point: 1 not begun")
    assert "exp: 4 points" not in text, "no command of it lives"
    owners = outputs / "sweeps/owners"
    owners.mkdir()
    (owners / f"{KEY}.json").write_text(json.dumps(this_process()))
    main(["watch", "--once", "--outputs", str(outputs)])
    text = capsys.readouterr().out
    assert text.index("later: 1 point") < text.index("exp: 4 points: 1 finished, 1 running")
    main(["watch", "exp", "--once", "--outputs", str(outputs)])
    assert "later" not in capsys.readouterr().out


@pytest.mark.parametrize(("seconds", "shown"), [(None, "?"), (0.4, "0:00:00"), (59.6, "0:01:00"), (90_061, "25:01:01")])
def test_a_time_is_a_clock_or_a_question_mark(seconds: float | None, shown: str) -> None:
    assert clock(seconds) == shown


@pytest.mark.slow
def test_on_a_terminal_the_table_follows_the_files_and_ctrl_c_ends_the_watch_alone(outputs: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execve(
            sys.executable, [sys.executable, "-m", "cotexp", "watch", "--outputs", str(outputs)], {**os.environ, "COLUMNS": "120", "LINES": "30"}
        )

    def shown_until(words: str) -> str:
        seen, end = "", time.monotonic() + 600
        while words not in seen and time.monotonic() < end:
            if select.select([terminal], [], [], 1.0)[0]:
                seen += os.read(terminal, 65536).decode(errors="replace")
        assert words in seen, seen
        return seen

    try:
        shown_until("20 of 40")
        folder = outputs / "runs/exp/bbbb00000000"
        changed = json.loads((folder / "status.json").read_text())
        (folder / "status.json").write_text(json.dumps({**changed, "done": 33}))
        assert "not begun" in shown_until("33 of 40")
        later_sweep(outputs)
        assert "1 not begun" in shown_until("later: 1 point")
        os.write(terminal, b"\x03")
        _, ended = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(ended) == 0
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        raise
    finally:
        os.close(terminal)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_a_sweep_writes_its_manifest_before_its_first_point_and_refused_points_say_why(launcher: str, tmp_path: Path) -> None:
    """Every point is refused for its model's folder, after the checks of settings and before it has a folder of its own."""
    words = ["model=hf", f"model.path={tmp_path}/none", "compressor=self", "seed=0,1", "tracking=none", "name=refused"]
    own = [f"hydra/launcher={launcher}"] if launcher != "basic" else []
    done = subprocess.run([sys.executable, str(ROOT / "run.py"), "-m", *own, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    watched = subprocess.run(
        [sys.executable, "-m", "cotexp", "watch", "--once"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert watched.startswith("refused: 2 points: 2 failed")
    assert watched.count("failed: model.path") == 2
