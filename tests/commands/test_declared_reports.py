"""Declared reports: what is expected is found or named with the command that fills it, and every mistake in a declaration is told."""

from __future__ import annotations

import dataclasses
import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from run_folders import write_run

from cotexp.commands import declared_reports
from cotexp.config import command_line
from cotexp.report.build import ReportOptions
from cotexp.report.declared import DeclaredReport, DeclaredTable, PublishedRow
from cotexp.report.document import Report
from cotexp.report.expected_runs import GridPoint, renamed
from cotexp.report.published_numbers import _cell
from cotexp.settings.base import ConfigError
from cotexp.store.processes import this_process

OWNER = json.loads(json.dumps(this_process()))
"""This process, as a run's owner."""
STOPS = ("rebound", "min_tokens")
ABLATION = "macc/quickstart_ablation"
"""A declared report whose runs are a sweep's."""


@pytest.fixture(scope="module")
def points() -> list[GridPoint]:
    return declared_reports.grid((f"sweep={ABLATION}",))


def write_point(outputs: Path, number: int, point: GridPoint, labels: str, **changes: Any) -> Path:
    settings = dataclasses.asdict(point.settings) | changes
    return write_run(outputs, f"run{number}", labels, base="1" * len(labels), mode="compress", **settings)


@pytest.fixture
def outputs(tmp_path: Path, points: list[GridPoint]) -> Path:
    """Every run of the sweep, all questions right."""
    for number, point in enumerate(points):
        write_point(tmp_path, number, point, "1" * 8)
    return tmp_path


def made(outputs: Path, **wanted: Any) -> Report:
    return declared_reports.make([ABLATION], outputs, ReportOptions(**wanted))


@pytest.mark.slow
def test_a_deleted_run_is_named_with_its_row_its_seed_and_the_command_that_fills_it(outputs: Path, points: list[GridPoint]) -> None:
    whole = made(outputs)
    assert whole.gaps == []
    assert sum(len(row.seeds) for row in whole.tables[0].rows) == len(points)
    assert whole == made(outputs), "the same report twice"

    shutil.rmtree(outputs / "runs" / ABLATION / "run3")
    report = made(outputs)
    (gap,) = report.gaps
    assert (gap.seed, gap.state) == (points[3].settings.seed, "missing")
    row = next(each for each in report.tables[0].rows if each.label == gap.row)
    assert gap.seed not in row.seeds
    assert {cell.state for cell in row.cells if cell.text} == {"partial"}
    assert row.cells[0].text == f"{row.seeds[0]} (missing {gap.seed})"
    program, script, *words = shlex.split(gap.command)
    assert (program, script) == ("cotexp", "run")
    (settings,) = command_line.check_command_line(words, multirun=False)
    assert settings.paths.outputs == str(outputs)
    assert dataclasses.replace(settings, paths=points[3].settings.paths) == points[3].settings, "the command makes the very run that is missing"
    assert f"1 of {len(points)} expected runs are missing; all of them: cotexp run -m sweep={ABLATION} " in report.tables[0].notes[-1]


@pytest.mark.slow
def test_an_arm_without_any_run_is_a_row_that_says_so(outputs: Path, points: list[GridPoint]) -> None:
    first = [number for number, point in enumerate(points) if point.overrides[:3] == points[0].overrides[:3]]
    for number in first:
        shutil.rmtree(outputs / "runs" / ABLATION / f"run{number}")
    report = made(outputs)
    row = next(each for each in report.tables[0].rows if each.gaps)
    assert len(first) == len(row.gaps) == 2
    assert {cell.text for cell in row.cells} == {"missing"}


def test_without_any_run_every_expected_one_is_missing(tmp_path: Path, points: list[GridPoint]) -> None:
    assert len(made(tmp_path).gaps) == len(points)


@pytest.mark.slow
def test_words_beside_the_sweep_change_what_is_expected(tmp_path: Path, points: list[GridPoint]) -> None:
    settings = dataclasses.asdict(points[0].settings)
    small = {**settings["task"], "num_train": 24}
    write_point(tmp_path, 0, points[0], "1100", task=small, tasks={"stories": small})
    report = made(tmp_path)
    assert len(report.gaps) == len(points)
    assert report.left_out == (
        f"{ABLATION}/run0: no expected run has these settings; `cotexp report NAME SETTING=VALUE` expects them with other settings",
    )
    report = made(tmp_path, overrides=("task.num_train=24",))
    assert len(report.gaps) == len(points) - 1
    assert "task.num_train=24" in report.gaps[0].command


