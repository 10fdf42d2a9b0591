"""Where an answer stands, and what it is: numbers, LaTeX, yes and no; letters are in test_choices."""

from __future__ import annotations

import itertools
from fractions import Fraction

import pytest
from answer_positions import ANSWER_POSITIONS
from growth import is_linear, repeated
from hypothesis import given, settings
from hypothesis import strategies as st

from cotexp.records import AnswerType
from cotexp.tasks.answers import (
    answer_begin,
    boolean_word,
    extract,
    extract_lenient,
    join_solution,
    last_mention,
    number_of,
    one_number,
    split_solution,
)
from cotexp.tasks.boxes import last_boxed

TYPES: tuple[AnswerType, ...] = ("integer", "decimal", "latex", "choice", "boolean")
OPTIONS = {"A": "dog", "B": "cat", "C": "a mouse"}

# --- numbers: which of several marks counts -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "answer", "rule"),
    [
        ("So \\boxed{17}, no, \\boxed{18}.", "18", "boxed"),
        ("\\boxed{18} but the answer is 17", "18", "boxed"),
        ("\\boxed{18} and then \\boxed{19", "18", "boxed"),
        ("\\boxed{a \\boxed{18}", "18", "boxed"),
        ("\\boxed {18}", "18", "boxed"),
        ("\\fbox{18}", "18", "boxed"),
        ("\\boxed{x = 9 + 9 = 18}", "18", "boxed"),
        ("\\boxed{9 \\times 2 = 18}", "18", "boxed"),
        ("\\boxed{-18}", "-18", "boxed"),
        ("\\boxed{36/2}", "36/2", "boxed"),
        ("\\boxed{-\\frac{1}{2}}", "-1/2", "boxed"),
        ("the answer is 18 dollars", "18", "statement"),
        ("The answer is 18 dollars per day.", "18", "statement"),
        ("The answer is 17. No: the ANSWER  IS: $1,080.50.", "1080.50", "statement"),
        ("so 9 + 9 = 18\n#### 18", "18", "statement"),
        ("####18", "18", "statement"),
        ("The answer is18", "18", "statement"),
        ("The answer is\n18", "18", "statement"),
        ("The answer is:\n\n$$18$$", "18", "statement"),
        ("The answer is -5.", "-5", "statement"),
        ("The answer is −5.", "-5", "statement"),
        ("The answer is $-5.", "-5", "statement"),
        ("The answer is -$5.", "-5", "statement"),
        ("the answer is 1{,}080", "1080", "statement"),
        ("the answer is 9 + 9 = 18 eggs", "18", "statement"),
        ("the answer is 5 × 3 = 15", "15", "statement"),
        ("the answer is $9\\cdot2=18$", "18", "statement"),
        ("the answer is $\\frac{1}{2}\\cdot 36 = 18$", "18", "statement"),
        ("the answer is x = 18", "18", "statement"),
        ("the answer is (84 / 2).", "84/2", "statement"),
        ("the answer is -\\frac{1}{2}", "-1/2", "statement"),
        ("the answer is <203>.", "203", "statement"),
        ("the answer is .5", ".5", "statement"),
        ("the answer is 18. That is 9 more than 9.", "18", "statement"),
        ("the answer is 18 because 9 * 2 = 18", "18", "statement"),
        ("the answer is approx. 18 dollars", "18", "statement"),
        ("\\boxed{} The answer is 18", "18", "statement"),
        ("The answer is 1'000", "1000", "statement"),
        ("The answer is 3 1/2", "3.5", "statement"),
        ("The answer is 1e5", "100000", "statement"),
        ("The answer is 1.5 \\times 10^3", "1500", "statement"),
    ],
)
def test_the_last_closed_box_goes_before_the_last_statement(text: str, answer: str, rule: str) -> None:
    found = extract(text)
    assert (found.text, found.rule) == (answer, rule)
    assert text[found.start :].lower().startswith(("\\boxed", "\\fbox", "answer", "####"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "18",
        "first 3, then 18",
        "The answer is unclear.",
        "The answer isn't 18.",
        "The answer isolates 18.",
        "Answer: 18",
        "\\boxed{}",
        "\\boxed{eggs}",
        "\\boxed{1,2}",
        "\\boxed{3 or 4}",
        "\\boxed{18 out of 20}",
        "\\boxed{3\\pi}",
        "\\boxed{\\sqrt{18}}",
        "\\boxed{2^4}",
        "\\boxed{9 \\times 2}",
        "The answer is B2",
        "The answer is 1,2",
        "The answer is 12,00",
        "The answer is 1,0000",
        "The answer is 1,000,00",
        "The answer is 3 or 4",
        "The answer is 3 and 4",
        "The answer is 7:30",
        "The answer is 2^3",
        "The answer is 3\\pi",
        "The answer is 5 - 3",
        "The answer is (8 - 2).",
        "The answer is 5 x 3",
        "The answer is 5x3",
        "The answer is $9\\cdot2$",
        "The answer is \\frac{1}{2}\\pi",
        "<think>The answer is 18.",
        "<think>\\boxed{18}</think> I do not know.",
    ],
)
def test_a_text_that_does_not_state_one_number_has_no_answer(text: str) -> None:
    assert extract(text).text is None
    assert extract(text).rule == "none"


