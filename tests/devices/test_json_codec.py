"""Settings files of worker processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cotexp.config import command_line
from cotexp.devices import json_codec
from cotexp.settings.base import ConfigError
from cotexp.settings.training import Trainer


@pytest.mark.parametrize("overrides", [[], ["experiment=morsd/quickstart", "compression=macc"], ["compression=tokenskip"]])
def test_settings_survive_writing_and_reading(tmp_path: Path, overrides: list[str]) -> None:
    settings = command_line.check_command_line(overrides, multirun=False)[0]
    json_codec.write(tmp_path / "settings.json", {"settings": settings, "folder": [tmp_path]})
    assert json_codec.read(tmp_path / "settings.json") == {"settings": settings, "folder": [tmp_path]}


def test_settings_are_checked_when_read_and_other_classes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    json_codec.write(path, Trainer())
    content = json.loads(path.read_text())
    content["fields"]["devices"] = 0
    path.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match="devices must be at least 1; got 0"):
        json_codec.read(path)
    for name in ("subprocess:Popen", "cotexp.devices.training_workers:main"):
        path.write_text(json.dumps({"class": name, "fields": {}}))
        with pytest.raises(ValueError, match=name):
            json_codec.read(path)