@pytest.mark.slow
def test_a_run_of_one_table_is_not_told_as_left_out_by_another(tmp_path: Path, points: list[GridPoint], monkeypatch: pytest.MonkeyPatch) -> None:
    tables = [DeclaredTable(sweep=ABLATION, overrides=[f"task.num_train={size}"]) for size in (23, 24)]
    monkeypatch.setattr(declared_reports, "report_named", lambda _: DeclaredReport(title="x", tables=tables))
    for number, size in enumerate((23, 24, 25)):
        task = {**dataclasses.asdict(points[0].settings)["task"], "num_train": size}
        write_point(tmp_path, number, points[0], "1100", task=task, tasks={"stories": task})
    report = made(tmp_path)
    assert [len(table.rows[1].seeds) for table in report.tables] == [1, 1]
    (line,) = report.left_out
    assert line.startswith(f"{ABLATION}/run2: no expected run has these settings")


@pytest.mark.slow
def test_a_baseline_that_one_table_has_leaves_the_other_its_own(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = [DeclaredTable(sweep=ABLATION, where=where) for where in ({}, {"compression.stop": STOPS[0]})]
    monkeypatch.setattr(declared_reports, "report_named", lambda _: DeclaredReport(title="x", tables=tables))
    usual = made(outputs).tables
    label = next(row.label for row in usual[0].rows if STOPS[1] in row.label)
    first, second = made(outputs, baseline=label).tables
    assert (first.rows == usual[0].rows, second.rows == usual[1].rows) == (False, True)
    assert any(f"differences are to the baseline, {label}" in each for each in first.notes)
    with pytest.raises(ConfigError, match="--baseline 'nothing' is not an arm; arms: "):
        made(outputs, baseline="nothing")


def test_a_run_made_before_a_budget_existed_is_no_run_of_that_budget(tmp_path: Path, points: list[GridPoint]) -> None:
    trainer = dataclasses.asdict(points[0].settings)["trainer"]
    for name in ("max_steps", "max_tokens", "max_petaflops"):
        assert trainer.pop(name) is None
    write_point(tmp_path, 0, points[0], "1100", trainer=trainer)
    assert len(made(tmp_path).gaps) == len(points) - 1
    assert len(made(tmp_path, overrides=("trainer.max_tokens=5000",)).gaps) == len(points)


def test_a_run_made_before_a_setting_existed_is_still_found(tmp_path: Path, points: list[GridPoint]) -> None:
    trainer = dataclasses.asdict(points[0].settings)["trainer"]
    del trainer["warmup_ratio"]
    write_point(tmp_path, 0, points[0], "1100", trainer=trainer)
    assert len(made(tmp_path).gaps) == len(points) - 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("state", "told"),
    [
        ({"state": "failed", "error": "no space\nleft", "stage": "checkpoint"}, ("failed", "in checkpoint; no space left")),
        ({"state": "diverged", "error": "the loss is nan"}, ("diverged", "the loss is nan")),
        ({"state": "running", "stage": "rounds/stories", "owner": OWNER}, ("running", "in rounds/stories")),
        ({"state": "running", "owner": {**OWNER, "started": 1.0}}, ("killed", "")),
        ({"state": "stopped", "error": "SIGTERM"}, ("stopped", "SIGTERM")),
        (None, ("unfinished", "")),
    ],
)
def test_a_run_that_did_not_finish_says_what_became_of_it(
    state: dict[str, Any] | None, told: tuple[str, str], tmp_path: Path, points: list[GridPoint]
) -> None:
    for number in (0, 1):
        write_point(tmp_path, number, points[number], "1100")
    begun = tmp_path / "runs" / ABLATION / "run1"
    (begun / "metrics.json").unlink()
    if state:
        (begun / "status.json").write_text(json.dumps(state | {"overrides": ["seed=1"]}))
    gap = next(each for each in made(tmp_path).gaps if each.folder)
    assert (gap.state, gap.reason, gap.seed) == (*told, points[1].settings.seed)
    assert gap.folder == f"runs/{ABLATION}/run1"
    assert gap.command.startswith("cotexp run compression=macc ")

    row = declared_reports.make([ABLATION], tmp_path, ReportOptions(only=(f"{ABLATION}/*",))).tables[0].rows[1]
    assert row.gaps == (gap,), "the same under patterns"


