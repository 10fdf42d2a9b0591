"""What W&B gets offline, read back from its own files; and that nothing in it holds a run up."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from finished_runs import CURVE, KEY, settings_in, write_run
from wandb_files import Written, written_in
from wandb_server import WandbServer

from cotexp import tracking
from cotexp.settings.root import Settings

ROOT = Path(__file__).resolve().parents[2]
SECRET = "0123456789abcdef0123456789abcdef01234567"
SECRETS = ("WANDB_API_KEY", "OPENAI_API_KEY", "HF_TOKEN")


def png() -> bytes:
    """One black pixel."""
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)), (b"IDAT", zlib.compress(b"\0\0")), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def publish(settings: Settings, folder: Path, *, overrides: Sequence[str] = (), options: Mapping[str, str] | None = None) -> tracking.Tracker:
    with tracking.tracker(settings, folder.name, overrides=overrides, options=options) as tracker:
        tracker.publish(folder, json.loads((folder / "metrics.json").read_text()))
    assert not tracker.broken
    return tracker


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """What W&B keeps of a run of a sweep that is measured against a baseline, published while keys lie in the environment."""
    outputs = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        for name in SECRETS:
            patch.setenv(name, SECRET)
        settings = settings_in(
            outputs, "tracking.mode=offline", "tracking.tags=[mine]", "tracking.notes=why", "baseline='compression=none'", "seed=7"
        )
        write_run(outputs, settings_in(outputs, "compression=none", "seed=7"), "beefbeefbeef", right="0" * 8, num_tokens=30)
        write_run(outputs, settings_in(outputs, "compression=none", "seed=8"), "beefbeefbeee", right="1" * 8, num_tokens=10)
        folder = write_run(outputs, settings, right="1" * 7 + "0")
        (folder / "figures").mkdir()
        (folder / "figures" / "curve.png").write_bytes(png())
        options = {"sweep": "macc/rounds", "compression": "macc", "compressor": "tiny"}
        publish(settings, folder, overrides=["compression.max_rounds=10", "seed=7", "paths.outputs=x"], options=options)
    return written_in(outputs, KEY)


def test_a_run_has_its_key_group_job_type_notes_and_the_tag_of_its_sweep(whole: Written) -> None:
    assert whole.run.display_name == "macc/quickstart rounds=10 s7"
    assert (whole.run.run_id, whole.run.run_group, whole.run.job_type, whole.run.notes) == (KEY, "macc/quickstart", "train", "why")
    assert whole.tags == ["macc/rounds", "mine"]


def test_all_settings_are_there_and_flat_ones_name_the_option_of_each_slot_and_what_the_command_line_set(whole: Written) -> None:
    assert whole.config["trainer"]["learning_rate"] == 1e-3
    assert whole.config["compression"]["max_rounds"] == 10
    flat = {name: value for name, value in whole.config.items() if name.startswith("ablation/")}
    assert flat == {
        "ablation/experiment": "macc/quickstart",
        "ablation/task": "stories",
        "ablation/model": "hf",
        "ablation/teacher": "self",
        "ablation/selection": "all",
        "ablation/compressor": "tiny",
        "ablation/compression": "macc",
        "ablation/compression/max_rounds": 10,
    }


def test_each_phase_has_its_curve_over_an_axis_of_its_own(whole: Written) -> None:
    assert whole.axes == {"train/*": "train/step", "validation/*": "validation/step", "rounds/*": "rounds/round"}
    assert whole.curve("train/loss") == [1.0, 0.5, pytest.approx(1 / 3)]
    assert whole.curve("train/loss_compress") == [2.0, 1.0, pytest.approx(2 / 3)]
    assert whole.curve("train/loss/svamp") == [4.0, 2.0, pytest.approx(4 / 3)]
    assert (whole.curve("train/step"), whole.curve("validation/step"), whole.curve("validation/loss")) == ([1, 2, 3], [3], [0.25])
    assert (whole.curve("rounds/round"), whole.curve("rounds/num_tokens"), whole.curve("rounds/num_tokens_kept")) == ([0, 1, 2], [6, 4, 3], [6, 4, 4])


def test_the_summary_holds_metrics_and_the_paired_difference_to_the_declared_baseline_of_the_same_seed(whole: Written) -> None:
    """Seven of eight questions are right in this run alone: McNemar's p is 2 / 2 ** 7; each answer is ten tokens shorter."""
    assert whole.summary["eval/compress/accuracy"] == 7 / 8
    assert whole.summary["eval/compress/accuracy_low"] == 0.1
    assert whole.summary["delta/baseline"] == "beefbeefbeef"
    assert whole.summary["delta/accuracy"] == 7 / 8
    assert whole.summary["delta/accuracy_low"] < 7 / 8 < whole.summary["delta/accuracy_high"]
    assert whole.summary["delta/accuracy_p_value"] == pytest.approx(2 / 2**7)
    assert whole.summary["delta/num_tokens"] == -10
    assert whole.summary["delta/num_tokens_p_value"] == pytest.approx(2 / 2**8, rel=0.2), "all signs equal, by permutation"


