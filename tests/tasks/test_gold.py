"""Gold answers in every raw form of the sources."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotexp.records import AnswerType
from cotexp.tasks.answers import number_of
from cotexp.tasks.boxes import last_boxed
from cotexp.tasks.gold import read_gold
from cotexp.tasks.options import shuffled_options
from cotexp.tasks.sentence_items import plain_digits

OPTIONS = {"A": "dog", "B": "cat", "C": "a mouse", "D": "river bank"}
DATES = {"01/02/2021": 1, "01/03/2021": 0, "02/02/2021": 0, "01/02/2020": 0, "01/01/2021": 0}


@pytest.mark.parametrize(
    ("raw", "answer_type", "gold"),
    [
        (0.00005, "latex", "0.00005"),
        (1e16, "latex", "10000000000000000"),
        # a float, a list, a string, one with thousands, GSM8K's whole solution, zero-padded AIME
        (18, "decimal", "18"),
        (18.0, "decimal", "18"),
        (0.25, "decimal", "0.25"),
        (-3.5, "decimal", "-3.5"),
        (-18, "integer", "-18"),
        (1e3, "decimal", "1000"),
        (1e16, "decimal", "10000000000000000"),
        (1e-5, "decimal", "0.00001"),
        ([18.0], "decimal", "18"),
        (["18"], "decimal", "18"),
        (["18.0", "18"], "decimal", "18"),
        ("18", "decimal", "18"),
        ("1,000", "decimal", "1000"),
        ("1{,}000", "decimal", "1000"),
        ("2,500,000", "integer", "2500000"),
        ("-1,000.50", "decimal", "-1000.5"),
        ("$51", "decimal", "51"),
        ("1/3", "decimal", "1/3"),
        ("1/4", "decimal", "0.25"),
        ("Natalia sold 48/2 = <<48/2=24>>24 clips.\nAltogether <<48+24=72>>72.\n#### 72", "decimal", "72"),
        ("She has <<5*200=1000>>1000.\n#### 1,000", "decimal", "1000"),
        ("It fell.\n#### -5", "integer", "-5"),
        ("#### 51", "decimal", "51"),
        ("so \\boxed{1{,}000}$ eggs", "decimal", "1000"),
        ("025", "integer", "25"),
        ("000", "integer", "0"),
        ("999", "integer", "999"),
        # MATH: a solution with a box, an answer alone
        ("We get $x = 3$, so $\\boxed{\\frac{3}{4}}$.", "latex", "\\frac{3}{4}"),
        ("First \\boxed{1}, then \\boxed{(2, \\{3\\})}.", "latex", "(2, \\{3\\})"),
        ("\\left( 3, \\frac{\\pi}{2} \\right)", "latex", "\\left( 3, \\frac{\\pi}{2} \\right)"),
        ("$\\frac{3}{4}$", "latex", "\\frac{3}{4}"),
        ("\\text{Evelyn}", "latex", "\\text{Evelyn}"),
        ("Evelyn", "latex", "Evelyn"),
        (5, "latex", "5"),
        ("\\(\\frac{3}{4}\\)", "latex", "\\frac{3}{4}"),
        ("\\[ 5 \\]", "latex", "5"),
        # several parts of one answer
        ("The points are $\\boxed{(1,4)}$ and $\\boxed{(3,8)}$.", "latex", "(1,4), (3,8)"),
        ("so $k = \\boxed{5}$ or $k = \\boxed{-3}.$", "latex", "5, -3"),
        ("$g(x)=\\boxed{2x+1}$ or $g(x)=\\boxed{-2x-1}$", "latex", "2x+1, -2x-1"),
        ("They are $\\boxed{1,200}$, $\\boxed{3}$ and $\\boxed{4}$.", "latex", "1{,}200, 3, 4"),
        (["3", "5"], "latex", "3, 5"),
        ([3, "\\boxed{5}"], "latex", "3, 5"),
        # forms of one answer, and a box on the way
        ("This is $\\boxed{28}$ or $\\boxed{28_9}$.", "latex", "28_9"),
        ("It is $\\boxed{20\\!:\\!34}$ or $\\boxed{8\\!:\\!34 \\text{ p.m.}}$.", "latex", "8\\!:\\!34 \\text{ p.m.}"),
        ("$\\log_2 4=\\boxed{2}$, so $\\log_2 16 = \\boxed{4}$", "latex", "4"),
        # choices
        ("B", "choice", "B"),
        ("b", "choice", "B"),
        ("(B)", "choice", "B"),
        ("B)", "choice", "B"),
        (" B ", "choice", "B"),
        ("2", "choice", "B"),
        (2, "choice", "B"),
        ("cat", "choice", "B"),
        ("A mouse", "choice", "C"),
        ({"dog": 0, "cat": 1, "a mouse": 0}, "choice", "B"),
        # yes and no
        ("Yes", "boolean", "yes"),
        ("no", "boolean", "no"),
        ("true", "boolean", "yes"),
        ("False", "boolean", "no"),
        (True, "boolean", "yes"),
        (False, "boolean", "no"),
        ({"Yes": 1, "No": 0}, "boolean", "yes"),
        ({"Yes": 0, "No": 1}, "boolean", "no"),
        ({"Yes": 0.0, "No": 1.0}, "boolean", "no"),
    ],
)
def test_every_raw_form_is_read(raw: Any, answer_type: AnswerType, gold: str) -> None:
    assert read_gold(raw, answer_type, OPTIONS if answer_type == "choice" else None) == gold
    assert read_gold(gold, answer_type, OPTIONS if answer_type == "choice" else None) == gold


@pytest.mark.parametrize(
    ("raw", "answer_type", "rule"),
    [
        (float("nan"), "latex", "must be finite"),
        (None, "decimal", "empty"),
        ("", "decimal", "empty"),
        (" ", "latex", "empty"),
        ([], "decimal", "empty list"),
        ([None], "decimal", "empty"),
        ({}, "decimal", "exactly one option"),
        ("eggs", "decimal", "one number"),
        ("3 or 4", "decimal", "one number"),
        ("1/0", "decimal", "one number"),
        ("NaN", "decimal", "one number"),
        (float("nan"), "decimal", "one number"),
        (float("inf"), "decimal", "one number"),
        (True, "decimal", "a number"),
        ("####", "decimal", "one number"),
        ("We get \\boxed{}.", "latex", "empty"),
        ("3.5", "integer", "an integer"),
        ("1/2", "integer", "an integer"),
        ("", "choice", "empty"),
        ("E", "choice", "one of the options A, B, C, D"),
        ("5", "choice", "one of the options"),
        ("0", "choice", "one of the options"),
        ("AB", "choice", "one of the options"),
        ("cats", "choice", "one of the options"),
        (True, "choice", "a text"),
        ({"dog": 0, "cat": 0}, "choice", "exactly one option with 1; 0 have it"),
        ({"dog": 1, "cat": 1}, "choice", "exactly one option with 1; 2 have it"),
        ("maybe", "boolean", "yes, no, true or false"),
        (1, "boolean", "yes, no, true or false"),
        ({"Yes": 1, "No": 1}, "boolean", "exactly one option"),
        ([["x"]], "latex", "a text"),
        (["18.0", "3"], "decimal", "one answer; its list holds 2"),
        (["A", "B"], "choice", "one answer"),
        (["3", ""], "latex", "empty"),
        ("\\frac{1}{2", "latex", "a whole formula; 1 of its braces do not close"),
        ("3}", "latex", "a whole formula; 1 of its braces were never opened"),
    ],
)
def test_a_raw_form_that_is_no_answer_is_refused_with_its_rule(raw: Any, answer_type: AnswerType, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        read_gold(raw, answer_type, OPTIONS if answer_type == "choice" else None)


def test_a_score_object_gives_the_letter_of_the_frozen_order() -> None:
    options = shuffled_options(DATES)
    gold = read_gold(DATES, "choice")
    assert options[gold] == "01/02/2021"
    assert read_gold(DATES, "choice", options) == gold
    assert read_gold(dict(reversed(DATES.items())), "choice") == gold
    assert sorted(options.values()) == sorted(DATES)
    assert list(options) == ["A", "B", "C", "D", "E"]


def test_a_score_object_follows_the_letters_that_are_given() -> None:
    for order in (list(DATES), list(reversed(DATES))):
        options = dict(zip("ABCDE", order, strict=True))
        assert options[read_gold(DATES, "choice", options)] == "01/02/2021"


def test_the_frozen_order_favours_no_place() -> None:
    """BIG-bench names the right option first; over many questions each letter must be right about equally often."""
    counts = dict.fromkeys("ABCDE", 0)
    for number in range(1000):
        texts = [f"{number} right", *(f"{number} wrong {each}" for each in range(4))]
        counts[read_gold({each: int(each.endswith("right")) for each in texts}, "choice")] += 1
    assert all(140 < each < 260 for each in counts.values()), counts


@given(st.fractions(max_denominator=10**6))
def test_plain_digits_have_the_value_they_were_made_of(value: Fraction) -> None:
    assert number_of(plain_digits(value)) == value


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20), lambda inner: st.lists(inner, max_size=3)))
def test_any_raw_form_is_read_or_refused_with_a_rule(raw: Any) -> None:
    for answer_type in ("integer", "decimal", "latex", "choice", "boolean"):
        refusal, gold = "", ""
        try:
            gold = read_gold(raw, answer_type, OPTIONS)
        except ValueError as error:
            refusal = str(error)
        assert gold or refusal.startswith("must ")


def test_a_latex_solution_must_state_its_answer_in_a_box_that_may_lack_braces() -> None:
    assert read_gold("We want the largest $x$, so our answer is $\\boxed 2$.", "latex") == "2"
    for prose in ("We have no box and the answer is seven because four and three make seven here.", "It is $\\boxed{7$."):
        with pytest.raises(ValueError, match="must be a formula, or a solution that states it"):
            read_gold(prose, "latex")
    assert read_gold("\\text{the line through both points}", "latex") == "\\text{the line through both points}"


@pytest.mark.slow
def test_eleven_solutions_of_math_have_an_answer_of_several_parts(benchmark_data: Path) -> None:
    rows = [json.loads(line) for line in (benchmark_data / "math/train.jsonl").read_text(encoding="utf-8").split("\n") if line]
    whole = {number: read_gold(row["solution"], "latex") for number, row in enumerate(rows, 1) if (last_boxed(row["solution"]) or "").strip()}
    several = {number: gold for number, gold in whole.items() if gold != read_gold(last_boxed(rows[number - 1]["solution"]), "latex")}
    assert list(several) == [335, 505, 3461, 3695, 3998, 4254, 6309, 6781, 6817, 6844, 7415]
    assert several[335] == "(-2,18), (8,38)"
    assert several[6844] == "30^\\circ, 150^\\circ"
