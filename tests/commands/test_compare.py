"""`cotexp compare`: what is printed and what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from sample_records import prediction

from cotexp.commands.compare import Side, compare_runs, notes, print_comparison, verdict
from cotexp.methods.comparison import compare_answers
from cotexp.records import Prediction
from cotexp.settings.base import ConfigError


def answer(question: str, correct: bool, *, task: str = "gsm8k", **changes: Any) -> Prediction:
    return prediction(question, correct=correct, task=task, **changes)


def answers(labels: str, *, task: str = "gsm8k", skip: int = 0) -> list[Prediction]:
    """One answer per character; 1 is correct. `skip` leaves out the first questions."""
    return [answer(f"{task}-{number}", each == "1", task=task) for number, each in enumerate(labels)][skip:]


def printed(first: list[Prediction], second: list[Prediction], capsys: pytest.CaptureFixture[str]) -> str:
    print_comparison(Side("one/abc, compress", first), Side("two/def, full", second))
    return capsys.readouterr().out


def cells(line: str) -> list[str]:
    return [each.strip() for each in line.split("│")[1:-1]]


def test_the_table_holds_both_accuracies_the_difference_and_the_discordant_counts(capsys: pytest.CaptureFixture[str]) -> None:
    """Two against eight of 40 pairs: p = 2 * 56 / 1024 = 0.1094."""
    text = printed(answers("11" + "00000000" + "1" * 30), answers("00" + "11111111" + "1" * 30), capsys)
    assert "First: one/abc, compress" in text
    assert "Second: two/def, full" in text
    row = cells(next(line for line in text.splitlines() if "│ gsm8k" in line))
    assert row[:4] == ["gsm8k", "40", "80.0%", "95.0%"]
    assert row[4].startswith("+15.0 (")
    assert row[5:] == ["0.1094", "2", "8"]
    assert "all tasks" not in text
    assert "only first right" in text
    assert "Within noise: 40 questions cannot distinguish the two" in text
    assert "McNemar" in text
    assert "One seed on each side" in text
    assert "Holm" not in text


def test_several_tasks_have_a_row_each_and_a_pooled_one_that_the_verdict_speaks_of(capsys: pytest.CaptureFixture[str]) -> None:
    first = [*answers("0" * 20), *answers("01", task="svamp")]
    second = [*answers("1" * 15 + "0" * 5), *answers("10", task="svamp")]
    text = printed(first, second, capsys)
    rows = [cells(line) for line in text.splitlines() if line.startswith("│")]
    assert [row[:2] for row in rows] == [["gsm8k", "20"], ["svamp", "2"], ["all tasks", "22"]]
    assert "Beyond noise: the second run is better by 68.2 points on 22 questions." in text
    assert "p (Holm) of the single tasks is corrected for their number" in text
    assert rows[2][5] == "0.0003"
    assert [row[6] for row in rows] == ["0.0001", "1.0000", ""], "twice 2 / 2^15, once 1; the pooled row stands alone"


def test_questions_that_only_one_run_answered_are_counted_and_named(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = answers("1" * 12), [*answers("1" * 13, skip=7), answer("gsm8k-11", True)]
    text = printed(first, second, capsys)
    assert "Left out, answered by the first run only: 7 (gsm8k-0, gsm8k-1, gsm8k-2, gsm8k-3, gsm8k-4 and 2 more)." in text
    assert "Left out, answered by the second run only: 1 (gsm8k-12)." in text


def test_other_gold_answers_are_left_out_and_named() -> None:
    found = compare_answers([answer("a", True), answer("b", True)], [answer("a", True), answer("b", True, gold="8")])
    assert "Left out, graded against different gold answers: 1 (b)." in list(notes(found))
    assert verdict(found.rows[0]).startswith("Within noise: 1 question cannot")


def test_several_samples_name_their_test(capsys: pytest.CaptureFixture[str]) -> None:
    first = [answer("a", each, sample=number) for number, each in enumerate((True, False, False))]
    text = printed(first, [answer("a", True)], capsys)
    assert "sign-flip" in text
    assert "only first better" in text


def test_the_better_run_is_named_from_either_side() -> None:
    good, bad = answers("1" * 20), answers("0" * 20)
    assert "the first run is better by 100.0 points on 20 questions" in verdict(compare_answers(good, bad).rows[0])
    assert "the second run is better by 100.0 points on 20 questions" in verdict(compare_answers(bad, good).rows[0])


def test_runs_without_a_common_question_are_refused_with_a_next_step() -> None:
    with pytest.raises(ConfigError, match=r"answered no common question \(gsm8k; svamp\); compare runs of the same task"):
        print_comparison(Side("one", answers("10")), Side("two", answers("10", task="svamp")))
    with pytest.raises(ConfigError, match="all 1 common questions of one and two have different gold answers; run both again"):
        print_comparison(Side("one", [answer("a", True)]), Side("two", [answer("a", True, gold="8")]))


# --- runs by name --------------------------------------------------------------------------------------------------------


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two finished runs, `full_only` and `macc`, whose predictions are given instead of read."""
    stored = {
        "full_only": {"base": answers("1000"), "full": answers("1100")},
        "macc": {"base": answers("1000"), "full": answers("1110"), "compress": answers("1111")},
    }
    for name in stored:
        folder = tmp_path / "runs" / name / "0123"
        folder.mkdir(parents=True)
        (folder / "stages.json").write_text(json.dumps({}))
    module = ModuleType("cotexp.stages.grades")
    module.predictions_of_run = lambda folder: stored[folder.parent.name]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cotexp.stages.grades", module)
    return tmp_path


@pytest.mark.parametrize(
    ("mode", "first", "second", "difference"),
    [
        (None, "full_only/0123, full", "macc/0123, compress", "+50.0"),
        ("full", "full_only/0123, full", "macc/0123, full", "+25.0"),
        ("base,compress", "full_only/0123, base", "macc/0123, compress", "+75.0"),
    ],
)
def test_runs_are_found_by_name_and_each_brings_its_mode(
    mode: str | None, first: str, second: str, difference: str, outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compare_runs("full_only", str(outputs / "runs" / "macc" / "0123"), outputs=outputs, mode=mode)
    text = capsys.readouterr().out
    assert f"First: {first}" in text
    assert f"Second: {second}" in text
    assert difference in text


def test_two_modes_of_one_run_can_be_compared(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compare_runs("macc", "macc", outputs=outputs, mode="full,compress")
    assert "+25.0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("runs", "mode", "message"),
    [
        (("full_only", "macc"), "compress", r"run full_only/0123 has no answers in mode 'compress'; it has base, full"),
        (("macc", "macc"), None, r"both are macc/0123, compress; name another run by its key, or two modes such as --mode full,compress"),
        (("macc", "full_only"), "base,full,compress", r"--mode takes one mode for both runs, or one for each"),
        (("macc", "nothing"), None, r"got 'nothing' \(there is none\)"),
    ],
)
def test_what_cannot_be_compared_is_refused(runs: tuple[str, str], mode: str | None, message: str, outputs: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        compare_runs(*runs, outputs=outputs, mode=mode)
