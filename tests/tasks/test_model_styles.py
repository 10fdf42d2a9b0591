"""Answers as models really write them: bold, boxes in sentences, corrections, other tools' thinking marks."""

from __future__ import annotations

import pytest
from growth import is_linear, repeated

from cotexp.tasks.answers import extract, number_of

OPTIONS = {"A": "dog house", "B": "shelf", "C": "a bank", "D": "river", "E": "library"}
LENGTHS = {"A": "12 km", "B": "15 km", "C": "18 km", "D": "20 km", "E": "None of these"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("The answer is eighteen (18).", "18"),
        ("The answer is one hundred and twenty.", "120"),
        ("The answer is one hundred eighteen thousand.", "118000"),
        ("The answer is two and a half hours.", "2.5"),
        ("The answer is twenty-one dollars.", "21"),
        ("The answer is 9*2=<<9*2=18>>18.", "18"),
        ("The answer is 18: 9 eggs at $2 each.", "18"),
        ("The answer is 18:", "18"),
        ("The answer is 18 = x.", "18"),
        ("The answer is found by multiplying 9 by 2, which gives 18.", "18"),
        ("#### Total: $18", "18"),
        ("~~The answer is 20.~~ The answer is 18.", "18"),
        ("The answer is 18. ~~The answer is 20.~~", "18"),
        ("The answer is 18. Some might think the answer is 20, but that's not so.", "18"),
        ("The answer is 18. The answer is correct to 2 decimal places.", "18"),
        ("The answer is 18.\n\nHere is another question: Tom has 2 cats. The answer is 2.", "18"),
        ("#### 18\n\n### Question 2\nTom has 2.\n#### 2", "18"),
        ("#### 18 [/INST] The answer is 20.", "18"),
        ("Therefore, the final answer is: $\\boxed{18}$ eggs for 2 adults", "18"),
        ("The answer is \\boxed{18}, not \\boxed{20}.", "18"),
        ("\\boxed{20}\n\nWait, that is wrong.\n\n\\boxed{18}", "18"),
        ("The answer is 18. Wait, let me check: 9 * 2 = 18. Yes.", "18"),
        ("The answer is 18. There is no mistake here.", "18"),
        ("First, $\\boxed{9}$ eggs are left, so she makes $\\boxed{18}$.", "18"),
    ],
)
def test_a_plain_answer_is_recognised_whatever_stands_around_it(text: str, value: str) -> None:
    found = extract(text).text
    assert found is not None
    assert number_of(found) == number_of(value)


@pytest.mark.parametrize(
    "text",
    [
        "The answer is 20. Wait, that's wrong. It should be 18.",
        "The answer is 20? No, wait, 18.",
        "The answer is 20... no, 18.",
        "The answer is 20 (correction: 18).",
        "\\boxed{20}. Hmm, I made a mistake: it should be 18.",
        "Tom has $\\boxed{18}$ and Ann has $\\boxed{20}$.",
        "\\boxed{18} dollars = \\boxed{1800} cents",
        "\\boxed{18}/\\boxed{20}",
        "$\\frac{\\boxed{18}}{20}$",
        "So it is $-\\boxed{18}$",
        "The answer is $\\boxed{18}$ million.",
        "The answer is $\\boxed{2}$ dozen eggs.",
        "The answer is $\\boxed{2}$ hours and 30 minutes.",
        "The answer is $\\boxed{18}^2$.",
        "It is not $\\boxed{18}$.",
        "The answer is 18 with a remainder of 2.",
        "The answer is 18, remainder 2.",
        "The answer is 18 R2",
        "The answer is 18 to the power of 2.",
        "The answer is 3 degrees below zero.",
        "The answer is 50 grand.",
        "The answer is three quarters.",
        "The answer is two-thirds.",
        "The answer is one of the two.",
        "#### (a) 18 eggs\nShe sells them.\n#### (b) The total\nShe has 20.",
        "#### 2nd step\nShe sells them.",
        "#### 100% of the eggs\nShe sells them.",
    ],
)
def test_a_number_that_is_taken_back_denied_or_changed_beside_it_is_no_answer(text: str) -> None:
    assert extract(text).text is None


