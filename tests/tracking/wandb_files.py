"""Reads what W&B keeps on disk: LevelDB's log framing around W&B's own protobuf records."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK = 32768


def records(path: Path) -> Iterator[Any]:
    """Every whole record of a .wandb file."""
    from wandb.proto import wandb_internal_pb2

    content = path.read_bytes()
    position, parts = 7, []
    while position + 7 <= len(content):
        if BLOCK - position % BLOCK < 7:
            position += BLOCK - position % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", content[position : position + 7])
        parts.append(content[position + 7 : position + 7 + length])
        position += 7 + length
        if position > len(content):
            return
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(b"".join(parts))
            parts = []
            yield record


class Written:
    """An ended run as its file tells it. W&B's own process may still be writing when `finish` returns."""

    def __init__(self, path: Path) -> None:
        deadline = time.monotonic() + 60
        seen = list(records(path))
        while not any(each.HasField("exit") for each in seen):
            assert time.monotonic() < deadline, f"{path} holds no exit record"
            time.sleep(0.1)
            seen = list(records(path))
        self.folder, self.records = path.parent, seen
        runs = [each.run for each in seen if each.HasField("run")]
        self.run, self.tags = runs[0], list(runs[-1].tags)
        self.config = {each.key: json.loads(each.value_json) for each in self.run.config.update}
        self.axes = {each.metric.glob_name: each.metric.step_metric for each in seen if each.HasField("metric") and each.metric.glob_name}

    @property
    def history(self) -> list[dict[str, Any]]:
        return [{_name(item): json.loads(item.value_json) for item in each.history.item} for each in self.records if each.HasField("history")]

    @property
    def summary(self) -> dict[str, Any]:
        return {_name(item): json.loads(item.value_json) for each in self.records if each.HasField("summary") for item in each.summary.update}

    def curve(self, name: str) -> list[Any]:
        return [row[name] for row in self.history if name in row]

    def table(self, name: str) -> tuple[list[str], list[list[Any]]]:
        """(columns, rows) of the table that was logged under a name."""
        (path,) = self.curve(f"{name}/path")
        content = json.loads((self.folder / "files" / path).read_text())
        return content["columns"], content["data"]

    @property
    def artifacts(self) -> dict[str, Any]:
        """Artifacts of this project by kind and scope; tables log some of their own."""
        own = [each.artifact for each in self.records if each.HasField("artifact") and each.artifact.type != "run_table"]
        return {f"{each.type} {json.loads(each.metadata)['scope']}".strip(): each for each in own}


def _name(item: Any) -> str:
    return item.key or "/".join(item.nested_key)


def written_in(outputs: Path, run_key: str) -> Written:
    """The only run with this id under outputs/wandb."""
    (path,) = (outputs / "wandb").glob(f"offline-run-*/run-{run_key}.wandb")
    return Written(path)