@pytest.mark.parametrize("answer_type", TYPES)
@pytest.mark.parametrize("before", ["", "9 + 9 = 18. ", "The answer is ", "#### ", "The answer is $", "Not (A). ", "<think>18</think>"])
def test_a_box_that_was_cut_off_is_no_answer(answer_type: AnswerType, before: str) -> None:
    for content in ("", "1", "18", "B", "B) cat", "ye", "yes", "(A", "\\frac{1}{2"):
        assert extract(before + "\\boxed{" + content, answer_type, OPTIONS).text is None, content


def test_what_is_stated_before_a_box_that_was_cut_off_counts() -> None:
    assert extract("The answer is 18. So \\boxed{1").text == "18"
    assert extract("The answer is (B). So \\boxed{A", "choice", OPTIONS).text == "B"
    assert extract("The answer is yes. So \\boxed{no", "boolean").text == "yes"
    assert extract("\\boxed{B} so \\boxed{A", "choice", OPTIONS).text == "B"


@pytest.mark.parametrize(
    ("text", "begin"),
    [("abc", 0), ("<think>abc", 10), (" <think>abc</think> d", 19), ("abc</think>d</think>e", 20), ("", 0)],
)
def test_the_answer_part_begins_behind_the_last_thought(text: str, begin: int) -> None:
    assert answer_begin(text) == begin


def test_the_lenient_rule_takes_the_last_number_word_or_letter() -> None:
    assert last_mention("9 + 9 = 18, or 1,080.50 with tax.") == "1080.50"
    assert last_mention("it was -5") == "-5"
    assert last_mention("none") is None
    assert last_mention("Yes, it is true. No!", "boolean") == "no"
    assert last_mention("unknown yesterday", "boolean") is None
    assert extract_lenient("I have 3, then 18 eggs").text == "18"
    assert extract_lenient("I have 3, then 18 eggs").rule == "last"
    assert extract_lenient("The answer is 3, not 18").text == "3"
    assert extract_lenient("no number").rule == "none"
    assert extract_lenient("\\boxed{18").text == "18"
    assert extract_lenient("\\boxed{\\frac{1}{2", "latex").text == "2"


# --- numbers: dress -----------------------------------------------------------------------------------------------------

DRESSES = [
    "{}",
    "{}.",
    "{}.00",
    "${}",
    "\\${}",
    "${}.00",
    "{} dollars",
    "{} dollars per day",
    "{} eggs.",
    "\\text{{{} eggs}}",
    "{}\\text{{ eggs}}",
    "{} \\text{{ cm}}^2",
    "{}^\\circ",
    "{}^{{\\circ}}",
    "{}\\%",
    "{}%",
    "${}$",
    "x = {}",
    " {} ",
    "\\mathbf{{{}}}",
    "€{}",
    "{} €",
    "({})",
]
POSITIONS = [
    *ANSWER_POSITIONS,
    "So $x = \\boxed{{{}}}$ and done.",
    "Wrong: \\boxed{{99}}. Right: \\boxed{{{}}}",
    "<think>The answer is 7, or \\boxed{{8}} or 9.</think>\nThe answer is {}",
    "<think>hm</think>\\boxed{{{}}}",
]


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("number", ["18", "1080", "-5"])
def test_a_correct_number_is_read_in_any_dress_at_any_place(position: str, number: str) -> None:
    for dress in DRESSES:
        for written in [number, "1,080", "1{,}080", "1,\\!080", "1\\,080"] if number == "1080" else [number]:
            text = position.format(dress.format(written))
            found = extract(text)
            assert found.text is not None, text
            assert number_of(found.text) == Fraction(number), text


