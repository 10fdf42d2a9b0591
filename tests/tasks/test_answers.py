"""Where an answer stands, and what number it is."""

from __future__ import annotations

import time
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cotexp.tasks.answers import extract, join_solution, last_boxed, last_number, number_of, split_solution


@pytest.mark.parametrize(
    ("text", "answer", "rule"),
    [
        ("So \\boxed{17}, no, \\boxed{18}.", "18", "boxed"),
        ("\\boxed{18} but the answer is 17", "18", "boxed"),
        ("\\boxed{18} and then \\boxed{19", "18", "boxed"),
        ("\\boxed{\\text{18 eggs}}", "\\text{18 eggs}", "boxed"),
        ("\\boxed{\\frac{1}{\\sqrt{2}}}", "\\frac{1}{\\sqrt{2}}", "boxed"),
        ("\\boxed{a \\boxed{18}", "18", "boxed"),
        ("\\boxed{}", "", "boxed"),
        ("the answer is 18 dollars", "18", "statement"),
        ("The answer is 18 dollars per day.", "18", "statement"),
        ("The answer is 17. No: the ANSWER  IS: $1,080.50.", "1,080.50", "statement"),
        ("so 9 + 9 = 18\n#### 18", "18", "statement"),
        ("The answer is -5.", "-5", "statement"),
        ("the answer is 1{,}080", "1{,}080", "statement"),
        ("first 3, then 18", None, "none"),
        ("The answer is unclear.", None, "none"),
        ("", None, "none"),
    ],
)
def test_the_last_closed_box_goes_before_the_last_statement(text: str, answer: str | None, rule: str) -> None:
    found = extract(text)
    assert found.rule == rule
    if rule == "statement":
        assert number_of(found.text or "") == number_of(answer or "")
    else:
        assert found.text == answer


@pytest.mark.parametrize("text", ["\\boxed{18", "9 + 9 = 18. \\boxed{1", "The answer is \\boxed{18", "#### \\boxed{18", "The answer is \\boxed{"])
def test_a_box_that_was_cut_off_is_no_answer(text: str) -> None:
    assert extract(text).text is None


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("18", "18"),
        ("18.", "18"),
        ("18.00", "18"),
        ("$18", "18"),
        ("\\$18", "18"),
        ("18 dollars", "18"),
        ("\\text{18 eggs}", "18"),
        ("1,080", "1080"),
        ("10{,}080", "10080"),
        ("1{,}080", "1080"),
        ("$1,080.50", "1080.5"),
        ("1,234,567.25", "1234567.25"),
        ("-7", "-7"),
        ("x = 7", "7"),
        ("0.5", "0.5"),
        ("007", "7"),
    ],
)
def test_one_number_is_read_whatever_its_dress(text: str, number: str) -> None:
    assert number_of(text) == Decimal(number)


@pytest.mark.parametrize("text", ["", "eggs", "3 or 4", "1/2", "\\frac{1}{2}", "1,08", "12,3456"])
def test_a_text_without_exactly_one_number_is_no_number(text: str) -> None:
    assert number_of(text) is None


def test_a_decimal_without_its_leading_zero_is_not_read_as_an_integer() -> None:
    assert number_of(".5") in (Decimal("0.5"), None)
    assert number_of("-.25") in (Decimal("-0.25"), None)


@pytest.mark.parametrize("text", ["-$18", "-\\$18", "$-18$", "−18"])
def test_a_minus_sign_is_not_lost(text: str) -> None:
    assert number_of(text) in (Decimal(-18), None)


@settings(deadline=None)
@given(st.decimals(min_value=0, max_value=10**12, places=2), st.sampled_from(["{:,}", "${:,}", "{:,} dollars", "\\text{{{:,} eggs}}", "{:,}."]))
def test_grouped_digits_are_read_as_they_were_written(value: Decimal, dress: str) -> None:
    assert number_of(dress.format(value)) == value
    assert number_of(dress.format(value).replace(",", "{,}")) == value


def test_the_lenient_rule_takes_the_last_number() -> None:
    assert last_number("9 + 9 = 18, or 1,080.50 with tax.") == Decimal("1080.5")
    assert last_number("none") is None


@pytest.mark.parametrize(
    "text",
    [
        "\\boxed" + "{" * 10_000,
        "\\boxed{" + "{" * 10_000 + "18" + "}" * 10_001,
        "\\boxed{" * 4_000,
        "the answer is " * 10_000,
        "1," * 10_000,
        "9" * 20_000,
        "1" + ",111" * 10_000 + "1",
        "." * 10_000 + "\n" * 10_000 + "\\boxed{1}",
    ],
    ids=["open", "nested", "unclosed boxes", "statements", "commas", "digits", "groups", "breaks"],
)
def test_hostile_texts_stay_fast(text: str) -> None:
    started = time.process_time()
    found = extract(text).text
    number_of(text if found is None else found)
    split_solution(text)
    assert time.process_time() - started < 2


def test_nested_braces_are_balanced() -> None:
    content = "{" * 500 + "18" + "}" * 500
    assert last_boxed(f"a \\boxed{{{content}}} b }}") == content


FRAGMENTS = st.sampled_from(
    [
        "3 + 4 = 7",
        ". ",
        ".",
        "\n",
        "\n\n",
        " ",
        "The answer is 7",
        "the answer is",
        "#### 7",
        "\\boxed{7}",
        "\\boxed{7",
        "Then 1.5 more",
        "! ",
        "{",
        "}",
    ],
)


@settings(deadline=None)
@given(st.one_of(st.text(), st.lists(FRAGMENTS).map("".join)))
def test_a_split_solution_joins_back_to_the_text(text: str) -> None:
    chain, closing = split_solution(text)
    assert chain + closing == text
    if not closing:
        assert extract(text).text is None


CHAINS = st.lists(st.sampled_from(["3 + 4 = 7.", "Then add 1.5: 2 + 1.5 = 3.5.", "Is it so?", "So we have 12 eggs!"]), min_size=1, max_size=5)
CLOSINGS = st.sampled_from(["The answer is \\boxed{18}.", "The answer is 18.", "#### 18", "So \\boxed{18} eggs", "Thus the answer is 18.50 dollars."])


@settings(deadline=None)
@given(CHAINS, st.sampled_from([" ", "\n", "\n\n"]), CLOSINGS)
def test_the_closing_sentence_is_the_one_that_states_the_answer(sentences: list[str], separator: str, statement: str) -> None:
    chain = " ".join(sentences)
    assert split_solution(chain + separator + statement) == (chain + separator, statement)
    assert extract(statement) == extract(chain + separator + statement)
    assert join_solution(chain, statement, separator) == chain + separator + statement


@pytest.mark.parametrize(
    "text",
    [
        "3 + 4 = 7. Thus \\boxed{7}. The answer is clear.",
        "3 + 4 = 7. The answer is 7. Check: \\boxed{7",
        "1 + 1 = 2.\n\\boxed{2}\nMy answer is final.",
    ],
)
def test_the_closing_part_states_the_extracted_answer(text: str) -> None:
    assert extract(split_solution(text)[1]).text == extract(text).text


def test_joining_needs_no_separator_where_one_part_is_empty() -> None:
    assert join_solution("", "The answer is 7.", "\n") == "The answer is 7."
    assert join_solution(" 3 + 4 = 7. ", "", "\n") == "3 + 4 = 7."
