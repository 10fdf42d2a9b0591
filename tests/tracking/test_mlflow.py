"""What MLflow's real server holds of runs, asked through its REST API; and that a server that is away holds nothing up and loses nothing."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest
from finished_runs import CURVE, KEY, settings_in, write_run
from mlflow_server import MlflowServer, pairs, reason_to_skip

from cotexp import signals, tracking
from cotexp.settings.base import ConfigError
from cotexp.settings.root import Settings

NAME = "macc/quickstart"
SECRET = "hunter2secret"
needs_server = pytest.mark.skipif(reason_to_skip() is not None, reason=str(reason_to_skip()))
needs_client = pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="needs mlflow-skinny: make .venv/.mlflow")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    server = MlflowServer(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.stop()


def tracked_in(outputs: Path, server: MlflowServer | str, *overrides: str) -> Settings:
    """Settings of a run that is tracked by a server in an experiment of its own folder's name."""
    address = server if isinstance(server, str) else server.address
    return settings_in(outputs, "tracking=mlflow", f"tracking.uri={address}", f"tracking.experiment={outputs.name}", *overrides)


def publish(settings: Settings, folder: Path, *, overrides: Sequence[str] = (), options: Mapping[str, str] | None = None) -> tracking.Tracker:
    with tracking.tracker(settings, folder.name, overrides=overrides, options=options) as tracker:
        tracker.publish(folder, json.loads((folder / "metrics.json").read_text()))
    assert not tracker.broken
    return tracker


def die(settings: Settings, error: BaseException, rows: Sequence[dict[str, float]], *metrics: Mapping[str, float]) -> None:
    """A run that ends with an error after some metrics and rows of its curve."""
    with contextlib.suppress(type(error)), tracking.tracker(settings, KEY) as tracker:
        for each in metrics:
            tracker.on_metrics(each)
        for row in rows:
            tracker.on_curve(row, len(rows))
        raise error
    assert not tracker.broken


class Held:
    """The only run of an experiment as the server tells it."""

    def __init__(self, server: MlflowServer, experiment: str) -> None:
        (self.run,) = server.runs(experiment)
        self.server, self.id, self.status = server, self.run["info"]["run_id"], self.run["info"]["status"]
        self.params, self.tags, self.metrics = (pairs(self.run["data"].get(name, [])) for name in ("params", "tags", "metrics"))

    def curve(self, metric: str) -> list[tuple[int, float]]:
        return self.server.curve(self.id, metric)

    def json(self, path: str) -> Any:
        return json.loads(self.server.file(self.id, path))


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("whole")


