"""What the environment asks of W&B (`WANDB_MODE`, `WANDB_DISABLED`, `WANDB_PROJECT`, ...), beside the settings.

A setting that says more than its default comes first, and a wish to write nothing comes before all. `WANDB_RUN_ID` and `WANDB_RESUME` are
heeded for sweep agents alone: the id of a run is its key, by which it is found and continued.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from pathlib import Path
from typing import Any

from cotexp import sweep_agents
from cotexp.settings import WandbTracking

log = logging.getLogger(__name__)

MODES = {"online": "online", "run": "online", "shared": "online", "offline": "offline", "dryrun": "offline", "disabled": "disabled"}
"""Values of WANDB_MODE, old ones too -> what is done."""
NO = ("", "0", "false", "no", "off", "n", "f")
QUIET = {"silent": True, "console": "off", "x_disable_stats": True}
"""W&B's own settings that are ours unless the environment names them."""
UNHEEDED = ("WANDB_RUN_ID", "WANDB_RESUME")


def is_disabled() -> bool:
    """Whether the environment asks that nothing be written and nothing sent."""
    return _held("WANDB_DISABLED").lower() not in NO or _mode() == "disabled"


def mode(tracking: WandbTracking, *, has_api_key: bool) -> str:
    """online or offline: what the settings say, else the environment, else whether there is a key."""
    if tracking.mode != "auto":
        return tracking.mode
    wish = _mode()
    if wish == "online" and not has_api_key:
        log.warning("WANDB_MODE asks for W&B online, and no API key is found; this run is kept on disk for `wandb sync`")
        return "offline"
    return wish or ("online" if has_api_key else "offline")


def _mode() -> str | None:
    """What WANDB_MODE asks for; a word that W&B does not know sends nothing."""
    word = _held("WANDB_MODE").lower()
    if word and word not in MODES:
        log.warning("WANDB_MODE must be online, offline or disabled; got %r: nothing is sent, this run is kept on disk for `wandb sync`", word)
    return MODES.get(word, "offline") if word else None


def folder(outputs: str) -> Path:
    """Where W&B keeps its files."""
    return Path(_held("WANDB_DIR") or outputs).expanduser() / "wandb"


def options(tracking: WandbTracking, ours: dict[str, Any]) -> dict[str, Any]:
    """`ours` for wandb.init, as the settings and the environment have them: where a setting is at its default, the environment's word counts."""
    default = {each.name: each.default for each in dataclasses.fields(tracking)}
    wishes = {name: _held(f"WANDB_{variable}") for name, variable in (("name", "NAME"), ("group", "RUN_GROUP"))}
    wishes |= {
        name: _held(f"WANDB_{name.upper()}") for name in ("project", "entity", "notes", "job_type") if getattr(tracking, name) == default[name]
    }
    return {**ours, **{name: value for name, value in wishes.items() if value}}


def tags() -> list[str]:
    """Those that the environment asks for, beside the settings' own."""
    return [each.strip() for each in _held("WANDB_TAGS").split(",") if each.strip()]


def quiet() -> dict[str, Any]:
    """Those of QUIET that the environment says nothing about."""
    return {name: value for name, value in QUIET.items() if not any(_held(each) for each in _variables(name))}


def _variables(name: str) -> tuple[str, str]:
    """Both of W&B's spellings."""
    return f"WANDB_{name.upper()}", f"WANDB_{name.upper().removeprefix('X')}"


def tell_unheeded() -> None:
    """Say which wishes are not followed."""
    if named := [each for each in UNHEEDED if _held(each) and not sweep_agents.is_asked_for()]:
        log.warning("%s is not heeded: a W&B run has the key of its run as its id, and goes on under it", " and ".join(named))


def _held(name: str) -> str:
    return os.environ.get(name, "").strip()
