"""Files are synced before they are renamed, and the package renames files only through `durable`."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest

from cotexp import durable

PACKAGE = Path(durable.__file__).parent
RENAMES_WHAT_IS_ON_THE_DISK_ALREADY = {"durable.py": 1, "store/cleaning.py": 1, "training/resumable.py": 1}
"""File -> number of renames outside `durable.put`: its own, a deleted entry, and a state that is replaced by the next."""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Records the synced and renamed files in order."""
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(descriptor: int) -> None:
        done.append(f"sync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        fsync(descriptor)

    def noted_replace(path: Path, target: Path) -> Path:
        done.append(f"rename {path.name}")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    return done


def test_a_file_is_synced_then_renamed_then_its_folder_is_synced(tmp_path: Path, calls: list[str]) -> None:
    (tmp_path / "new").write_text("content")
    durable.put(tmp_path / "new", tmp_path / "place")
    assert (tmp_path / "place").read_text() == "content"
    assert calls == ["sync new", "rename new", f"sync {tmp_path.name}"]


def test_the_content_of_a_folder_is_synced_before_the_rename(tmp_path: Path, calls: list[str]) -> None:
    (tmp_path / "new" / "below").mkdir(parents=True)
    (tmp_path / "new" / "below" / "file").write_text("content")
    (tmp_path / "new" / "link").symlink_to(tmp_path / "nowhere")
    durable.put(tmp_path / "new", tmp_path / "place")
    assert (tmp_path / "place" / "below" / "file").read_text() == "content"
    assert calls == ["sync file", "sync below", "sync new", "rename new", f"sync {tmp_path.name}"]


def test_without_fsync_a_file_is_only_renamed(tmp_path: Path, calls: list[str]) -> None:
    (tmp_path / "new").write_text("content")
    durable.put(tmp_path / "new", tmp_path / "place", fsync=False)
    assert calls == ["rename new"]


def renames_in(path: Path) -> int:
    """The number of calls of rename, move, and replace with one argument (`str.replace` has two)."""
    found = 0
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            is_files = node.func.attr in ("rename", "renames", "move") or (node.func.attr == "replace" and len(node.args) == 1 and not node.keywords)
            found += is_files or (node.func.attr == "replace" and ast.unparse(node.func.value) == "os")
    return found


def test_nothing_else_in_the_package_renames_a_file() -> None:
    found = {str(path.relative_to(PACKAGE)): number for path in sorted(PACKAGE.rglob("*.py")) if (number := renames_in(path))}
    assert found == RENAMES_WHAT_IS_ON_THE_DISK_ALREADY