@pytest.fixture(scope="module")
def whole(outputs: Path, running: MlflowServer) -> Held:
    """A run of a sweep that is measured against a baseline, published while a password lies in the environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_USERNAME", "me")
        patch.setenv("MLFLOW_TRACKING_PASSWORD", SECRET)
        more = ["tracking.tags=[mine,'who=me']", "tracking.notes='why **so**'", "tracking.upload=[checkpoint]"]
        more += ["baseline='compression=none'", "seed=7"]
        settings = tracked_in(outputs, running, *more)
        write_run(outputs, tracked_in(outputs, running, "compression=none", "seed=7"), "beefbeefbeef", right="0" * 8, num_tokens=30)
        folder = write_run(outputs, settings, right="1" * 7 + "0")
        (folder / "figures").mkdir()
        (folder / "figures" / "curve.png").write_bytes(b"\x89PNG")
        options = {"sweep": "macc/rounds", "compression": "macc", "compressor": "tiny"}
        publish(settings, folder, overrides=["compression.max_rounds=10", "seed=7"], options=options)
    return Held(running, outputs.name)


@needs_server
@pytest.mark.slow
def test_a_run_has_its_name_key_status_times_notes_and_tags(whole: Held) -> None:
    info = whole.run["info"]
    assert (info["run_name"], whole.status, info["start_time"]) == (f"{NAME} rounds=10 s7", "FINISHED", 1000_000)
    assert whole.tags["cotexp.run_key"] == KEY
    assert (whole.tags["mine"], whole.tags["who"], whole.tags["macc/rounds"], whole.tags["job_type"]) == ("true", "me", "true", "train")
    assert whole.tags["mlflow.note.content"] == "why **so**"


@needs_server
@pytest.mark.slow
def test_all_settings_are_parameters_and_flat_ones_name_the_options(whole: Held) -> None:
    assert (whole.params["trainer.learning_rate"], whole.params["compression.max_rounds"], whole.params["seed"]) == ("0.001", "10", "7")
    assert (whole.params["ablation/compressor"], whole.params["ablation/compression/max_rounds"]) == ("tiny", "10")
    assert len(whole.params) > 100, "more than one request takes"


@needs_server
@pytest.mark.slow
def test_each_phase_has_its_curve_over_its_own_steps(whole: Held) -> None:
    assert whole.curve("train/loss") == [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3))]
    assert whole.curve("train/loss/svamp") == [(1, 4.0), (2, 2.0), (3, pytest.approx(4 / 3))]
    assert whole.curve("train/learning_rate") == [(1, 0.1), (2, 0.1), (3, 0.1)]
    assert whole.curve("validation/loss") == [(3, 0.25)]
    assert whole.curve("rounds/num_tokens") == [(0, 6.0), (1, 4.0), (2, 3.0)]


@needs_server
@pytest.mark.slow
def test_metrics_and_the_paired_difference_to_the_baseline_are_those_of_the_run(whole: Held) -> None:
    assert (whole.metrics["eval/compress/accuracy"], whole.metrics["delta/accuracy"], whole.metrics["delta/num_tokens"]) == (7 / 8, 7 / 8, -10)
    assert whole.metrics["delta/accuracy_p_value"] == pytest.approx(2 / 2**7)
    assert whole.tags["delta/baseline"] == "beefbeefbeef"


@needs_server
@pytest.mark.slow
def test_tables_figures_and_the_runs_own_files_are_artifacts(whole: Held) -> None:
    table = whole.json("tables/predictions.json")
    first = dict(zip(table["columns"], table["data"][0], strict=True))
    assert (first["question"], first["base/text"], first["base/correct"]) == ("How many is stories-0?", "<b>stories-0</b> The answer is 7.", True)
    assert [row[3] for row in whole.json("tables/rounds.json")["data"]] == ["One. Two.", "Two.", "Two.Two."]
    assert json.loads(whole.tags["mlflow.loggedArtifacts"]) == [
        {"path": f"tables/{each}.json", "type": "table"} for each in ("rounds", "predictions")
    ]
    assert whole.server.file(whole.id, "figures/curve.png") == b"\x89PNG"
    assert whole.json("settings.json")["seed"] == 7
    assert whole.json("metrics.json")["eval/compress/accuracy"] == 7 / 8


@needs_server
@pytest.mark.slow
def test_lineage_leads_from_the_dataset_to_predictions_and_the_checkpoint_is_a_model(whole: Held) -> None:
    artifacts = {(each["kind"], each["scope"]): each for each in whole.json("lineage.json")["artifacts"]}
    assert artifacts["predictions", "full/stories"]["inputs"] == [artifacts[each]["name"] for each in (("dataset", ""), ("checkpoint", ""))]
    for file in (file for each in artifacts.values() for file in each["files"]):
        assert Path(file["uri"].removeprefix("file://")).stat().st_size == file["size"]
        assert len(file["md5"]) == 32
    inputs = whole.run["inputs"]["dataset_inputs"]
    assert {each["dataset"]["name"] for each in inputs} == {artifacts["dataset", ""]["name"], artifacts["rationales", "stories"]["name"]}
    (output,) = whole.run["outputs"]["model_outputs"]
    model = whole.server.ask(f"logged-models/{output['model_id']}")["model"]
    assert (model["info"]["name"], model["info"]["status"]) == (artifacts["checkpoint", ""]["name"], "LOGGED_MODEL_READY")
    assert pairs(model["info"]["tags"])["uri"].startswith("file:///")
    uploaded = whole.server.file(whole.id, f"artifacts/{artifacts['checkpoint', '']['name']}/manifest.json")
    assert json.loads(uploaded) == {"stage": "checkpoint"}


@needs_server
@pytest.mark.slow
def test_passwords_are_in_no_file(whole: Held, outputs: Path) -> None:
    files = [path for folder in (outputs, whole.server.folder) for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 20
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []


@needs_server
@pytest.mark.slow
def test_a_run_that_dies_keeps_its_part_and_the_next_attempt_continues_the_same_run(tmp_path: Path, running: MlflowServer) -> None:
    settings = tracked_in(tmp_path, running)
    die(settings, KeyboardInterrupt(), [CURVE[0]], {"questions/num_test": 2, "eval/compress/accuracy": 0.25})
    first = Held(running, tmp_path.name)
    assert (first.status, first.curve("train/loss"), first.metrics["questions/num_test"]) == ("KILLED", [(1, 1.0)], 2)
    other = tracked_in(tmp_path, running, "tracking.notes=changed", "evaluation.batch_size=3")
    folder = write_run(tmp_path, other)
    with tracking.tracker(other, KEY) as tracker:
        for row in CURVE[:3]:  # the first step is computed again
            tracker.on_curve(row, 3)
        tracker.publish(folder, {"eval/compress/accuracy": 0.5})
    assert not tracker.broken
    held = Held(running, tmp_path.name)
    assert (held.id, held.status) == (first.id, "FINISHED")
    assert held.curve("train/loss") == [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3))]
    assert held.metrics["eval/compress/accuracy"] == 0.5
    assert held.params["evaluation.batch_size"] == first.params["evaluation.batch_size"], "MLflow's parameters cannot change"
    assert held.json("settings.json")["evaluation"]["batch_size"] == 3


@needs_server
@pytest.mark.slow
def test_a_finished_run_is_published_once_and_again_for_another_sweep_a_later_baseline_or_another_place(
    tmp_path: Path, running: MlflowServer
) -> None:
    settings = tracked_in(tmp_path, running, "baseline='compression=none'")
    folder = write_run(tmp_path, settings)
    publish(settings, folder, options={"sweep": "first"})
    first = Held(running, tmp_path.name)
    assert "delta/accuracy" not in first.metrics
    again = publish(settings, folder, options={"sweep": "first"}).publisher
    assert again is not None
    assert again.sent is None, "what MLflow has begins no other run"
    write_run(tmp_path, tracked_in(tmp_path, running, "compression=none"), "beefbeefbeef", right="00")
    publish(settings, folder, options={"sweep": "second"})
    held = Held(running, tmp_path.name)
    assert (held.id, held.tags["first"], held.tags["second"], held.metrics["delta/accuracy"]) == (first.id, "true", "true", 0.5)
    assert held.curve("train/loss") == first.curve("train/loss")
    assert held.run["info"]["end_time"] == first.run["info"]["end_time"], "a later baseline makes no run longer"
    assert len(held.curve("eval/compress/accuracy")) == 1, "what has not changed is not sent again"
    assert len(held.run["outputs"]["model_outputs"]) == 1
    elsewhere = tracked_in(tmp_path, running.address.replace("127.0.0.1", "localhost"), "baseline='compression=none'")
    assert publish(elsewhere, folder).publisher.sent is not None  # type: ignore[union-attr]
    moved = tracked_in(tmp_path, running, f"tracking.experiment={tmp_path.name}/other")
    publish(moved, folder)
    assert Held(running, f"{tmp_path.name}/other").json("settings.json")["seed"] == 0


@needs_server
@pytest.mark.slow
def test_a_run_that_was_published_to_one_tracker_is_published_to_another(tmp_path: Path, running: MlflowServer) -> None:
    folder = write_run(tmp_path, settings_in(tmp_path))
    (folder / "published.json").write_text("{}")
    publish(tracked_in(tmp_path, running), folder)
    assert Held(running, tmp_path.name).status == "FINISHED"
    assert (folder / "published.json").read_text() == "{}"


@needs_server
@pytest.mark.slow
def test_a_failed_run_and_numbers_and_names_that_mlflow_refuses_are_shown_as_far_as_it_can(tmp_path: Path, running: MlflowServer) -> None:
    settings = tracked_in(tmp_path, running, f"tracking.notes={'x' * 9000}", f"model.system_prompt={'y' * 7000}", "tracking.tags=['a+b=1']")
    rows = [{"step": step, "train/loss": 1.0, "train/loss/ä b": 2.0} for step in range(1, 1500)]
    die(settings, RuntimeError(), rows, {"a+b/c": 1.0, "nan": float("nan"), "inf": float("inf"), "same": 2.0}, {"same": 1.0})
    held = Held(running, tmp_path.name)
    assert (held.status, held.metrics["a_2b_b/c"], held.metrics["same"], held.tags["a_2b_b"]) == ("FAILED", 1.0, 1.0, "1")
    assert (str(held.metrics["nan"]).lower(), str(held.metrics["inf"]).lower()) == ("nan", "nan")
    assert held.params["model.system_prompt"].endswith("y... (7000 characters)")
    assert len(held.curve("train/loss")) == 1499, "MLflow takes at most a thousand numbers a request"


@needs_server
@pytest.mark.slow
def test_a_deleted_experiment_is_said_and_ends_no_run(tmp_path: Path, running: MlflowServer, caplog: pytest.LogCaptureFixture) -> None:
    made = running.ask("experiments/create", name=tmp_path.name)
    running.ask("experiments/delete", experiment_id=made["experiment_id"])
    with tracking.tracker(tracked_in(tmp_path, running), KEY) as tracker:
        tracker.on_metrics({"a": 1.0})
    assert "was deleted; restore it there, or set tracking.experiment to another name" in caplog.text


@needs_server
@pytest.mark.slow
def test_a_server_that_dies_in_the_middle_and_comes_back_has_the_whole_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    server = MlflowServer(tmp_path)
    server.start()
    settings = tracked_in(tmp_path, server)
    folder = write_run(tmp_path, settings)
    try:
        with pytest.MonkeyPatch.context() as patch, tracking.tracker(settings, KEY) as tracker:
            patch.setattr(tracking, "RETRY_SECONDS", 0.1)
            tracker.on_curve(CURVE[0], 3)
            deadline = time.monotonic() + 600
            while not (tracker.publisher and tracker.publisher.sent and tracker.publisher.sent["train"] and tracker.tasks.empty()):
                assert time.monotonic() < deadline
                time.sleep(0.1)
            server.stop()
            began = time.monotonic()
            tracker.on_metrics({"questions/num_test": 2})
            tracker.on_curve(CURVE[1], 3)
            while "cannot be reached" not in caplog.text:
                assert time.monotonic() < began + 600
                time.sleep(0.1)
            server.start()
            tracker.on_curve(CURVE[2], 3)
            tracker.publish(folder, {"eval/compress/accuracy": 0.5})
        assert not tracker.broken
        held = Held(server, tmp_path.name)
        assert held.curve("train/loss") == [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3))]
    finally:
        server.stop()
    assert (held.status, held.metrics["questions/num_test"], held.metrics["eval/compress/accuracy"]) == ("FINISHED", 2, 0.5)
    assert caplog.text.count("cannot be reached") == 1, "said once"


SCRIPT = """
import json, sys, time
from finished_runs import KEY, settings_in, write_run
from pathlib import Path
from cotexp import signals, tracking
outputs = Path(sys.argv[1])
settings = settings_in(outputs, "tracking=mlflow", "tracking.finish_seconds=10")
folder = write_run(outputs, settings)
with tracking.tracker(settings, KEY) as tracker:
    began = time.monotonic()
    for step in range(1000):
        tracker.on_curve({"step": step + 1, "train/loss": 1.0}, 1000)
    tracker.publish(folder, {"eval/full/accuracy": 0.5})
    held_up = time.monotonic() - began
