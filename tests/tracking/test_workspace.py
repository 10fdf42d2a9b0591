"""A workspace is made of the names and keys in W&B's own files, and saved only where somebody is logged in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from finished_runs import settings_in, write_run
from wandb_server import WandbServer

from cotexp import tracking
from cotexp.commands import cli
from cotexp.jobs.current_sweep import VARIABLE
from cotexp.settings.base import ConfigError
from cotexp.tracking import workspace
from cotexp.tracking.wandb_files import KeptRun, kept_runs

SECRET = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two points of an ad hoc sweep, and a run outside it, as W&B keeps them offline."""
    folder = tmp_path_factory.mktemp("ablation")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, json.dumps({"id": "0123abcd0123", "varied": ["compression.max_rounds", "seed"]}))
        for key, rounds in (("aaaaaaaaaaaa", 3), ("bbbbbbbbbbbb", 6)):
            publish(folder, key, f"compression.max_rounds={rounds}")
        patch.delenv(VARIABLE)
        publish(folder, "cccccccccccc", "name=other")
    end = time.monotonic() + 600
    while not all(run.name for run in kept_runs(folder / "wandb")):  # W&B's process may write the last records after a run has ended
        assert time.monotonic() < end
        time.sleep(0.2)
    return folder


def publish(outputs: Path, key: str, *words: str) -> None:
    settings = settings_in(outputs, "tracking.mode=offline", "baseline=base", *words)
    folder = write_run(outputs, settings, key)
    with tracking.tracker(settings, key, overrides=list(words)) as tracker:
        tracker.publish(folder, json.loads((folder / "metrics.json").read_text()))
    assert not tracker.broken


def test_runs_are_read_back_with_their_names_tags_groups_and_keys(outputs: Path) -> None:
    runs = {run.id: run for run in kept_runs(outputs / "wandb")}
    first = runs["aaaaaaaaaaaa"]
    assert (first.name, first.group, first.tags, first.project) == ("rounds=3 s0", "sweep-0123abcd0123", ["sweep-0123abcd0123"], "cotexp")
    assert first.charts == [
        *("delta/accuracy", "delta/num_tokens", "eval/compress/accuracy", "eval/compress/num_tokens", "train/learning_rate", "train/loss"),
        *("train/loss/svamp", "train/loss_compress", "validation/loss", "rounds/num_chains", "rounds/num_tokens", "rounds/num_tokens_kept"),
    ]
    assert (runs["cccccccccccc"].name, runs["cccccccccccc"].tags) == ("other s0", [])


def test_the_workspace_groups_by_what_varies_and_charts_what_was_logged(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["workspace", "sweep-0123abcd0123", "--outputs", str(outputs)])
    printed = capsys.readouterr().out
    assert "sweep-0123abcd0123: 2 runs of project cotexp tagged sweep-0123abcd0123\n  rounds=3 s0\n  rounds=6 s0\n" in printed
    assert "grouped by ablation/compression/max_rounds\n" in printed
    assert "scatter eval/compress/accuracy over eval/compress/num_tokens\n" in printed
    assert "curve   rounds/num_tokens, rounds/num_tokens_kept over rounds/round\n" in printed
    assert "curve   train/loss, train/loss/svamp, train/loss_compress over train/step\n" in printed
    written = json.loads((outputs / "workspaces" / "sweep-0123abcd0123.json").read_text())
    keys = {key for panels in written["sections"].values() for panel in panels for key in panel["keys"]}
    logged = {name for run in kept_runs(outputs / "wandb") for name in run.logged}
    assert keys <= logged, "a chart of a key that no run has is empty"
    assert written["columns"] == [
        "config:ablation/compression/max_rounds",
        *("summary:eval/compress/accuracy", "summary:eval/compress/num_tokens", "summary:delta/accuracy", "summary:delta/accuracy_p_value"),
    ]


def test_an_experiment_chooses_its_runs_and_one_that_no_run_has_is_refused(outputs: Path) -> None:
    kept = kept_runs(outputs / "wandb")
    assert (workspace.layout("other", kept).experiment, workspace.layout("other", kept).tag) == ("other", "")
    assert workspace.layout("macc/quickstart", kept).runs == ("rounds=3 s0", "rounds=6 s0")
    assert workspace.made(workspace.layout("other", kept), "me").runset_settings.filters == "Config(\"ablation/experiment\") == 'other'"
    with pytest.raises(
        ConfigError,
        match=r"NAME must be a tag or experiment of runs that W&B keeps here: macc/quickstart, other, sweep-0123abcd0123; got 'othr' \(did you",
    ):
        workspace.layout("othr", kept)


def test_a_slot_that_varies_is_grouped_by_and_the_seed_is_averaged() -> None:
    runs = [
        KeptRun(f"{option}{seed}", tags=["t"], config={"ablation/compression": option, "ablation/task": "stories", "seed": seed})
        for option in ("macc", "none")
        for seed in (0, 1)
    ]
    plan = workspace.layout("t", runs)
    assert (plan.grouped_by, plan.columns) == (("ablation/compression",), ("config:ablation/compression", "config:seed"))
    assert plan.sections == {}


def test_a_folder_without_runs_and_a_broken_file_are_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"W&B keeps no run in .*; run with tracking=wandb, or give --outputs"):
        cli.main(["workspace", "x", "--outputs", str(tmp_path)])
    broken = tmp_path / "wandb" / "offline-run-1-x" / "run-x.wandb"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"\0" * 7 + b"\0\0\0\0\x03\0\x01abc")
    with pytest.raises(SystemExit, match=r"run-x.wandb is no file of W&B's, or a broken one \(DecodeError\); move it away"):
        cli.main(["workspace", "x", "--outputs", str(tmp_path)])


def pushed(outputs: Path, **environment: str) -> tuple[int, str]:
    """(status, what was printed) of a process that pushes the workspace of the sweep."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    clean |= {"PYTHONPATH": str(Path(tracking.__file__).parents[2]), "NETRC": str(outputs / "none")} | environment
    command = [sys.executable, "-m", "cotexp", "workspace", "sweep-0123abcd0123", "--push", "--outputs", str(outputs)]
    done = subprocess.run(command, env=clean, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_nobody_who_is_not_logged_in_saves_a_workspace(outputs: Path) -> None:
    assert pushed(outputs) == (
        1,
        "cotexp: workspace: --push needs a login of W&B: set WANDB_API_KEY, or run `wandb login`; without --push it is only written here\n",
    )


@pytest.mark.slow
def test_a_server_gets_the_workspace_with_the_keys_of_the_runs_and_the_key_is_in_no_file(outputs: Path) -> None:
    server = WandbServer()
    status, printed = pushed(outputs, WANDB_API_KEY=SECRET, WANDB_BASE_URL=server.address)
    server.close()
    assert status == 0, printed
    (view,) = server.views
    assert (view["entityName"], view["projectName"], view["displayName"]) == ("me", "cotexp", "sweep-0123abcd0123")
    spec: dict[str, Any] = json.loads(view["spec"])["section"]
    panels = [panel for section in spec["panelBankConfig"]["sections"] for panel in section["panels"]]
    scatter = next(panel["config"] for panel in panels if panel["viewType"] == "Scatter Plot")
    assert (scatter["xAxis"], scatter["yAxis"]) == ("summary:eval/compress/num_tokens", "summary:eval/compress/accuracy")
    assert "Saved at W&B: http" in printed
    assert SECRET not in printed
    assert [path for path in outputs.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()] == []
