"""Launchers of sweeps: their files, what they refuse, and real sweeps through each that can run here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import forked
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.plugins import Plugins

from cotexp.config import command_line, launchers, schema
from cotexp.settings.base import ConfigError

ROOT = Path(__file__).resolve().parent.parent.parent
FILES = sorted((ROOT / "conf" / launchers.GROUP).glob("*.yaml"))


def needs(name: str) -> None:
    """Skip the test where the launcher's packages are not installed."""
    needed = launchers.NEEDED[name]
    if not all(find_spec(each.split(".")[0]) and find_spec(each) for each in needed.modules):
        pytest.skip(f"{needed.package} is not installed: pip install 'cotexp[{needed.extra}]'")


def test_each_launcher_has_a_file_and_each_file_a_launcher() -> None:
    assert [path.stem for path in FILES] == sorted(launchers.NEEDED)


@pytest.mark.parametrize("name", sorted(launchers.NEEDED))
def test_a_file_makes_the_launcher_that_it_is_named_after(name: str) -> None:
    needs(name)
    schema.register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("config", overrides=[f"hydra/launcher={name}", "paths.outputs=/shared"], return_hydra_config=True)
    made: Any = Plugins.instance().instantiate_launcher(hydra_context=None, task_function=None, config=config)  # type: ignore[arg-type]
    assert type(made).__module__.startswith(launchers.NEEDED[name].modules[0])
    assert config.hydra.job.env_set.TTY_COMPATIBLE == "0"
    if name.startswith("submitit"):
        assert made.params["submitit_folder"] == "/shared/submitit/%j"


REFUSED: dict[str, tuple[list[str], str]] = {
    "a misspelt launcher": (
        ["hydra/launcher=joblibb"],
        r"must be one of basic, joblib, .*; got 'joblibb' \(did you mean 'joblib'\?\)",
    ),
    "a misspelt setting": (
        ["hydra/launcher=joblib", "hydra.launcher.n_job=2"],
        r"launcher\.n_job is not a setting \(did you mean 'n_jobs'\?\)",
    ),
    "a value of another kind": (["hydra/launcher=joblib", "hydra.launcher.n_jobs=two"], r"hydra\.launcher\.n_jobs must be an integer; got 'two'"),
    "a setting without its launcher": (
        ["hydra.launcher.n_jobs=2"],
        r"n_jobs=2 is a setting of a launcher; choose one of joblib, .* by hydra/launcher=",
    ),
}


SLURM_REFUSED: dict[str, tuple[str, str]] = {
    "a signal after the end": (
        "hydra.launcher.signal_delay_s=14400",
        r"signal_delay_s must be shorter than the job \(hydra\.launcher\.timeout_min=240\)",
    ),
    "several tasks": (
        "hydra.launcher.tasks_per_node=2",
        r"tasks_per_node must be 1, because a point starts the processes of its devices itself; got 2",
    ),
    "no job at a time": ("hydra.launcher.array_parallelism=0", r"hydra\.launcher\.array_parallelism must be at least 1; got 0"),
    "a new name without +": (
        "hydra.launcher.additional_parameters.mail_type=END",
        r"sets a new name; write \+hydra\.launcher\.additional_parameters\.mail_type=END",
    ),
    "several new names without +": (
        "hydra.launcher.additional_parameters={mail_type: END}",
        r"sets a new name; write \+hydra\.launcher\.additional_parameters=",
    ),
    "one value for many names": ("hydra.launcher.additional_parameters=3", r"must be names and values, such as \{NAME: VALUE\}"),
}


def slurm_is_here(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    needs("submitit_slurm")
    (folder / "srun").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(folder))