print(json.dumps([held_up, time.monotonic() - began]))
"""


@needs_client
@pytest.mark.slow
@pytest.mark.parametrize("answers", [False, True], ids=["nobody listens", "somebody listens and never answers"])
def test_a_server_that_is_away_holds_nothing_up_and_the_same_command_publishes_later(tmp_path: Path, answers: bool) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if answers:
            server.listen()
        here, root = str(Path(__file__).parent), str(Path(tracking.__file__).parents[2])
        address = f"http://me:{SECRET}@127.0.0.1:{server.getsockname()[1]}"
        environment = {**os.environ, "MLFLOW_TRACKING_URI": address, "PYTHONPATH": os.pathsep.join([here, root])}
        done = subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    held_up, ended = json.loads(done.stdout.splitlines()[-1])
    assert held_up < ended / 2, "a thousand steps are handed over without a wait; the end alone takes seconds"
    assert "the same command run again publishes what MLflow lacks" in done.stderr
    assert SECRET not in done.stderr + done.stdout
    assert not list(tmp_path.rglob("published*.json")), "the next command tries again"


def test_a_missing_package_or_address_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        ConfigError, match=r"^tracking=mlflow needs the package mlflow-skinny, which is not installed; pip install 'cotexp\[mlflow\]'$"
    ):
        tracking.check(settings_in(tmp_path, "tracking=mlflow"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: ModuleSpec(name, None, origin=name))
    with pytest.raises(ConfigError, match=r"^tracking=mlflow needs the address of a server: set tracking.uri or the environment variable MLFLOW_"):
        tracking.check(settings_in(tmp_path, "tracking=mlflow"))
    tracking.check(settings_in(tmp_path, "tracking=mlflow", "tracking.uri=http://127.0.0.1:5000"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    tracking.check(settings_in(tmp_path, "tracking=mlflow"))
    tracking.check(settings_in(tmp_path, "tracking=none"))


@pytest.mark.parametrize(
    "uri",
    ["http://me:word@127.0.0.1:5000", "https://token@host", "postgresql://me:word@db/mlflow", "http://host:5000?token=1", "https://host/api_key/abc"],
)
def test_an_address_with_a_password_or_a_key_is_refused(uri: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tracking\.uri must have no .*MLFLOW_TRACKING_"):
        settings_in(tmp_path, "tracking=mlflow", f"tracking.uri='{uri}'")


@pytest.mark.parametrize("uri", ["http://127.0.0.1:5000", "https://mlflow.example.org/tracking", "sqlite:////data/my runs/mlflow.db", "databricks"])
def test_an_address_without_secrets_is_taken(uri: str, tmp_path: Path) -> None:
    assert settings_in(tmp_path, "tracking=mlflow", f"tracking.uri='{uri}'").tracking.uri == uri


@pytest.mark.parametrize(
    ("error", "status"),
    [(KeyboardInterrupt(), "killed"), (signals.Stopped(signal.SIGTERM), "killed"), (ValueError(), "failed"), (None, "finished")],
    ids=["Ctrl-C", "a signal", "an error", "nothing"],
)
def test_how_a_run_ends_is_its_status(error: BaseException | None, status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(tracking.Tracker, "finish", lambda self, how: seen.append(how))
    with contextlib.suppress(KeyboardInterrupt, SystemExit, ValueError), tracking.tracker(settings_in(tmp_path), KEY):
        if error:
            raise error
    assert seen == [status]