@pytest.mark.parametrize(
    ("text", "options", "letter"),
    [
        ("The answer is (A)(C).", OPTIONS, None),
        ("The answer is anything but C.", OPTIONS, None),
        ("The answer is C if there is money, otherwise B.", OPTIONS, None),
        ("The answer is B if books, C if money.", OPTIONS, None),
        ("The answer is C. Actually, E is better.", OPTIONS, None),
        ("The answer is B (wait, C).", OPTIONS, None),
        ("The answer is B, no, C.", OPTIONS, None),
        ("The answer is \\boxed{C}, not \\boxed{B}.", OPTIONS, "C"),
        ("\\boxed{C'}", OPTIONS, None),
        ("Is it (C)? No.", OPTIONS, None),
        ("(C) a bank: yes\n(E) library: no", OPTIONS, "C"),
        ("I would say the answer is C.", OPTIONS, "C"),
        ("The answer is 12 + 6 = 18 km.", LENGTHS, "C"),
        ("The answer is C = 18 km.", LENGTHS, "C"),
        ("The answer is a bank, whose clerks read in a library (E).", OPTIONS, "C"),
    ],
)
def test_an_option_is_what_the_statement_settles_on(text: str, options: dict[str, str], letter: str | None) -> None:
    assert extract(text, "choice", options).text == letter


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("The answer is yes for dogs but no for cats.", None),
        ("The answer is yes to the first part and no to the second.", None),
        ("The answer is technically yes, but practically no.", None),
        ("The answer is true if it rains, false otherwise.", None),
        ("The answer is yes... wait, no.", None),
        ("The answer is Yes (False).", None),
        ("The answer is anything but yes.", None),
        ("The answer is far from a yes.", None),
        ("The answer is no instead of yes.", "no"),
        ("The answer is no. The answer is based on true facts.", "no"),
        ("The answer is yes, there's no problem with that.", "yes"),
        ("The answer is no, no, no.", "no"),
    ],
)
def test_yes_and_no_together_are_no_answer_unless_one_is_denied(text: str, word: str | None) -> None:
    assert extract(text, "boolean").text == word


@pytest.mark.parametrize(
    "thought",
    [
        "<reflection>{}</reflection>",
        "<thought_process>{}</thought_process>",
        "<internal_monologue>{}</internal_monologue>",
        "<rationale>{}</rationale>",
        "<chain_of_thought>{}</chain_of_thought>",
        '<thinking type="deep">{}</thinking>',
        "[think]{}[/think]",
        "[REASONING]{}[/REASONING]",
        "[BEGIN_THINKING]{}[END_THINKING]",
        "<|begin_of_thinking|>{}<|end_of_thinking|>",
        "<|thought_start|>{}<|thought_end|>",
        "<ifm|think>{}</ifm|think>",
        "<think_never_used_51bce0c7>{}</think_never_used_51bce0c7>",
        "&lt;think&gt;{}&lt;/think&gt;",
        "<|im_start|>think\n{}\n<|im_start|>answer\n",
    ],
)
def test_more_families_thinking_holds_no_answer(thought: str) -> None:
    text = thought.format("The answer is 20.")
    assert extract(f"{text}No result.").text is None
    assert extract(f"{text}The answer is 18.").text == "18"


@pytest.mark.parametrize(
    "piece", ["wait ", "\n", "~~", "~~x", "\\boxed{1} ", "one hundred ", "one-", ", no ", "(A)(", "yes but no ", "<think", "&lt;", "a "]
)
def test_long_texts_of_one_piece_are_read_in_linear_time(piece: str) -> None:
    def read(text: str) -> None:
        for answer_type in ("decimal", "choice", "boolean"):
            extract(text, answer_type, OPTIONS)

    assert is_linear(read, repeated(piece, "The answer is 18. "), 100_000)
