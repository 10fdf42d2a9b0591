"""Where a run comes from: `origin.json` in its folder, for people and for trackers."""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cotexp.invocation import run_command
from cotexp.settings.root import config_dir_words
from cotexp.store.stored_files import Damaged, read_json, write_json
from cotexp.version import __version__

FILE = "origin.json"
GIT_SECONDS = 10


def write(folder: Path, overrides: Sequence[str], weights: Mapping[str, str]) -> None:
    """Note command, version and commit of the process that computes the run in `folder`, and the SHA-256 of the weights of each of its models. A
    later one that goes on with it takes its place.
    """
    command = run_command([*config_dir_words(), *overrides])
    write_json(folder / FILE, {"command": command, "version": __version__, **commit(), "weights": dict(weights)})


def origin_of(folder: Path) -> dict[str, Any]:
    """Command, version, commit and weights of the run in `folder`; empty for runs of earlier versions."""
    try:
        return read_json(folder / FILE)
    except Damaged:
        return {}


@functools.cache
def commit() -> dict[str, Any]:
    """The git commit of the clone that this package is in, and whether tracked files differ from it; nothing outside a clone, or without git."""
    clone = Path(__file__).resolve().parents[2]
    if not (clone / ".git").exists():
        return {}
    try:
        commit, changed = (_git(clone, *words) for words in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no")))
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"commit": commit, "is_changed": bool(changed)}


def _git(clone: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(clone), *words], capture_output=True, text=True, timeout=GIT_SECONDS, check=True)
    return done.stdout.strip()
