"""`cotexp runs`: what a list, a run, two runs show, and which runs are started again."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from run_folders import MORSD, write_run

from cotexp.commands.cli import main
from cotexp.commands.runs import duration, show_runs
from cotexp.config import search_path
from cotexp.jobs.status import recorded
from cotexp.settings.base import RunFailed
from cotexp.settings.root import CONFIG_DIR
from cotexp.store.processes import this_process

ROOT = Path(__file__).resolve().parents[2]


def began(outputs: Path, key: str, state: str, *, stage: str = "training", **own: Any) -> Path:
    """A run that did not finish: its folder without metrics, with a status."""
    folder = write_run(outputs, key, "10")
    for name in ("metrics.json", "stages.json"):
        (folder / name).rename(folder / {"stages.json": "planned.json"}.get(name, "gone"))
    status = {"state": state, "stage": stage, "started": time.time() - 60, "ended": time.time() - 30, "owner": this_process(), "overrides": []}
    (folder / "status.json").write_text(json.dumps({**status, **own}))
    return folder


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """Two finished runs that differ in their selection; a failed one, one that trains, one whose process is gone."""
    first = write_run(tmp_path, "aaaa00000000", "1100")
    write_run(tmp_path, "bbbb00000000", "1111", selection=MORSD)
    metrics = {"eval/full/accuracy": 0.5, "eval/full/num_tokens": 20.0, "seconds/training": 180.0}
    metrics |= {"teacher/dollars": 1.5, "teacher/cost_dollars": 50.0}  # of what this run reads, and of all texts in its ledger
    (first / "metrics.json").write_text(json.dumps(metrics))
    words = ["selection=random", "compression.instruction=Be [brief]."]
    began(tmp_path, "cccc00000000", "failed", error="training diverged\nat [step] 3", overrides=words)
    running = began(tmp_path, "dddd00000000", "running", ended=None)
    planned = json.loads((running / "planned.json").read_text())
    (running / "planned.json").write_text(json.dumps({**planned, "checkpoint": {"key": "k", "path": "store/checkpoint/k"}}))
    (tmp_path / "store" / "checkpoint" / "k.partial").mkdir(parents=True)
    (tmp_path / "store" / "checkpoint" / "k.partial" / "curve.jsonl").write_text('{"step": 40, "num_steps": 113}\n')
    gone = {**this_process(), "pid": 2**22 + 1}
    began(tmp_path, "eeee00000000", "running", stage="evaluation", owner=gone, ended=None)
    return tmp_path


def cells(line: str) -> list[str]:
    return [each.strip() for each in line.split("│")[1:-1]]


def table(text: str) -> dict[str, dict[str, str]]:
    """Run -> column -> cell."""
    lines = text.splitlines()
    head = [each.strip() for each in next(line for line in lines if "┃ run" in line).split("┃")[1:-1]]
    rows = [cells(line) for line in lines if line.startswith("│") and cells(line)[0]]
    return {row[0]: dict(zip(head, row, strict=True)) for row in rows}


def test_a_list_shows_state_progress_metrics_cost_and_what_sets_runs_apart(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["runs", "--outputs", str(outputs)])
    text = capsys.readouterr().out
    assert "exp: 2 finished, 1 running, 1 failed, 1 killed" in text
    rows = table(text)
    assert {name: row["state"] for name, row in rows.items()} == {
        "aaaa00000000": "finished",
        "bbbb00000000": "finished",
        "cccc00000000": "failed (training)",
        "dddd00000000": "running (training 40 of 113)",
        "eeee00000000": "killed (evaluation 2 of 2)",
    }
    assert {name: rows["aaaa00000000"][name] for name in ("settings", "seed", "accuracy", "tokens", "time", "cost")} == {
        "settings": "selection=random",
        "seed": "0",
        "accuracy": "50.0%",
        "tokens": "20.0",
        "time": "3m",
        "cost": "$1.50",
    }
    assert rows["bbbb00000000"]["settings"] == "selection=morsd"
    assert rows["eeee00000000"]["time"] == "", "when a killed run ended is not known"


def test_failed_ones_come_with_their_last_error_and_the_command_that_goes_on(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["runs", "--failed", "--outputs", str(outputs)])
    text = capsys.readouterr().out
    assert set(table(text)) == {"cccc00000000", "eeee00000000"}
    assert "cccc00000000 failed in training: training diverged at [step] 3" in text
    assert f"cotexp run selection=random 'compression.instruction=Be [brief].' paths.outputs={outputs}" in text


def test_one_run_is_named_by_its_first_digits_and_shown_whole(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["runs", "cccc", "--outputs", str(outputs)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "exp/cccc00000000: failed, training"
    assert "  error    training diverged at [step] 3" in lines
    assert "  took     30s" in lines
    assert f"  command  cotexp run selection=random 'compression.instruction=Be [brief].' paths.outputs={outputs}" in lines
    assert f"  folder   {outputs}/runs/exp/cccc00000000" in lines


def test_two_runs_stand_side_by_side_with_the_paired_test(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["runs", "bbbb", "aaaa", "--outputs", str(outputs)])
    text = capsys.readouterr().out
    assert "First:  exp/bbbb00000000, finished" in text, "in the order that they were named in"
    settings = {cells(line)[0]: cells(line)[1:] for line in text.splitlines() if line.startswith("│ selection")}
    assert settings["selection.order"] == ["lowest_rd", "random"]
    assert "eval/full/accuracy" in text
    assert "Within noise: 4 questions cannot distinguish the two" in text


def test_what_fits_no_run_is_refused(outputs: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"no run fits 'ffff'; name an experiment \(exp\)"):
        main(["runs", "ffff", "--outputs", str(outputs)])
    with pytest.raises(SystemExit, match="there are no runs under"):
        main(["runs", "--outputs", str(tmp_path / "nowhere")])


@pytest.mark.slow
def test_only_failed_runs_are_started_again_one_after_another_and_what_fails_again_is_named(outputs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A setting that does not exist, and another one that prints the help: the run's own program answers both."""
    for key, words in (("cccc00000000", ["selection.kk=1"]), ("eeee00000000", ["--help"])):
        path = outputs / "runs" / "exp" / key / "status.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "overrides": words}))
    with pytest.raises(SystemExit, match=r"runs: 1 of 2 did not finish: cccc00000000; `cotexp runs --failed` shows"):
        main(["runs", "--failed", "--relaunch", "--outputs", str(outputs)])
    out, err = capfd.readouterr()
    assert f" of 2: cotexp run selection.kk=1 paths.outputs={outputs}" in out
    assert "selection.kk is not a setting" in err
    assert "trainer.batch_size = 32" in out


