"""When an extracted answer equals the gold answer, and the labels of whole texts under the three rules."""

from __future__ import annotations

import itertools
import os
import random
import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from growth import is_linear, repeated
from hypothesis import given, settings
from hypothesis import strategies as st

from cotexp.records import AnswerType, Question
from cotexp.store.stored_files import read_lines
from cotexp.tasks.answers import extract
from cotexp.tasks.boxes import last_boxed
from cotexp.tasks.comparison_worker import Comparison
from cotexp.tasks.gold import read_gold
from cotexp.tasks.grading import Answered, answers_equal, grade_all, is_kept, normalised, numbers_equal
from cotexp.tasks.judge import Judge

TYPES: tuple[AnswerType, ...] = ("integer", "decimal", "latex", "choice", "boolean")
OPTIONS = {"A": "dog", "B": "cat", "C": "a mouse"}


class NoJudge(Judge):
    """Says no to every comparison, without processes."""

    def ask(self, comparisons: Iterable[Comparison]) -> None:
        list(comparisons)

    def verdict(self, comparison: Comparison) -> bool | None:
        return False


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with Judge(20.0) as judge:  # generous: other work may share the two cores
        yield judge


def answered(text: str, gold: str, answer_type: AnswerType = "decimal", **more: Any) -> Answered:
    options = OPTIONS if answer_type == "choice" else {}
    return Answered(**{"id": "0", "text": text, "gold": gold, "answer_type": answer_type, "options": options, **more})


# --- numbers -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["18", "$18", "18 dollars", "\\text{18 eggs}", "18.", "18.00", "018", "36/2", "\\frac{36}{2}"])
def test_an_integer_is_equal_in_any_dress(text: str) -> None:
    assert numbers_equal(text, "18")


@pytest.mark.parametrize("text", ["0.18", "1800", "18.0000001", "-18", "1.8", "17.9999999", "18, 19", "", "eggs", "18%1"])
def test_another_number_or_none_is_not_equal(text: str) -> None:
    assert not numbers_equal(text, "18")


@pytest.mark.parametrize("gold", ["204", "2.04", "20400", "0.5", "50", "1/3", "-7"])
def test_x_and_a_hundred_times_x_are_different_answers(gold: str) -> None:
    value = Fraction(gold)
    for answer_type in ("integer", "decimal", "latex"):
        for other in (value * 100, value / 100, -value, value + 1):
            assert not answers_equal(str(other), gold, answer_type)
            assert not answers_equal(f"{float(other):.10f}", gold, answer_type)
        assert answers_equal(str(value), gold, answer_type)


def test_thousands_are_equal_however_grouped() -> None:
    for ours, theirs in itertools.product(["10{,}080", "10,080", "10080", "10,\\!080", "10\\,080"], repeat=2):
        assert numbers_equal(ours, theirs)
        assert answers_equal(ours, theirs, "latex")


@given(st.integers(-(10**12), 10**12), st.integers(-(10**12), 10**12))
def test_integers_are_equal_only_to_themselves(ours: int, theirs: int) -> None:
    assert numbers_equal(str(ours), str(theirs)) == (ours == theirs)
    assert numbers_equal(f"{theirs:,}", str(theirs))


@given(st.integers(1, 10**9).filter(lambda n: n % 1000), st.integers(-2000, 2000))
def test_decimals_are_equal_within_a_millionth_of_the_gold_answer(thousandths: int, parts: int) -> None:
    gold, difference = Fraction(thousandths, 1000), Fraction(parts, 10**9) * 1000
    ours = Fraction(round((gold + difference) * 10**9), 10**9)
    if ours < 0:
        return
    text = f"{int(ours)}.{round((ours - int(ours)) * 10**9):09d}"
    assert numbers_equal(text, f"{thousandths // 1000}.{thousandths % 1000:03d}") == (abs(ours - gold) <= gold / 10**6)


