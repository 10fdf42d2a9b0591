"""Where the store keeps what a finished run's stages made, and the rows in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from cotexp.jobs.ledger_files import say_once
from cotexp.jobs.store import Ledger, Row, Spec
from cotexp.jobs.stored_files import stages_of, understood
from cotexp.sections import RunFailed

T = TypeVar("T")


def unless_broken(folder: Path, read: Callable[[Path], T], otherwise: T) -> T:
    """What `read` makes of the run in `folder`; `otherwise`, with a line, where a file is broken: one run never hides the others."""
    try:
        with understood(folder):
            return read(folder)
    except RunFailed as error:
        say_once(f"{folder}: a part of it is not shown: {error}")
        return otherwise


def artifact_of(folder: Path, stage: str) -> Path:
    """Where the store keeps what a stage of the run in `folder` made."""
    outputs = next(parent for parent in folder.absolute().parents if (parent / "store").is_dir())
    return outputs / str(stages_of(folder)[stage]["path"])


def stage_rows(folder: Path, stage: str) -> dict[str, Row]:
    """The rows of a stage of the run in `folder` by id; other runs may have added rows of theirs."""
    return Ledger(folder=artifact_of(folder, stage), spec=Spec(stage, {}), writer="reader").read()