@pytest.mark.parametrize("position", POSITIONS)
def test_another_number_is_never_read_as_the_right_one(position: str) -> None:
    for wrong in (
        "0.18",
        "1800",
        "1,800",
        "1.8",
        "-18",
        "180",
        "118",
        "181",
        "18.5",
        "1/8",
        "18/100",
        "18,18",
        "1 8",
        "18:30",
        "18 1/2",
        "18^2",
        "18e3",
    ):
        found = extract(position.format(wrong)).text
        assert found is None or number_of(found) != 18, wrong


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("$1,080.50", "2161/2"),
        ("10{,}080", "10080"),
        ("10,\\!080", "10080"),
        ("1,234,567.25", "4938269/4"),
        ("-7", "-7"),
        ("−7", "-7"),
        ("-$18", "-18"),
        ("-\\$18", "-18"),
        ("$-18$", "-18"),
        ("x = 7", "7"),
        ("0.5", "1/2"),
        (".5", "1/2"),
        ("-.25", "-1/4"),
        ("007", "7"),
        ("1/2", "1/2"),
        ("-1/2", "-1/2"),
        ("\\frac{1}{2}", "1/2"),
        ("\\dfrac12", "1/2"),
        ("-\\frac{1}{2}", "-1/2"),
        ("\\left(-\\frac{1}{2}\\right)", "-1/2"),
        ("18 cm^2", "18"),
        ("\\text{18 eggs}", "18"),
    ],
)
def test_one_number_is_read_whatever_its_dress(text: str, number: str) -> None:
    assert number_of(text) == Fraction(number)


@pytest.mark.parametrize("text", ["", "eggs", "3 or 4", "1,08", "12,3456", "5 - \\frac{1}{2}", "1/0", "0/0", "3\\sqrt{2}", "1/2/3", "9" * 101])
def test_a_text_without_exactly_one_number_is_no_number(text: str) -> None:
    assert number_of(text) is None


@given(st.decimals(min_value=0, max_value=10**12, places=2), st.sampled_from(["{:,}", "${:,}", "{:,} dollars", "\\text{{{:,} eggs}}", "{:,}."]))
def test_grouped_digits_are_read_as_they_were_written(value: object, dress: str) -> None:
    assert number_of(dress.format(value)) == Fraction(str(value))
    assert number_of(dress.format(value).replace(",", "{,}")) == Fraction(str(value))


@given(st.text(alphabet="0123456789.,-/$ x{}\\frac%^", max_size=30))
def test_what_is_read_as_a_number_reads_itself_again(text: str) -> None:
    plain = one_number(text)
    if plain is not None:
        assert one_number(plain) == plain


# --- LaTeX, yes and no ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "answer", "rule"),
    [
        ("\\boxed{\\frac{1}{\\sqrt{2}}}", "\\frac{1}{\\sqrt{2}}", "boxed"),
        ("\\boxed{\\text{18 eggs}}", "\\text{18 eggs}", "boxed"),
        ("\\boxed{ \\{1, 2\\} }", "\\{1, 2\\}", "boxed"),
        ("\\boxed{\\left\\{x \\mid x > 0\\right\\}}", "\\left\\{x \\mid x > 0\\right\\}", "boxed"),
        ("\\boxed{\\}}", "\\}", "boxed"),
        ("The answer is $\\frac{1}{2}$.", "\\frac{1}{2}", "statement"),
        ("The answer is $$\\frac{1}{2}$$", "\\frac{1}{2}", "statement"),
        ("The answer is: \\(x^2\\).", "x^2", "statement"),
        ("The answer is \\[x\n+ 1\\] as shown.", "x\n+ 1", "statement"),
        ("The answer is x + 1.", "x + 1", "statement"),
        ("The answer is **x + 1**.", "x + 1", "statement"),
        ("The answer is Evelyn. She is fast.", "Evelyn", "statement"),
        ("#### (3, 4]", "(3, 4]", "statement"),
        ("\\boxed{}", None, "none"),
        ("\\boxed{ }", None, "none"),
        ("The answer is", None, "none"),
        ("The answer is $", None, "none"),
        ("x + 1", None, "none"),
    ],
)
def test_a_formula_is_read_from_a_box_or_a_statement(text: str, answer: str | None, rule: str) -> None:
    found = extract(text, "latex")
    assert (found.text, found.rule) == (answer, rule)


