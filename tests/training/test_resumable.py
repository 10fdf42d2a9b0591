"""The state from which training goes on, whatever a power cut or a failing disk made of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from cotexp.settings.training import Trainer
from cotexp.training import costs, resumable
from cotexp.training.recorder import Recorder
from cotexp.training.resumable import Progress


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def cut_its_end_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip_a_byte_of_a_tensor(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(torch.full((8,), 0.5).numpy().tobytes())] ^= 0xFF
    path.write_bytes(content)


def hold_zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def hold_json(path: Path) -> None:
    path.write_text("{}")


def hold_a_list(path: Path) -> None:
    torch.save([1, 2], path)


def lack_the_moments(path: Path) -> None:
    torch.save({name: value for name, value in torch.load(path, weights_only=True).items() if name != "moments"}, path)


def lack_a_step(path: Path) -> None:
    torch.save({**torch.load(path, weights_only=True), "progress": {"steps": 3}}, path)


DAMAGES = (empty, cut_off, cut_its_end_off, flip_a_byte_of_a_tensor, hold_zeros, hold_json, hold_a_list, lack_the_moments, lack_a_step)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A state after step 2 with that after step 1 beside it, of a layer whose weights are a half."""
    path = tmp_path / "resumable.ckpt"
    module = torch.nn.Linear(8, 8, bias=False)
    torch.nn.init.constant_(module.weight, 0.5)
    optimizer = torch.optim.AdamW(module.parameters())
    for step in (1, 2):
        resumable.save(path, module, optimizer, Progress(step, 1.0, step), writes=True)
    return path


def test_the_state_before_the_last_one_stays_beside_it(saved: Path) -> None:
    resumable.repair(saved)
    assert resumable.progress(saved) == Progress(2, 1.0, 2)
    assert resumable.progress(resumable.previous(saved)) == Progress(1, 1.0, 1)
    resumable.remove(saved)
    assert not list(saved.parent.iterdir())


def test_the_seconds_before_a_restart_count_and_a_state_of_an_earlier_version_does_not_know_them(saved: Path) -> None:
    state = torch.load(saved, weights_only=True)
    for stored, least in (({"seconds": 100.0}, 100.0), ({}, None)):
        state["progress"] = {"step": 2, "best_loss": 1.0, "best_step": 2, **stored}
        torch.save(state, saved)
        resumable.repair(saved)
        assert resumable.progress(saved).step == 2, "it is whole"
        seconds = Recorder(saved.parent, Trainer(), 4, lambda row, num_steps: None).seconds
        assert seconds is None if least is None else seconds is not None and least <= seconds < least + 60


def test_hours_before_a_restart_count_the_devices_that_there_were(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One process of four threads took 900 seconds, and two go on."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    state = torch.load(saved, weights_only=True)
    state["progress"] |= {"seconds": 900.0, "device_seconds": 3600.0}
    torch.save(state, saved)
    two = Trainer(devices=2, strategy="ddp", accelerator="cpu")
    recorder = Recorder(saved.parent, two, 4, lambda row, num_steps: None)
    recorder.started -= 450
    assert recorder.seconds == pytest.approx(1350, abs=60)
    assert costs.hours(two, recorder.seconds, recorder.device_seconds)["core_hours"] == pytest.approx(2, abs=0.2)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda each: each.__name__)
def test_a_broken_state_gives_way_to_the_one_before_it_with_a_line(
    saved: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    damage(saved)
    resumable.repair(saved)
    assert resumable.progress(saved).step == 1
    assert [each.getMessage().count("\n") for each in caplog.records] == [0]
    assert str(saved) in caplog.text
    assert "last complete checkpoint, after step 1" in caplog.text
    damage(saved)
    resumable.repair(saved)
    assert resumable.progress(saved) == Progress()
    assert "last complete checkpoint, after step 0" in caplog.text


def test_a_state_that_a_kill_left_between_two_names_is_found(saved: Path) -> None:
    saved.unlink()
    resumable.repair(saved)
    assert resumable.progress(saved).step == 1
