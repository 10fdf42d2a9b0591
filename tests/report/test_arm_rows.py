"""Which runs are in the rows of arms, and what each row is compared with."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from run_folders import MORSD, write_run

from cotexp.commands import declared_reports
from cotexp.methods.statistics import wilson
from cotexp.report import build
from cotexp.report.build import ReportOptions
from cotexp.report.document import Cell, Figure, Report, Row, Table


@pytest.fixture(autouse=True)
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "picture", lambda drawing: Figure(name=drawing.name, title="", description="", png=b"", svg=b""))


def made(outputs: Path, **options: Any) -> Report:
    return declared_reports.make(["exp"], outputs, ReportOptions(**options))


def row_of(table: Table, label: str) -> Row:
    return next(row for row in table.rows if row.label == label)


def cell(table: Table, row: Row, column: str) -> Cell:
    return row.cells[[each.name for each in table.columns].index(column)]


def with_command(folder: Path, *overrides: str) -> None:
    (folder / "status.json").write_text(json.dumps({"state": "finished", "overrides": list(overrides)}))


# --- seeds of other questions ----------------------------------------------------------------------------------------------


def test_a_seed_that_answered_other_questions_than_the_newest_run_is_left_out_with_its_command(tmp_path: Path) -> None:
    """Seeds 1 and 2 answered four questions of an edited file, seed 0 the three of before."""
    with_command(write_run(tmp_path, "s0", "111", seed=0, finished=10.0), "seed=0", "task=custom")
    write_run(tmp_path, "s1", "1100", seed=1, finished=20.0)
    write_run(tmp_path, "s2", "1101", seed=2, finished=30.0)
    report = made(tmp_path)
    [row] = report.tables[0].rows
    assert row.seeds == (1, 2)
    assert row.num_questions == 4
    assert cell(report.tables[0], row, "accuracy").value == pytest.approx(100 * (2 / 4 + 3 / 4) / 2)
    assert cell(report.tables[0], row, "seeds").text == "1, 2 (missing 0)"
    [gap] = report.gaps
    assert (gap.seed, gap.state, gap.folder) == (0, "missing", "runs/exp/s0")
    assert gap.reason == "exp/s0 answered other test questions than the newest run, exp/s2"
    assert gap.command.endswith("seed=0 task=custom")
    assert [run.key for run in report.runs] == ["s1", "s2"]


def test_one_edited_question_makes_another_set_and_the_last_seed_is_one_seed(tmp_path: Path) -> None:
    write_run(tmp_path, "a0", "0000", seed=0, finished=10.0)
    edited = write_run(tmp_path, "a1", "1110", seed=1, finished=20.0)
    for path in (edited / "questions.json", *(tmp_path / "store").glob("*/exp-a1-svamp/rows-w.jsonl")):
        path.write_text(path.read_text().replace("svamp-3", "svamp-x"))
    report = made(tmp_path)
    [row] = report.tables[0].rows
    accuracy = cell(report.tables[0], row, "accuracy")
    assert (row.seeds, accuracy.value) == ((1,), 75.0)
    assert (accuracy.low, accuracy.high) == pytest.approx(tuple(100 * end for end in wilson(3, 4)))
    assert any(note.startswith("One seed: every arm.") for note in report.tables[0].notes)


def test_a_seed_of_other_weights_is_left_out_with_its_reason(tmp_path: Path) -> None:
    """The folder of the model had other weights when seed 0 ran; of seed 2, an earlier version of this project did not note them."""
    for seed, weights in ((0, {"model": "old"}), (1, {"model": "new", "teacher": "t"}), (2, None), (3, {"model": "new", "teacher": "t"})):
        folder = write_run(tmp_path, f"s{seed}", "1100", seed=seed, finished=10.0 * (seed + 1))
        if weights is not None:
            (folder / "origin.json").write_text(json.dumps({"command": "run", "version": "0.1.0", "weights": weights}))
    report = made(tmp_path)
    [row] = report.tables[0].rows
    assert row.seeds == (1, 2, 3)
    [gap] = report.gaps
    assert (gap.seed, gap.reason) == (0, "exp/s0 read other weights of its model than the newest run, exp/s3")


def test_arms_that_differ_in_their_questions_are_compared_on_the_common_ones(tmp_path: Path) -> None:
    write_run(tmp_path, "a", "1100")
    write_run(tmp_path, "b", "111111", selection=MORSD)
    report = made(tmp_path)
    assert report.gaps == []
    assert [row.num_questions for row in report.tables[0].rows] == [6, 4]
    assert cell(report.tables[0], row_of(report.tables[0], "selection=morsd"), "difference").value == pytest.approx(50.0)


def test_a_declared_report_leaves_out_seeds_of_other_questions_too(tmp_path: Path) -> None:
    points = declared_reports.grid(("sweep=macc/quickstart_ablation",))
    first, second = [point for point in points if point.settings.compression == points[0].settings.compression][:2]
    assert first.settings.seed != second.settings.seed
    for key, point, labels, finished in (("k0", first, "111", 10.0), ("k1", second, "1100", 20.0)):
        write_run(tmp_path, key, labels, mode="compress", finished=finished, **dataclasses.asdict(point.settings))
    report = declared_reports.make(["macc/quickstart_ablation"], tmp_path, ReportOptions())
    [row] = [row for row in report.tables[0].rows if row.seeds]
    assert row.seeds == (second.settings.seed,)
    assert any(gap.folder.endswith("/k0") and "answered other test questions" in gap.reason for gap in row.gaps)


# --- models before fine-tuning ---------------------------------------------------------------------------------------------


def test_a_base_model_has_a_row_for_each_set_of_questions_with_its_accuracy_on_them(tmp_path: Path) -> None:
    """The base is right on two of the first four questions and on all of the other four; the ledger is one."""
    write_run(tmp_path, "a", "1110", base="1100", evaluation={"modes": ["full", "base"], "num_test": 4})
    write_run(tmp_path, "b", "11111110", base="11001111", evaluation={"modes": ["full", "base"], "num_test": 8})
    table = made(tmp_path).tables[0]
    found = {row.label: (row.num_questions, cell(table, row, "accuracy").value) for row in table.rows}
    assert found == {
        "base (not fine-tuned) of evaluation.num_test=4": (4, 50.0),
        "base (not fine-tuned) of evaluation.num_test=8": (8, 75.0),
        "evaluation.num_test=4": (4, 75.0),
        "evaluation.num_test=8": (8, 87.5),
    }
    against = {row.label: cell(table, row, "difference").value for row in table.rows}
    assert against["base (not fine-tuned) of evaluation.num_test=4"] == pytest.approx(100 * (2 - 3) / 4)
    assert against["base (not fine-tuned) of evaluation.num_test=8"] == pytest.approx(100 * (2 - 3) / 4), "on the four common questions"


def test_arms_of_one_base_model_and_one_set_of_questions_share_its_row(tmp_path: Path) -> None:
    write_run(tmp_path, "a", "1110", base="1100")
    write_run(tmp_path, "b", "1111", base="1100", selection=MORSD)
    assert [row.label for row in made(tmp_path).tables[0].rows if row.kind == "base"] == ["base (not fine-tuned)"]


# --- several budgets -------------------------------------------------------------------------------------------------------


def test_with_several_budgets_only_the_comparisons_that_are_shown_are_corrected_for(tmp_path: Path) -> None:
    """Of 40 questions the baselines have 24 right, one arm of each budget 30: six won, none lost, p = 2 / 2^6. The base has 10 right."""
    for number, budget in enumerate((100, 200)):
        for key, k, right in (("a", 1, 24), ("b", 2, 30), ("c", 3, 30)):
            own = {"trainer": {"name": "single", "max_tokens": budget}, "baseline": "selection.k=1", "base": "1" * 10 + "0" * 30}
            write_run(tmp_path, f"{key}{number}", "1" * right + "0" * (40 - right), selection={**MORSD, "k": k}, **own)
    table = made(tmp_path).tables[0]
    [base] = [row for row in table.rows if row.kind == "base"]
    assert (base.label, cell(table, base, "difference").text) == ("base (not fine-tuned)", "several baselines")
    assert cell(table, base, "p").value is None
    compared = [row for row in table.rows if row.kind == "arm" and not row.is_baseline]
    assert [cell(table, row, "p").value for row in compared] == pytest.approx([2 / 2**6] * 4)
    assert [cell(table, row, "p_holm").value for row in compared] == pytest.approx([2 * 2 / 2**6] * 4), "two of each budget"
    assert any("comparisons with the same baseline in this table (4 in all)" in note for note in table.notes)


def test_an_arm_that_trains_nothing_leaves_the_others_with_the_baseline_of_their_budget(tmp_path: Path) -> None:
    """Baselines of 24 and 30 right answers: the arm of the second budget, with 36, has won six questions of 40 and not twelve."""
    for budget, baseline, arm in ((100, 24, 30), (200, 30, 36)):
        for k, right in ((1, baseline), (2, arm)):
            own = {"trainer": {"name": "single", "max_tokens": budget}, "baseline": "selection.k=1"}
            write_run(tmp_path, f"k{k}-{budget}", "1" * right + "0" * (40 - right), selection={**MORSD, "k": k}, **own)
    untrained = write_run(tmp_path, "untrained", "1" * 10 + "0" * 30, selection={**MORSD, "k": 3}, baseline="selection.k=1")
    metrics = json.loads((untrained / "metrics.json").read_text())
    (untrained / "metrics.json").write_text(json.dumps({name: value for name, value in metrics.items() if not name.startswith("training/")}))
    table = made(tmp_path).tables[0]
    rows = [row for row in table.rows if row.kind == "arm" and not row.is_baseline]
    assert [cell(table, row, "difference").text for row in rows if "k=3" in row.label] == ["no baseline with its settings"]
    compared = [row for row in rows if "k=3" not in row.label]
    assert [cell(table, row, "difference").value for row in compared] == pytest.approx([15, 15])
    assert [cell(table, row, "p").value for row in compared] == pytest.approx([2 / 2**6] * 2)


def test_an_arm_whose_budget_has_no_baseline_is_not_compared_with_that_of_another(tmp_path: Path) -> None:
    for budget, k, right in ((100, 1, 24), (100, 2, 30), (200, 1, 30), (300, 2, 40)):
        own = {"trainer": {"name": "single", "max_tokens": budget}, "baseline": "selection.k=1"}
        write_run(tmp_path, f"k{k}-{budget}", "1" * right + "0" * (40 - right), selection={**MORSD, "k": k}, **own)
    table = made(tmp_path).tables[0]
    found = {row.label: cell(table, row, "difference") for row in table.rows if not row.is_baseline}
    assert {label[-3:]: cell.value for label, cell in found.items()} == {"100": pytest.approx(15), "300": None}
    assert [cell.text for label, cell in found.items() if label.endswith("300")] == ["no baseline with its settings"]


def test_with_one_budget_the_base_model_is_compared_and_counts(tmp_path: Path) -> None:
    for key, k, right in (("a", 1, 24), ("b", 2, 30)):
        write_run(tmp_path, key, "1" * right + "0" * (40 - right), selection={**MORSD, "k": k}, base="1" * 18 + "0" * 22)
    table = made(tmp_path, baseline="selection.k=1").tables[0]
    base, _, arm = table.rows
    assert [cell(table, row, "difference").value for row in (base, arm)] == pytest.approx([-15, 15])
    assert [cell(table, row, "p_holm").value for row in (base, arm)] == pytest.approx([2 * 2 / 2**6] * 2)


# --- bold ------------------------------------------------------------------------------------------------------------------


def with_tokens(folder: Path, tokens: int) -> None:
    """The run with answers of about this length: those of the first questions are one token longer."""
    [path] = (folder.parents[2] / "store" / "predictions").glob(f"exp-{folder.name}-svamp/rows-w.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps({**row, "num_tokens": tokens + (number < 3)}) + "\n" for number, row in enumerate(rows)))


@pytest.mark.parametrize(("longer", "is_bold"), [((40, 120), False), ((200, 201), True)])
def test_tokens_are_bold_only_if_seeds_and_questions_distinguish_them(longer: tuple[int, int], is_bold: bool, tmp_path: Path) -> None:
    """One arm has answers of 82 and 81 tokens; another of 40 and 120, whose mean of 80 says little of the next seed, or of 200 and 201."""
    for seed in (0, 1):
        with_tokens(write_run(tmp_path, f"a{seed}", "1" * 10, seed=seed), longer[seed])
        with_tokens(write_run(tmp_path, f"b{seed}", "1" * 10, seed=seed, selection=MORSD), (82, 81)[seed])
    table = made(tmp_path).tables[0]
    bold = {row.label: cell(table, row, "tokens").bold for row in table.rows}
    assert bold == {"selection=random": False, "selection=morsd": is_bold}


# --- metrics without a number ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["selection/num_kept", "training/num_steps", "eval/full/compression_ratio", "eval/base/compression_ratio"])
def test_a_metric_that_is_null_is_an_empty_cell_like_one_that_is_missing(name: str, tmp_path: Path) -> None:
    found = []
    for value in ({}, {name: None}):
        outputs = tmp_path / str(len(found))
        for seed in (0, 1):
            path = write_run(outputs, f"a{seed}", "1100", seed=seed, base="1000") / "metrics.json"
            others = {key: number for key, number in json.loads(path.read_text()).items() if key != name}
            path.write_text(json.dumps(others | ({name: 0.5} if seed else value)))
        found.append(made(outputs, columns=("accuracy", "rationales", "ratio", name)).tables)
    assert found[0] == found[1]
    arm = found[0][0].rows[-1]
    assert cell(found[0][0], arm, name) == Cell()


# --- arms without fine-tuning ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 5])
def test_an_arm_that_was_not_fine_tuned_is_compared_with_every_seed_as_its_base_model_is(seed: int, tmp_path: Path) -> None:
    """Whatever seed its sweep gave it: it answers as the base model does."""
    base = "1" * 6 + "0" * 4
    for number, labels in enumerate(("1111000000", "1111111110", "1111111100")):
        write_run(tmp_path, f"s{number}", labels, seed=number, base=base, baseline="selection=random")
    folder = write_run(tmp_path, "brief", base, seed=seed, selection=MORSD, base=base, baseline="selection=random")
    metrics = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text(json.dumps({name: value for name, value in metrics.items() if name != "training/num_steps"}))
    [table, *_] = made(tmp_path).tables
    brief, before = (row_of(table, label) for label in ("selection=morsd", "base (not fine-tuned)"))
    for column in ("difference", "p"):
        assert cell(table, brief, column).text == cell(table, before, column).text
    assert cell(table, brief, "difference").value == pytest.approx(100 * (0.6 - 0.7))
    assert cell(table, brief, "deviation").text == ""
    assert not any("its seeds differ" in note or "One seed" in note for note in table.notes)