BOOLEAN_DRESSES = [
    "{}",
    "{}.",
    "**{}**",
    "__{}__",
    "_{}_",
    '"{}"',
    "'{}'",
    "({})",
    "`{}`",
    "{}!",
    "${}$",
    "\\text{{{}}}",
    "\\textbf{{{}}}",
    "\\mathrm{{{}}}",
]


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize(("word", "answer"), [("Yes", "yes"), ("no", "no"), ("TRUE", "yes"), ("False", "no")])
def test_yes_and_no_are_read_in_any_dress_at_any_place(position: str, word: str, answer: str) -> None:
    for dress in BOOLEAN_DRESSES:
        assert extract(position.format(dress.format(word)), "boolean").text == answer, dress


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Yes", "yes"),
        ("no.", "no"),
        ("Yes, so the answer is no", "no"),
        ("The answer is yes. No doubt about it.", "yes"),
        ("The answer is maybe yes, maybe no", "no"),
        ("The answer is that it is true", "yes"),
        ("The answer is Yes, because no one does", "yes"),
        ("\\boxed{yes} The answer is no", "no"),
        ("The answer is no. \\boxed{yes}", "yes"),
        ("The answer is unknown", None),
        ("The answer is Norway", None),
        ("The answer is yesterday", None),
        ("The answer is nothing", None),
        ("The answer is not clear", None),
        ("The answer is untrue", None),
        ("The answer is yes-man", None),
        ("The answer is falsehood", None),
        ("\\boxed{Not true}", None),
        ("No, it is true", None),
        ("Answer: yes", None),
        ("", None),
    ],
)
def test_yes_and_no_stand_at_word_borders_behind_the_last_statement(text: str, answer: str | None) -> None:
    assert extract(text, "boolean").text == answer


@pytest.mark.parametrize(("text", "word"), [("Yes", "yes"), (" TRUE. ", "yes"), ("No.", "no"), ("maybe", None), ("yes no", None), ("", None)])
def test_a_word_is_yes_or_no_or_neither(text: str, word: str | None) -> None:
    assert boolean_word(text) == word


# --- boxes ---------------------------------------------------------------------------------------------------------------


def test_nested_braces_are_balanced() -> None:
    content = "{" * 500 + "18" + "}" * 500
    assert last_boxed(f"a \\boxed{{{content}}} b }}") == content
    assert last_boxed("\\boxed{\\{} }") == "\\{"
    assert last_boxed("\\boxed{a}{b}") == "a"
    assert last_boxed("\\boxed{") is None
    assert last_boxed("no box } {") is None


@given(st.text(alphabet="{}\\bx1", max_size=60))
def test_a_closed_box_is_what_a_slow_search_finds(text: str) -> None:
    """Independent: try every start from the right, and count braces."""
    text = text.replace("bx", "\\boxed{")
    expected = None
    for start in reversed([at for at in range(len(text)) if text.startswith("\\boxed{", at)]):
        depth, at = 0, start + len("\\boxed")
        while at < len(text):
            if text[at] == "\\" and text[at + 1 : at + 2] in ("{", "}"):
                at += 2
                continue
            depth += {"{": 1, "}": -1}.get(text[at], 0)
            if depth == 0:
                break
            at += 1
        if depth == 0 and at < len(text):
            expected = text[start + len("\\boxed{") : at]
            break
    assert last_boxed(text) == expected


# --- any input -----------------------------------------------------------------------------------------------------------

ODD = st.sampled_from(
    [
        *("answer is", "The answer is ", "####", "\\boxed{", "\\boxed", "}", "{", "\\}", "\\{", "$", "$$", "\\frac", "\\text{", "^\\circ", "\\sqrt"),
        *("(A)", "(", ")", "A", "B cat", "a dog", "yes", "no", "</think>", "<think>", "\\(", "\\[", "\\]", ",", "{,}", ".", "-", "−", "/", "=", "x"),
        *("1", "18", "1,000", "9" * 120, "٣", "१८", "²", "Ⅷ", "½", "\x00", "\ud800", "\u2028", "é", "中", "🎈", "\n", " ", "\t", "%", "\\", "#", "~"),
    ]
)
ANYTHING = st.one_of(
    st.text(max_size=200),
    st.text(alphabet=st.characters(), max_size=100),  # surrogates and control characters as well
    st.lists(ODD, max_size=25).map("".join),
)