@pytest.mark.parametrize("answer_type", TYPES)
def test_no_answer_never_equals_no_answer(answer_type: AnswerType) -> None:
    for gold in ("", "18", "None", "none", "null", "B", "yes", "\\text{none}"):
        assert not answers_equal(None, gold, answer_type)
    texts = [answered(text, gold, answer_type) for text in ("", " ", "\\boxed{}", "The answer is") for gold in ("None", "B", "\\text{none}")]
    assert not any(grade.strict or grade.lenient for grade in grade_all(texts, judge=NoJudge()))
    assert not numbers_equal("", "")
    assert not numbers_equal("eggs", "eggs")


# --- LaTeX ---------------------------------------------------------------------------------------------------------------

SAME = [
    *[("\\frac{1}{2}", each) for each in ("\\dfrac12", "\\tfrac{1}{2}", "\\frac 1 2", "\\frac1{2}", "\\frac{1}{2}.", "0.5", "1/2", ".5")],
    *[
        ("18", each)
        for each in ("18.", "18.00", "\\$18", "18 dollars", "18\\text{ eggs}", "\\text{18 eggs}", "18 \\text{ cm}^2", "18\\,\\mathrm{cm}", "18 cm")
    ],
    *[("90^\\circ", each) for each in ("90", "90^{\\circ}", "90\\degree", "90 \\text{ degrees}")],
    *[("10080", each) for each in ("10{,}080", "10,080", "10,\\!080", "10\\,080", "10,080.00")],
    *[("50\\%", each) for each in ("50", "50%")],
    *[("\\text{Evelyn}", each) for each in ("Evelyn", "\\text{ Evelyn }", "\\mathrm{Evelyn}", "\\textbf{Evelyn}")],
    *[("\\text{(C)}", each) for each in ("(C)", "C")],
    ("\\text{June 20}", "June 20"),
    ("-1,200", "-1200"),
    ("\\$1,200.50", "1200.5"),
    ("(3,\\frac{\\pi}{2})", "\\left( 3, \\dfrac{\\pi}{2} \\right)"),
    ("x \\in [-2,7]", "[-2,7]"),
    ("(-\\infty,2)\\cup(3,\\infty)", "(-\\infty, 2) \\cup (3, \\infty)"),
    ("\\{1,2\\}", "\\{2,1\\}"),
    ("1,-2", "-2, 1"),
    ("\\pm 2", "2,-2"),
    ("3 \\pm 2 \\sqrt{2}", "3-2\\sqrt2, 3+2\\sqrt2"),
    ("\\begin{pmatrix}-1\\\\2\\end{pmatrix}", "\\begin{bmatrix} -1 \\\\ 2 \\end{bmatrix}"),
    ("5", "x=5"),
    ("x=5", "5"),
    ("y = 2x + 3", "2x+3"),
    ("2\\sqrt{3}", "\\sqrt{12}"),
    ("11\\sqrt2", "11\\sqrt{2}"),
    ("p - q", "-q+p"),
    ("6 - 5i", "-5i+6"),
    ("(x+1)^2", "x^2+2x+1"),
    ("-\\frac{1}{2}", "\\frac{-1}{2}"),
    ("1\\frac{1}{2}", "\\frac{3}{2}"),
    ("4210_5", "4210_{5}"),
    ("1.36\\times10^6", "1360000"),
]
DIFFERENT = [
    *[("204", each) for each in ("2.04", "20400", "-204", "2040", "20.4")],
    *[("50\\%", each) for each in ("0.5", "\\frac{1}{2}", "5000", "0.5\\%")],
    *[("0.2", each) for each in ("20\\%", "20", "2")],
    *[("1,200", each) for each in ("(1,200)", "\\{1,200\\}", "1.200", "1", "200")],
    *[("1200", each) for each in ("(1,200)", "\\{1,200\\}", "[1,200]")],
    *[("12", each) for each in ("1,2", "1 2", "1\\ 2", "1\\quad 2", "12x", "12mn", "1/2", "\\frac12", "(1,2)")],
    *[("3", each) for each in ("3x", "3\\pi", "3xy", "\\ln 3", "3!", "3 \\text{ or } 4", "-3", "3^2")],
    *[(each, "3") for each in ("3x", "3\\pi", "3xy", "3\\text{ or }4", "\\pm 3", "3, -3", "3_5 + 1", "18 \\text{ out of } 3")],
    ("5xy", "5yz"),
    ("(1,2)", "(2,1)"),
    ("(1,2)", "[1,2]"),
    ("(1,2]", "[1,2)"),
    ("\\{1,2\\}", "1"),
    ("1,2,3", "1,2"),
    ("1,2", "1,2,3"),
    ("123", "1,23"),
    ("12345", "1,2345"),
    ("2^{10}", "210"),
    ("\\sqrt{2}", "2"),
    ("x^2", "x^3"),
    ("-x", "x"),
    ("\\frac{a}{b}", "\\frac{b}{a}"),
    ("x<5", "x>5"),
    ("x<5", "x\\le5"),
    ("(-\\infty,2)", "(-\\infty,2]"),
    ("\\text{Evelyn}", "\\text{Briana}"),
    ("\\text{yes}", "\\text{no}"),
    ("\\text{(C)}", "\\text{(B)}"),
    ("\\text{even}", "\\text{odd}"),
    ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{pmatrix}2\\\\1\\end{pmatrix}"),
    ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{pmatrix}1&2\\end{pmatrix}"),
    ("\\emptyset", "0"),
    ("\\infty", "-\\infty"),
    ("6:30", "630"),
    ("3\\text{ feet }4", "34"),
    ("18", "18.0001"),
]


