"""Tasks of other packages, and settings files of the user's own folder, without a change in this tree."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from cotexp import extensions
from cotexp.commands import declared_reports
from cotexp.config import command_line, schema, slots
from cotexp.devices import json_codec
from cotexp.records import Question
from cotexp.report.expected_runs import expected_of
from cotexp.settings.base import ConfigError, Section, setting
from cotexp.settings.root import CONFIG_DIR
from cotexp.tasks import KINDS, StoriesTask, load_questions

ROOT = Path(__file__).resolve().parent.parent

PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "{package}"
version = "1.0"

[project.entry-points."cotexp.tasks"]
{name} = "{value}"

[tool.setuptools]
py-modules = ["{module}"]
"""

PARITY = '''
"""Questions on whether a number is even."""

from dataclasses import dataclass

from cotexp.records import AnswerType, Question
from cotexp.settings.base import setting
from cotexp.tasks import GeneratedTask

FIRST = {"train": 0, "validation": 100_000, "test": 200_000}


@dataclass(slots=True, kw_only=True)
class ParityTask(GeneratedTask):
    """Whether a number is even."""

    name: str = setting("parity", "Name of the task.", choices=("parity",))
    step: int = setting(1, "Difference between two numbers.", low=1, high=9)

    def graded_as(self) -> AnswerType:
        return "boolean"

    def generate(self, split: str, count: int) -> list[Question]:
        numbers = [FIRST[split] + self.step * place for place in range(count)]
        return [_question(number) for number in numbers]


def _question(number: int) -> Question:
    answer = "no" if number % 2 else "yes"
    solution = f"{number} ends in {number % 10}.\\nThe answer is {answer}."
    return Question(id=f"parity-{number}", text=f"Is {number} even?", answer=answer, task="parity", answer_type="boolean", references=[solution])
'''


