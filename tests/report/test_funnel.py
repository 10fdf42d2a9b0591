"""What the selection kept and dropped, in the report of a run."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from cotexp.report import funnel
from cotexp.report.disclosures import disclosures
from cotexp.report.markdown import table_lines
from cotexp.selections.base import Selection

SELECTION = {
    "name": "morsd",
    "accuracy": True,
    "diversity": 0.5,
    "order": "lowest_rd",
    "k": 2,
    "rd": "masked",
    "equal_questions": False,
    "max_rationales": None,
    "max_tokens": None,
    "validation": "correct",
}
COUNTS = {"written": 1000, "usable": 900, "accurate": 700, "diverse": 500, "ordered": 200, "kept": 200}


def settings_with(**selection: Any) -> dict[str, Any]:
    return {
        "selection": {**SELECTION, **selection},
        "mixture": {"originals": "all"},
        "teacher": {"name": "local", "num_samples": 8, "temperature": 0.7},
        "scoring": {"connector": "The answer is ", "answer": "boxed"},
    }


def metrics_with(**counts: int) -> dict[str, float]:
    found = {**COUNTS, **counts}
    names = list(found)
    dropped = {f"selection/num_dropped_{after}": found[before] - found[after] for before, after in itertools.pairwise(names)}
    kept = {f"selection/num_{name}": count for name, count in found.items()}
    return {**kept, **dropped, "selection/num_questions": 110, "selection/num_questions_without": 10, "selection/num_tokens": 12345}


def lines_of(metrics: dict[str, float], settings: dict[str, Any]) -> list[str]:
    """The table in Markdown, and its notes."""
    tables = funnel.tables(metrics, settings)
    return [line for each in tables for line in (*table_lines(each), *(f"- {note}" for note in each.notes))]


def test_a_note_says_where_equal_questions_have_fewer_rationales() -> None:
    settings = settings_with(equal_questions=True)
    for below in (0, 3):
        text = "\n".join(lines_of(metrics_with() | {"selection/num_questions_below_k": below}, settings))
        assert ("3 questions have fewer than 2 rationales" in text) == bool(below)


def test_the_table_has_a_row_per_filter_with_what_it_kept_and_dropped() -> None:
    text = lines_of(metrics_with(), settings_with())
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text if line.startswith("| ")]
    assert rows == [
        ["filter of training rationales", "kept", "dropped", "kept of all written"],
        ["written", "1,000", "", "100%"],
        ["usable: finished, with a stated answer", "900", "100", "90%"],
        ["accuracy: the answer is the gold one", "700", "200", "70%"],
        ["diversity: similarity below 0.5", "500", "200", "50%"],
        ["order lowest masked RD: first 2 of each question", "200", "300", "20%"],
        ["budget", "200", "off", "20%"],
    ]
    assert (
        "- 10 of 110 training questions have none left; 200 rationales are kept for training: 12,345 tokens. "
        "Question by question: selection.jsonl." in text
    )


def test_a_filter_that_is_off_is_called_so_and_left_out_of_the_line() -> None:
    settings = settings_with(name="random", accuracy=False, diversity=None, order="random", max_tokens=9000)
    metrics = metrics_with(accurate=900, diverse=900, ordered=220)
    rows = [line for line in lines_of(metrics, settings) if line.startswith("| ")]
    assert "| accuracy | 900 | off | 90% |" in rows
    assert "| diversity | 900 | off | 90% |" in rows
    assert "| budget: 9,000 tokens | 200 | 20 | 20% |" in rows
    expected = "Training rationales: 1,000 written → 900 usable → 220 after order random → 200 after budget."
    assert funnel.line(metrics, settings)[0] == expected


def test_common_questions_and_unmatched_rows_are_named() -> None:
    settings = settings_with(equal_questions=True)
    text = "\n".join(lines_of(metrics_with() | {"rationales/num_unmatched": 3150}, settings))
    assert "first 2 of each question, common questions alone | 200 |" in text
    assert "3,150 recorded rows belong to no training or validation question" in text
    assert "recorded rows" not in "\n".join(lines_of(metrics_with() | {"rationales/num_unmatched": 0}, settings))


def test_nothing_is_shown_where_all_rationales_are_kept_by_the_selection_of_all() -> None:
    settings = settings_with(name="all", accuracy=False, diversity=None, order="sample", k=None)
    same = dict.fromkeys(COUNTS, 1000)
    assert lines_of(metrics_with(**same), settings) == funnel.line(metrics_with(**same), settings) == []
    assert lines_of(metrics_with(**{**same, "kept": 999}), settings), "something was dropped"
    assert lines_of(metrics_with(**same), settings_with(accuracy=False, diversity=None, k=None)), "another selection"
    assert funnel.steps({}, {}) == [], "a run that is older than selections"


def test_a_run_that_lacks_the_number_of_a_filter_shows_none() -> None:
    whole = metrics_with()
    assert funnel.steps(whole, settings_with())
    for missing in ("written", "kept", "usable"):
        assert funnel.steps({name: value for name, value in whole.items() if name != f"selection/num_{missing}"}, settings_with()) == []


# --- footnotes -----------------------------------------------------------------------------------------------------------


def test_footnotes_tell_our_choices_from_what_is_known_second_hand() -> None:
    ours, second_hand = disclosures([settings_with()])
    assert ours.startswith(
        "Our choice where MoRSD's paper is silent: 8 rationales per question, sampled at temperature 0.7; near duplicates = Jaccard"
    )
    assert "RD given the rationale without its answer sentence (masked), the boxed answer after 'The answer is '" in ours
    assert "validation questions' rationales (those with the gold answer)" in ours
    assert "k = 6" not in ours
    assert second_hand.startswith("Known of MoRSD second-hand only, not from the paper's own text: RD = PPL(answer | question, rationale) / PPL(")
    assert "k = 6 (this run: 2)" in second_hand


def test_the_footnote_leaves_out_what_an_earlier_version_did_not_store_of_the_scoring() -> None:
    settings = settings_with()
    settings["scoring"] = {"connector": "The answer is "}
    assert "RD given the rationale without its answer sentence (masked); checkpoint by" in disclosures([settings])[0]


def test_a_control_without_a_part_of_morsd_has_no_such_footnote() -> None:
    settings = settings_with(name="random", accuracy=True, diversity=None, order="random")
    assert disclosures([settings]) == []
    settings["selection"]["equal_questions"] = True
    (line,) = disclosures([settings])
    assert line.startswith("A control of ours: only questions with k correct and diverse rationales (similarity below 0.5)")
    settings["selection"]["common_diversity"] = 0.95
    assert "(similarity below 0.95)" in disclosures([settings])[0]


@pytest.mark.parametrize(("order", "rd", "name"), [("lowest_rd", "plain", "lowest plain RD"), ("lowest_perplexity", "plain", "lowest perplexity")])
def test_an_order_is_spelled_out(order: str, rd: str, name: str) -> None:
    assert Selection.labels(settings_with(order=order, rd=rd))["ordered"].text == f"order {name}: first 2 of each question"


def test_a_filter_of_a_package_that_is_gone_is_shown_by_its_word() -> None:
    metrics = metrics_with() | {"selection/num_easy": 200, "selection/num_dropped_easy": 0}
    assert "easy" in [each.name for each in funnel.steps(metrics, settings_with(name="easy"))]


def test_several_arms_have_a_panel_each_and_no_panel_is_left_empty() -> None:
    from matplotlib.figure import Figure

    steps = [funnel.Step("written", 10, 0), funnel.Step("accuracy: the answer is the gold one", 6, 4)]
    (drawing,) = funnel.drawings({"first": steps, "second": steps, "third": steps[:1]})
    figure = Figure(figsize=(drawing.width, 4), layout="constrained")
    drawing.draw(figure)
    assert [axes.get_title() for axes in figure.axes if axes.axison] == ["first", "second", "third"]
    assert list(funnel.drawings({})) == []