def test_a_run_with_settings_files_of_the_user_is_started_again_with_them(
    outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "my files"
    (mine / "experiment").mkdir(parents=True)
    (mine / "experiment" / "own.yaml").write_text("# @package _global_\nname: mine\n")
    folder = outputs / "runs" / "exp" / "cccc00000000"
    with monkeypatch.context() as patch:
        patch.setenv(CONFIG_DIR, "elsewhere")
        search_path.use(mine)
        with pytest.raises(RunFailed), recorded(folder, ["experiment=own", "plan=true"]):
            raise RunFailed("the disk is full")
    main(["runs", "cccc", "--failed", "--relaunch", "--outputs", str(outputs)])
    out, _ = capfd.readouterr()
    assert f"1 of 1: cotexp run '--config-dir={mine}' experiment=own plan=true paths.outputs={outputs}" in out
    assert "mine, run " in out


@pytest.mark.parametrize(("seconds", "shown"), [(48, "48s"), (119, "119s"), (750, "12m"), (7200, "2h"), (3 * 86400, "3d")])
def test_durations_are_short(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


@pytest.mark.slow
def test_a_thousand_runs_are_listed_without_heavy_imports(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "000000000000", "1")
    files = {name: (folder / name).read_text() for name in ("settings.json", "stages.json", "metrics.json", "questions.json")}
    for number in range(1, 1000):
        other = folder.with_name(f"{number:012x}")
        other.mkdir()
        for name, text in files.items():
            (other / name).write_text(text.replace('"learning_rate": 0.0001', f'"learning_rate": 0.{number:04}'))
    script = "import sys; from cotexp.commands.cli import main; main(sys.argv[1:]); print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script, "runs", "--outputs", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "trainer.learning_rate=0.0999" in done.stdout
    loaded = done.stdout.splitlines()[-1]
    assert [name for name in ("torch", "scipy", "matplotlib", "pandas", "wandb", "transformers") if f"'{name}'" in loaded] == []


def test_a_state_without_runs_says_so(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show_runs([], outputs=outputs, states=["stopped"], relaunch=False)
    assert "No run is in this state." in capsys.readouterr().out
