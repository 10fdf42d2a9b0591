"""Folders of settings files: which there are, in which order, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cotexp.commands import declared_reports
from cotexp.config import command_line, help_page, overrides, search_path
from cotexp.settings.base import ConfigError
from cotexp.settings.root import CONFIG_DIR, config_dir_words

OWN = {
    "experiment/lab/mine": "# @package _global_\nname: lab/mine\n",
    "task/sums": "defaults:\n  - /schema/task@_here_: custom\n  - _self_\nname: sums\nfile: sums.csv\n",
    "model/small": "defaults:\n  - tiny\n  - _self_\nmax_batch_tokens: 512\n",
    "sweep/seeds": "# @package _global_\nname: seeds\nhydra:\n  sweeper:\n    params:\n      seed: 0,1,2\n",
    "report/mine": "title: Mine\ntables:\n  - sweep: seeds\n    published:\n      - file: others\n",
    "report/published/others": "system: Others\nsource: a page\nrows: []\n",
}


@pytest.fixture(autouse=True)
def no_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(CONFIG_DIR, "")
    monkeypatch.chdir(tmp_path)


def write(folder: str, **files: str) -> Path:
    for name, text in files.items():
        path = Path(folder, f"{name}.yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Path(folder).absolute()


def test_folders_come_after_that_of_the_project_in_the_order_of_the_command(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write(name, **{f"task/{name}": ""})
    command = command_line.read_command(["--config-dir", "a", "seed=1", "hydra.searchpath=[b,'file://c']"])
    assert (command.overrides, command.is_one_run) == (["seed=1"], True)
    assert search_path.config_folders() == [search_path.CONF, tmp_path / "a", tmp_path / "b", tmp_path / "c"]
    words = config_dir_words()
    assert words == [f"--config-dir={tmp_path / 'a'}", f'hydra.searchpath=["{tmp_path / "b"}", "{tmp_path / "c"}"]']
    os.environ[CONFIG_DIR] = ""
    command_line.read_command([*words, "seed=1"])
    assert config_dir_words() == words, "what a run records brings the same folders"


def test_a_search_path_adds_to_the_variable_and_config_dir_replaces_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [write(name, **{f"task/{name}": ""}) for name in ("a", "b")]
    monkeypatch.setenv(CONFIG_DIR, "a")
    search_path.use(None, [Path("b"), Path("b")])
    assert search_path.config_folders()[1:] == folders
    search_path.use("b")
    assert search_path.config_folders()[1:] == folders[1:]


def test_a_package_is_a_folder_of_the_search_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write("site/my_lab/conf", **{"task/sums": OWN["task/sums"]})
    (tmp_path / "site/my_lab/__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    for path in ("my_lab.conf", "my_lab/conf"):
        assert search_path.split(["plan=true", f"hydra.searchpath=[pkg://{path}]"]) == (["plan=true"], [folder])


def test_every_kind_of_file_is_found_by_settings_help_refusals_and_reports() -> None:
    search_path.use(write("mine", **OWN))
    Path("sums.csv").write_text("question,answer\n1 + 1?,2\n")
    three = command_line.check_command_line(["sweep=seeds", "task=sums", "model=small", "experiment=lab/mine"], multirun=True)
    assert [(each.seed, each.task.name, each.model.max_batch_tokens) for each in three] == [(seed, "sums", 512) for seed in (0, 1, 2)]
    page = help_page.help_text([])
    for group, name in (each.split("/", 1) for each in OWN if not each.startswith("report")):
        assert any(line.startswith(f"{group}= ") and name in line.split("= ")[1].split(" | ") for line in page.splitlines())
        with pytest.raises(ConfigError, match=rf"^{group} must be one of .*\b{name}\b.*; got 'nope'"):
            command_line.check_command_line([f"{group}=nope"], multirun=True)
    assert "mine" in declared_reports.report_names()
    assert declared_reports.report_named("mine").tables[0].sweep == "seeds"
    assert declared_reports.published_named("others").system == "Others"


def test_a_mistake_in_a_declared_report_of_the_user_s_names_its_file() -> None:
    folder = write("mine", **{"report/mine": "title: Mine\ntable: []\n"})
    search_path.use(folder)
    with pytest.raises(ConfigError, match=rf"^{folder}/report/mine.yaml: table is not a setting"):
        declared_reports.report_named("mine")


@pytest.mark.parametrize("group", ["experiment", "sweep", "debug"])
@pytest.mark.parametrize("text", ["name: mine\n", "# mine\nname: mine\n# @package _global_\n", "# @package experiment\nname: mine\n"])
def test_a_file_of_several_slots_that_does_not_say_so_is_named(group: str, text: str) -> None:
    folder = write("mine", **{f"{group}/bare": text})
    search_path.use(folder)
    with pytest.raises(ConfigError) as caught:
        command_line.check_command_line([f"{group}=bare"], multirun=True)
    assert caught.value.problems == [
        f"{group}=bare: {folder}/{group}/bare.yaml sets more than its own slot, and must begin with the comment # @package _global_"
    ]


def test_other_comments_may_come_before_the_place_of_a_file() -> None:
    search_path.use(write("mine", **{"experiment/mine": "# What it is for.\n\n# @package _global_\n# More.\nname: mine\nseed: 3\n"}))
    (settings,) = command_line.check_command_line(["experiment=mine"], multirun=False)
    assert (settings.name, settings.seed) == ("mine", 3)


@pytest.mark.parametrize("words", [["model=bare"], ["experiment=with_bare"]])
def test_a_file_that_names_no_kind_is_refused_wherever_it_is_chosen(words: list[str]) -> None:
    chosen = "# @package _global_\ndefaults:\n  - override /model: bare\n"
    search_path.use(write("mine", **{"model/bare": "path: some\n", "experiment/with_bare": chosen}))
    expected = r"^model: its settings file must begin with defaults: \[/schema/model@_here_: KIND, _self_\], where KIND is one of hf, gguf, scratch"
    for ask in (lambda: command_line.check_command_line(words, multirun=False), lambda: help_page.help_text(words)):
        with pytest.raises(ConfigError, match=expected):
            ask()


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("hydra.searchpath=mine", "hydra.searchpath must be a list of folders, such as 'hydra.searchpath=[FOLDER,pkg://PACKAGE]'; got 'mine'"),
        ("hydra.searchpath=[1]", "hydra.searchpath must be a list of folders"),
        ("hydra.searchpath=[[", "hydra.searchpath must be a list of folders"),
        ("hydra.searchpath=a,b", "hydra.searchpath must be a list of folders"),
        ("hydra.searchpath=[s3://mine]", "hydra.searchpath must name folders as FOLDER, file://FOLDER or pkg://PACKAGE; got 's3://mine'"),
        ("hydra.searchpath=[pkg://no_such_package]", "hydra.searchpath: pkg://no_such_package is no installed package with a folder"),
        ("hydra.searchpath=[pkg://no_such_package.conf]", "hydra.searchpath: pkg://no_such_package.conf cannot be imported (ModuleNotFoundError"),
        ("hydra.searchpath=[pkg://json.decoder]", "hydra.searchpath: pkg://json.decoder is no installed package with a folder"),
        ("hydra.searchpath=[pkg://]", "hydra.searchpath: pkg:// "),
    ],
)
def test_a_search_path_that_cannot_be_one_is_one_line(word: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        command_line.read_command([word])
    (problem,) = caught.value.problems
    assert problem.startswith(expected)
    assert "\n" not in problem


def test_no_search_path_is_none() -> None:
    assert search_path.split(["hydra.searchpath=null", "hydra.searchpath=[]"]) == ([], [])


def test_two_files_of_one_name_are_named_with_their_owners(tmp_path: Path) -> None:
    search_path.use(write("a", **{"task/sums": "", "model/tiny": ""}), [write("b", **{"task/sums": ""})])
    with pytest.raises(ConfigError) as caught:
        overrides.options("task")
    assert caught.value.problems == [
        f"--config-dir: {tmp_path}/a/model/tiny.yaml has the name of a settings file of cotexp; rename it",
        f"--config-dir: {tmp_path}/b/task/sums.yaml has the name of {tmp_path}/a/task/sums.yaml; rename it",
    ]


def test_the_words_for_hydra_name_no_folder_of_the_search_path() -> None:
    write("mine", **{"task/sums": ""})
    command = command_line.read_command(["seed=0,1", "hydra.searchpath=[mine]", "-m"])
    assert command.words_for_hydra == ["-m", "seed=0,1"]


@pytest.mark.parametrize("words", [["--config-dir", "a", "--config-dir=b"], ["-cd", "a", "--config-dir", "b"]])
def test_a_second_config_dir_is_refused_since_only_one_would_count(words: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"--config-dir names one folder; name several as 'hydra\.searchpath=\[FOLDER,FOLDER\]'"):
        search_path.split(words)


def test_an_empty_config_dir_is_refused_and_a_search_path_may_have_a_plus(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--config-dir must name a folder; got ''"):
        command_line.read_command(["--config-dir", ""])
    assert search_path.split(["+hydra.searchpath=[b]", "seed=1"]) == (["seed=1"], [Path("b")])


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("experiment/own", "# @package _global_\nnonsense: 3\n", "experiment=own sets nonsense, which is not a setting of this run; correct {file}"),
        (
            "experiment/own",
            "# @package _global_\ntrainer:\n  max_epoch: 1\n",
            "experiment=own sets trainer.max_epoch, which is not a setting of this run; correct {file}",
        ),
        ("task/own", f"{OWN['task/sums']}nam: sums\n", "task=own sets task.nam, which is not a setting of this run; correct {file}"),
        ("task/own", "name: [\n", "a settings file of task=own cannot be read: while parsing"),
    ],
)
def test_a_mistake_in_ones_own_file_names_setting_and_file(name: str, text: str, expected: str) -> None:
    folder = write("mine", **{name: text})
    search_path.use(folder)
    with pytest.raises(ConfigError) as caught:
        command_line.check_command_line(["=".join(name.split("/"))], multirun=False)
    assert expected.format(file=folder / f"{name}.yaml") in str(caught.value)


def test_an_option_that_a_file_names_wrongly_is_refused_without_a_list_of_folders() -> None:
    search_path.use(write("mine", **{"experiment/own": "# @package _global_\ndefaults:\n  - override /task: nope\n"}))
    with pytest.raises(ConfigError, match=r"Could not find 'task/nope' Available options in 'task': .* tracking_shuffled_objects$"):
        command_line.check_command_line(["experiment=own"], multirun=False)
