"""Where the store keeps what a finished run's stages made, and the rows in it."""

from __future__ import annotations

from pathlib import Path

from cotexp.jobs.store import Ledger, Row, Spec, read_json


def artifact_of(folder: Path, stage: str) -> Path:
    """Where the store keeps what a stage of the run in `folder` made."""
    outputs = next(parent for parent in folder.absolute().parents if (parent / "store").is_dir())
    return outputs / str(read_json(folder / "stages.json")[stage]["path"])


def rows_of(folder: Path, stage: str) -> dict[str, Row]:
    """The rows of a stage of the run in `folder` by id; other runs may have added rows of theirs."""
    return Ledger(folder=artifact_of(folder, stage), spec=Spec(stage, {}), writer="reader").read()