def test_a_formula_in_a_box_is_right_in_every_spelling_of_its_value(judge: Judge) -> None:
    grades = grade_all([answered(f"So $\\boxed{{{text}}}$.", gold, "latex") for gold, text in SAME], judge=judge, whole_text=False)
    assert [pair for pair, grade in zip(SAME, grades, strict=True) if not grade.strict or not grade.lenient] == []


def test_different_formulas_are_not_equal(judge: Judge) -> None:
    grades = grade_all([answered(f"So $\\boxed{{{text}}}$.", gold, "latex") for gold, text in DIFFERENT], judge=judge, whole_text=False)
    assert [pair for pair, grade in zip(DIFFERENT, grades, strict=True) if grade.strict] == []


def test_words_and_letters_are_compared_as_strings() -> None:
    for ours, gold in [("Evelyn", "\\text{Evelyn}"), ("\\text{(C)}", "(C)"), ("x", "x"), ("\\text{yes}", "yes"), ("even", "\\textbf{even}")]:
        assert answers_equal(ours, gold, "latex")
    assert not answers_equal("Briana", "\\text{Evelyn}", "latex")


LATEX_DRESSES = ["{}", "{}.", " {} ", "\\displaystyle {}", "\\left.{}\\right.", "{}\\,", "{} \\text{{ units}}", "x = {}"]
POSITIONS = [
    "\\boxed{{{}}}",
    "Hence $\\boxed{{{}}}$.",
    "Wrong: \\boxed{{99}}. Right: $$\\boxed{{{}}}$$",
    "The answer is ${}$.",
    "The answer is $${}$$",
    "So the ANSWER  is: \\({}\\)",
    "The answer is \\[{}\\]",
    "The answer is {}",
    "#### {}",
    "<think>The answer is 7 or \\boxed{{8}}.</think> The answer is ${}$.",
    "<think>hm</think>\\boxed{{{}}}",
]


