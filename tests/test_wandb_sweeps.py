"""Every sweep for W&B's agents names settings that pass our checks, in W&B's own way to write a command, and a metric that its runs have."""

from __future__ import annotations

import re
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from cotexp.config import command_line
from cotexp.methods import statistics
from cotexp.records import Prediction
from cotexp.settings.root import Settings

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / "wandb_sweeps").glob("*.yaml"))
LOW_AND_HIGH = {"uniform", "int_uniform", "log_uniform_values"}


def values_of(parameter: dict[str, Any]) -> list[Any]:
    """All values that W&B may choose, or both ends of a range."""
    if "min" in parameter:
        assert parameter["distribution"] in LOW_AND_HIGH
        assert parameter["min"] < parameter["max"]
        return [parameter["min"], parameter["max"]]
    return parameter["values"] if "values" in parameter else [parameter["value"]]


def commands_of(sweep: dict[str, Any]) -> list[list[str]]:
    """The command line of every point of the grid over all values and both ends of ranges, made as the agent makes it."""
    from wandb.sdk.launch.sweeps import utils

    names = list(sweep["parameters"])
    commands = []
    for values in product(*(values_of(each) for each in sweep["parameters"].values())):
        arguments = utils.create_sweep_command_args({"args": {name: {"value": value} for name, value in zip(names, values, strict=True)}})
        known = {"program": [sweep["program"]], "interpreter": ["python"], "env": ["/usr/bin/env"], **arguments}
        commands.append([word for part in sweep["command"] for word in known[re.sub(r"^\$\{(.*)\}$", r"\1", part)]])
    return commands


@cache
def points_of(path: Path) -> list[Settings]:
    """The checked settings of all those commands."""
    return [settings for each in commands_of(read(path)) for settings in command_line.check_command_line(each[3:], multirun=False)]


def read(path: Path) -> dict[str, Any]:
    sweep: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return sweep


def published() -> set[str]:
    """Names of the metrics of a mode, made of one answer."""
    answer = Prediction(
        **dict.fromkeys(("id", "question_id", "task", "mode", "text", "gold", "extracted_by"), "x"),
        **dict.fromkeys(("sample", "num_tokens", "num_cot_tokens"), 1),
        **dict.fromkeys(("strict", "lenient", "math_verify"), True),
        answer_type="integer",
        options={},
        extracted="x",
        timed_out=False,
        finish_reason="stop",
    )
    return {*statistics.accuracy_metrics([answer]), *statistics.ratio_metrics([answer], [answer])}


def test_there_are_sweeps() -> None:
    assert len(FILES) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_point_of_a_sweep_passes_our_checks(path: Path) -> None:
    sweep = read(path)
    assert sweep["method"] in ("grid", "random", "bayes")
    assert sweep["method"] != "grid" or not any("min" in each for each in sweep["parameters"].values())
    assert sweep["method"] == "grid" or sweep["run_cap"] > 0, "a search without an end"
    commands = commands_of(sweep)
    assert len({tuple(each) for each in commands}) == len(commands) > 1
    assert {tuple(each[:3]) for each in commands} == {("/usr/bin/env", "python", "run.py")}
    assert len(points_of(path)) == len(commands)


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_metric_of_a_sweep_is_one_that_its_runs_have_and_no_search_chooses_by_test_questions(path: Path) -> None:
    sweep = read(path)
    assert sweep["metric"]["goal"] in ("minimize", "maximize")
    kind, *rest = sweep["metric"]["name"].split("/")
    for settings in points_of(path):
        if kind == "eval":
            mode, name = rest
            assert mode in settings.evaluation.modes
            assert name in published()
            assert sweep["method"] == "grid" or settings.evaluation.split == "validation"
        else:
            assert (kind, rest) == ("training", ["best_validation_loss"])
            assert settings.trains
            assert all(name.startswith("trainer.") for name, each in sweep["parameters"].items() if "value" not in each), "losses of other examples"
