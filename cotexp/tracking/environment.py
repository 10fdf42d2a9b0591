"""W&B's environment variables (`WANDB_MODE`, `WANDB_DISABLED`, `WANDB_PROJECT`, ...), and how they combine with the settings.

A setting that is not at its default has precedence over a variable. A variable that disables W&B has precedence over all settings.
`WANDB_RUN_ID` and `WANDB_RESUME` apply only to sweep agents, because the id of a run is its key, by which it is found and continued.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from pathlib import Path
from typing import Any

from cotexp.config import sweep_agents
from cotexp.settings.tracking import WandbTracking

log = logging.getLogger(__name__)

MODES = {"online": "online", "run": "online", "shared": "online", "offline": "offline", "dryrun": "offline", "disabled": "disabled"}
"""Value of WANDB_MODE, including old ones -> mode."""
NO = ("", "0", "false", "no", "off", "n", "f")
IGNORED = ("WANDB_RUN_ID", "WANDB_RESUME")


def is_disabled() -> bool:
    """Whether the environment disables W&B, so that nothing is written or sent."""
    return _variable("WANDB_DISABLED").lower() not in NO or _mode() == "disabled"


def mode(tracking: WandbTracking, *, has_api_key: bool) -> str:
    """online or offline: as the settings say, else the environment, else online if there is a key."""
    if tracking.mode != "auto":
        return tracking.mode
    requested = _mode()
    if requested == "online" and not has_api_key:
        log.warning("WANDB_MODE requests W&B online, but there is no API key; this run is kept on disk for `wandb sync`")
        return "offline"
    return requested or ("online" if has_api_key else "offline")


def _mode() -> str | None:
    """The mode in WANDB_MODE; offline for an unknown value, None if it is not set."""
    value = _variable("WANDB_MODE").lower()
    if value and value not in MODES:
        log.warning("WANDB_MODE must be online, offline or disabled; got %r: nothing is sent, this run is kept on disk for `wandb sync`", value)
    return MODES.get(value, "offline") if value else None


def folder(outputs: str) -> Path:
    """The folder of W&B's files."""
    return Path(_variable("WANDB_DIR") or outputs).expanduser() / "wandb"


def options(tracking: WandbTracking, ours: dict[str, Any]) -> dict[str, Any]:
    """The arguments `ours` of wandb.init. For settings at their default, values of the environment replace them."""
    default = {field.name: field.default for field in dataclasses.fields(tracking)}
    named = {name: _variable(f"WANDB_{variable}") for name, variable in (("name", "NAME"), ("group", "RUN_GROUP"))}
    named |= {
        name: _variable(f"WANDB_{name.upper()}") for name in ("project", "entity", "notes", "job_type") if getattr(tracking, name) == default[name]
    }
    return {**ours, **{name: value for name, value in named.items() if value}}


def tags() -> list[str]:
    """Tags from the environment, to add to those of the settings."""
    return [tag.strip() for tag in _variable("WANDB_TAGS").split(",") if tag.strip()]


def recorded(tracking: WandbTracking, *, has_gpu: bool) -> dict[str, Any]:
    """What W&B prints and records besides our data, as its own settings: as the settings say, else the environment, else only where a GPU is."""
    chosen = {"console": tracking.console, "x_disable_stats": tracking.system_metrics, "silent": None}
    ours = {
        "console": "wrap" if (has_gpu if tracking.console is None else tracking.console) else "off",
        "x_disable_stats": not (has_gpu if tracking.system_metrics is None else tracking.system_metrics),
        "silent": True,
    }
    return {name: value for name, value in ours.items() if chosen[name] is not None or not _is_set(name)}


def _is_set(name: str) -> bool:
    """Whether the environment sets this setting of W&B."""
    return bool(_variable(f"WANDB_{name.upper()}") or _variable(f"WANDB_{name.upper().removeprefix('X')}"))


def warn_of_ignored() -> None:
    """Warn about variables that are ignored."""
    if ignored := [variable for variable in IGNORED if _variable(variable) and not sweep_agents.is_asked_for()]:
        log.warning("%s is ignored, because the id of a W&B run is the key of its run", " and ".join(ignored))


def _variable(name: str) -> str:
    return os.environ.get(name, "").strip()