@pytest.mark.parametrize("gold", ["\\frac{3}{4}", "12", "2\\sqrt{3}"])
def test_a_correct_formula_keeps_its_label_in_any_dress_at_any_place(judge: Judge, gold: str) -> None:
    texts = [position.format(dress.format(gold)) for position in POSITIONS for dress in LATEX_DRESSES if dress != "\\left.{}\\right."]
    grades = grade_all([answered(text, gold, "latex") for text in texts], judge=judge, whole_text=False)
    assert [text for text, grade in zip(texts, grades, strict=True) if not grade.strict or not grade.lenient] == []
    wrong = ["\\frac{3}{5}", "\\frac{4}{3}", "1.2", "1200", "0.12", "75", "2\\sqrt{5}", "-" + gold]
    texts = [position.format(each) for position in POSITIONS for each in wrong]
    grades = grade_all([answered(text, gold, "latex") for text in texts], judge=judge, whole_text=False)
    assert [text for text, grade in zip(texts, grades, strict=True) if grade.strict] == []


@settings(max_examples=200)
@given(st.one_of(st.text(max_size=60), st.text(alphabet="\\{}[]()^_$,.~ 012ab%", max_size=40), st.text(alphabet=st.characters(), max_size=20)))
def test_any_formula_is_normalised_to_something_stable(latex: str) -> None:
    once = normalised(latex)
    assert once == normalised(latex)
    assert answers_equal(latex, latex, "latex")


@pytest.mark.slow
@pytest.mark.parametrize(
    "unit", [" ", "\\text{", "\\text{ ", "^ ", "^{ ", "\\frac", "\\frac{1}", "1 ", "1,", "9", "{", "a ", "\\sqrt ", "\\,", "%", "$"]
)
def test_no_repeated_piece_makes_the_comparison_slow(unit: str) -> None:
    def compare(latex: str) -> None:
        answers_equal(latex, "18", "latex")
        answers_equal(latex, "18", "decimal")

    for before, after in itertools.product(["", "\\text{", "5^"], ["", "}x"]):
        assert is_linear(compare, repeated(unit, before, after), 100_000), (before, after)


# --- labels of a text ----------------------------------------------------------------------------------------------------


def test_a_text_that_was_cut_off_is_wrong_under_strict_only_unless_an_evaluation_cut_it() -> None:
    for text, gold, answer_type in [
        ("The answer is 18", "18", "decimal"),
        ("\\boxed{18}", "18", "latex"),
        ("The answer is (B)", "B", "choice"),
        ("The answer is yes", "yes", "boolean"),
    ]:
        for reason, strict in (("stop", True), ("budget", True), ("length", False)):
            [grade] = grade_all([answered(text, gold, answer_type, finish_reason=reason)], judge=NoJudge())
            assert (grade.strict, grade.lenient) == (strict, True)
            assert grade.extracted == gold


def test_the_lenient_rule_goes_on_to_the_last_number_letter_or_word() -> None:
    for text, gold, answer_type in [
        ("9 + 9 makes 18", "18", "decimal"),
        ("\\boxed{18", "18", "integer"),
        ("I have 18", "18", "latex"),
        ("B is right", "B", "choice"),
        ("Well, yes, surely", "yes", "boolean"),
    ]:
        [grade] = grade_all([answered(text, gold, answer_type)], judge=NoJudge())
        assert (grade.strict, grade.lenient, grade.extracted, grade.extracted_by) == (False, True, None, "none"), text


def test_math_verify_is_asked_about_numbers_and_formulas_only(judge: Judge) -> None:
    texts = [
        answered("so 9 + 9 = $18$", "18"),
        answered("The answer is 18", "18", "integer"),
        answered("so $\\frac{1}{2}$", "0.5", "latex"),
        answered("The answer is (B)", "B", "choice"),
        answered("The answer is yes", "yes", "boolean"),
    ]
    assert [(each.strict, each.lenient, each.math_verify) for each in grade_all(texts, judge=judge)] == [
        (False, True, True),
        (True, True, True),
        (False, False, True),
        (True, True, None),
        (True, True, None),
    ]
    assert [each.math_verify for each in grade_all(texts, judge=judge, whole_text=False)] == [None] * 5


