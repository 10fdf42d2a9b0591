"""What the README names exists."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from cotexp import launchers, schema

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def test_every_run_command_of_the_readme_has_settings_that_pass_the_checks() -> None:
    commands = re.findall(r"^python run\.py(.*)$", README, flags=re.MULTILINE)
    assert len(commands) >= 5
    for command in commands:
        words = command.split("#")[0].split()
        if "--help" in words:
            continue
        overrides = [each for each in words if not each.startswith("-") and each != "job"]
        launcher = next((each.split("=")[1] for each in overrides if each.startswith(f"{launchers.GROUP}=")), launchers.BASIC)
        if list(launchers.problems(launcher, multirun="-m" in words)):
            assert launcher in launchers.names()
            overrides = [each for each in overrides if not each.startswith("hydra")]  # which this machine lacks
        assert schema.check_command_line(overrides, multirun="-m" in words), command


def test_every_make_target_and_file_of_the_readme_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", README, flags=re.MULTILINE):
        assert re.search(rf"^[\w ]*\b{target}\b[\w ]*:", makefile, flags=re.MULTILINE), target
    for path in re.findall(r"`((?:cotexp|conf|tests|benchmarks)/[\w/.]+)`", README):
        assert list(ROOT.glob(re.sub(r"\b[A-Z]+\b", "*", path))), f"{path}, where a word in capitals stands for any name"


def test_ci_calls_the_test_command_of_the_readme() -> None:
    assert "make test" in README
    assert (ROOT / ".ci" / "run").read_text().strip().endswith("make test")


def test_every_extra_that_users_are_told_to_install_exists() -> None:
    offered = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    texts = [path.read_text() for path in (ROOT / "README.md", *(ROOT / "cotexp").rglob("*.py"), *(ROOT / "conf").rglob("*.yaml"))]
    named = {extra for text in texts for extra in re.findall(r"cotexp\[(\w+)\]", text)}
    assert {"search", "launchers"} <= named
    assert named <= offered.keys()
    assert set(offered["search"] + offered["launchers"]) <= set(offered["dev"]), "or CI would skip their tests"
