"""Letters of multiple choice: from the question's own options, at word borders, or by an option's text."""

from __future__ import annotations

import pytest
from answer_positions import ANSWER_POSITIONS
from hypothesis import given
from hypothesis import strategies as st

from cotexp.tasks.answers import extract, extract_lenient
from cotexp.tasks.multiple_choice import last_letter, stated_letter
from cotexp.tasks.option_texts import letter_of_text

OPTIONS = {"A": "dog", "B": "cat", "C": "a mouse", "D": "river bank", "E": "None of the above"}
NUMBERS = {"A": "5", "B": "3", "C": "0.5", "D": "1/2", "E": "50%"}


def letter(text: str, options: dict[str, str] = OPTIONS) -> str | None:
    return extract(text, "choice", options).text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # the examples of GRADING.md
        (" Answer: (B)", "B"),
        ("The answer is A dog so (B)", "B"),
        ("...(B). Done.", "B"),
        # behind "answer is"
        ("The answer is B: cat, of course", "B"),
        ("The answer is B, cat.", "B"),
        ("The answer is B cat", "B"),
        ("The answer is B (cat)", "B"),
        ("The answer is A (not B)", "A"),
        ("The answer is A (D is wrong).", "A"),
        ("The answer is A because a cat ...", "A"),
        ("The answer is A, since I saw B", "A"),
        ("The answer is Option (B).", "B"),
        ("The answer is choice B: cat", "B"),
        ("The answer is the cat (B)", "B"),
        ("The answer is (B) and not (A)", "B"),
        ("The answer is (B) cat, not (A) dog.", "B"),
        ("The answer is B and this is final", "B"),
        ("The answer is not B but (C)", "C"),
        ("The answer is:\n\n(B) cat", "B"),
        ("The answer is (A). No, the answer is (B).", "B"),
        ("\\boxed{A} wait, the answer is B", "B"),
        ("The answer is B. So \\boxed{A}", "A"),
        ("<think>The answer is A</think> The answer is B", "B"),
        # parentheses
        ("It is (A) or rather (B).", "B"),
        ("[B]", "B"),
        # an option's text
        ("cat", "B"),
        ("Cat.", "B"),
        ("B) cat", "B"),
        ("The answer is cat.", "B"),
        ("The answer is A mouse.", "C"),
        ("The answer is a mouse", "C"),
        ("The answer is river  bank", "D"),
        ("None of the above.", "E"),
        ("\\boxed{\\text{cat}}", "B"),
    ],
)
def test_a_letter_is_read_where_it_is_stated(text: str, expected: str) -> None:
    assert letter(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The answer is",
        "The answer is Because.",
        "The answer is Bob",
        "The answer is Apple",
        "The answer is BC",
        "The answer is B-side",
        "The answer is B's",
        "The answer is A cat",
        "The answer is a cat.",
        "The answer is A big cat",
        "The answer is I",
        "The answer is F",
        "The answer is (F)",
        "The answer is neither",
        "The answer is A or B",
        "The answer is A, B",
        "The answer is A and B.",
        "The answer is (A) or (B)",
        "The answer is (A), (B) and (C)",
        "The answer is (B) / (C)",
        "Not (C). The answer is A or B",
        "\\boxed{A, B}",
        "\\boxed{BC}",
        "\\boxed{F}",
        "A cat is an animal",
        "I think it is a cat.",
        "Answer: B",
        "B",
        "<think>The answer is (B)",
    ],
)
def test_an_article_a_word_or_several_letters_are_no_answer(text: str) -> None:
    assert letter(text) is None


DRESSES = [
    *("{}", "{}.", "({})", "({}).", "[{}]", "{})", "**{}**", "**({})**", "_{}_", '"{}"', "'{}'", "`{}`", "${}$", "option {}", "Option ({})"),
    *("\\text{{{}}}", "\\text{{({})}}", "\\textbf{{({})}}", "\\mathrm{{{}}}", "\\mathbf{{{}}}", " {} "),
]
POSITIONS = [
    *ANSWER_POSITIONS,
    "Wrong: \\boxed{{A}}. Right: \\boxed{{{}}}",
    "(A) is wrong and (D) too. The answer is {}",
    "<think>The answer is A, or \\boxed{{A}} or (D).</think>\nThe answer is {}",
]


