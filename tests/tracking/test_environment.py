"""What the environment asks of W&B is done: nothing is written where nothing is wanted, and nothing sent where it is to stay on disk."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from finished_runs import KEY, settings_in, write_run
from wandb_files import written_in

from cotexp import tracking
from cotexp.settings.tracking import WandbTracking
from cotexp.tracking import environment, wandb_run

API_KEY = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize("setting", ["auto", "online", "offline"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("WANDB_MODE", value) for value in ("disabled", "Disabled", " disabled ")),
        *(("WANDB_DISABLED", value) for value in ("true", "1", "True", "yes")),
    ],
)
def test_a_wish_to_write_nothing_writes_nothing(name: str, value: str, setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", API_KEY)
    monkeypatch.setenv(name, value)
    settings = settings_in(tmp_path, f"tracking.mode={setting}")
    folder = write_run(tmp_path, settings)
    before = sorted(tmp_path.rglob("*"))
    with tracking.tracker(settings, KEY) as tracker:
        tracker.on_metrics({"a": 1})
        tracker.on_curve({"step": 1}, 1)
        tracker.publish(folder, {"a": 1})
    assert tracker.thread is None
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_offline_beside_a_key_stays_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", API_KEY)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr(wandb_run, "is_reachable", lambda: pytest.fail("nobody is to be asked"))
    with tracking.tracker(settings_in(tmp_path), KEY) as tracker:
        tracker.on_metrics({"questions/num_test": 2})
    assert not tracker.broken
    assert written_in(tmp_path, KEY).summary["questions/num_test"] == 2


@pytest.mark.parametrize(
    ("setting", "wish", "has_key", "expected"),
    [
        ("auto", None, True, "online"),
        ("auto", None, False, "offline"),
        ("auto", "", True, "online"),
        ("auto", "online", True, "online"),
        ("auto", "run", True, "online"),
        ("auto", "online", False, "offline"),
        ("auto", "offline", True, "offline"),
        ("auto", "OFFLINE ", True, "offline"),
        ("auto", "dryrun", True, "offline"),
        ("auto", "ofline", True, "offline"),
        ("online", "offline", True, "online"),
        ("offline", "online", True, "offline"),
    ],
)
def test_the_mode_is_that_of_the_setting_then_of_the_environment_then_of_the_key(
    setting: str, wish: str | None, has_key: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if wish is not None:
        monkeypatch.setenv("WANDB_MODE", wish)
    assert environment.mode(WandbTracking(mode=setting), has_api_key=has_key) == expected


@pytest.mark.parametrize("value", ["", "false", "0", "no", "FALSE"])
def test_what_is_not_disabled_is_not(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_DISABLED", value)
    assert not environment.is_disabled()


def test_names_of_the_environment_hold_where_settings_are_at_their_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {"PROJECT": "theirs", "ENTITY": "team", "NAME": "called", "RUN_GROUP": "grouped", "JOB_TYPE": "other", "NOTES": "noted", "TAGS": "a, b"}
    for name, value in wanted.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "elsewhere"))
    with tracking.tracker(settings_in(tmp_path, "tracking.tags=[mine]"), KEY) as tracker:
        tracker.on_metrics({"a": 1})
    assert not (tmp_path / "wandb").exists()
    written = written_in(tmp_path / "elsewhere", KEY)
    run = written.run
    assert (run.project, run.entity, run.display_name, run.run_group, run.job_type, run.notes) == (
        "theirs",
        "team",
        "called",
        "grouped",
        "other",
        "noted",
    )
    assert (run.run_id, written.tags) == (KEY, ["mine", "a", "b"])


def test_settings_that_say_more_than_their_default_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PROJECT", "ENTITY", "JOB_TYPE", "NOTES"):
        monkeypatch.setenv(f"WANDB_{name}", "theirs")
    own = WandbTracking(project="ours", entity="ours", job_type="ours", notes="ours")
    ours = {"project": "ours", "entity": "ours", "job_type": "ours", "notes": "ours"}
    assert environment.options(own, ours) == ours


@pytest.mark.parametrize("name", ["console", "system_metrics"])
@pytest.mark.parametrize(
    ("setting", "variable", "has_gpu", "recorded"),
    [
        (None, "", True, True),
        (None, "", False, False),
        (True, "", False, True),
        (False, "", True, False),
        (None, "set", True, None),
        (True, "set", False, True),
    ],
)
def test_system_metrics_and_console_are_recorded_as_set_else_as_the_environment_says_else_where_a_gpu_is(
    name: str, setting: bool | None, variable: str, has_gpu: bool, recorded: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None: the environment decides, so W&B is told nothing."""
    monkeypatch.setenv({"console": "WANDB_CONSOLE", "system_metrics": "WANDB_X_DISABLE_STATS"}[name], variable)
    found = environment.recorded(WandbTracking(**{name: setting}), has_gpu=has_gpu)
    told = {"console": {"wrap": True, "off": False}, "x_disable_stats": {False: True, True: False}}
    key = {"console": "console", "system_metrics": "x_disable_stats"}[name]
    assert told[key].get(found.get(key)) == recorded


@pytest.mark.slow
def test_what_a_run_prints_is_in_its_file_where_the_setting_says_so(tmp_path: Path) -> None:
    for key, setting in (("f00dcafe0000", "true"), ("f00dcafe0001", "false")):
        with tracking.tracker(settings_in(tmp_path, f"tracking.console={setting}"), key) as tracker:
            tracker.on_metrics({"a": 1})
            while not tracker.publisher or tracker.publisher.sent is None:  # W&B has not begun
                time.sleep(0.05)
            print("a line of the run")
        kinds = [each.WhichOneof("record_type") for each in written_in(tmp_path, key).records]
        assert ("output_raw" in kinds or "output" in kinds) == (setting == "true")


def test_an_id_that_is_ignored_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "mine")
    environment.warn_of_ignored()
    assert "WANDB_RUN_ID is ignored, because the id of a W&B run is the key of its run" in caplog.text
