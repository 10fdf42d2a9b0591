"""Packages of the extras: where one is missing, the error names the extra before work begins."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from dependencies import PROJECT, requirements

from cotexp import extras, tracking
from cotexp.config import command_line
from cotexp.jobs import api_texts
from cotexp.settings.base import ConfigError

SERVER = ["teacher=api", "teacher.server.service=mine", "teacher.server.model=some", "teacher.server.base_url=http://127.0.0.1:1/v1"]


@pytest.fixture
def nothing_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    """No package of an extra is installed."""
    found, optional = importlib.util.find_spec, {module for modules in extras.MODULES.values() for module in modules}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name in optional else found(name, *rest))
    tracking._say_once.cache_clear()


def test_each_extra_installs_the_packages_that_it_is_said_to_have() -> None:
    core = {each.name for each in requirements()}
    for extra, modules in extras.MODULES.items():
        assert set(modules.values()) <= {each.name for each in requirements(extra)} - core, extra
    assert extras.MODULES.keys() < PROJECT["optional-dependencies"].keys()


def test_an_extra_that_is_installed_is_no_error() -> None:
    assert extras.missing("hub", "task=gsm8k") is None
    extras.check("hub", "task=gsm8k")


def test_a_missing_package_is_named_with_its_extra_and_the_way_without_it(nothing_optional: None) -> None:
    with pytest.raises(
        ConfigError, match=r"^x needs the package scikit-learn, which is not installed; pip install 'cotexp\[forecast\]', or leave it$"
    ):
        extras.check("forecast", "x", "leave it")


def test_a_folder_of_the_same_name_is_no_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "tidy_package").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(extras.MODULES, "tidy", {"tidy_package": "tidy-package"})
    assert importlib.util.find_spec("tidy_package") is not None
    assert extras.missing("tidy", "x") == "x needs the package tidy-package, which is not installed; pip install 'cotexp[tidy]'"
    (tmp_path / "tidy_package/__init__.py").touch()
    importlib.invalidate_caches()
    assert extras.missing("tidy", "x") is None


def test_a_server_without_its_client_is_refused_with_the_rest_that_it_lacks(nothing_optional: None) -> None:
    settings = command_line.check_command_line([*SERVER, "teacher.server.api_key_env=NO_SUCH_KEY"], multirun=False)[0]
    with pytest.raises(ConfigError) as caught:
        api_texts.check_keys(settings)
    assert caught.value.problems[0] == "teacher.server needs the package openai, which is not installed; pip install 'cotexp[api]'"
    assert "NO_SUCH_KEY is not set" in caught.value.problems[1]


@pytest.mark.parametrize("asked", [["tracking=wandb"], ["seed=1", "tracking.project=mine"]])
def test_wandb_that_is_asked_for_and_missing_is_refused(asked: list[str], nothing_optional: None) -> None:
    settings = command_line.check_command_line(asked, multirun=False)[0]
    with pytest.raises(ConfigError, match=r"^tracking=wandb needs .*\[wandb\]', or take tracking=none$"):
        tracking.check(settings, asked)


def test_wandb_that_is_the_default_and_missing_is_told_once_and_nothing_is_tracked(nothing_optional: None, caplog: pytest.LogCaptureFixture) -> None:
    settings = command_line.check_command_line(["seed=1"], multirun=False)[0]
    with caplog.at_level(logging.WARNING):
        tracking.check(settings, ["seed=1"])
        tracking.check(settings, ["seed=1"])
    assert len(caplog.messages) == 1
    assert "pip install 'cotexp[wandb]'; this run is not tracked" in caplog.messages[0]
    tracked: Any = SimpleNamespace(settings=settings)
    assert tracking._run_of(tracked) is None
