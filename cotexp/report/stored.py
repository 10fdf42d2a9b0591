"""Reads the results of a run's stages in the store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from cotexp.settings.base import RunFailed
from cotexp.store.ledger_files import warn_once
from cotexp.store.ledgers import Ledger
from cotexp.store.specs import Spec
from cotexp.store.stored_files import Row, reading_run, stages_of

T = TypeVar("T")


def unless_broken(folder: Path, read: Callable[[Path], T], otherwise: Callable[[], T]) -> T:
    """The result of `read` for the run in `folder`. If a file is broken: a warning, and the result of `otherwise`, so that other runs are shown."""
    try:
        with reading_run(folder):
            return read(folder)
    except RunFailed as error:
        warn_once(f"{folder}: a part of it is not shown: {error}")
        return otherwise()


def artifact_of(folder: Path, stage: str) -> Path:
    """Folder in the store of the result of a stage of the run in `folder`."""
    outputs = next(parent for parent in folder.absolute().parents if (parent / "store").is_dir())
    return outputs / str(stages_of(folder)[stage]["path"])


def stage_rows(folder: Path, stage: str) -> dict[str, Row]:
    """The rows of a stage of the run in `folder` by id, including those that other runs added."""
    return Ledger(folder=artifact_of(folder, stage), spec=Spec(stage, {}), writer="reader").read()