def test_accuracy_and_tokens_are_charts_under_the_names_of_the_summary_and_with_one_task_have_one_name(whole: Written) -> None:
    assert whole.curve("eval/compress/accuracy") == [7 / 8]
    assert whole.curve("delta/accuracy") == [7 / 8]
    assert whole.curve("eval/compress/accuracy_low") == [], "an interval is no chart of its own"
    assert [name for name in whole.summary if "/stories/" in name] == []


def test_command_version_and_commit_are_settings_of_the_run(whole: Written) -> None:
    assert whole.config["origin"] == {"command": "cotexp run seed=7", "version": "0.1.0", "commit": "c0ffee", "is_changed": False}


def test_the_summary_is_written_before_curves_tables_and_artifacts(whole: Written) -> None:
    kinds = [each.WhichOneof("record_type") for each in whole.records]
    assert kinds.index("summary") < kinds.index("history") < kinds.index("artifact")


def test_tables_hold_a_row_per_question_with_the_modes_side_by_side_and_rounds_and_figures_are_images(whole: Written) -> None:
    columns, rows = whole.table("tables/predictions")
    assert columns[:9] == ["question_id", "sample", "task", "question", "gold", "base/correct", "full/correct", "compress/correct", "base/num_tokens"]
    seen = [dict(zip(columns, row, strict=True)) for row in rows]
    assert [each["question_id"] for each in seen] == [f"stories-{number}" for number in range(8)]
    first, text = seen[0], "<b>stories-0</b> The answer is 7."
    assert (first["question"], first["gold"], first["compress/extracted"]) == ("How many is stories-0?", "7", "7")
    for mode in ("base", "full", "compress"):
        assert (first[f"{mode}/text"], first[f"{mode}/correct"], first[f"{mode}/num_tokens"], seen[-1][f"{mode}/correct"]) == (text, True, 20, False)
    columns, rows = whole.table("tables/rounds")
    assert [row[columns.index("text")] for row in rows] == ["One. Two.", "Two.", "Two.Two."]
    assert [row[columns.index("kept")] for row in rows] == [False, True, False]
    assert whole.curve("figures/curve/_type") == ["image-file"]


def test_artifacts_lead_from_the_dataset_to_predictions_by_reference_with_checksums(whole: Written) -> None:
    inputs = {kind: json.loads(each.metadata)["inputs"] for kind, each in whole.artifacts.items()}
    names = {kind: each.name for kind, each in whole.artifacts.items()}
    assert inputs == {
        "dataset": [],
        "rationales stories": [names["dataset"]],
        "rounds stories": [names["rationales stories"]],
        "selection": [names["rationales stories"], names["rounds stories"]],
        "checkpoint": [names["selection"]],
        "predictions base/stories": [names["dataset"]],
        "predictions full/stories": [names["dataset"], names["checkpoint"]],
        "predictions compress/stories": [names["dataset"], names["checkpoint"]],
    }
    is_input = {kind for kind, each in whole.artifacts.items() if each.use_after_commit}
    assert is_input == {"dataset", "rationales stories"}, "what lay in the store before the run began is read, not made"
    for entry in (entry for each in whole.artifacts.values() for entry in each.manifest.contents):
        path = Path(entry.ref.removeprefix("file://"))
        assert entry.ref.startswith("file:///")
        assert path.is_file()
        assert entry.size == path.stat().st_size
        assert len(entry.digest) == 24, "an MD5 in base64"
    grades = [entry.path for entry in whole.artifacts["predictions full/stories"].manifest.contents]
    assert "rows-w.jsonl" in grades
    assert "grades/rows-w.jsonl" in grades


@pytest.mark.slow
def test_wandbs_own_reader_of_offline_runs_shows_the_same_metrics_settings_and_tags(whole: Written) -> None:
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--summary", "--json", str(whole.folder)]
    shown = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert (shown["run_id"], shown["state"], shown["exit_code"], shown["tags"], shown["notes"]) == (KEY, "finished", 0, whole.tags, "why")
    assert {name: shown["summary"][name] for name in ("train/loss", "validation/step", "rounds/num_tokens")} == {
        "train/loss": pytest.approx(1 / 3),
        "validation/step": 3,
        "rounds/num_tokens": 3,
    }
    assert shown["summary"]["eval/compress/accuracy"] == whole.summary["eval/compress/accuracy"]
    assert shown["summary"]["delta/baseline"] == "beefbeefbeef"
    assert shown["config"]["ablation/compressor"] == "tiny"


