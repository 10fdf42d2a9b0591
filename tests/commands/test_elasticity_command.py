"""`cotexp elasticity`: what is written and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from budget_runs import write_budget_run

from cotexp.commands import cli


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    for budget, length in ((10, 70), (50, 40)):
        write_budget_run(tmp_path, budget, {f"q{number}": [length + number] for number in range(6)}, name="exp/sums")
    return tmp_path


def test_table_figure_and_questions_are_written_beside_each_other(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["elasticity", "exp/sums", "--outputs", str(outputs), "--format", "all"])
    folder = outputs / "reports" / "exp" / "sums" / "elasticity"
    written = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {"report.md", "report.csv", "questions.csv", "figures/token_elasticity.png", "figures/token_elasticity.svg"} <= written
    printed = capsys.readouterr().out
    assert "Token elasticity: the mean is smallest at budget 50" in printed
    assert str(folder / "questions.csv") in printed


def test_runs_may_be_named_by_key_or_pattern(outputs: Path, tmp_path: Path) -> None:
    for names in (["exp/*"], ["b10", "b50"], ["exp/sums/b10", "exp/sums/b50"]):
        cli.main(["elasticity", *names, "--outputs", str(outputs), "--output", str(tmp_path / "out")])
        assert (tmp_path / "out" / "report.md").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], r"cotexp: elasticity: no run that fits 'nothing' under .*; experiments with finished runs: exp/sums"),
        (["b10"], r"cotexp: elasticity: needs finished runs of compression=budget under two budgets or more"),
        (["exp/sums", "--format", "pdf"], r"--format must be among md, latex, csv, html, all; got 'pdf'"),
        (["../exp"], r"NAME must be a declared report or an experiment"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_line(outputs: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        cli.main(["elasticity", *arguments, "--outputs", str(outputs)])