def test_grades_stand_in_the_order_of_the_texts_and_are_told_one_by_one(judge: Judge) -> None:
    texts = [answered(f"The answer is {number}", "7", id=f"q{number}") for number in range(20)]
    told: list[str] = []
    grades = grade_all(texts, judge=judge, on_grade=lambda grade: told.append(grade.id))
    assert [each.id for each in grades] == told == [each.id for each in texts]
    assert [each.strict for each in grades] == [number == 7 for number in range(20)]
    assert grade_all([], judge=judge) == []


def test_labels_do_not_depend_on_order_company_or_workers(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [
        ("(1,2)", "1,2"),
        ("(1,2)", "2,1"),
        ("\\{1,2\\}", "2,1"),
        ("1", "1.0"),
        ("2\\sqrt{3}", "\\sqrt{12}"),
        ("x<5", "5>x"),
        ("0.333333", "\\frac13"),
    ]
    texts = [answered(f"\\boxed{{{one}}}", other, "latex", id=f"{one}|{other}") for one, other in [*pairs, *((b, a) for a, b in pairs)]]
    texts += [answered(f"{number} or ${number + 1}$", "8", id=f"number {number}") for number in range(5, 10)]
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    with Judge(20.0) as alone:
        first = grade_all(texts, judge=alone)
    shuffled = random.Random(0).sample(texts, len(texts))
    again = {grade.id: grade for grade in grade_all([*shuffled, *shuffled], judge=judge)}
    assert [again[each.id] for each in texts] == first


ANYTHING = st.one_of(
    st.text(max_size=100),
    st.lists(
        st.sampled_from(
            [
                "The answer is ",
                "answer is",
                "#### ",
                "\\boxed{",
                "}",
                "18",
                "1,000",
                "(B)",
                "A",
                "yes",
                "no.",
                "</think>",
                "<think>",
                "$",
                "\\frac12",
                "\n",
                ". ",
                "\ud800",
            ]
        ),
        max_size=12,
    ).map("".join),
)


@settings(max_examples=300)
@given(ANYTHING, st.sampled_from(TYPES), st.sampled_from(["18", "1000", "B", "yes", "\\frac12", "no", "A"]), st.sampled_from(["stop", "length"]))
def test_strict_implies_lenient_and_grading_twice_gives_the_same(text: str, answer_type: AnswerType, gold: str, reason: str) -> None:
    texts = [answered(text, gold, answer_type, finish_reason=reason)]
    [grade] = grade_all(texts, judge=NoJudge())
    assert [grade] == grade_all(texts, judge=NoJudge())
    assert not grade.strict or (grade.lenient and reason == "stop")
    assert grade.extracted == extract(text, answer_type, OPTIONS if answer_type == "choice" else {}).text
    if reason == "stop" and grade.extracted is not None:
        assert grade.strict == grade.lenient


def question(answer_type: AnswerType, answer: str) -> Question:
    return Question(id="q", task="t", text="?", answer=answer, answer_type=answer_type, options=OPTIONS if answer_type == "choice" else {})


@pytest.mark.parametrize(
    ("answer", "chain", "answer_type", "kept"),
    [
        ("18", "9 + 9 = 18.", "decimal", True),
        ("18", "9 + 9 = 18.00", "decimal", True),
        ("18", "18 - 9 = 9", "decimal", False),
        ("18", "nothing", "decimal", False),
        ("B", "so (B)", "choice", True),
        ("B", "so (A)", "choice", False),
        ("yes", "it is true", "boolean", True),
        ("yes", "no", "boolean", False),
        ("\\frac{1}{2}", "so x = \\dfrac12 then", "latex", True),
        ("\\frac{1}{2}", "so x = 2", "latex", False),
        ("5, -3", "so k = 5 or k = -3 then", "latex", True),
        ("(1,4), (3,8)", "we find $(1,4)$ and $(3,8)$", "latex", True),
        ("5, -3", "so k = 5 then", "latex", False),
        ("12\\text{ cents}", "so it costs $12$ pennies", "latex", True),
        ("12\\text{ cents}", "so it costs $13$ cents", "latex", False),
        ("7", "It is 7 + 10. The answer is \\boxed{17}.", "latex", False),
        ("17", "It is 7 + 10. The answer is \\boxed{17}.", "latex", True),
        ("\\frac{3}{4}", "The answer is \\boxed{\\frac{3}{2}}, not \\frac{3}{4}.", "latex", False),
        ("\\frac{1}{2}", "The answer is \\boxed{0.5}.", "latex", True),
        ("5, -3", "The answer is \\boxed{-3, 5}.", "latex", True),
        ("1", "the value is 12", "latex", False),
        ("1", "the value is 3.1", "latex", False),
        ("1", "the value is 1.", "latex", True),
        ("18", "The answer is \\boxed{18}, for the 9 eggs.", "decimal", True),
        ("18", "The answer is \\boxed{20}, not 18.", "decimal", False),
        (None, "18", "decimal", False),
    ],
)
def test_a_chain_keeps_its_answer_as_it_states_it_or_says_it_last(answer: str | None, chain: str, answer_type: AnswerType, kept: bool) -> None:
    assert is_kept(answer, chain, question(answer_type, answer or "18")) == kept


@pytest.mark.parametrize(
    ("written", "kept"),
    [("9 + 9 = 18\n\\boxed{18}", True), ("9 + 9 = 18\nThe answer is 18.", True), ("9 + 9 = 18", False), ("\\boxed{17} or 18", False)],
)
def test_an_answer_of_its_own_has_to_state_what_a_rewrite_may_leave_to_the_chain(written: str, kept: bool) -> None:
    assert is_kept("18", written, question("decimal", "18"), must_state=True) == kept


# --- real data -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_every_math_training_solution_is_right_about_its_own_answer(benchmark_data: Path) -> None:
    solutions = [re.sub(r"\\boxed ([^\s{}$]+)", r"\\boxed{\1}", row["solution"]) for row in read_lines(benchmark_data / "math/train.jsonl")]
    stated = [each for each in solutions if (last_boxed(each) or "").strip()]
    assert len(solutions) - len(stated) == 2
    texts = [answered(each, read_gold(each, "latex"), "latex") for each in stated]
    grades = grade_all(texts, judge=NoJudge(), whole_text=False)
    assert all(grade.strict and grade.lenient for grade in grades)


@pytest.mark.slow
def test_every_math_test_answer_equals_its_solution_s(benchmark_data: Path, judge: Judge) -> None:
    texts = [answered(row["solution"], read_gold(row["answer"], "latex"), "latex") for row in read_lines(benchmark_data / "math500/test.jsonl")]
    assert [
        (each.text, each.gold) for each, grade in zip(texts, grade_all(texts, judge=judge, whole_text=False), strict=True) if not grade.strict
    ] == []


@pytest.mark.slow
def test_labels_of_recorded_outputs_are_the_source_s_but_for_four(benchmark_data: Path) -> None:
    """Two that the source accepts are a hundred times too large or too small; two that it accepts were cut off."""
    different, num_rows = [], 0
    for path in sorted((benchmark_data / "model_outputs/gsm8k_test/tokenskip").glob("*.jsonl")):
        found = read_lines(path)
        num_rows += len(found)
        texts = [answered(row["model_output"], read_gold(row["answer"], "decimal")) for row in found]
        for row, text, grade in zip(found, texts, grade_all(texts, judge=NoJudge(), whole_text=False), strict=True):
            if grade.strict != row["accuracy"]:
                different.append((row, text, grade))
    assert num_rows == 5 * 879
    assert len(different) <= 4
    for row, text, grade in different:
        assert row["accuracy"] is True
        if grade.extracted is None:
            assert not text.text.rstrip().endswith((".", "}", "$", "]"))
        else:
            assert Fraction(grade.extracted) / Fraction(text.gold) in (100, Fraction(1, 100))
