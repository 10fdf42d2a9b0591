"""Yes or no in the statement that answers: idioms, denials, reasons and numbers' signs are none."""

from __future__ import annotations

import pytest

from cotexp.tasks.answers import extract


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("The answer is not false.", "yes"),
        ("The answer is not no.", None),
        ("The answer is never true.", "no"),
        ("The answer is no question yes.", "yes"),
        ("The answer is yes, no doubt.", "yes"),
        ("The answer is no, without doubt.", "no"),
        ("The answer is without a doubt no.", "no"),
        ("The answer is a resounding no: yes-men abound.", "no"),
        ("The answer is that no one knows.", None),
        ("The answer is yes since no one objects.", "yes"),
        ("The answer is no, although some say yes.", "no"),
        ("The answer is probably no, because it is true that birds fly.", "no"),
        ("The answer is that it is false.", "no"),
        ("The answer is that it isn't true.", "no"),
        ("The answer is that it is not true.", "no"),
        ("The answer is not entirely true.", None),
        ("The answer is No. 5.", None),
        ("The answer is No.", "no"),
        ("The answer is: **No**, they do not.", "no"),
        ("The answer is no. 1 in the list.", None),
        ("The answer is clearly yes.", "yes"),
        ("The answer is yes. The answer is sound as there is no gap.", "yes"),
        ("The answer is yes.\n\nQuestion: x\nThe answer is no.", "yes"),
        ("\\boxed{\\textsf{No}}", "no"),
        ("\\boxed{\\text{No, since true}}", None),
        ("#### No", "no"),
        ("#### No proof\nx", None),
        ("The answer is yes and no.", None),
        ("The answer is neither yes nor no.", None),
        ("The answer is unlikely to be yes.", None),
        ("The answer is unclear. Yes.", None),
        ("The answer is true.", "yes"),
        ("The answer is both true and false.", None),
        ("The answer is no longer true.", "no"),
        ("The answer is no more than a guess.", None),
        ("<reasoning>The answer is yes.</reasoning> Hm.", None),
        ("The answer is No, it is not true.", "no"),
        ("Yes.", "yes"),
        ("The answer is not yes but no.", "no"),
        ("The answer is yes, not no.", "yes"),
        ("The answer is yes rather than no.", "yes"),
    ],
)
def test_yes_and_no_are_what_the_statement_says(text: str, word: str | None) -> None:
    assert extract(text, "boolean").text == word


@pytest.mark.parametrize("certainty", ["", "clearly ", "definitely ", "most likely ", "a clear ", "a resounding ", "no doubt "])
@pytest.mark.parametrize(
    "behind", [".", ", since no bird is true to it.", ", though some say otherwise.", ": no true bird would.", " because it is not false."]
)
@pytest.mark.parametrize("word", ["yes", "no"])
def test_what_stands_around_the_word_does_not_count(certainty: str, behind: str, word: str) -> None:
    assert extract(f"So the answer is {certainty}{word}{behind}", "boolean").text == word


@pytest.mark.parametrize(
    "text",
    [
        "So the answer is no. Wait, actually yes, since dogs bark.",
        "The answer is no. Actually, yes.",
        "The answer is no, actually yes.",
        "The answer is no (wait, yes).",
        "The answer is no? Wait, yes.",
        "The answer is no. No wait, yes.",
        "The answer is yes. Actually, false.",
        "The answer is true. Hold on, false!",
        "The answer is a clear no. Hmm... I think yes.",
        "The answer is not true. Wait a minute, yes, it is.",
        "The answer is no. Wait. Yes, no doubt.",
        "\\boxed{\\text{No}}. Sorry, yes.",
        "#### no\n\nActually, yes, dogs bark.",
    ],
)
def test_a_bare_word_other_than_the_stated_one_takes_the_statement_back(text: str) -> None:
    assert extract(text, "boolean").text is None
    assert extract(f"{text} So the answer is yes.", "boolean").text == "yes"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("The answer is yes. No further steps are needed.", "yes"),
        ("The answer is no. True, dogs bark, but this one is mute.", "no"),
        ("The answer is no. Actually, true, dogs bark, but this one is mute.", "no"),
        ("The answer is no. Actually, true pandas eat bamboo.", "no"),
        ("The answer is no. Actually, it is true that dogs bark.", "no"),
        ("The answer is yes. Wait, yes, they do.", "yes"),
        ("The answer is yes. Actually, true.", "yes"),
        ("The answer is no. Wait, yes, that is right.", "no"),
        ("The answer is no. Hmm, yes, that's correct.", "no"),
        ("The answer is no. Do dogs bark? Actually, yes.", "no"),
        ("The answer is no. Wait, yes-men abound.", "no"),
    ],
)
def test_a_word_that_upholds_or_concedes_takes_nothing_back(text: str, word: str) -> None:
    assert extract(text, "boolean").text == word


def test_yes_behind_a_number_or_an_option_takes_neither_back() -> None:
    assert extract("The answer is 18. Actually, yes, 18.").text == "18"
    assert extract("The answer is B, which is false. Wait, yes, B.", "choice", {"A": "dog", "B": "cat"}).text == "B"
