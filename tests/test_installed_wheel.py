"""The wheel alone, with nothing but the packages that it asks for, works in an empty folder as the tree does."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shlex
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
from dependencies import PROJECT, packages, places, requirements

import cotexp

ROOT = Path(__file__).resolve().parent.parent
SMALL = ["debug=fast", "task.num_train=8", "task.num_validation=2", "task.num_test=4", "compression.max_rounds=2", "evaluation.latency=false"]

SERVER = "teacher.server.service=mine teacher.server.model=some teacher.server.base_url=http://127.0.0.1:1/v1"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the source distribution, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (path,) = built.glob("*.whl")
    return path


class Environment:
    """A fresh environment with the wheel, in which the packages that it asks for are links to those of the tests', and an empty folder to work in."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        self.bin, self.folder = folder / "venv" / "bin", folder / "empty"
        self.folder.mkdir(parents=True)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
        pip = [sys.executable, "-m", "pip", "--python", str(self.bin / "python"), "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
        subprocess.run(pip, check=True, capture_output=True)
        self.site = Path(sysconfig.get_path("purelib", vars={"base": str(folder / "venv")}))
        self.add()

    def add(self, *extras: str) -> None:
        """Install what the wheel asks for with these extras."""
        for distribution in packages(requirements(*extras)).values():
            for name in places(distribution):
                link = self.site / name
                if not link.exists():
                    link.symlink_to(str(distribution.locate_file(name)))

    def run(self, line: str, **own: str) -> subprocess.CompletedProcess[str]:
        """What a line that a user types does."""
        hidden = ("PYTHONPATH", "COTEXP_DATA", "COTEXP_CONFIG_DIR", "VIRTUAL_ENV")
        environment = {name: value for name, value in os.environ.items() if name not in hidden}
        environment |= {"PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "200", **own}
        return subprocess.run(shlex.split(line), cwd=self.folder, env=environment, capture_output=True, text=True, check=False)

    def output(self, line: str, **own: str) -> str:
        done = self.run(line, **own)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Environment:
    return Environment(tmp_path_factory.mktemp("installed"), wheel)


@pytest.mark.slow
def test_the_wheel_has_the_settings_files_and_all_else_that_the_package_reads(built: Path, wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    files = [path for top in ("conf", "cotexp") for path in (ROOT / top).rglob("*") if path.is_file() and path.suffix != ".pyc"]
    wanted = [str(path.relative_to(ROOT)) for path in files]
    assert len(wanted) > 400
    assert {f"cotexp/{each}" if each.startswith("conf/") else each for each in wanted} <= inside
    assert {each.split("/")[0] for each in inside} == {"cotexp", f"cotexp-{importlib.metadata.version('cotexp')}.dist-info"}
    (source,) = built.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        names = {each.partition("/")[2] for each in archive.getnames()}
    assert {"conf/config.yaml", "run.py", "pyproject.toml", "constraints.txt", "tests/test_installed_wheel.py"} <= names


@pytest.mark.slow
def test_the_installed_command_is_that_of_the_tree(installed: Environment) -> None:
    assert installed.output("cotexp --version") == f"cotexp {importlib.metadata.version('cotexp')}\n"
    tree = subprocess.run([sys.executable, str(ROOT / "run.py"), "--help"], cwd=installed.folder, capture_output=True, text=True, check=True)
    assert installed.output("cotexp run --help") == tree.stdout.replace(f"python {ROOT / 'run.py'}", "cotexp run")
    assert "experiment=macc/quickstart" in installed.output("cotexp -sc query=bash", COMP_LINE="cotexp run experiment=macc/q")
    code = "import cotexp; print(cotexp.compose('seed=7').seed); cotexp.read('runs')"
    read = installed.run(f'python -c "{code}"')
    assert read.stdout == "7\n"
    assert read.stderr.endswith("ConfigError: cotexp.read needs the package pandas, which is not installed; pip install 'cotexp[pandas]'\n")
    refused = installed.run("cotexp run sweep=macc/rounds")
    assert (refused.returncode, refused.stderr) == (1, "cotexp: sweep=macc/rounds names a grid of runs; add -m: cotexp run -m sweep=macc/rounds\n")
    assert list(installed.folder.iterdir()) == []


@pytest.mark.slow
def test_a_missing_extra_is_one_line_before_anything_is_computed(installed: Environment) -> None:
    lines = {
        f"cotexp run teacher=api {SERVER}": "teacher.server needs the package openai, {}",
        "cotexp run tracking=wandb": "tracking=wandb needs the package wandb, {}, or take tracking=none",
        "cotexp run tracking=mlflow": "tracking=mlflow needs the package mlflow-skinny, {}",
        "cotexp forecast macc/quickstart": "cotexp forecast needs the package scikit-learn, {}",
        "cotexp search rate --space seed=0,1": "cotexp search needs the package optuna, {}",
        "cotexp run task=gsm8k": "from the Hugging Face hub needs the package datasets, {}, or give paths.data=",
        "cotexp run -m hydra/launcher=joblib seed=0,1": "hydra/launcher=joblib needs the package hydra-joblib-launcher, {}",
    }
    for line, expected in lines.items():
        done = installed.run(line)
        before, after = expected.split("{}")
        assert done.returncode == 1, line
        assert f"{before}which is not installed; pip install 'cotexp[" in done.stderr, line
        assert after in done.stderr
        assert done.stderr.count("\n") == 1
    assert not list(installed.folder.glob("outputs/store/[a-z]*"))


@pytest.mark.slow
def test_in_an_empty_folder_the_quickstart_runs_and_is_questioned_reported_and_searched(installed: Environment) -> None:
    """The sweep has a task and a grid of the user's own; and a path is searched in which there is one experiment."""
    (installed.folder / "sums.csv").write_text("question,answer\n" + "".join(f"What is {n} + 1?,{n + 1}\n" for n in range(60)))
    files = {
        "mine/task/sums.yaml": "defaults:\n  - /schema/task@_here_: custom\n  - _self_\nname: sums\nfile: sums.csv\nnum_validation: 4\n",
        "mine/sweep/seeds.yaml": "# @package _global_\nname: lab/seeds\nhydra:\n  sweeper:\n    params:\n      seed: 0,1\n",
        "mine/report/seeds.yaml": "title: By seed\ntables:\n  - sweep: seeds\n",
        "more/experiment/brief.yaml": "# @package _global_\ncompression:\n  max_rounds: 1\n",
    }
    for name, text in files.items():
        path = installed.folder / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
    small = shlex.join(SMALL)
    done = installed.run(f"cotexp run {small}")
    assert done.returncode == 0, done.stderr
    assert "tracking=wandb needs the package wandb" in done.stdout + done.stderr, "the default is left out, and says so"
    assert "fine-tuned, with `<compress>`" in done.stdout
    assert " + 1?\n" in installed.output("cotexp questions task=sums --config-dir mine")
    assert "cotexp run -m sweep=seeds" in installed.output("cotexp report seeds --config-dir mine --format html,latex")
    assert json.loads((installed.folder / "outputs/runs/debug").glob("*/metrics.json").__next__().read_text())["eval/base/num_questions"] == 4
    plan = installed.output(f"cotexp run --config-dir mine 'hydra.searchpath=[more]' -m sweep=seeds experiment=brief {small} plan=true")
    assert plan.count("debug, run ") == 2
    installed.add("search")
    searched = installed.output(f"cotexp search seeds --trials 1 --space seed=0,1 -- {small} tracking=none")
    assert "On the test questions, trial 0: cotexp run " in searched


def test_the_version_is_said_once_and_cited() -> None:
    assert importlib.metadata.version("cotexp") == cotexp.__version__
    assert f"\nversion: {cotexp.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_every_extra_for_users_names_a_package_that_the_core_does_without() -> None:
    core = packages(requirements())
    for extra in PROJECT["optional-dependencies"]:
        if extra in ("api", "wandb", "forecast", "pandas", "hub", "search"):
            own = {each.name for each in requirements(extra)} - {each.name for each in requirements()}
            assert own
            assert not own & {name.replace("_", "-") for name in core}, f"the core needs {own & set(core)} anyway"
