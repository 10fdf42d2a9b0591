"""Reads what W&B keeps on disk of one run, artifacts and tables too."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from cotexp.tracking.wandb_files import records, values


class Written:
    """An ended run as its file tells it. W&B's own process may still be writing when `finish` returns."""

    def __init__(self, path: Path) -> None:
        deadline = time.monotonic() + 600
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
        return [values(each.history.item) for each in self.records if each.HasField("history")]

    @property
    def summary(self) -> dict[str, Any]:
        return {name: value for each in self.records if each.HasField("summary") for name, value in values(each.summary.update).items()}

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


def written_in(outputs: Path, run_key: str) -> Written:
    """The only run with this id under outputs/wandb."""
    (path,) = (outputs / "wandb").glob(f"offline-run-*/run-{run_key}.wandb")
    return Written(path)