@pytest.mark.parametrize("what", SLURM_REFUSED)
def test_settings_of_slurm_that_cannot_work_are_refused_in_one_line(what: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    slurm_is_here(monkeypatch, tmp_path)
    word, message = SLURM_REFUSED[what]
    with pytest.raises(ConfigError, match=message) as refused:
        command_line.check_command_line(["hydra/launcher=submitit_slurm", word, "seed=0,1"], multirun=True)
    assert len(refused.value.problems) == 1


def test_further_options_of_sbatch_can_be_added(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    slurm_is_here(monkeypatch, tmp_path)
    added = ["+hydra.launcher.additional_parameters.mail_type=END", "hydra.launcher.additional_parameters.requeue=false"]
    assert len(command_line.check_command_line(["hydra/launcher=submitit_slurm", *added, "seed=0,1"], multirun=True)) == 2


@pytest.mark.parametrize("what", REFUSED)
def test_a_launcher_is_refused_in_one_line(what: str) -> None:
    needs("joblib")
    words, message = REFUSED[what]
    with pytest.raises(ConfigError, match=message) as refused:
        command_line.check_command_line([*words, "seed=0,1"], multirun=True)
    assert len(refused.value.problems) == 1


def test_a_launcher_without_a_sweep_is_refused() -> None:
    needs("joblib")
    with pytest.raises(ConfigError, match="hydra/launcher=joblib starts the points of a sweep; add -m"):
        command_line.check_command_line(["hydra/launcher=joblib"], multirun=False)


@pytest.mark.parametrize(("name", "extra"), [("joblib", "launchers"), ("ray", "ray")])
def test_a_launcher_that_is_not_installed_says_what_to_install(monkeypatch: pytest.MonkeyPatch, name: str, extra: str) -> None:
    monkeypatch.setitem(sys.modules, launchers.NEEDED[name].modules[0], None)
    with pytest.raises(ConfigError, match=rf"hydra/launcher={name} needs the package .* not installed; pip install 'cotexp\[{extra}\]'"):
        command_line.check_command_line([f"hydra/launcher={name}", "seed=0,1"], multirun=True)


def test_slurm_is_refused_where_it_is_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    needs("submitit_slurm")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="needs Slurm, whose command srun is not here"):
        command_line.check_command_line(["hydra/launcher=submitit_slurm", "seed=0,1"], multirun=True)


@pytest.mark.slow
def test_words_for_hydra_are_no_part_of_a_point() -> None:
    needs("joblib")
    points = command_line.points_of(["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "seed=0,1"], multirun=True)
    assert [each.overrides for each in points] == [["seed=0"], ["seed=1"]]


@pytest.fixture(scope="module")
def broken_model(random_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose settings can be read and whose weights cannot: its runs pass every check and fail at work."""
    folder = tmp_path_factory.mktemp("models") / "broken"
    shutil.copytree(random_model, folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-64])
    return folder


def swept(launcher: list[str], outputs: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A finished sweep of base models that answer four questions, in a folder of its own, with `outputs` named relative to it."""
    common = ["tracking=none", "compressor=self", "model=hf", "task.num_train=8", "task.num_validation=2", "task.num_test=4"]
    sizes = ["evaluation.modes=[base]", "evaluation.latency=false", "evaluation.max_new_tokens=8", f"paths.outputs={outputs.name}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
    return forked.run([str(ROOT / "run.py"), "-m", *launcher, *common, *sizes, *words], cwd=outputs.parent, env=environment)


def finished(outputs: Path) -> list[Path]:
    return sorted(outputs.glob("runs/*/*/*/metrics.json"))


@pytest.mark.slow
def test_joblib_runs_points_side_by_side_and_one_that_fails_takes_none_with_it(tmp_path: Path, random_model: Path, broken_model: Path) -> None:
    needs("joblib")
    models = f"model.path={broken_model},{random_model}"
    done = swept(["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"], tmp_path / "outputs", models, "evaluation.seed=0,1")
    assert len(finished(tmp_path / "outputs")) == 2, done.stderr
    assert done.returncode == 1
    assert "2 of 4 points failed" in done.stderr
    assert "\r" not in done.stderr, "bars of several processes would be drawn over each other"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["submitit_local", "ray"])
def test_points_started_elsewhere_find_package_settings_and_folder(name: str, tmp_path: Path, random_model: Path) -> None:
    needs(name)
    extra = ["hydra.launcher.ray.init.num_cpus=2"] if name == "ray" else []
    done = swept([f"hydra/launcher={name}", *extra], tmp_path / "outputs", f"model.path={random_model}", "evaluation.seed=0,1")
    assert done.returncode == 0, done.stderr
    assert len(finished(tmp_path / "outputs")) == 2
    ledgers = list((tmp_path / "outputs" / "store" / "predictions").glob("*/rows-*.jsonl"))
    ids = [(path.parent.name, json.loads(line)["id"]) for path in ledgers for line in path.read_text().splitlines()]
    assert len(ids) == len(set(ids)) > 0, "an answer was written twice"
