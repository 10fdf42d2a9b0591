"""W&B offline, read back from its own files: LevelDB framing around wandb's protobuf records."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cotexp import schema, tracking
from cotexp.settings import Settings

BLOCK = 32768


def records(path: Path) -> Iterator[Any]:
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


def written_records(path: Path) -> list[Any]:
    """Every record of an ended run: W&B's own process may still be writing the file when `finish` returns."""
    deadline = time.monotonic() + 60
    while True:
        seen = list(records(path))
        if any(each.HasField("exit") for each in seen):
            return seen
        assert time.monotonic() < deadline, f"{path} holds no exit record; records: {[each.WhichOneof('record_type') for each in seen]}"
        time.sleep(0.1)


def settings_in(outputs: Path, *overrides: str) -> Settings:
    return schema.check_command_line([f"paths.outputs={outputs}", "model=hf", "model.path=nowhere", *overrides], multirun=False)[0]


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A finished run's folder with a stored training curve and no rounds."""
    folder = tmp_path / "runs" / "name" / "key"
    checkpoint = tmp_path / "store" / "checkpoint" / "abc"
    for each in (folder, checkpoint):
        each.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps({"eval/full/accuracy": 0.5}))
    (folder / "stages.json").write_text(json.dumps({"checkpoint": {"key": "abc", "path": "store/checkpoint/abc"}}))
    (checkpoint / "curve.jsonl").write_text("".join(json.dumps({"step": n, "train/loss": 1.0 / n}) + "\n" for n in (1, 2, 3)))
    return folder


def test_a_finished_run_is_published_offline_with_curve_summary_and_settings_and_only_once(tmp_path: Path, finished: Path) -> None:
    settings = settings_in(tmp_path, "tracking.tags=[a,b]", "seed=7")
    with tracking.tracker(settings, "f00dcafe0000") as tracker:
        tracker.publish(finished, {"eval/full/accuracy": 0.5})
    (path,) = (tmp_path / "wandb").glob("offline-run-*/run-f00dcafe0000.wandb")
    seen = written_records(path)
    run = next(each.run for each in seen if each.HasField("run"))
    assert (run.run_id, run.run_group, list(run.tags)) == ("f00dcafe0000", "macc/quickstart", ["a", "b"])
    config = {each.key: json.loads(each.value_json) for each in run.config.update}
    assert config["seed"] == 7
    assert config["compression"]["max_rounds"] == 6
    losses = [
        json.loads(item.value_json)
        for each in seen
        if each.HasField("history")
        for item in each.history.item
        if (item.key or "/".join(item.nested_key)) == "train/loss"
    ]
    assert losses == [1.0, 0.5, pytest.approx(1 / 3)]
    summary = {
        item.key or "/".join(item.nested_key): json.loads(item.value_json)
        for each in seen
        if each.HasField("summary")
        for item in each.summary.update
    }
    assert summary["eval/full/accuracy"] == 0.5
    with tracking.tracker(settings, "f00dcafe0000") as tracker:
        tracker.publish(finished, {"eval/full/accuracy": 0.5})
        assert tracker.run is None, "a published run must not begin another W&B run"


def test_a_planted_key_is_in_no_file(tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "0123456789abcdef0123456789abcdef01234567"
    monkeypatch.setenv("WANDB_API_KEY", secret)
    with tracking.tracker(settings_in(tmp_path, "tracking.mode=offline"), "f00dcafe0001") as tracker:
        tracker.publish(finished, {"eval/full/accuracy": 0.5})
    (run,) = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    written_records(run)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if secret.encode() in path.read_bytes()]


def test_no_tracking_starts_nothing(tmp_path: Path, finished: Path) -> None:
    with tracking.tracker(settings_in(tmp_path, "tracking=none"), "f00dcafe0002") as tracker:
        tracker.on_curve({"step": 1}, 1)
        tracker.publish(finished, {})
    assert not (tmp_path / "wandb").exists()


def test_a_broken_tracker_does_not_break_the_run(tmp_path: Path, finished: Path) -> None:
    (finished.parents[2] / "store" / "checkpoint" / "abc" / "curve.jsonl").write_text("not json\n")
    with tracking.tracker(settings_in(tmp_path), "f00dcafe0003") as tracker:
        tracker.publish(finished, {"eval/full/accuracy": 0.5})
        assert tracker.broken
