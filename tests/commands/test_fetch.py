"""`cotexp fetch`: what is downloaded, what is printed, and what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from cotexp.commands.fetch import fetch_tasks, print_tasks, sources_of
from cotexp.settings.base import ConfigError
from cotexp.tasks.benchmarks import BENCHMARKS, HubCopy, Split


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A local folder in the place of the hub's copy of aime24."""
    folder = tmp_path / "hub"
    folder.mkdir()
    (folder / "train.jsonl").write_text('{"problem": "Find.", "answer": "025"}\n' * 30)
    splits = {"test": Split(("aime24/test.jsonl",), 30, HubCopy(str(folder), "train"))}
    monkeypatch.setitem(BENCHMARKS, "aime24", dataclasses.replace(BENCHMARKS["aime24"], splits=splits))
    return folder


def test_a_task_is_downloaded_once_and_said_so(hub: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "data"
    fetch_tasks(["aime24"], folder, force=False)
    assert f"aime24: wrote {folder / 'aime24/test.jsonl'} (30 rows)" in capsys.readouterr().out
    fetch_tasks(["aime24"], folder, force=False)
    assert "aime24: complete in" in capsys.readouterr().out
    fetch_tasks(["aime24"], folder, force=True)
    assert "aime24: wrote" in capsys.readouterr().out


def test_unknown_names_are_all_refused_before_anything_is_downloaded(hub: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        fetch_tasks(["aime24", "aime25", "multiarit"], tmp_path / "data", force=False)
    assert [each.partition("(did you mean")[2] for each in error.value.problems] == [" 'aime24'?); got 'aime25'", " 'multiarith'?); got 'multiarit'"]
    assert not (tmp_path / "data").exists()
    with pytest.raises(ConfigError, match="at least one task, or --list"):
        fetch_tasks([], tmp_path, force=False)


def test_a_task_that_fails_does_not_stop_the_others(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COTEXP_FETCH_BASE", "http://127.0.0.1:9")
    with pytest.raises(ConfigError) as error:
        fetch_tasks(["multiarith", "aime24", "addsub"], tmp_path / "data", force=False)
    assert ["MultiArith.json" in error.value.problems[0], "AddSub.json" in error.value.problems[1]] == [True, True]
    assert "aime24: wrote" in capsys.readouterr().out


def test_the_list_names_every_task_with_counts_and_source(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    print_tasks()
    shown = capsys.readouterr().out
    for name, benchmark in BENCHMARKS.items():
        (line,) = [each for each in shown.splitlines() if f" {name} " in each]
        assert all(f" {split.num_rows} " in line for split in benchmark.splits.values())
        assert benchmark.licence in line
        assert sources_of(name, benchmark)[0] in line
    assert "hub: openai/gsm8k (main)" in shown
    assert "kojima-takeshi188/zero_shot_cot@5ef330fcde: dataset/MultiArith/MultiArith.json" in shown