def test_planted_keys_are_in_no_file(whole: Written) -> None:
    files = [path for path in whole.folder.parents[1].rglob("*") if path.is_file()]
    assert len(files) > 20
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []


def test_files_are_uploaded_where_the_settings_ask_for_it(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, "tracking.upload=[checkpoint]")
    publish(settings, write_run(tmp_path, settings))
    artifacts = written_in(tmp_path, KEY).artifacts
    assert [entry.path for entry in artifacts["checkpoint"].manifest.contents if entry.local_path and not entry.ref] == [
        "curve.jsonl",
        "manifest.json",
    ]
    assert all(entry.ref for entry in artifacts["rounds stories"].manifest.contents)


def die_after_one_step(settings: Settings) -> None:
    with tracking.tracker(settings, KEY) as tracker:
        tracker.on_metrics({"questions/num_test": 2})
        tracker.on_curve(CURVE[0], 3)
        raise KeyboardInterrupt


@pytest.mark.slow
def test_a_run_that_dies_keeps_its_curve_and_its_early_metrics_and_the_next_attempt_leaves_one_whole_run(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        die_after_one_step(settings)
    first = written_in(tmp_path, KEY)
    assert (first.curve("train/loss"), first.summary["questions/num_test"]) == ([1.0], 2)
    folder = write_run(tmp_path, settings)
    time.sleep(1)  # W&B names its folders by the second
    with tracking.tracker(settings, KEY) as tracker:
        for row in CURVE[1:3]:
            tracker.on_curve(row, 3)
        tracker.publish(folder, {"eval/compress/accuracy": 0.5})
    assert written_in(tmp_path, KEY).curve("train/loss") == [1.0, 0.5, pytest.approx(1 / 3)]
    assert not first.folder.exists()


@pytest.mark.slow
def test_an_attempt_that_goes_on_in_the_middle_and_dies_keeps_its_part_of_the_curve(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with tracking.tracker(settings, KEY) as tracker:
        for row in CURVE[1:3]:
            tracker.on_curve(row, 3)
    assert written_in(tmp_path, KEY).curve("train/step") == [2, 3]


@pytest.mark.slow
def test_a_finished_run_is_published_once_and_again_for_another_sweep_or_a_baseline_that_came_later(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, "baseline='compression=none'")
    folder = write_run(tmp_path, settings)
    publish(settings, folder, options={"sweep": "first"})
    assert "delta/accuracy" not in written_in(tmp_path, KEY).summary
    assert publish(settings, folder, options={"sweep": "first"}).publisher.sent is None, "what W&B has begins no other run"  # type: ignore[union-attr]
    time.sleep(1)
    publish(settings, folder, options={"sweep": "second"})
    assert written_in(tmp_path, KEY).tags == ["first", "second"]
    write_run(tmp_path, settings_in(tmp_path, "compression=none"), "beefbeefbeef", right="00")
    time.sleep(1)
    publish(settings, folder)
    last = written_in(tmp_path, KEY)
    assert (last.tags, last.summary["delta/accuracy"]) == (["first", "second"], 0.5)


def test_a_run_can_be_measured_against_the_model_before_fine_tuning(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, "baseline=base")
    publish(settings, write_run(tmp_path, settings))
    summary = written_in(tmp_path, KEY).summary
    assert (summary["delta/baseline"], summary["delta/accuracy"], summary["delta/accuracy_p_value"]) == ("base", 0, 1)


def test_no_tracking_starts_nothing(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, "tracking=none")
    folder = write_run(tmp_path, settings)
    with tracking.tracker(settings, KEY) as tracker:
        tracker.on_curve({"step": 1}, 1)
        tracker.publish(folder, {})
    assert tracker.thread is None
    assert not (tmp_path / "wandb").exists()


def test_a_broken_tracker_does_not_break_the_run(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    folder = write_run(tmp_path, settings)
    (tmp_path / "store" / "checkpoint" / f"c{KEY}000" / "curve.jsonl").write_text("not json\n")
    with tracking.tracker(settings, KEY) as tracker:
        tracker.publish(folder, {"eval/full/accuracy": 0.5})
    assert tracker.broken
    assert not (folder / "published.json").exists(), "the next command tries again"


SCRIPT = """
import json, sys, time
from finished_runs import KEY, settings_in, write_run
from pathlib import Path
from cotexp import tracking
outputs = Path(sys.argv[1])
settings = settings_in(outputs, "tracking.mode=online", "tracking.finish_seconds=20")
folder = write_run(outputs, settings)
with tracking.tracker(settings, KEY) as tracker:
    began = time.monotonic()
    for step in range(1000):
        tracker.on_curve({"step": step + 1, "train/loss": 1.0}, 1000)
    tracker.publish(folder, {"eval/full/accuracy": 0.5})
    held_up = time.monotonic() - began
ended = time.monotonic() - began
began = time.monotonic()
with tracking.tracker(settings, "f00dcafe0001") as tracker:
    tracker.on_metrics({"a": 1})
print(json.dumps([held_up, ended, time.monotonic() - began]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("answers", [False, True], ids=["nobody listens", "somebody listens and never answers"])
def test_a_network_that_is_lost_holds_nothing_up_and_the_run_is_kept_on_disk(tmp_path: Path, answers: bool) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if answers:
            server.listen()
        here, root = str(Path(__file__).parent), str(Path(tracking.__file__).parents[2])
        environment = {**os.environ, "WANDB_BASE_URL": f"http://127.0.0.1:{server.getsockname()[1]}", "WANDB_API_KEY": SECRET}
        environment["PYTHONPATH"] = os.pathsep.join([here, root])
        done = subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    held_up, ended, second = json.loads(done.stdout.splitlines()[-1])
    assert held_up < ended / 2, "a thousand steps and all of the results are handed over without a wait; the end alone takes seconds"
    assert second < ended / 2, "the next point of a sweep does not wait again"
    assert "cannot be reached" in done.stderr
    written = written_in(tmp_path, KEY)
    assert len(written.curve("train/loss")) == 1000
    assert written.summary["eval/full/accuracy"] == 0.5


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., WandbServer]]:
    """Starts a server that W&B's client takes for its own; W&B's own process ends with the test."""
    import wandb

    servers = []

    def start(**options: Any) -> WandbServer:
        servers.append(WandbServer(**options))
        monkeypatch.setenv("WANDB_BASE_URL", servers[-1].address)
        monkeypatch.setenv("WANDB_API_KEY", SECRET)
        wandb.teardown()
        return servers[-1]

    yield start
    wandb.teardown()
    for each in servers:
        each.close()


def test_online_a_run_that_goes_on_continues_its_curve_where_the_server_has_it(tmp_path: Path, online: Callable[..., WandbServer]) -> None:
    server = online(resumed_at={"train/step": 2, "train/loss": 0.5})
    with tracking.tracker(settings_in(tmp_path), KEY) as tracker:
        tracker.on_metrics({"questions/num_test": 2})
        for row in CURVE:
            tracker.on_curve(row, 3)
    assert not tracker.broken
    assert [row["train/step"] for row in server.history if "train/step" in row] == [3]
    assert [row["validation/step"] for row in server.history if "validation/step" in row] == [3]
    assert server.summary["questions/num_test"] == 2


@pytest.mark.slow
def test_a_server_that_is_lost_in_the_middle_holds_nothing_up_and_all_is_on_disk(tmp_path: Path, online: Callable[..., WandbServer]) -> None:
    server = online()
    settings = settings_in(tmp_path, "tracking.finish_seconds=10")
    with tracking.tracker(settings, KEY) as tracker:
        tracker.on_curve(CURVE[0], 3)
        deadline = time.monotonic() + 600
        while not server.history and time.monotonic() < deadline:
            time.sleep(0.1)
        assert server.history
        server.close()
        began = time.monotonic()
        for step in range(2, 1000):
            tracker.on_curve({"step": step, "train/loss": 1.0}, 1000)
        held_up = time.monotonic() - began
    assert held_up < (time.monotonic() - began) / 2, "the end alone takes seconds"
    (path,) = (tmp_path / "wandb").glob(f"run-*/run-{KEY}.wandb")
    assert len(Written(path).curve("train/loss")) == 999


@pytest.mark.slow
def test_a_run_is_published_whole_and_did_not_fail_if_nobody_reads_its_table(tmp_path: Path) -> None:
    sizes = ["task.num_train=6", "task.num_validation=2", "task.num_test=4", "compression.max_rounds=1", "trainer.max_steps=1"]
    words = [*sizes, "debug=fast", "evaluation.latency=false", "tracking.mode=offline", f"paths.outputs={tmp_path}"]
    reader_gone, writer = os.pipe()
    os.close(reader_gone)
    subprocess.run([sys.executable, "run.py", *words], cwd=ROOT, stdout=writer, stderr=subprocess.DEVNULL, check=False)
    os.close(writer)
    (path,) = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    written = Written(path)
    assert [each.exit.exit_code for each in written.records if each.HasField("exit")] == [0]
    assert "eval/compress/accuracy" in written.summary
    assert written.artifacts, "results and examples"
