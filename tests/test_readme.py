"""What README, CONTRIBUTING and the pages under docs/ tell a user to type exists, is accepted and, if it takes seconds, works."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import forked
import pytest

from cotexp.commands import cli, search_space
from cotexp.config import command_line, help_page, launchers
from cotexp.config.slots import SECTIONS
from cotexp.settings.root import CONFIG_DIR

ROOT = Path(__file__).resolve().parent.parent
FILES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
PAGES = {str(path.relative_to(ROOT)): path.read_text() for path in FILES}
LONGEST_README = 120
"""Lines."""
DIAGRAM = ("questions ->", "          -> fine-tuning")
NEEDS_MORE = {
    "search": "it fine-tunes a model in every trial",
    "fetch multiarith strategyqa": "it downloads files",
    "questions --detect hub:": "the same; tests/tasks/test_hub.py reads data sets of a hub in a second process",
    "export macc/compressor": "it needs a run that fine-tunes; tests/compressions/test_pairs.py exports one",
    "export macc/arithmetic": "the same",
    "export macc/quickstart --push": "it needs a token of the hub; tests/commands/test_hub.py pushes to a local one",
    "export macc/quickstart --data --push": "the same",
    "workspace": "it needs runs that W&B keeps; tests/tracking/test_workspace.py has some",
    "report macc/arithmetic": "it needs runs of hours; tests/commands/test_declared_reports.py reads the declaration",
    "forecast macc/arithmetic": "the same",
    "elasticity": "it needs runs of sweep=macc/budgets; tests/jobs/test_baselines.py makes some",
}
"""Commands, by their beginning, that are not run but checked, with the reason."""


class Command(NamedTuple):
    """A line of a block, without its comment, in words."""

    page: str
    words: list[str]


def lines_of_blocks() -> list[tuple[str, str]]:
    """Page and line of everything that is meant to be typed."""
    return [(page, line) for page in PAGES for block in blocks(page) for line in block.splitlines() if not line.startswith(DIAGRAM)]


def blocks(page: str, language: str = "") -> list[str]:
    """The blocks of a page that are marked as text of this language."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", PAGES[page], flags=re.MULTILINE | re.DOTALL)
    return [text for named, text in found if named == language]


COMMANDS = [Command(page, shlex.split(line, comments=True)) for page, line in lines_of_blocks()]


def beginning_with(*words: str) -> list[Command]:
    """The rest of all different commands that begin with these words; `srun` starts another command."""
    found = {}
    for page, given in COMMANDS:
        own = given[2:] if given[0] == "srun" else given
        if tuple(own[: len(words)]) == words:
            found[tuple(own)] = Command(page, own[len(words) :])
    return list(found.values())


def text_of(command: Command) -> str:
    return f"{command.page}: {shlex.join(command.words)}"


def parsed(words: list[str], monkeypatch: pytest.MonkeyPatch) -> argparse.Namespace:
    """What the real command line makes of these words, without running it."""
    found: list[argparse.Namespace] = []
    with monkeypatch.context() as patch:
        patch.setattr(cli, "_RUN", dict.fromkeys(cli._RUN, found.append))
        cli.main(words)
    return found[0]


def test_the_readme_is_short() -> None:
    assert len(PAGES["README.md"].splitlines()) <= LONGEST_README


def test_every_line_of_a_block_is_of_a_kind_that_a_test_checks() -> None:
    kinds = [["python", "run.py"], ["cotexp"], ["make"], ["pip", "install"], ["wandb", "sweep"], ["srun"]]
    kinds += [["export"], ["eval"], ["python", "-m", "http.server"]]  # the shell's and Python's own
    assert len(COMMANDS) > 80
    for command in COMMANDS:
        assert any(command.words[: len(kind)] == kind for kind in kinds), text_of(command)


COTEXP_COMMANDS = [each for each in beginning_with("cotexp") if each.words[0] not in ("run", "--version")]
RUN_COMMANDS = beginning_with("python", "run.py") + beginning_with("cotexp", "run")