@settings(max_examples=400)
@given(ANYTHING, st.sampled_from(TYPES), st.sampled_from([{}, OPTIONS, {"A": "", "B": ""}, {"1": "x", "2": "y"}, {"I": "dog"}]))
def test_no_text_breaks_extraction(text: str, answer_type: AnswerType, options: dict[str, str]) -> None:
    found = extract(text, answer_type, options)
    assert found == extract(text, answer_type, options)
    assert (found.text is None) == (found.rule == "none")
    assert 0 <= found.start <= len(text)
    assert found.text is None or found.text != ""
    lenient = extract_lenient(text, answer_type, options)
    if found.text is not None:
        assert lenient == found
    if answer_type == "choice" and options:
        assert found.text is None or found.text in options
        assert lenient.text is None or lenient.text in options
    if answer_type in ("integer", "decimal") and found.text is not None:
        assert "/" in found.text or number_of(found.text) is not None
    chain, closing = split_solution(text, answer_type, options)
    assert chain + closing == text
    assert bool(closing) == (found.text is not None)


UNITS = [
    *(
        "{",
        "}",
        "9",
        ",",
        "1,",
        ",000",
        "1 ",
        " ",
        "\n",
        ". ",
        "answer is ",
        "answer ",
        "#### ",
        "\\boxed{",
        "\\boxed{1}",
        "\\boxed",
        "</think>",
        "<think>",
    ),
    *(
        "(A)",
        "(",
        "A ",
        "A and ",
        "yes ",
        "\\text{",
        "\\frac",
        "\\frac{1}",
        "\\frac1",
        "\\sqrt",
        "$",
        "-",
        "1-",
        "1+",
        "=",
        "1=",
        "1/",
        "^{",
        "\\left",
    ),
    *("\\,", "\\", "٣", "\x00", "\ud800", "🎈", "\\(", "option ", "e", "ab", "'", "*", "_", "x=1 ", "\u2028"),
]
BEFORE = [
    "",
    "the answer is ",
    "the answer is 5",
    "the answer is 5^",
    "the answer is 1-",
    "the answer is A",
    "the answer is A,",
    "\\boxed{",
    "\\frac{1}",
]


def read_in_every_way(text: str) -> None:
    for answer_type in TYPES:
        extract_lenient(text, answer_type, OPTIONS)
        split_solution(text, answer_type, OPTIONS)
    number_of(text)


LONG = 6_000
"""Characters: read in steps of their number alone a text takes hundredths of a second, in steps of its square five seconds and more."""


@pytest.mark.parametrize("unit", [" ", "A ", "9", "1,", "answer is ", "\\boxed{", "{", ". ", "(", "\\frac{1}", "\\text{", "\n"])
def test_the_time_of_a_hostile_text_grows_with_its_length(unit: str) -> None:
    assert is_linear(read_in_every_way, repeated(unit, "the answer is 5"), LONG)


@pytest.mark.slow
@pytest.mark.parametrize("unit", UNITS)
def test_no_repeated_piece_makes_extraction_slow(unit: str) -> None:
    for before, after in itertools.product(BEFORE, ["", "}x"]):
        assert is_linear(read_in_every_way, repeated(unit, before, after), LONG), (before, after)


# --- solutions -----------------------------------------------------------------------------------------------------------

CHAINS = st.lists(st.sampled_from(["3 + 4 = 7.", "Then add 1.5: 2 + 1.5 = 3.5.", "Is it so?", "So we have 12 eggs!"]), min_size=1, max_size=5)
CLOSINGS = st.sampled_from(["The answer is \\boxed{18}.", "The answer is 18.", "#### 18", "So \\boxed{18} eggs", "Thus the answer is 18.50 dollars."])


@given(CHAINS, st.sampled_from([" ", "\n", "\n\n"]), CLOSINGS)
def test_the_closing_sentence_is_the_one_that_states_the_answer(sentences: list[str], separator: str, statement: str) -> None:
    chain = " ".join(sentences)
    assert split_solution(chain + separator + statement) == (chain + separator, statement)
    assert extract(statement).text == extract(chain + separator + statement).text
    assert join_solution(chain, statement, separator) == chain + separator + statement


@pytest.mark.parametrize(
    ("answer_type", "closing"),
    [
        ("choice", "The answer is (B)."),
        ("boolean", "The answer is yes."),
        ("latex", "Thus $\\boxed{\\frac{1}{2}}$."),
        ("integer", "The answer is \\boxed{18}."),
    ],
)
def test_solutions_of_every_answer_type_are_split(answer_type: AnswerType, closing: str) -> None:
    assert split_solution(f"I think 9 + 9. So it is.\n{closing}", answer_type, OPTIONS) == ("I think 9 + 9. So it is.\n", closing)


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