def install(folder: Path, target: Path, *, package: str = "cotexp-parity", name: str = "parity", value: str = "", code: str = PARITY) -> None:
    """Build a package of one module and one entry point in `folder`, and install it into `target` without a network."""
    module = package.replace("-", "_")
    folder.mkdir()
    (folder / "pyproject.toml").write_text(PROJECT.format(package=package, name=name, module=module, value=value or f"{module}:ParityTask"))
    (folder / f"{module}.py").write_text(code)
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--target",
        str(target),
        str(folder),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the installed package cotexp-parity."""
    folder = tmp_path_factory.mktemp("site")
    install(tmp_path_factory.mktemp("source") / "parity", folder)
    return folder


def command(folder: Path, target: Path | None, *words: str) -> subprocess.CompletedProcess[str]:
    """`python WORDS` in `folder`, with the packages of `target`."""
    path = os.pathsep.join([*([str(target)] if target else []), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": path, "COLUMNS": "200"}
    return subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False)


def run(folder: Path, target: Path | None, *words: str) -> str:
    done = command(folder, target, str(ROOT / "run.py"), *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def questions(folder: Path, target: Path | None, *words: str) -> str:
    done = command(folder, target, "-m", "cotexp", "questions", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- a package --------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_installed_task_is_listed_shown_and_planned(target: Path, tmp_path: Path) -> None:
    shown = run(tmp_path, target, "--help", "task=parity")
    assert "| parity |" in shown
    assert "task.step = 1" in shown
    listed = questions(tmp_path, target, "task=parity", "task.num_train=7", "task.step=3", "--examples=2")
    assert "Is 3 even?" in listed
    assert "parity: boolean answers" in listed
    plan = run(tmp_path, target, "task=stories", "evaluation.tasks=[stories,parity]", "plan=true")
    assert "predictions/full/parity" in plan
    assert "predictions/full/stories" in plan


@pytest.mark.slow
def test_a_mistake_in_the_settings_of_an_installed_task_is_named(target: Path, tmp_path: Path) -> None:
    done = command(tmp_path, target, str(ROOT / "run.py"), "task=parity", "task.step=10", "plan=true")
    assert done.returncode != 0
    assert done.stderr == "cotexp: task.step must lie in [1, 9]; got 10\n"


def test_without_the_package_the_task_is_unknown(tmp_path: Path) -> None:
    done = command(tmp_path, None, str(ROOT / "run.py"), "task=parity", "plan=true")
    assert done.returncode != 0
    assert "task must be one of addsub" in done.stderr


# --- a folder of the user's -------------------------------------------------------------------------------------------------


def user_file(folder: Path, name: str, text: str) -> Path:
    path = folder / "mine" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return folder / "mine"


@pytest.mark.slow
def test_a_folder_of_the_user_s_adds_a_task_on_their_file(tmp_path: Path) -> None:
    rows = "".join(f'{{"question": "What is {n} + 1?", "answer": {n + 1}}}\n' for n in range(50))
    (tmp_path / "sums.jsonl").write_text(rows)
    head = "defaults:\n  - /schema/task@_here_: custom\n  - _self_\n"
    mine = user_file(tmp_path, "task/sums.yaml", f"{head}name: sums\nfile: sums.jsonl\nnum_validation: 2\n")
    assert "What is" in questions(tmp_path, None, "task=sums", "--config-dir", str(mine))
    assert "predictions/full/sums" in run(tmp_path, None, "--config-dir", "mine", "evaluation.tasks=[stories,sums]", "plan=true")
    assert "| sums |" in run(tmp_path, None, "--config-dir", "mine", "--help")


@pytest.mark.slow
def test_a_folder_of_the_user_s_adds_a_grid_whose_points_are_commands_with_that_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = "# @package _global_\nname: mine\ncompression:\n  ratio: 0.3\ndefaults:\n  - override /compression: truncate\n"
    params = "hydra:\n  sweeper:\n    params:\n      seed: 1,2\n"
    mine = user_file(tmp_path, "sweep/own.yaml", grid + params)
    assert run(tmp_path, None, "-m", "--config-dir", "mine", "sweep=own", "plan=true").count("mine, run ") == 2
    monkeypatch.setenv(CONFIG_DIR, str(mine))
    expected = expected_of(declared_reports.grid(("sweep=own",)), None)
    assert [each.command for each in expected] == [
        f"cotexp run seed={seed} name=mine compression.ratio=0.3 compression=truncate --config-dir={mine}" for seed in (1, 2)
    ]


@pytest.mark.slow
def test_a_folder_of_the_user_s_holds_settings_of_an_installed_task(target: Path, tmp_path: Path) -> None:
    mine = user_file(tmp_path, "task/steps.yaml", "defaults:\n  - /schema/task@_here_: parity\n  - _self_\nstep: 4\n")
    assert "Is 4 even?" in questions(tmp_path, target, "task=steps", "--examples=2", "--config-dir", str(mine))


@pytest.mark.parametrize(
    ("name", "text", "words", "expected"),
    [
        ("task/gsm8k.yaml", "name: gsm8k\n", ["task=gsm8k"], "mine/task/gsm8k.yaml has the name of a settings file of cotexp; rename it"),
        ("task/odd.yaml", "name: odd\n", ["evaluation.tasks=[stories,odd]"], "task/odd.yaml must begin with defaults: [/schema/task@_here_: KIND"),
        (
            "task/odd.yaml",
            "defaults:\n  - /schema/task@_here_: benchmark\n  - _self_\nname: gsm8k\n",
            ["evaluation.tasks=[stories,odd]"],
            "evaluation.tasks: the settings file of task odd must set name: odd; got 'gsm8k'",
        ),
    ],
)
def test_a_file_of_the_user_s_that_cannot_be_used_is_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, text: str, words: list[str], expected: str
) -> None:
    monkeypatch.setenv(CONFIG_DIR, str(user_file(tmp_path, name, text)))
    with pytest.raises(ConfigError) as caught:
        command_line.check_command_line(words, multirun=False)
    [problem] = caught.value.problems
    assert expected in problem
    assert "\n" not in problem


@pytest.mark.slow
def test_a_folder_that_is_none_is_named_in_one_line(tmp_path: Path) -> None:
    done = command(tmp_path, None, str(ROOT / "run.py"), "--config-dir", "nowhere", "plan=true")
    assert done.returncode != 0
    assert done.stderr == (
        f"cotexp: --config-dir and hydra.searchpath (or the variable {CONFIG_DIR}) must name folders with files such as task/NAME.yaml; "
        f"got '{tmp_path / 'nowhere'}'\n"
    )


# --- entry points that cannot be used ---------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class Whole(Section):
    name: str = setting("whole", "Name.")


class Bare(Section):
    pass


@dataclass(slots=True, kw_only=True)
class Unsaid(Section):
    size: int = 3


def give(monkeypatch: pytest.MonkeyPatch, folder: Path, package: str, entries: dict[str, str]) -> None:
    """Put the metadata of an installed package with these entry points before others on the path."""
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[cotexp.kinds]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items()))
    monkeypatch.syspath_prepend(str(folder))


HERE = "tests.test_extensions" if __package__ else __name__


def problems_of(built_in: list[str]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        extensions.installed("cotexp.kinds", Section, built_in)
    return caught.value.problems


def test_entry_points_of_packages_are_read_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert extensions.installed("cotexp.kinds", Section, []) == {}
    give(monkeypatch, tmp_path / "a", "first", {"whole": f"{HERE}:Whole"})
    assert extensions.installed("cotexp.kinds", Section, ["other"]) == {"whole": Whole}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("no_such_module:Whole", "cannot be imported (ModuleNotFoundError: No module named 'no_such_module'); repair or uninstall first"),
        (f"{HERE}:Missing", "cannot be imported (AttributeError: "),
        (f"{HERE}:HERE", "must be a dataclass that extends cotexp.settings.base.Section; it is a str"),
        (f"{HERE}:Path", "it does not extend it"),
        (f"{HERE}:Bare", "it is not a dataclass"),
        (f"{HERE}:Unsaid", "it has a field without a sentence: size"),
        ("cotexp.tasks:Task", "it does not define graded_as and questions"),
    ],
)
def test_an_entry_point_that_is_no_settings_class_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str, expected: str) -> None:
    give(monkeypatch, tmp_path, "first", {"mine": value})
    [problem] = problems_of([])
    assert problem.startswith(f"package first: entry point cotexp.kinds: mine = {value} ")
    assert expected in problem
    assert "\n" not in problem


def test_an_error_of_several_lines_in_a_package_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "loud_package.py").write_text("raise RuntimeError('one\\ntwo')\n")
    give(monkeypatch, tmp_path, "loud", {"mine": "loud_package:Mine"})
    [problem] = problems_of([])
    assert "cannot be imported (RuntimeError: one two)" in problem


def test_a_name_that_is_taken_is_one_line_for_each_that_wants_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    give(monkeypatch, tmp_path / "a", "first", {"whole": f"{HERE}:Whole", "macc": f"{HERE}:Whole", "two words": f"{HERE}:Whole"})
    give(monkeypatch, tmp_path / "b", "second", {"whole": f"{HERE}:Whole"})
    assert problems_of(["macc"]) == [
        f"package first: entry point cotexp.kinds: macc = {HERE}:Whole has a name that cotexp itself uses; rename it or uninstall first",
        f"package first: entry point cotexp.kinds: two words = {HERE}:Whole must have a name of letters, digits, '_', '-' and '.'",
        f"package second: entry point cotexp.kinds: whole = {HERE}:Whole has a name that package first uses; rename it or uninstall second",
    ]


@dataclass(slots=True, kw_only=True)
class Odd(StoriesTask):
    length: Literal["short", "long"] = setting("short", "Length.")


def test_a_class_with_a_field_that_no_setting_can_be_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(slots.SECTIONS, "task", dict(slots.SECTIONS["task"]))
    monkeypatch.setattr(KINDS, "installed", {"odd": Odd})
    with pytest.raises(ConfigError, match=r"^task=odd: .*:Odd has a field whose type settings cannot have: length \(.*Literal.*\)$"):
        schema.register()


def test_questions_of_another_task_are_refused() -> None:
    class Renamed(StoriesTask):
        def generate(self, split: str, count: int) -> list[Question]:
            return [dataclasses.replace(each, task="other") for each in StoriesTask.generate(self, split, count)]

    with pytest.raises(ConfigError, match=r"^task=stories: Renamed must give only questions of this task; stories-\w+ belongs to 'other'$"):
        load_questions(Renamed(num_train=2, num_validation=1, num_test=1))


@dataclass(slots=True, kw_only=True)
class Long(StoriesTask):
    length: int = setting(3, "Length.")


def test_a_worker_process_reads_the_settings_of_an_installed_task(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    json_codec.write(tmp_path / "part.json", Long(length=5))
    with pytest.raises(ValueError, match="Long is not a class of settings or records"):
        json_codec.read(tmp_path / "part.json")
    monkeypatch.setattr(KINDS, "installed", {"long": Long})
    assert json_codec.read(tmp_path / "part.json") == Long(length=5)


@pytest.mark.slow
def test_a_broken_package_is_one_line_of_the_command(tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "broken-1.0.dist-info").mkdir(parents=True)
    (site / "broken-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (site / "broken-1.0.dist-info/entry_points.txt").write_text("[cotexp.tasks]\nodd = no_such_module:Odd\n")
    for words in ([str(ROOT / "run.py"), "plan=true"], [str(ROOT / "run.py"), "--help"], ["-m", "cotexp", "questions"]):
        done = command(tmp_path, site, *words)
        assert done.returncode != 0
        assert done.stderr.startswith("cotexp: package broken: entry point cotexp.tasks: odd = no_such_module:Odd cannot be imported")
        assert done.stderr.count("\n") == 1
