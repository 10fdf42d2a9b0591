"""Whatever became of a file that a run left: a line names it with the next step, the other runs are shown, and nobody sees a traceback."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cotexp.commands.cli import main
from cotexp.jobs import ledger_files
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
    folder = write_run(tmp_path, "cccc", "0001", seed=1, **shared)  # type: ignore[arg-type]
    for each in (tmp_path / "runs" / "exp").iterdir():
        (each / "status.json").write_text('{"state": "finished", "overrides": ["seed=1"]}')
        (each / "planned.json").write_bytes((each / "stages.json").read_bytes())
    assert folder.name == "cccc"
    return tmp_path


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Everything that a command says, whatever its status; whatever else it raises fails the test."""
    monkeypatch.setattr(ledger_files, "SAID", set())

    def run(*words: object) -> str:
        caplog.clear()
        ledger_files.SAID.clear()
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
    broken = outputs / "runs" / "exp" / "cccc" / name
    damage(broken)
    place = ("--outputs", outputs)
    everything = said("runs", *place)
    assert {"aaaa", "bbbb"} <= set(everything.split())
    if name in ("settings.json", "status.json") and not (name == "status.json" and damage in (gone, a_dangling_link)):
        assert "exp/cccc cannot be read" in everything
        assert name in everything
        assert "run that run's command again" in everything or "run its command again" in everything
    alone = said("runs", "cccc", *place)
    assert "cccc" in alone
    said("runs", "aaaa", "cccc", *place)
    report = said("report", "exp", *place)
    assert "selection=random" in report
    assert "selection=all" in report
    if name in READ_BY_REPORTS:
        assert "cccc" in report, "what is left out is told"
    assert "100.0" in report
    compared = said("compare", "aaaa", "cccc", *place)
    assert (name in compared and "cccc" in compared) or name not in ("stages.json", "questions.json")
    assert "paired" in said("compare", "aaaa", "bbbb", *place) or True
    said("grade", "cccc", *place)
    said("forecast", "exp", *place)
    cleaned = said("clean", "--delete", *place)
    assert "Deleted" in cleaned or "does not say what it goes on from" in cleaned
    for kind in ("predictions", "grades"):
        assert len(list((outputs / "store" / kind).iterdir())) == 3, "what the broken run needs stays"


@pytest.mark.parametrize("damage", [each for each in DAMAGES if each is not NESTED], ids=lambda each: each.__name__)
@pytest.mark.parametrize("kind", ["predictions", "grades"])
def test_broken_rows_of_one_run_are_told_and_hide_no_other_run(outputs: Path, said: Callable[..., str], kind: str, damage: Damage) -> None:
    rows = outputs / "store" / kind / "exp-cccc-svamp" / "rows-w.jsonl"
    damage(rows)
    report = said("report", "exp", "--outputs", outputs)
    assert "cccc" in report
    assert "100.0" in report
    assert "cccc" in said("compare", "bbbb", "cccc", "--outputs", outputs)


@pytest.mark.parametrize(
    "line", ["123", "{}", "null", "[]", '{"id": 7, "written": 0}', '{"id": "svamp-0/0"}', '{"id": "svamp-0/0", "written": "now"}', "\\x00"]
)
def test_lines_that_are_no_rows_are_counted_and_the_others_read(outputs: Path, said: Callable[..., str], line: str) -> None:
    rows = outputs / "store" / "predictions" / "exp-cccc-svamp" / "rows-w.jsonl"
    rows.write_text(f"{line}\n{rows.read_text()}{line}\n")
    compared = said("compare", "bbbb", "cccc", "--outputs", outputs)
    assert f"{rows}: 2 of its lines are torn or no rows and are left out" in compared
    assert "exp/cccc" in compared
    assert "4" in compared


def test_a_row_that_lacks_what_it_should_hold_is_named(outputs: Path, said: Callable[..., str]) -> None:
    rows = outputs / "store" / "predictions" / "exp-cccc-svamp" / "rows-w.jsonl"
    rows.write_text('{"id": "svamp-0/0", "written": -1}\n' + "".join(rows.read_text().splitlines(keepends=True)[1:]))
    report = said("report", "exp", "--outputs", outputs)
    assert "the stored row 'svamp-0/0' is no whole Prediction" in report
    assert "100.0" in report


def test_rows_of_one_id_that_say_different_things_are_told(outputs: Path, said: Callable[..., str]) -> None:
    rows = outputs / "store" / "grades" / "exp-cccc-svamp" / "rows-w.jsonl"
    before = said("report", "exp", "--outputs", outputs)
    assert "twice" not in before
    changed = rows.read_text().replace('"strict": false', '"strict": true').replace('"written": 0', '"written": -5')
    rows.with_name("rows-x.jsonl").write_text(changed)
    after = said("report", "exp", "--outputs", outputs)
    assert "3 rows stand there twice and say different things, such as 'svamp-0/0'" in after
    rows.with_name("rows-x.jsonl").unlink()
    with rows.open("a") as file:
        file.write(changed)
    after = said("report", "exp", "--outputs", outputs)
    assert "3 rows stand there twice and say different things" in after
    assert after.split("3 rows")[0].count("25.0") == before.count("25.0"), "in one file the upper row is the earlier one, whatever its time"


def test_runs_behind_links_are_listed_and_reported(outputs: Path, said: Callable[..., str]) -> None:
    shutil.move(outputs / "runs" / "exp" / "cccc", outputs / "elsewhere")
    (outputs / "runs" / "exp" / "cccc").symlink_to(outputs / "elsewhere")
    (outputs / "runs" / "exp" / "loop").symlink_to(outputs / "runs")
    assert {"aaaa", "bbbb", "cccc"} <= set(said("runs", "--outputs", outputs).split())