@pytest.fixture(scope="module", autouse=True)
def users_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder with the files that docs/installing.md shows, of which a comment names the place."""
    folder = tmp_path_factory.mktemp("user")
    for text in blocks("docs/installing.md", "yaml"):
        path = folder / re.findall(r"^# (mine/\S+)$", text, flags=re.MULTILINE)[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "sums.csv").write_text("question,answer\n" + "".join(f"What is {n} + 1?,{n + 1}\n" for n in range(60)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CONFIG_DIR, "")
        yield folder


def check(command: Command) -> None:
    """The settings of every point that a command asks for pass the checks."""
    read = command_line.read_command(command.words)
    if read.help_wanted:
        assert help_page.help_text([])
        return
    is_multirun, overrides = read.multirun, read.overrides
    launcher = next((each.split("=")[1] for each in overrides if each.startswith(f"{launchers.GROUP}=")), launchers.BASIC)
    if list(launchers.problems(launcher, multirun=is_multirun)):
        assert launcher in launchers.names()
        overrides = [each for each in overrides if not each.startswith("hydra")]  # which this machine lacks
    assert command_line.check_command_line(overrides, multirun=is_multirun), text_of(command)


def has_sweep(command: Command) -> bool:
    return any(each.startswith("sweep=") for each in command.words)


@pytest.mark.slow
def test_every_run_command_has_settings_that_pass_the_checks(users_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(users_folder)
    commands = [each for each in RUN_COMMANDS if not has_sweep(each)]
    assert len(commands) >= 35
    for command in commands:
        check(command)


@pytest.mark.slow
def test_every_command_with_a_named_grid_has_points_that_pass_the_checks(users_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(users_folder)
    commands = [each for each in RUN_COMMANDS if has_sweep(each)]
    assert len(commands) >= 15
    for command in commands:
        check(command)


@pytest.mark.slow
def test_every_cotexp_command_is_one_that_the_command_line_takes(users_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(users_folder)
    commands = COTEXP_COMMANDS
    assert {each.words[0] for each in commands} == set(cli._RUN), "each command has an example"
    for command in commands:
        options = parsed(command.words, monkeypatch)
        if options.command in ("encode", "questions"):
            assert command_line.check_command_line(options.overrides, multirun=False), text_of(command)
        if options.command == "forecast" and options.candidates:
            assert command_line.check_command_line([each if "=" in each else f"sweep={each}" for each in options.candidates], multirun=True), text_of(
                command
            )
        if options.command == "search":
            space = search_space.read_space(options.space)
            settings = command_line.check_command_line([*options.settings, *(f"{each.path}={first_value(each)}" for each in space)], multirun=False)
            for metric in options.front.split(",") if options.front else [options.metric]:
                assert search_space.read_metric(metric, settings[0]), text_of(command)


def first_value(dimension: search_space.Dimension) -> Any:
    return dimension.choices[0] if dimension.choices else dimension.low


def test_a_command_inside_a_sentence_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    """Words in capitals are named for the reader; a command alone is mentioned, not typed."""
    named = [(page, shlex.split(line)[1:]) for page, text in PAGES.items() for line in re.findall(r"`(cotexp [^`\n]+)`", text)]
    assert len(named) >= 10
    for page, words in named:
        if words[0] == "run":
            command_line.read_command(words[1:])
        elif words != ["COMMAND"]:
            assert words[0] in cli._RUN, f"{page}: {words}"
            if len(words) > 1:
                assert parsed(words, monkeypatch)


def test_every_make_target_and_file_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = {words[0] for _, words in beginning_with("make")} | {each for text in PAGES.values() for each in re.findall(r"`make (\w+)`", text)}
    assert {"quickstart", "test", "docs"} <= targets
    for target in targets:
        assert re.search(rf"^[\w ]*\b{target}\b[\w ]*:", makefile, flags=re.MULTILINE), target
    for page, text in PAGES.items():
        for path in re.findall(r"`((?:cotexp|conf|tests|benchmarks|docs|examples|findings|wandb_sweeps)/[\w/.]*)`", text):
            assert list(ROOT.glob(re.sub(r"[A-Z]{2,}", "*", path))), f"{page}: {path}, where a word in capitals stands for any name"
    for command in beginning_with("wandb", "sweep"):
        assert (ROOT / command.words[0]).is_file()


def test_links_of_the_readme_lead_to_files() -> None:
    links = re.findall(r"\]\((?!https:)([^)#]+)", PAGES["README.md"] + PAGES["CONTRIBUTING.md"])
    assert len(links) >= 20
    assert not [each for each in links if not (ROOT / each).is_file()]
    unnamed = {path.name for path in (ROOT / "docs").glob("*.md")} - {Path(each).name for each in links}
    assert unnamed == {"index.md"}, "which says what the README says"


@pytest.mark.slow
@pytest.mark.parametrize(("heading", "experiment"), [("## MACC", "macc/gsm8k"), ("## MoRSD", "morsd/gsm8k")])
def test_the_page_of_the_papers_names_the_values_that_are_run(heading: str, experiment: str) -> None:
    table = PAGES["docs/method_sources.md"].split(heading)[1].split("\n## ")[0]
    settings = command_line.check_command_line([f"experiment={experiment}"], multirun=False)[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 15
    assert {mark for _, mark, _ in rows} == {"[P]", "[S]", "[?]"}
    compared = 0
    for statement, _, cell in rows:
        for path, value in re.findall(r"`([\w.]+)=([^`]+)`", cell.split("ours")[0]):
            if path.split(".")[0] in SECTIONS and "." in path:
                found: Any = settings
                for name in path.split("."):
                    found = getattr(found, name)
                written = value.strip('"')
                wanted = written if isinstance(found, str) else json.loads(written)
                assert found == wanted, f"{statement}: {path} is {found}"
                compared += 1
    assert compared >= 10


def test_marks_of_the_settings_files_are_those_of_the_page() -> None:
    """What a settings file calls undisclosed is a row of the page, too."""
    page = PAGES["docs/method_sources.md"]
    marked = {
        match[1]
        for name in ("macc", "morsd")
        for match in re.finditer(r"^ +(\w+): .*# \[\?\]", (ROOT / f"conf/experiment/{name}/paper.yaml").read_text(), flags=re.MULTILINE)
    }
    assert {"target_modules", "warmup_ratio", "max_new_tokens"} <= marked
    assert not {each for each in marked if f".{each}=" not in page}


def test_ci_calls_the_test_command_of_the_readme() -> None:
    assert "make test" in PAGES["README.md"]
    assert (ROOT / ".ci" / "run").read_text().strip().endswith("make test")


def test_every_extra_that_users_are_told_to_install_exists() -> None:
    offered = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    texts = [*PAGES.values(), *(path.read_text() for path in (*(ROOT / "cotexp").rglob("*.py"), *(ROOT / "conf").rglob("*.yaml")))]
    named = {extra for text in texts for extra in re.findall(r"cotexp\[(\w+)\]", text)}
    assert {"search", "launchers"} <= named
    assert named <= offered.keys()
    (in_ci,) = (re.findall(r"\w+", each)[1:] for each in offered["dev"] if each.startswith("cotexp["))
    assert {"api", "wandb", "forecast", "hub", "search", "launchers"} <= set(in_ci), "or CI would skip their tests"
    assert set(in_ci) <= offered.keys()
    makefile = (ROOT / "Makefile").read_text()
    for command in beginning_with("pip", "install"):
        pinned = [each for each in command.words if "==" in each]
        assert all(each in makefile for each in pinned), "CI installs the same"


def test_the_page_on_installing_has_every_extra() -> None:
    offered = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    rows = [line.split("|")[1] for line in PAGES["docs/installing.md"].splitlines() if line.startswith("| `")]
    assert sorted(extra for row in rows for extra in re.findall(r"`([\w-]+)`", row)) == sorted(offered)


# --- commands that take seconds ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs, two round limits on a dozen questions, under the names of three experiments."""
    folder = tmp_path_factory.mktemp("finished")
    sizes = ["task.num_train=12", "task.num_validation=4", "task.num_test=8", "compression.max_rounds=1,2", "evaluation.latency=false"]
    command = [str(ROOT / "run.py"), "-m", "debug=fast", "name=macc/quickstart", *sizes, "tracking=none"]
    done = forked.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    for name in ("morsd/quickstart", "macc/quickstart_ablation", "macc/stop_rules"):
        shutil.copytree(folder / "outputs/runs/macc/quickstart", folder / "outputs/runs" / name)
        for path in (folder / "outputs/runs" / name).glob("*/settings.json"):
            path.write_text(json.dumps({**json.loads(path.read_text()), "name": name}))
    rows = folder / "outputs/data/gsm8k"
    rows.mkdir(parents=True)
    for split, first in {"train": 0, "test": 100}.items():
        lines = [json.dumps({"question": f"What is {n} plus 1?", "answer": f"One more.\n#### {n + 1}"}) for n in range(first, first + 100)]
        (rows / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "MINE.json").write_text(json.dumps([{"doc": {"question": f"What is {n} plus 1?"}, "target": str(n + 1)} for n in range(20)]))
    (folder / "SAMPLES.jsonl").write_text(json.dumps({"doc_id": 1, "doc": {}, "target": "#### 7", "resps": [["The answer is 7."]]}) + "\n")
    (folder / "ANSWERS.jsonl").write_text(json.dumps({"id": "1", "gold": "7", "text": "The answer is 7."}) + "\n")
    return folder


