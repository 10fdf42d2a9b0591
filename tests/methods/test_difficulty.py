"""What the student reads before the gold answer, and the ratios made of its likelihoods."""

from __future__ import annotations

import dataclasses
import math

import pytest
from sample_records import rationale, score

from cotexp.methods.difficulty import answer_text, hidden, label, masked
from cotexp.records import AnswerType, Question, Rationale
from cotexp.settings.scoring import Scoring
from cotexp.tasks.answers import extract, split_solution


def question(answer: str, answer_type: AnswerType = "decimal") -> Question:
    return Question(id="q", text="How many?", answer=answer, task="t", answer_type=answer_type, options={"A": "x", "B": "y"})


def written(text: str, answer_type: AnswerType = "decimal") -> Rationale:
    cot, closing = split_solution(text, answer_type, {"A": "x", "B": "y"} if answer_type == "choice" else None)
    return rationale(cot=cot, closing=closing)


@pytest.mark.parametrize(
    ("answer", "answer_type"),
    [
        *(("1080", "integer"), ("18.5", "decimal"), ("-3", "integer"), ("0.05", "decimal"), ("A", "choice"), ("yes", "boolean"), ("no", "boolean")),
        *(("\\frac{1}{2}", "latex"), ("x^2 + 1", "latex"), ("(3, \\frac{\\pi}{2})", "latex"), ("\\text{Tuesday}", "latex")),
    ],
)
@pytest.mark.parametrize("form", ["boxed", "plain"])
def test_the_gold_answer_alone_is_read_as_that_answer_without_a_chain(answer: str, answer_type: AnswerType, form: str) -> None:
    text = label(question(answer, answer_type), Scoring(answer=form))
    asked = question(answer, answer_type).options if answer_type == "choice" else {}
    assert extract(text, answer_type, asked).text == answer
    assert split_solution(text, answer_type, asked) == ("", text)


def test_the_mask_takes_the_sentence_with_the_answer_and_nothing_else() -> None:
    assert masked(written("He ate 9 of 26, so 26 - 9 = 17 are left. The answer is 17.")) == "He ate 9 of 26, so 26 - 9 = 17 are left."
    assert masked(written("He ate 9 of 26, so 26 - 9 = 17 are left.")) == "He ate 9 of 26, so 26 - 9 = 17 are left."


@pytest.mark.parametrize(
    ("text", "gold", "expected"),
    [
        ("So 26 - 9 = 17 are left. The answer is 17.", "17", "So 26 - 9 = ? are left."),
        ("So 26 - 9 = 17. The answer is 17.", "17", "So 26 - 9 = ?."),
        ("So $26 - $9 = $17 is left. The answer is 17.", "17", "So $26 - $9 = $? is left."),
        ("First 8 + 9 = 17, then 17 + 4 = 21. The answer is 21.", "21", "First 8 + 9 = 17, then 17 + 4 = ?."),
        ("Now 17 = 8 + 9 and 2 * 500 = 1,000 hold. The answer is 1000.", "1000", "Now 17 = 8 + 9 and 2 * 500 = ? hold."),
        ("Half of 5 = 2.5 is it. The answer is 2.5.", "2.5", "Half of 5 = ? is it."),
        ("Half of 5 = 2.5 is near. The answer is 2.", "2", "Half of 5 = 2.5 is near."),
        ("Then x = 17 + 4 = 21 follows. The answer is 17.", "17", "Then x = 17 + 4 = 21 follows."),
        ("He has 17 of them, 170 = 17 tens. The answer is 17.", "17", "He has 17 of them, 170 = ? tens."),
        ("It is 4 - 9 = -5 now. The answer is -5.", "-5", "It is 4 - 9 = ? now."),
        ("It is 4 − 9 = −$5 now. The answer is -5.", "-5", "It is 4 − 9 = $? now."),
        ("- 3 + 2 = 5\n- Then she leaves.\nThe answer is 5.", "5", "- 3 + 2 = ?\n- Then she leaves."),
        ("So 3 + 2 = 5 - so five. The answer is 5.", "5", "So 3 + 2 = ? - so five."),
        ("So 3 + 2 = **5** it is. The answer is 5.", "5", "So 3 + 2 = **?** it is."),
        ("So 3 + 2 = £5, which is it. The answer is 5.", "5", "So 3 + 2 = £?, which is it."),
        ("So 1 / 2 = .5 of it. The answer is 0.5.", "0.5", "So 1 / 2 = ? of it."),
        ("So 3 + 2 = 5 x 2 = 10 of them. The answer is 5.", "5", "So 3 + 2 = 5 x 2 = 10 of them."),
    ],
)
def test_the_second_mask_hides_the_value_where_an_equation_ends_in_it(text: str, gold: str, expected: str) -> None:
    assert hidden(written(text), question(gold)) == expected


def test_letters_and_yes_or_no_stand_in_no_equation() -> None:
    text = "x = 3 holds for B. The answer is (B)."
    assert hidden(written(text, "choice"), question("B", "choice")) == masked(written(text, "choice"))
    assert hidden(written("1 = 1. The answer is yes.", "boolean"), question("yes", "boolean")) == "1 = 1."


def test_the_answer_is_written_as_it_follows_the_connector() -> None:
    assert [answer_text(question("17"), form) for form in ("boxed", "plain")] == ["\\boxed{17}.", "17."]
    assert [answer_text(question("B", "choice"), form) for form in ("boxed", "plain")] == ["(B)."] * 2
    assert [answer_text(question("yes", "boolean"), form) for form in ("boxed", "plain")] == ["yes."] * 2
    assert answer_text(question("\\frac{1}{2}", "latex"), "boxed") == "\\boxed{\\frac{1}{2}}."


SCORE = score(
    "q/0", num_answer_tokens=4, answer_nll=10.0, answer_nll_plain=2.0, answer_nll_masked=6.0, answer_nll_hidden=12.0, num_tokens=20, nll=30.0
)


def test_the_ratio_is_that_of_two_perplexities() -> None:
    alone = math.exp(10 / 4)
    assert SCORE.rd("plain") == pytest.approx(math.exp(2 / 4) / alone)
    assert SCORE.rd("masked") == pytest.approx(math.exp(6 / 4) / alone)
    assert SCORE.rd("hidden") == pytest.approx(math.exp(12 / 4) / alone)
    assert SCORE.perplexity == pytest.approx(math.exp(1.5))


def test_an_answer_that_the_student_thinks_impossible_has_a_finite_ratio() -> None:
    score = dataclasses.replace(SCORE, num_answer_tokens=1, answer_nll=0.0, answer_nll_plain=5000.0, num_tokens=1, nll=9000.0)
    assert math.isfinite(score.rd("plain"))
    assert math.isfinite(score.perplexity)
