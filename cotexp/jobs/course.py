"""What is known of a run's length before it begins: its stages, and how long each took in earlier runs of the experiment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cotexp import flow
from cotexp.jobs.status import Course, Status, read_status
from cotexp.stages.context import Context
from cotexp.store.stored_files import STAGES, Damaged, stages_of

MOST_RUNS = 50
"""The newest runs of an experiment that are read."""


def course_of(context: Context, folder: Path, wanted: Mapping[str, Mapping[str, Any]]) -> Course:
    """The course of the run in `folder`, which will use the parts `wanted` of the store."""
    earlier = [run for each in _finished(folder) if (run := _read(each)) is not None]
    stored = {entry["key"] for _, stages in earlier for entry in stages.values() if "key" in entry}
    stages = flow.course_of(context)
    needed = {stage: {entry["key"] for entry in wanted.values() if _stage_of(entry) == stage} for stage in stages}
    expected = {stage: 0.0 for stage, keys in needed.items() if keys and keys <= stored}
    for stage in (each for each in stages if each not in expected):
        seconds = [timed["seconds"] for status, _ in earlier if (timed := status.timed.get(stage)) and timed["rows"]]
        expected |= {stage: seconds[0]} if seconds else {}
    return Course(stages, expected)


def _stage_of(entry: Mapping[str, Any]) -> str:
    """The name in times of the stage that keeps this part of the store: of store/rounds/KEY it is rounds."""
    return flow.timed_as(flow.STAGES[Path(entry["path"]).parent.name])


def _finished(folder: Path) -> list[Path]:
    """Folders of the other finished runs of the same experiment, the newest first."""
    others = {each: (each / STAGES).stat().st_mtime for each in folder.parent.iterdir() if each != folder and (each / STAGES).is_file()}
    return sorted(others, key=lambda each: others[each], reverse=True)[:MOST_RUNS]


def _read(folder: Path) -> tuple[Status, dict[str, dict[str, Any]]] | None:
    """(status, parts of the store) of a finished run; None if they cannot be read, which is told where they are needed."""
    try:
        status = read_status(folder)
        return None if status is None else (status, stages_of(folder))
    except Damaged:
        return None
