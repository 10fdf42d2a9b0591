"""The runs that W&B keeps on disk, read back: names, settings and keys, without a server.

A .wandb file is a log of W&B's own records in the framing of LevelDB's logs. W&B has no public reader of it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from cotexp.settings.base import ConfigError

BLOCK, HEADER, FILE_HEADER = 32768, 7, 7
"""Sizes in bytes: of a block, before each part of a record, and at the begin of a file."""
FIRST_AND_LAST, LAST = 1, 4
"""Kinds of the parts that end a record."""


def records(path: Path) -> Iterator[Any]:
    """Every whole record of a .wandb file; one that is still being written ends them."""
    proto: Any = import_module("wandb.proto.wandb_internal_pb2")  # without types
    content = path.read_bytes()
    position, parts = FILE_HEADER, []
    while position + HEADER <= len(content):
        if BLOCK - position % BLOCK < HEADER:
            position += BLOCK - position % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", content[position : position + HEADER])
        parts.append(content[position + HEADER : position + HEADER + length])
        position += HEADER + length
        if position > len(content):
            return
        if kind in (FIRST_AND_LAST, LAST):
            record = proto.Record()
            record.ParseFromString(b"".join(parts))
            parts = []
            yield record


@dataclass(slots=True)
class KeptRun:
    """A run as W&B keeps it: `config` and `summary` by name, and the names of what was logged step by step (`logged`) with their axes by pattern."""

    id: str
    name: str = ""
    project: str = ""
    entity: str = ""
    group: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    logged: dict[str, None] = field(default_factory=dict)
    axes: dict[str, str] = field(default_factory=dict)

    @property
    def charts(self) -> list[str]:
        """The names that W&B draws: numbers that were logged, without the axes of others."""
        numbers = (name for name in self.logged if isinstance(self.summary.get(name), int | float))
        return [name for name in numbers if name not in self.axes.values() and not name.startswith("_")]


def kept_runs(folder: Path) -> list[KeptRun]:
    """The runs in a folder of W&B, in the order of their beginnings; all attempts of a run are one.

    Raises: ConfigError for a file that is none of W&B's.
    """
    from google.protobuf.message import DecodeError

    runs: dict[str, KeptRun] = {}
    for path in sorted(folder.glob("*run-*/run-*.wandb"), key=lambda path: path.parent.name.partition("run-")[2]):
        own = KeptRun(path.stem.partition("-")[2])
        run = runs.setdefault(own.id, own)
        try:
            for record in records(path):
                _take(run, record)
        except (DecodeError, ValueError) as error:
            raise ConfigError(f"{path} is no file of W&B's, or a broken one ({type(error).__name__}); move it away") from None
    return list(runs.values())


def _take(run: KeptRun, record: Any) -> None:
    """Take over what a record says."""
    if record.HasField("run"):
        _read(run, record.run)
    elif record.HasField("history"):
        _log(run, record.history.item)
    elif record.HasField("summary"):
        run.summary |= values(record.summary.update)
    elif record.HasField("metric") and record.metric.glob_name:
        run.axes[record.metric.glob_name] = record.metric.step_metric


def _read(run: KeptRun, record: Any) -> None:
    """Take over what a record says of the run itself."""
    run.name, run.project, run.entity, run.group = record.display_name, record.project, record.entity, record.run_group
    run.tags = list(record.tags)
    run.config |= {each.key: json.loads(each.value_json) for each in record.config.update}


def _log(run: KeptRun, items: Iterable[Any]) -> None:
    """Take over the names and last values of what was logged in one step."""
    for item in sorted(items, key=lambda item: [item.key] if item.key else list(item.nested_key)):  # W&B writes them in any order
        name, *parts = [item.key] if item.key else item.nested_key
        run.logged[name] = None
        if not parts:  # tables and images have several
            run.summary[name] = json.loads(item.value_json)


def values(items: Iterable[Any]) -> dict[str, Any]:
    """Name -> value of the items of a record."""
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