@pytest.mark.parametrize("position", POSITIONS)
def test_a_correct_letter_is_read_in_any_dress_at_any_place(position: str) -> None:
    for right in ("A", "B", "C", "b"):
        for dress in DRESSES:
            text = position.format(dress.format(right))
            assert letter(text) == right.upper(), text
            assert letter(text, dict.fromkeys("ABCDE", "")) == right.upper(), text
    for right in ("A", "B", "D"):
        for dress in ("{letter}) {text}", "({letter}) {text}", "{letter}. {text}", "{letter}: {text}", "{text}", "**{letter}. {text}**"):
            text = position.format(dress.format(letter=right, text=OPTIONS[right]))
            assert letter(text) == right, text


@pytest.mark.parametrize("position", POSITIONS)
def test_another_letter_is_never_read_as_the_right_one(position: str) -> None:
    for wrong in ("(A)", "A", "C.", "dog", "a mouse", "Bob", "because", "F", "AB", "A or B", "(A) or (B)", "B-side"):
        assert letter(position.format(wrong)) != "B", wrong


def test_only_the_question_s_own_options_count() -> None:
    three = {"A": "x", "B": "y", "C": "z"}
    assert letter("The answer is (E). Or (B)?", three) == "B"
    assert letter("The answer is (E).", three) is None
    assert letter("The answer is (2).", {"1": "x", "2": "y"}) == "2"
    assert letter("The answer is 2", {"1": "x", "2": "y"}) == "2"
    for number in ("12", "1.5", "1,000", "2:30", "-1x"):
        assert letter(f"The answer is {number}", {"1": "x", "2": "y"}) is None, number
    assert letter("The answer is (E)", {}) == "E"
    assert letter("The answer is (F)", {}) is None


def test_the_full_option_text_counts_if_it_names_exactly_one_option() -> None:
    assert letter_of_text("cat", {"A": "cat", "B": "cat"}) is None
    assert letter_of_text("CAT!", {"A": "cat", "B": "dog"}) == "A"
    assert letter_of_text("cats", {"A": "cat", "B": "dog"}) is None
    assert letter_of_text("", {"A": "", "B": ""}) is None
    assert letter_of_text("", {"A": "", "B": "dog"}) is None
    assert letter("The answer is 3.", NUMBERS) == "B"
    assert letter("The answer is 0.5", NUMBERS) == "C"
    assert letter("\\boxed{3}", NUMBERS) == "B"
    assert letter("The answer is 53", NUMBERS) is None
    assert letter("The answer is (A) 3", NUMBERS) == "A"
    assert letter("cat", {"A": "cat", "B": "cat"}) is None


def test_the_last_letter_is_the_lenient_answer() -> None:
    assert last_letter("A or B, then C", OPTIONS) == "C"
    assert last_letter("so (b)", OPTIONS) == "B"
    assert last_letter("Bob is a dog", OPTIONS) is None
    assert last_letter("no", OPTIONS) is None
    assert extract_lenient("I would say B", "choice", OPTIONS).text == "B"
    assert extract_lenient("\\boxed{B", "choice", OPTIONS).text == "B"
    assert extract_lenient("The answer is (A), not B", "choice", OPTIONS).text == "A"


def test_a_statement_of_several_letters_is_told_from_none() -> None:
    assert stated_letter("A or B", OPTIONS) == ""
    assert stated_letter("unclear", OPTIONS) is None


@given(st.text(alphabet="ABCab ().,*\\{}$'’\n\ud800٣", max_size=40), st.sampled_from([OPTIONS, NUMBERS, {}, {"(": "x", "\\": "y"}, {"A": "("}]))
def test_any_text_gives_a_letter_of_the_options_or_none(text: str, options: dict[str, str]) -> None:
    for found in (stated_letter(text, options), last_letter(text, options), letter_of_text(text, options)):
        assert not found or found in (options or "ABCDE")


@pytest.mark.parametrize("text", ["The answer is either A or B.", "The answer is both (A) and (B).", "The answer is between A and B"])
def test_two_letters_named_as_equals_are_no_answer(text: str) -> None:
    assert extract(text, "choice", dict.fromkeys("ABC", "")).text is None