def test_experiments_that_no_file_declares_name_their_unfinished_runs_as_well(tmp_path: Path) -> None:
    write_run(tmp_path, "a0", "1100")
    for key, seed in (("a1", 1), ("other", 0)):
        folder = write_run(tmp_path, key, "1100", seed=seed, **({"trainer": {"name": "single", "learning_rate": 1.0}} if key == "other" else {}))
        (folder / "metrics.json").unlink()
        (folder / "status.json").write_text(json.dumps({"state": "diverged", "error": "nan", "overrides": [f"seed={seed}"]}))
    report = declared_reports.make(["exp"], tmp_path, ReportOptions())
    (gap,) = report.gaps
    assert (gap.row, gap.seed, gap.state, gap.reason, gap.command) == ("exp", 1, "diverged", "nan", "cotexp run seed=1")
    assert report.left_out == ("exp/other: diverged nan; cotexp run seed=0",), "no finished run has its settings"


def test_patterns_choose_the_runs_that_take_part(outputs: Path, points: list[GridPoint]) -> None:
    assert len(made(outputs, only=("run1*",)).runs) == len([each for each in range(len(points)) if str(each).startswith("1")])


def test_labels_may_be_short_but_must_tell_arms_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert renamed("a.b=1, c.d=[x,y], e=2", {"a.b": "b", "e": ""}) == "b=1, c.d=[x,y]"
    table = DeclaredTable(sweep=ABLATION, labels={"compression.max_rounds": ""})
    monkeypatch.setattr(declared_reports, "report_named", lambda _: DeclaredReport(title="x", tables=[table]))
    with pytest.raises(ConfigError, match="labels must be different for all arms; several would be"):
        made(tmp_path)


def test_footnotes_join_what_runs_chose_differently(outputs: Path) -> None:
    (line,) = (each for each in made(outputs).footnotes if "round limit" in each)
    assert "round limit 2 or 4 or 6 or 8 or 10, stop rule rebound or min_tokens, compressor temperature 0.7" in line


