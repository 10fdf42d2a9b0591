from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cotexp import ownership
from cotexp.ownership import Ownership, TakenOver


def test_the_last_one_to_take_a_folder_owns_it_and_the_one_before_is_told(tmp_path: Path) -> None:
    first = ownership.take(tmp_path, "first")
    first.check()
    assert ownership.owner(tmp_path) == first
    second = ownership.take(tmp_path, "second")
    second.check()
    with pytest.raises(TakenOver, match=f"{tmp_path} has been taken over by second"):
        first.check()
    assert [path.name for path in tmp_path.iterdir()] == ["owner"]


def test_an_owner_whose_folder_was_finished_by_another_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "built"
    folder.mkdir()
    mine = ownership.take(folder, "mine")
    shutil.move(folder, tmp_path / "finished")
    with pytest.raises(TakenOver, match="by another process, which has finished it"):
        mine.check()
    assert not folder.exists()


def test_a_folder_that_nobody_has_taken_is_anyones(tmp_path: Path) -> None:
    assert ownership.owner(tmp_path) == Ownership(tmp_path, "")
    ownership.owner(tmp_path).check()
