"""Packages that only some settings and commands need: the extras of this project, and the error where one is not installed."""

from __future__ import annotations

import importlib.util

from cotexp.settings.base import ConfigError

MODULES: dict[str, dict[str, str]] = {
    "api": {"openai": "openai", "tenacity": "tenacity"},
    "forecast": {"sklearn": "scikit-learn"},
    "hub": {"datasets": "datasets"},
    "mlflow": {"mlflow": "mlflow-skinny"},
    "pandas": {"pandas": "pandas"},
    "search": {"optuna": "optuna"},
    "wandb": {"wandb": "wandb", "wandb_workspaces": "wandb-workspaces"},
}
"""Extra -> module that is imported -> package that has it."""


def missing(extra: str, what: str, *, only: str = "") -> str | None:
    """The error of `what`, such as tracking=wandb, which needs this extra, or `only` one of its modules; None if its packages are installed."""
    for module, package in MODULES[extra].items():
        if only not in ("", module):
            continue
        spec = importlib.util.find_spec(module)
        if spec is None or spec.origin is None:  # none, or any folder of that name, such as the one in which W&B keeps its files
            return f"{what} needs the package {package}, which is not installed; pip install 'cotexp[{extra}]'"
    return None


def check(extra: str, what: str, otherwise: str = "") -> None:
    """Check that the packages of an extra are installed, before `what` needs them; `otherwise` is a way without them.

    Raises: ConfigError.
    """
    if problem := missing(extra, what):
        raise ConfigError(f"{problem}{f', or {otherwise}' if otherwise else ''}")
