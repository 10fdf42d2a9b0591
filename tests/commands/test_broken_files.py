"""Whatever became of a file that a run left: a line names it with the next step, the other runs are shown, and nobody sees a traceback."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cotexp.commands.cli import main
from cotexp.report.expected_runs import stored_runs
from cotexp.report.finished_runs import find_runs, run_folders
from cotexp.store import ledger_files
from tests.run_folders import write_run

Damage = Callable[[Path], None]


def gone(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def binary(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 4)


def a_folder(path: Path) -> None:
    path.unlink()
    (path / "inside").mkdir(parents=True)


def a_dangling_link(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("nowhere"))


def holding(text: str) -> Damage:
    def hold(path: Path) -> None:
        path.write_text(text)

    hold.__name__ = f"holding {text}"
    return hold


NESTED = holding('{"name": [], "seed": 0, "evaluation": {"modes": [1]}, "test": {"svamp": [[]]}, "state": "running", "a": {"key": "x", "path": "y"}}')
DAMAGES = (gone, empty, cut_off, binary, a_folder, a_dangling_link, *map(holding, ("{}", "[]", "123", "null", '"text"', '{"a": {}}')), NESTED)
FILES = ("settings.json", "stages.json", "metrics.json", "questions.json", "status.json")
READ_BY_REPORTS = ("settings.json", "stages.json", "metrics.json", "questions.json")


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """Three finished runs, of which the third will be broken."""
    shared = {"selection": {"name": "all", "accuracy": True, "diversity": None, "order": "none", "k": 1}}
    write_run(tmp_path, "aaaa", "1101")
    write_run(tmp_path, "bbbb", "1111", **shared)  # type: ignore[arg-type]
    folder = write_run(tmp_path, "cccc", "0001", selection={**shared["selection"], "k": 2})
    for each in (tmp_path / "runs" / "exp").iterdir():
        (each / "status.json").write_text('{"state": "finished", "overrides": ["seed=1"]}')
        (each / "planned.json").write_bytes((each / "stages.json").read_bytes())
    assert folder.name == "cccc"
    return tmp_path


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Everything that a command says, whatever its status; whatever else it raises fails the test."""
    monkeypatch.setattr(ledger_files, "WARNED", set())

    def run(*words: object) -> str:
        caplog.clear()
        ledger_files.WARNED.clear()
        code: object = 0
        try:
            main([str(each) for each in words])
        except SystemExit as end:
            code = end.code
        told = capsys.readouterr()
        lines = [each.getMessage() for each in caplog.records]
        assert all("\n" not in each for each in lines)
        text = "\n".join([told.out, told.err, *lines, "" if isinstance(code, int | None) else str(code)])
        assert "Traceback" not in text
        return text

    return run


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda each: each.__name__)
def test_a_broken_file_of_a_run_is_named_and_hides_no_other_run(outputs: Path, said: Callable[..., str], name: str, damage: Damage) -> None:
    damage(outputs / "runs" / "exp" / "cccc" / name)
    place = ("--outputs", outputs)
    everything = said("runs", *place)
    assert {"aaaa", "bbbb"} <= set(everything.split())
    if name == "settings.json" or (name == "status.json" and damage is not gone):
        assert "exp/cccc cannot be read" in everything
        assert name in everything or damage is NESTED
        assert "command again" in everything
    assert "cccc" in said("runs", "cccc", *place)
    found = find_runs(["exp"], outputs, mode=None)
    assert {"aaaa", "bbbb"} <= {each.key for each in found.runs}
    told = [*found.left_out, *map(str, found.unfinished)]
    assert [each for each in told if "cccc" in each] == told
    assert len(told) == (name != "status.json")
    assert len(stored_runs([*run_folders(outputs)], outputs, None)) == 3 - (name == "settings.json")
    cleaned = said("clean", "--delete", *place)
    assert "Deleted 0 entries" in cleaned or "does not say what it goes on from" in cleaned
    for kind in ("predictions", "grades"):
        assert len(list((outputs / "store" / kind).iterdir())) == 3, "what the broken run needs stays"


