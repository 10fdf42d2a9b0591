"""The report on token elasticity, from runs whose lengths are given."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from budget_runs import LIMIT, write_budget_run

from cotexp.report import elasticity
from cotexp.report.document import Figure, Report
from cotexp.report.style import Drawing
from cotexp.settings.base import ConfigError


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are drawn in the tests of the command; here their names suffice."""

    def named(drawing: Drawing) -> Figure:
        return Figure(name=drawing.name, title=drawing.title, description=drawing.description, png=b"", svg=b"")

    monkeypatch.setattr(elasticity, "picture", named)


def rising(outputs: Path, **settings: Any) -> None:
    """Ten questions, of which every one is shortest at budget 50 and longest at 10."""
    base = {f"q{number}": [120 + number] for number in range(10)}
    for budget, mean in ((10, 90), (50, 40), (200, 80)):
        write_budget_run(outputs, budget, {f"q{number}": [mean + number] for number in range(10)}, base=base, wrong=("q0", "q1"), **settings)


def made(outputs: Path, *names: str) -> Report:
    return elasticity.make(list(names or ("exp",)), outputs)[0]


def cells(report: Report, row: str, table: int = 0) -> dict[str, str]:
    own = report.tables[table]
    (found,) = [each for each in own.rows if each.label == row]
    return {column.name: cell.text for column, cell in zip(own.columns, found.cells, strict=True)}


def test_a_row_for_each_budget_and_one_without_hold_accuracy_length_and_every_failure(tmp_path: Path) -> None:
    rising(tmp_path)
    report = made(tmp_path)
    (table,) = report.tables
    assert [row.label for row in table.rows] == ["none", "10", "50", "200"]
    row = cells(report, "50")
    assert row["accuracy"].startswith("80.0 (")
    assert row["tokens_whole"].startswith("44.5 (")
    assert (row["tokens"], row["within"], row["shortest"], row["cut"], row["unparsable"]) == ("44.5", "10 of 10", "10", "0 of 10", "2 of 10")
    without = cells(report, "none")
    assert (without["within"], without["shortest"], without["tokens"]) == ("", "", "124.5")
    assert [cell.bold for row in table.rows for cell in row.cells].count(True) == 1


def test_the_sentence_names_budget_rise_and_p_value(tmp_path: Path) -> None:
    rising(tmp_path)
    (table,) = made(tmp_path).tables
    assert table.notes[0].startswith(
        "Token elasticity: the mean is smallest at budget 50, 44.5 tokens (budget 50 in 95 % of resamples of 10 questions), with 50.0 tokens more "
        "at budget 10 (p < 0.001)."
    )
    assert "10 of 10 are shortest above the smallest budget (100%, 72% to 100%); 67% would be if the budget made no difference." in table.notes[1]
    assert "needs evaluation.num_samples=2 or more" in table.notes[2]


def test_a_model_that_ignores_the_budget_has_no_turn(tmp_path: Path) -> None:
    for budget in (10, 50, 200):
        write_budget_run(tmp_path, budget, {f"q{number}": [60 + number] for number in range(10)})
    report = made(tmp_path)
    assert report.tables[0].notes[0].startswith("No turn: the mean is smallest at budget 10, 64.5 tokens")
    assert "0 of 10 are shortest above the smallest budget (0%, 0% to 28%); 0% would be" in report.tables[0].notes[1]


def test_cut_answers_have_no_length_but_are_counted_and_lower_bounds_are_marked(tmp_path: Path) -> None:
    lengths = {10: [90, 80, LIMIT, LIMIT], 50: [60, 50, 40, LIMIT], 200: [70, 60, 50, LIMIT]}
    for budget, own in lengths.items():
        write_budget_run(tmp_path, budget, {f"q{number}": [length] for number, length in enumerate(own)})
    report = made(tmp_path)
    assert cells(report, "10")["tokens_whole"].startswith("85.0 (")
    assert (cells(report, "10")["tokens"], cells(report, "10")["cut"]) == ("≥ 192.5", "2 of 4")
    assert cells(report, "50")["tokens"] == "≥ 112.5"
    notes = report.tables[0].notes
    assert notes[0].startswith(f"Whole questions: 2 of 4, those of which no answer was cut at evaluation.max_new_tokens={LIMIT} under any budget.")
    assert "No turn beyond noise" in notes[1]
    assert "fewer than 5 questions can show none" in notes[1]
    assert notes[2].startswith("Over all 4 questions, cut answers counted with the tokens that they have:")


def test_without_any_whole_question_the_report_says_so_and_still_draws(tmp_path: Path) -> None:
    for budget in (10, 50):
        write_budget_run(tmp_path, budget, {"q0": [LIMIT], "q1": [LIMIT]})
    report = made(tmp_path)
    assert cells(report, "10")["tokens_whole"] == ""
    assert report.tables[0].notes[0].startswith("Whole questions: 0 of 2")
    assert len(report.figures) == 1


def test_repeated_samples_count_a_question_once_and_are_tested(tmp_path: Path) -> None:
    for budget, mean in ((10, 90), (50, 40), (200, 70)):
        lengths = {f"q{number}": [mean + number + sample for sample in range(4)] for number in range(6)}
        write_budget_run(tmp_path, budget, lengths)
    notes = made(tmp_path).tables[0].notes
    assert any(note.startswith("Beyond the noise of their own answers: 6 of 6 (100%") for note in notes)


