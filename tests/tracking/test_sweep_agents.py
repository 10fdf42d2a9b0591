"""A run that W&B's sweep agent asked for is the agent's run, told again where it was finished before; commands of several runs leave the agent."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from finished_runs import KEY, settings_in, write_run
from wandb_files import Written, written_in

from cotexp.config import sweep_agents

SCRIPT = """
import json, sys
from pathlib import Path
sys.path.insert(0, {here!r})
from finished_runs import settings_in
from cotexp import tracking
from cotexp.config import sweep_agents
folder, outputs, leaves = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
if leaves:
    sweep_agents.leave()
with tracking.tracker(settings_in(outputs), folder.name) as tracker:
    tracker.publish(folder, json.loads((folder / "metrics.json").read_text()))
assert not tracker.broken
"""


def published_by_an_agent(folder: Path, outputs: Path, *leaves: str) -> None:
    """Publish a finished run in a process as an agent starts it."""
    chosen = outputs / "chosen.yaml"
    chosen.write_text("wandb_version: 1\n\nseed:\n  value: 0\ncompression.max_rounds:\n  value: 6\n")
    agent = {"WANDB_SWEEP_ID": "sweep1", "WANDB_RUN_ID": "agents1", "WANDB_SWEEP_PARAM_PATH": str(chosen)}
    command = [sys.executable, "-c", SCRIPT.format(here=str(Path(__file__).parent)), str(folder), str(outputs), *leaves]
    subprocess.run(command, env={**os.environ, **agent}, check=True)


@pytest.mark.slow
def test_a_run_that_an_agent_asked_for_is_told_under_the_agents_id_although_it_was_published_before(tmp_path: Path) -> None:
    folder = write_run(tmp_path, settings_in(tmp_path))
    for _ in range(2):
        published_by_an_agent(folder, tmp_path)
        time.sleep(1)  # W&B names its folders by the second
    told = [Written(path) for path in sorted((tmp_path / "wandb").glob("offline-run-*/run-agents1.wandb"))]
    assert [each.summary["eval/compress/accuracy"] for each in told] == [0.5, 0.5]
    assert told[1].run.sweep_id == "sweep1"
    assert told[1].config["compression.max_rounds"] == 6
    assert not list((tmp_path / "wandb").glob(f"*{KEY}*"))


@pytest.mark.slow
def test_a_command_that_left_its_agent_has_runs_of_its_own(tmp_path: Path) -> None:
    folder = write_run(tmp_path, settings_in(tmp_path))
    published_by_an_agent(folder, tmp_path, "leaves")
    assert written_in(tmp_path, KEY).run.run_id == KEY
    assert written_in(tmp_path, KEY).summary["eval/compress/accuracy"] == 0.5


def test_whether_an_agent_waits_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not sweep_agents.is_asked_for()
    for name in sweep_agents.VARIABLES:
        monkeypatch.setenv(name, "x")
    assert sweep_agents.is_asked_for()
    sweep_agents.leave()
    assert not sweep_agents.is_asked_for()
    assert [name for name in sweep_agents.VARIABLES if name in os.environ] == []