@pytest.mark.slow
def test_several_tables_have_runs_and_figures_of_their_own(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = [DeclaredTable(title=f"Two {stop}", sweep=ABLATION, where={"compression.stop": stop, "compression.max_rounds": 2}) for stop in STOPS]
    monkeypatch.setattr(declared_reports, "report_named", lambda _: DeclaredReport(title="x", tables=tables))
    report = made(outputs)
    assert [len(table.rows) for table in report.tables if table.name in ("1", "2")] == [3, 3], "the base model and two shares of full chains"
    assert [(each.table, each.seed) for each in report.runs] == [(table, seed) for table in ("1", "2") for seed in (0, 1, 0, 1)]
    assert len({table.name for table in report.tables}) == len(report.tables), "each has its own file"
    titles = {each.name: each.title for each in report.figures}
    assert {"accuracy_against_tokens_1", "accuracy_against_tokens_2", "won_and_lost_1", "won_and_lost_2"} <= titles.keys()
    assert titles["accuracy_against_tokens_2"] == "Two min_tokens: Accuracy against tokens"


# --- declarations --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", declared_reports.report_names())
def test_every_declared_report_can_be_made_of_nothing(name: str, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    report = declared_reports.make([name], tmp_path, ReportOptions())
    assert report.tables
    assert report.gaps
    assert all(len(row.cells) == len(table.columns) for table in report.tables for row in table.rows)


def test_a_declared_baseline_may_name_its_settings_whole_or_short_and_is_checked_before_any_run_has_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs").mkdir()

    def declared(baseline: str) -> DeclaredReport:
        where = {"compression.max_rounds": 2, "mixture.full_ratio": 0.25}
        table = DeclaredTable(sweep=ABLATION, where=where, baseline=baseline, labels={"compression.stop": "stop"})
        return DeclaredReport(title="x", tables=[table])

    for baseline in ("compression.stop=rebound", "stop=rebound", "base"):
        monkeypatch.setattr(declared_reports, "report_named", lambda _, baseline=baseline: declared(baseline))
        assert made(tmp_path).gaps
    monkeypatch.setattr(declared_reports, "report_named", lambda _: declared("stop=rebound!"))
    with pytest.raises(ConfigError, match=rf"^report: {ABLATION}: tables\[0\]\.baseline 'stop=rebound!' is not an arm"):
        made(tmp_path)
    monkeypatch.setattr(declared_reports, "report_named", lambda _: declared("stop=rebound"))
    declared_reports.make([ABLATION], tmp_path, ReportOptions(baseline="compression.stop=min_tokens"))
    with pytest.raises(ConfigError, match=r"^report: --baseline 'stop=x' is not an arm"):
        declared_reports.make([ABLATION], tmp_path, ReportOptions(baseline="stop=x"))


def test_the_folder_of_runs_is_no_setting_of_a_report(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is given by --outputs DIR, not as a setting; got paths\.outputs=/scratch"):
        declared_reports.make([ABLATION], tmp_path, ReportOptions(overrides=("paths.outputs=/scratch",)))


@pytest.mark.parametrize("name", declared_reports.published_names())
def test_published_numbers_have_a_source_and_are_in_range(name: str) -> None:
    file = declared_reports.published_named(name)
    assert len(file.source) > 20
    assert file.rows
    assert all(each.method for each in file.rows)


@pytest.mark.slow
def test_what_a_paper_does_not_show_is_not_available(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    report = declared_reports.make(["macc/main"], tmp_path, ReportOptions())
    table = report.tables[0]
    by_label = {row.label: dict(zip((column.name for column in table.columns), row.cells, strict=True)) for row in table.rows}
    ours = by_label["MACC, Qwen2.5-7B-Instruct (published)"]
    assert {ours[each].text for each in ("accuracy", "cot_tokens", "ratio", "latency")} == {"not available"}
    theirs = by_label["TokenSkip: ratio 0.5, Llama-3.1-8B-Instruct (published)"]
    assert [theirs[each].text for each in ("accuracy", "cot_tokens", "latency")] == ["78.2", "113.05", "3.4"]
    assert any(note.startswith("TokenSkip (published): ") and "no comparison" in note for note in report.footnotes)


def test_a_published_number_has_the_digits_of_its_source() -> None:
    row = PublishedRow(method="x", accuracy=82, cot_tokens=873, ratio=0.5, latency=3)
    assert [_cell(row, name).text for name in ("accuracy", "cot_tokens", "ratio", "latency")] == ["82.0", "873", "0.5", "3.0"]
    assert _cell(PublishedRow(method="x", cot_tokens=113.05), "cot_tokens").text == "113.05"


def mistakes(content: Any) -> list[str]:
    problems: list[str] = []
    declared_reports.build(DeclaredReport, content, "", problems)
    return problems


def test_every_mistake_in_a_declaration_is_told_with_its_place() -> None:
    table = {"sweep": "macc/roundz", "colums": [], "mode": "short"}
    found = mistakes({"title": 3, "tables": [table, {"sweep": "macc/rounds", "runs": ["a"]}, {"runs": ["x"], "columns": ["acuracy"]}], "foot": []})
    assert found[0].startswith("foot is not a setting (did you mean 'footnotes'?); settings here: title, ")
    assert found[1] == "title must be a text; got 3"
    assert found[2].startswith("tables[0].colums is not a setting (did you mean 'columns'?)")
    assert found[3].startswith("tables[1].sweep or runs must be given, not both; got sweep=macc/rounds")
    assert found[4].startswith("tables[2].columns must be one of seeds, ")
    assert found[4].endswith("got 'acuracy' (did you mean 'accuracy'?)")
    assert "tables[0].sweep must be one of" in mistakes({"title": "x", "tables": [{"sweep": "macc/roundz"}]})[0]
    assert mistakes([])[0] == "the file must be settings with their values; got []"


def test_a_filter_that_fits_nothing_is_refused(points: list[GridPoint], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    for where, message in (
        ({"tsk": "stories"}, r"where.tsk is a setting of no run \(did you mean 'task'\?\)"),
        ({"task": "gsm8k"}, "no run has task=gsm8k"),
    ):
        table = DeclaredTable(sweep=ABLATION, where=where)
        monkeypatch.setattr(declared_reports, "report_named", lambda _, table=table: DeclaredReport(title="x", tables=[table]))
        with pytest.raises(ConfigError, match=message):
            made(tmp_path)


def test_settings_beside_undeclared_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="seed=1 is read only with one declared report, for its expected runs; declared: macc/arithmetic, "):
        declared_reports.make(["exp"], tmp_path, ReportOptions(overrides=("seed=1",)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [["sweep=macc/main_reasoning"], [f"sweep={ABLATION}", "task.num_train=24"], ["sweep=morsd/full_size", "experiment=morsd/arithmetic"]]
)
def test_a_point_of_a_sweep_can_be_run_alone(words: list[str]) -> None:
    first, *_, last = declared_reports.grid(tuple(words))
    for point in (first, last):
        assert command_line.check_command_line(list(point.overrides), multirun=False) == [point.settings]