@pytest.mark.parametrize(
    ("name", "damage"), [("settings.json", cut_off), ("stages.json", empty), ("metrics.json", DAMAGES[6]), ("questions.json", binary)]
)
def test_reports_comparisons_and_forecasts_tell_of_a_broken_run_and_show_the_others(
    outputs: Path, said: Callable[..., str], name: str, damage: Damage
) -> None:
    damage(outputs / "runs" / "exp" / "cccc" / name)
    place = ("--outputs", outputs)
    report = said("report", "exp", "--format", "md", *place)
    assert "selection=random" in report
    assert "100.0" in report
    assert f"exp/cccc/{name} " in report
    if name in ("stages.json", "questions.json"):
        assert f"exp/cccc/{name} " in said("compare", "aaaa", "cccc", *place)
        assert f"exp/cccc/{name} " in said("grade", "cccc", *place)
    assert "fine-tuned nothing" in said("forecast", "exp", *place)


@pytest.mark.parametrize("damage", [each for each in DAMAGES if each is not NESTED], ids=lambda each: each.__name__)
@pytest.mark.parametrize("kind", ["predictions", "grades"])
def test_broken_rows_of_one_run_are_told_and_hide_no_other_run(outputs: Path, said: Callable[..., str], kind: str, damage: Damage) -> None:
    damage(outputs / "store" / kind / "exp-cccc-svamp" / "rows-w.jsonl")
    found = find_runs(["exp"], outputs, mode=None)
    assert [each.key for each in found.runs] == ["aaaa", "bbbb"]
    assert "exp/cccc: " in found.left_out[0]
    assert "cccc" in said("compare", "bbbb", "cccc", "--outputs", outputs)


@pytest.mark.parametrize(
    "line", ["123", "{}", "null", "[]", '{"id": 7, "written": 0}', '{"id": "svamp-0/0"}', '{"id": "svamp-0/0", "written": "now"}', "\\x00"]
)
def test_lines_that_are_no_rows_are_counted_and_the_others_read(outputs: Path, said: Callable[..., str], line: str) -> None:
    rows = outputs / "store" / "predictions" / "exp-cccc-svamp" / "rows-w.jsonl"
    rows.write_text(f"{line}\n{rows.read_text()}{line}\n")
    compared = said("compare", "bbbb", "cccc", "--outputs", outputs)
    assert f"{rows}: 2 lines are torn or not rows and are ignored" in compared
    assert "exp/cccc" in compared
    assert "4" in compared


def test_a_row_that_lacks_what_it_should_hold_is_named(outputs: Path, said: Callable[..., str]) -> None:
    rows = outputs / "store" / "predictions" / "exp-cccc-svamp" / "rows-w.jsonl"
    rows.write_text('{"id": "svamp-0/0", "written": -1}\n' + "".join(rows.read_text().splitlines(keepends=True)[1:]))
    found = find_runs(["exp"], outputs, mode=None)
    assert [each.key for each in found.runs] == ["aaaa", "bbbb"]
    assert "the stored row 'svamp-0/0' is not a complete Prediction" in found.left_out[0]


def test_rows_of_one_id_that_say_different_things_are_told(outputs: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = outputs / "store" / "grades" / "exp-cccc-svamp" / "rows-w.jsonl"

    def num_right() -> int:
        ledger_files.WARNED.clear()
        return sum(each.strict for run in find_runs(["exp"], outputs, mode=None).runs if run.key == "cccc" for each in run.answers)

    assert num_right() == 1
    assert "twice" not in caplog.text
    changed = rows.read_text().replace('"strict": false', '"strict": true').replace('"written": 0', '"written": -5')
    with rows.open("a") as file:
        file.write(changed)
    assert num_right() == 1, "in one file the upper row is the earlier one, whatever its time"
    assert "3 rows are stored twice with different results, such as 'svamp-0/0'" in caplog.text
    caplog.clear()
    rows.with_name("rows-x.jsonl").write_text(changed)
    num_right()
    assert "remove the line that should not count" in caplog.text


def test_runs_behind_links_are_listed_and_reported(outputs: Path, said: Callable[..., str]) -> None:
    shutil.move(outputs / "runs" / "exp" / "cccc", outputs / "elsewhere")
    (outputs / "runs" / "exp" / "cccc").symlink_to(outputs / "elsewhere")
    (outputs / "runs" / "exp" / "loop").symlink_to(outputs / "runs")
    assert {"aaaa", "bbbb", "cccc"} <= set(said("runs", "--outputs", outputs).split())