def test_case_tells_options_apart_only_where_nothing_else_does() -> None:
    options = {"A": "WW only", "B": "Ww only"}
    assert extract("The answer is Ww only.", "choice", options).text == "B"
    assert extract("The answer is WW only.", "choice", options).text == "A"
    assert extract("The answer is ww only.", "choice", options).text is None
    assert extract("The answer is Cat.", "choice", {"A": "cat", "B": "dog"}).text == "A"


@pytest.mark.parametrize("text", ["\\boxed{B}. So the answer is clear.", "\\boxed{\\text{B}}\nThe answer is in the box above."])
def test_a_box_counts_where_a_later_statement_states_nothing(text: str) -> None:
    assert extract(text, "choice", dict.fromkeys("ABC", "")).text == "B"
    assert extract(text.replace("B}", "yes}"), "boolean").text == "yes"


PLACES = {"A": "dog house", "B": "shelf", "C": "a bank", "D": "river", "E": "library"}
LENGTHS = {"A": "12 km", "B": "15 km", "C": "18 km", "D": "20 km", "E": "None of the above"}
MIXED = {"A": "2 : 3", "B": "3:2", "C": "50%", "D": "1/2", "E": "Rs. 1,200"}
BALLS = {"A": "blue ball", "B": "red ball", "C": "green ball"}


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("The answer is not (B), it is (C).", PLACES, "C"),
        ("The answer is not A but B.", PLACES, "B"),
        ("The answer is not A or B but C.", PLACES, "C"),
        ("The answer is C (rather than B).", PLACES, "C"),
        ("The answer is a bank, not a shelf.", PLACES, "C"),
        ("The answer is a bank rather than a shelf.", PLACES, "C"),
        ("The answer is bank.", PLACES, "C"),
        ("The answer is the bank.", PLACES, "C"),
        ("The answer is the library.", PLACES, "E"),
        ("The answer is the river (D), as the shelf (B) is dry.", PLACES, "D"),
        ("The answer is either (A) or (C).", PLACES, None),
        ("The answer is (A) or (C).", PLACES, None),
        ("The answer is probably (A).", PLACES, "A"),
        ("The answer is most likely C.", PLACES, "C"),
        ("The answer is (A), but (C) is also possible.", PLACES, None),
        ("The answer is (C), but (A) is close.", PLACES, None),
        ("The answer is (C). The answer is obvious since (A) is wrong.", PLACES, "C"),
        ("The answer is (C). This answer is better than (A).", PLACES, "C"),
        ("It must be (C) because (A) is too small.", PLACES, "C"),
        ("(A) is wrong. (B) is wrong. So (C).", PLACES, "C"),
        ("I choose (C) over (B).", PLACES, "C"),
        ("Not (C).", PLACES, None),
        ("It can't be (C).", PLACES, None),
        ("(C) is incorrect.", PLACES, None),
        ("We eliminate (C).", PLACES, None),
        ("Either (A) or (B).", PLACES, None),
        ("(A) vs (C)?", PLACES, None),
        ("So (C), not (A).", PLACES, "C"),
        ("Tom: (A), Ann: (B), so Bob has (C).", BALLS, None),
        ("(C) is the best choice.", PLACES, "C"),
        ("Therefore, (C) is correct.", PLACES, "C"),
        ("Since (A) is wet, (C).", PLACES, None),
        ("\\boxed{B + C}", PLACES, None),
        ("\\boxed{C^2}", PLACES, None),
        ("\\boxed{2C}", PLACES, None),
        ("\\boxed{C > 5}", PLACES, None),
        ("\\boxed{\\angle C}", PLACES, None),
        ("\\boxed{C_2}", PLACES, None),
        ("\\boxed{CO_2}", PLACES, None),
        ("\\boxed{A, C}", PLACES, None),
        ("\\boxed{A\\text{ and }C}", PLACES, None),
        ("\\boxed{\\text{C}}", PLACES, "C"),
        ("\\boxed{\\text{(C)}}", PLACES, "C"),
        ("\\boxed{C. a bank}", PLACES, "C"),
        ("\\boxed{C) a bank}", PLACES, "C"),
        ("\\boxed{\\text{C) a bank}}", PLACES, "C"),
        ("\\boxed{\\mathbf{C}}", PLACES, "C"),
        ("\\boxed{\\textbf{(C) } a bank}", PLACES, "C"),
        ("\\boxed{C:\\text{ a bank}}", PLACES, "C"),
        ("\\boxed{\\textbf{C}\\ 18}", LENGTHS, "C"),
        ("The answer is 18 kilometers.", LENGTHS, "C"),
        ("The answer is 18.", LENGTHS, "C"),
        ("The answer is 18 m.", LENGTHS, None),
        ("The answer is 18 miles.", LENGTHS, None),
        ("The answer is 19 km.", LENGTHS, None),
        ("The answer is 18.0 km.", LENGTHS, "C"),
        ("The answer is $18\\text{ km}$.", LENGTHS, "C"),
        ("\\boxed{18\\text{km}}", LENGTHS, "C"),
        ("\\boxed{18}", LENGTHS, "C"),
        ("The answer is none of the above.", LENGTHS, "E"),
        ("The answer is 18 km, i.e. (C).", LENGTHS, "C"),
        ("The answer is 18 km (C).", LENGTHS, "C"),
        ("The answer is about 18 km.", LENGTHS, "C"),
        ("The answer is 18 km or 20 km.", LENGTHS, None),
        ("The answer is not 18 km.", LENGTHS, None),
        ("The answer is more than 18 km.", LENGTHS, None),
        ("The answer is 50 percent.", MIXED, "C"),
        ("The answer is 50 per cent.", MIXED, "C"),
        ("The answer is 50.", MIXED, "C"),
        ("The answer is $\\frac12$.", MIXED, "D"),
        ("The answer is 0.5.", MIXED, "D"),
        ("The answer is 1 / 2.", MIXED, "D"),
        ("The answer is $2:3$.", MIXED, "A"),
        ("The answer is 2∶3.", MIXED, None),
        ("The answer is 1200.", MIXED, "E"),
        ("The answer is Rs.1200.", MIXED, "E"),
        ("The answer is Rs. 1,200.00.", MIXED, "E"),
        ("The answer is 1200 dollars.", MIXED, None),
        ("The answer is 3:4.", MIXED, None),
        ("\\boxed{2:3}", MIXED, "A"),
        ("\\boxed{1200}", MIXED, "E"),
        ("\\boxed{50}", MIXED, "C"),
        ("\\boxed{\\text{Rs. } 1200}", MIXED, "E"),
        ("The answer is red ball.", BALLS, "B"),
        ("The answer is the green ball.", BALLS, "C"),
        ("So Bob has the red ball. The answer is (B).", BALLS, "B"),
        ("The answer is: the blue ball.", BALLS, "A"),
        ("The answer is ball.", BALLS, None),
        ("#### C", PLACES, "C"),
        ("#### (C)", PLACES, "C"),
        ("#### C. a bank", PLACES, "C"),
        ("#### A. dog house\nToo small.\n\n#### C. a bank\nYes.\n\nThe answer is C.", PLACES, "C"),
        ("The answer is C.\n\n#### A. dog house\nToo small.", PLACES, "C"),
        ("#### Final Answer\nC", PLACES, "C"),
        ("#### Answer: C", PLACES, "C"),
        ("The answer is (C).\n\nQuestion: x\nThe answer is (A).", PLACES, "C"),
        ("<thinking>(A)</thinking>", PLACES, None),
        ("The answer is A, B and C are wrong.", PLACES, None),
        ("The answer is C for sure.", PLACES, "C"),
        ("The answer is C given that A is wet.", PLACES, "C"),
        ("The answer is option C, a bank.", PLACES, "C"),
        ('The answer is "C".', PLACES, "C"),
        ("The answer is Choice C.", PLACES, "C"),
        ("The answer is **C) a bank**.", PLACES, "C"),
        ("The answer is C)a bank.", PLACES, "C"),
    ],
)
def test_a_letter_or_its_text_is_read_with_denials_reasons_units_and_signs(text: str, options: dict[str, str], expected: str | None) -> None:
    assert letter(text, options) == expected


@pytest.mark.parametrize("denial", ["not", "rather than", "instead of", "as opposed to", "and not", "but not", "over"])
@pytest.mark.parametrize(("right", "wrong"), [("C", "B"), ("(C)", "(B)"), ("a bank (C)", "a shelf (B)"), ("option C", "option B")])
def test_what_is_denied_is_not_the_answer(denial: str, right: str, wrong: str) -> None:
    assert letter(f"The answer is {right} {denial} {wrong}.", PLACES) == "C"
    assert letter(f"The answer is {right}, {denial} {wrong}.", PLACES) == "C"