def test_runs_that_differ_in_more_than_the_budget_have_tables_and_figures_of_their_own(tmp_path: Path) -> None:
    rising(tmp_path)
    for budget in (10, 50):
        write_budget_run(tmp_path, budget, {"q0": [30]}, key=f"large{budget}", model={"name": "large", "path": "large", "dtype": "float32"})
    report = made(tmp_path)
    assert [table.title for table in report.tables] == ["model=small", "model=large"]
    assert [figure.name for figure in report.figures] == ["token_elasticity_1", "token_elasticity_2"]
    assert {(run.table, run.row) for run in report.runs} == {("1", "10"), ("1", "50"), ("1", "200"), ("2", "10"), ("2", "50")}


def test_questions_that_were_not_asked_under_every_budget_are_left_out_and_counted(tmp_path: Path) -> None:
    write_budget_run(tmp_path, 10, {"q0": [30], "q1": [31]})
    write_budget_run(tmp_path, 50, {"q1": [31], "q2": [32]})
    report = made(tmp_path)
    assert report.tables[0].notes[0] == "Left out: 2 questions that were not asked under every budget."
    assert cells(report, "10")["tokens"] == "31.0"


def test_runs_without_a_budget_or_with_another_model_alone_are_left_out_by_name(tmp_path: Path) -> None:
    rising(tmp_path)
    write_budget_run(tmp_path, 25, {"q0": [30]}, key="told", compression={"name": "prompt_only", "instruction": "Hurry."})
    write_budget_run(tmp_path, 25, {"q0": [30]}, key="alone", evaluation={"modes": ["compress"], "max_new_tokens": 7})
    left_out = made(tmp_path).left_out
    assert list(left_out) == ["exp/told: no budget in its prompt", "exp/alone: no other budget to compare"]


def test_one_budget_alone_is_refused_with_the_next_step(tmp_path: Path) -> None:
    write_budget_run(tmp_path, 25, {"q0": [30]})
    with pytest.raises(ConfigError, match=r"two budgets or more .* cotexp run -m sweep=macc/budgets"):
        made(tmp_path)


@pytest.mark.parametrize("file", ["settings.json", "stages.json", "questions.json", "metrics.json"])
def test_a_broken_run_is_named_where_the_others_cannot_be_compared(tmp_path: Path, file: str) -> None:
    write_budget_run(tmp_path, 10, {"q0": [30]})
    (write_budget_run(tmp_path, 50, {"q0": [30]}) / file).write_text("")
    with pytest.raises(ConfigError) as refused:
        elasticity.make(["exp"], tmp_path)
    assert any((line.startswith("left out: exp/b50: ") and file in line) or "exp/b50: not finished" in line for line in refused.value.problems)


def test_the_newer_of_two_runs_under_one_budget_counts(tmp_path: Path) -> None:
    rising(tmp_path)
    base = {f"q{number}": [120 + number] for number in range(10)}
    newer = write_budget_run(tmp_path, 50, {f"q{number}": [9] for number in range(10)}, key="again", base=base)
    assert cells(made(tmp_path), "50")["tokens"] in ("9.0", "44.5")
    (newer / "metrics.json").touch()
    report = made(tmp_path)
    assert cells(report, "50")["tokens"] == "9.0"
    assert "exp/b50: a later run has the same settings" in report.left_out


def test_answers_of_other_weights_are_no_part_of_the_curve(tmp_path: Path) -> None:
    """The same settings, and weights that were changed in their folder between the runs: the answers without a budget are not the same either."""
    base = {f"q{number}": [120 + number] for number in range(10)}
    for weights, budgets in (("before", (10, 50)), ("after", (100, 200, 400))):
        for budget in budgets:
            write_budget_run(tmp_path, budget, {f"q{number}": [budget + number] for number in range(10)}, base=base, weights=weights)
    tables = made(tmp_path).tables
    assert [[row.label for row in table.rows] for table in tables] == [["none", "10", "50"], ["none", "100", "200", "400"]]
    assert tables[0].title != tables[1].title


def test_a_cut_answer_is_not_within_its_budget(tmp_path: Path) -> None:
    for budget in (10, 2 * LIMIT):
        write_budget_run(tmp_path, budget, {f"q{number}": [LIMIT if number < 4 else 50] for number in range(10)})
    assert cells(made(tmp_path), f"{2 * LIMIT}")["within"] == "6 of 10"


def test_the_file_of_questions_has_each_with_its_turn_and_its_lengths(tmp_path: Path) -> None:
    lengths = {10: [90, LIMIT], 50: [60, 50]}
    for budget, own in lengths.items():
        write_budget_run(tmp_path, budget, {f"q{number}": [length] for number, length in enumerate(own)})
    files = elasticity.make(["exp"], tmp_path)[1]
    rows = list(csv.DictReader(io.StringIO(files["questions.csv"].decode())))
    whole, cut = rows
    assert (whole["question_id"], whole["is_whole"], whole["turn_budget"], whole["smallest_tokens"], whole["rise_tokens"]) == (
        "q0",
        "1",
        "50",
        "60",
        "30",
    )
    assert (cut["is_whole"], cut["turn_budget"], cut["rise_tokens"], cut["tokens_10"], cut["tokens_50"]) == ("0", "50", "", str(LIMIT), "50")


def test_the_same_runs_give_the_same_bytes(tmp_path: Path) -> None:
    rising(tmp_path)
    assert elasticity.make(["exp"], tmp_path) == elasticity.make(["exp"], tmp_path)