@pytest.mark.slow
def test_every_cotexp_command_that_takes_seconds_works_on_finished_runs(
    finished: Path, users_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(finished)
    runs = sorted(Path("outputs/runs/macc/quickstart").iterdir())
    keys = {"3f2a": runs[0].name, "91bc": runs[1].name, "3f0a55d2c1e4": runs[1].name}
    texts = [shlex.join(each.words) for each in COTEXP_COMMANDS]
    shutil.copytree(users_folder / "mine", "mine")
    shutil.copy(users_folder / "sums.csv", "sums.csv")
    done = 0
    for text in sorted(texts, key=lambda text: "clean" in text):  # what deletes comes last
        if text.startswith(tuple(NEEDS_MORE)):
            continue
        folders = iter(runs)
        words = [str(next(folders)) if word == "RUN" else keys.get(word, word) for word in shlex.split(text)]
        try:
            cli.main(words)
        except SystemExit as end:
            pytest.fail(f"{text}: {end}")
        assert any(capsys.readouterr()), text
        done += 1
    assert done >= 20
    assert Path("outputs/reports/macc/quickstart_ablation/report.html").is_file()
    assert json.loads(Path("LABELS.jsonl").read_text())["strict"] is True
    assert Path("DIR/config.json").is_file()


def test_commands_that_are_not_run_are_still_there() -> None:
    texts = [shlex.join(each.words) for each in COTEXP_COMMANDS]
    assert all(any(text.startswith(each) for text in texts) for each in NEEDS_MORE)
