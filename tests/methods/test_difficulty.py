"""What the student reads before the gold answer, and the ratios made of its likelihoods."""

from __future__ import annotations

import dataclasses
import math

import pytest
from growth import is_linear, repeated
from sample_records import rationale, score

from cotexp.methods.difficulty import MOST_STATEMENTS, answer_text, hidden, label, masked
from cotexp.records import AnswerType, Question, Rationale
from cotexp.settings.scoring import Scoring
from cotexp.tasks.answers import extract, split_solution

OPTIONS = {"A": "18", "B": "20 km", "C": "1/200", "D": "294a2", "E": "dry palms"}


def question(answer: str, answer_type: AnswerType = "decimal") -> Question:
    return Question(id="q", text="How many?", answer=answer, task="t", answer_type=answer_type, options=OPTIONS if answer_type == "choice" else {})


def written(text: str, answer_type: AnswerType = "decimal") -> Rationale:
    cot, closing = split_solution(text, answer_type, OPTIONS if answer_type == "choice" else None)
    return rationale(cot=cot, closing=closing)


def mask(text: str, answer_type: AnswerType = "decimal") -> str:
    return masked(written(text, answer_type), question("", answer_type))


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
    assert mask("He ate 9 of 26, so 26 - 9 = 17 are left. The answer is 17.") == "He ate 9 of 26, so 26 - 9 = 17 are left."
    assert mask("He ate 9 of 26, so 26 - 9 = 17 are left.") == "He ate 9 of 26, so 26 - 9 = 17 are left."


@pytest.mark.parametrize(
    ("text", "answer_type", "expected"),
    [
        ("9 * 2 are 18. So the answer is 18. Therefore, the answer is \\boxed{18}.", "decimal", "9 * 2 are 18."),
        ("It fits. So the answer is 18.0. Hence the answer is $18. The answer is 18.", "decimal", "It fits."),
        ("It fits. So the answer is 18.\nShe checks it. The answer is 18.", "decimal", "It fits.\nShe checks it."),
        ("It fits.\nSo the answer is 18. She checks it.\n\nThe answer is 18.", "decimal", "It fits.\nShe checks it."),
        ("It fits. The answer is:\n\n18\n\nShe checks it. The answer is 18.", "decimal", "It fits.\n\nShe checks it."),
        ("So the answer is 18. One. The answer is 18. Two. The answer is 18.", "decimal", "One. Two."),
        ("The answer is 20. No, not at all. The answer is 18. The answer is 18.", "decimal", "The answer is 20. No, not at all."),
        ("It is $9 = \\boxed{9}. $ Good.\nSo $\\boxed{9}$.", "latex", "Good."),
        ("It is half. The answer is $\\frac{1}{2}$. Good. So $\\boxed{\\frac{1}{2}}$.", "latex", "It is half. Good."),
        ("It is dry. So (E). Good.\nThe answer is (E).", "choice", "It is dry. Good."),
        ("It is dry. So the answer is E. dry palms. Good. The answer is (E).", "choice", "It is dry. Good."),
        ("Wet palms are (A). The answer is (E).", "choice", "Wet palms are (A)."),
        ("Dogs bark. So the answer is yes. Cats do not. So the answer is yes.", "boolean", "Dogs bark. Cats do not."),
        ("<think>\nThe answer is 18. Hm.\n</think>\n\nIt is 9. The answer is 18. The answer is 18.", "decimal", "<think>\nHm.\n</think>\n\nIt is 9."),
    ],
)
def test_the_mask_takes_every_sentence_with_that_answer_and_keeps_what_follows_it(text: str, answer_type: AnswerType, expected: str) -> None:
    assert mask(text, answer_type) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Yes. Dogs bark. So the answer is yes.", "Dogs bark."),
        ("No, dogs bark. So the answer is no.", "dogs bark."),
        ("Yes\nDogs bark. So the answer is yes.", "Dogs bark."),
        ("**Yes.** Dogs bark. So the answer is yes.", "Dogs bark."),
        ("True: dogs bark. So the answer is yes.", "dogs bark."),
        ("No – dogs bark. So the answer is no.", "dogs bark."),
        ("No because dogs bark. So the answer is no.", "because dogs bark."),
        ("<think>\nDogs.\n</think>\n\nYes, they bark. So the answer is yes.", "<think>\nDogs.\n</think>\n\nthey bark."),
        ("Yes, dogs bark. So the answer is no.", "Yes, dogs bark."),
        ("No dogs bark. So the answer is no.", "No dogs bark."),
        ("No. 10 is a house. So the answer is no.", "No. 10 is a house."),
        ("No-one barks. So the answer is no.", "No-one barks."),
    ],
)
def test_the_mask_takes_a_yes_or_no_that_opens_the_text_and_is_its_answer(text: str, expected: str) -> None:
    assert mask(text, "boolean") == expected


def test_a_text_that_only_repeats_its_answer_is_masked_in_bounded_time() -> None:
    assert mask("So it is 18. " + "The answer is 18. " * 10) == "So it is 18."
    assert mask("The answer is 18. " * (MOST_STATEMENTS + 3)) == "The answer is 18. The answer is 18."


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
    assert hidden(mask(text), question(gold)) == expected


@pytest.mark.parametrize(
    ("text", "gold", "expected"),
    [
        ("89 - 45 = <<89-45=44>>44 stickers left.", "44", "89 - 45 = <<89-45=?>>? stickers left."),
        ("She has $<<12-30=-18>>-18 now.", "-18", "She has $<<12-30=?>>? now."),
        ("It is $<<.5*36=18.0>>18.00.", "18", "It is $<<.5*36=?>>?."),
        ("It is 20% = <<20=20>>20% of 5.", "20", "It is 20% = <<20=?>>?% of 5."),
        ("It is <<2+3=5>>5 x 2 = <<5*2=10>>10.", "5", "It is <<2+3=5>>5 x 2 = <<5*2=10>>10."),
        ("It is <<2+3=5>>5 x 2 = <<5*2=10>>10.", "10", "It is <<2+3=5>>5 x 2 = <<5*2=?>>?."),
        ("It is 2 - 20 = $-18 now.", "-18", "It is 2 - 20 = $? now."),
        ("It is 2 - 20 = $-18 now.", "18", "It is 2 - 20 = $-18 now."),
        ("It is 9 * 2 = (18) now.", "18", "It is 9 * 2 = (?) now."),
        ("It is 900 * 2 = 1{,}800 now.", "1800", "It is 900 * 2 = ? now."),
        ("It is 900 * 2 = 1,\\!800 now.", "1800", "It is 900 * 2 = ? now."),
        ("It is 9 * 2 = \\text{18} now.", "18", "It is 9 * 2 = \\text{?} now."),
        ("It is 9 * 2 = *18* now.", "18", "It is 9 * 2 = *?* now."),
        ("It is 9 * 2 = $18$ now.", "18", "It is 9 * 2 = $?$ now."),
        ("So $x = 18$, \\(x = 18\\), and \\[x = 18\\]", "18", "So $x = ?$, \\(x = ?\\), and \\[x = ?\\]"),
        ("Then y &= 18 \\\\", "18", "Then y &= ? \\\\"),
        ("It is 71 / 4 ≈ 18 and $71/4 \\approx 18$.", "18", "It is 71 / 4 ≈ ? and $71/4 \\approx ?$."),
        ("It is 9 * 2 = Rs. 18 or = 18 dollars/hour.", "18", "It is 9 * 2 = Rs. ? or = ? dollars/hour."),
        ("She starts at 18 - 8 = 10:00 am.", "10", "She starts at 18 - 8 = ?:00 am."),
        ("Now = 5 \\times 2, = 5 apples + 3, = 5^2, = (5)(2), = 5 * $2 and = $5$ + 3.", "5", None),
        ("Now = 50, = 5.5, = 5,000, = 15, = 5x + 1, = 5\\sqrt{3} and != 5.", "5", None),
    ],
)
def test_the_value_is_hidden_in_every_form_but_where_a_calculation_goes_on(text: str, gold: str, expected: str | None) -> None:
    assert hidden(text, question(gold)) == (text if expected is None else expected)


@pytest.mark.parametrize(
    ("text", "answer", "answer_type", "expected"),
    [
        ("It is 4 * 5 = 20 km.", "B", "choice", "It is 4 * 5 = ? km."),
        ("It is 36 / 2 = 18 and 4 * 5 = 20.", "A", "choice", "It is 36 / 2 = ? and 4 * 5 = 20."),
        ("It is 1/10 * 1/20 = 1/200", "C", "choice", "It is 1/10 * 1/20 = ?"),
        ("It is 42 * 7a2 = 294a2.", "D", "choice", "It is 42 * 7a2 = ?."),
        ("So E = 18.", "E", "choice", "So E = 18."),
        ("So $x = \\dfrac{1}{2}.$ Or $x = 0.5$.", "\\frac{1}{2}", "latex", "So $x = ?.$ Or $x = ?$."),
        ("So $x = \\frac{1}{2} + 3$.", "\\frac{1}{2}", "latex", "So $x = \\frac{1}{2} + 3$."),
        ("So $f = x^2+1$, and $g = x^2 + 1 + x$.", "x^2 + 1", "latex", "So $f = ?$, and $g = x^2 + 1 + x$."),
        ("So $p = \\left( 3, \\frac{\\pi}{2} \\right)$.", "(3, \\frac{\\pi}{2})", "latex", "So $p = ?$."),
        ("So $p = 2\\sqrt{3}$ and $q = 2\\sqrt{3}x$.", "2\\sqrt{3}", "latex", "So $p = ?$ and $q = 2\\sqrt{3}x$."),
        ("So the day = \\text{Tuesday}.", "\\text{Tuesday}", "latex", "So the day = \\text{?}."),
        ("So $x =$ nothing", "$$", "latex", "So $x =$ nothing"),
        ("So 1 = 1 = yes.", "yes", "boolean", "So 1 = 1 = yes."),
    ],
)
def test_options_and_formulas_are_hidden_too_where_an_equation_ends_in_them(text: str, answer: str, answer_type: AnswerType, expected: str) -> None:
    assert hidden(text, question(answer, answer_type)) == expected


@pytest.mark.parametrize(
    ("text", "answer", "answer_type", "expected"),
    [
        ("So p = 1/2.", "0.5", "decimal", "So p = ?."),
        ("So p = 1/2 and p = 0.5 and p = \\tfrac{1}{2}.", "\\frac{1}{2}", "latex", "So p = ? and p = ? and p = ?."),
        ("So $p = \\frac34$, p = 3 / 4, p = \\boxed{\\dfrac{3}{4}}.", "\\frac{3}{4}", "latex", "So $p = ?$, p = ?, p = \\boxed{?}."),
        ("So p = -\\frac{1}{2} = \\frac{-1}{2} = -1/2, not = 1/2.", "-\\frac{1}{2}", "latex", "So p = ? = ? = ?, not = 1/2."),
        ("So p = 2 1/2 = 2\\frac{1}{2} = 5/2 hours.", "2.5", "decimal", "So p = ? = ? = ? hours."),
        ("It is 5 * .5 = <<5*.5=5/2>>5/2 now.", "2.5", "decimal", "It is 5 * .5 = <<5*.5=?>>? now."),
        ("So p = 50\\%, p = 1/2, p = 0.5.", "50\\%", "latex", "So p = ?\\%, p = ?, p = ?."),
        ("So p = 1/2 of the pie.", "0.5", "decimal", "So p = ? of the pie."),
        ("So p = 1/200.", "C", "choice", "So p = ?."),
        ("So p = 1/3, p = 1/2 + 3, p = 1/2 * 4, p = 1/20, p = 1/2/2, p = \\frac12 - x, p = 1/0.", "0.5", "decimal", None),
        ("So A = \\frac{1}{2}bh, p = \\frac{1}{2}\\alpha, p = \\frac{1}{2} x, p = 1/2 of 10, p = 1/2 \\times 4.", "\\frac{1}{2}", "latex", None),
        ("So it is = 2 1/2 and = 2/3 and = 2\\frac{1}{3}.", "2", "decimal", None),
        ("So it is = 36/2 = \\frac{36}{2} = 17 + 1.", "18", "decimal", None),
    ],
)
def test_a_fraction_is_a_form_of_a_number(text: str, answer: str, answer_type: AnswerType, expected: str | None) -> None:
    assert hidden(text, question(answer, answer_type)) == (text if expected is None else expected)


@pytest.mark.parametrize(
    ("begin", "unit"),
    [
        ("=", "1/"),
        ("", "=1/"),
        ("", "= \\frac{1}"),
        ("=", "1 "),
        ("", "<<1=1/2>>1/2"),
        ("=", " "),
        ("", "= "),
        ("=", "("),
        ("", "<<1=18"),
        ("= 1", ",000"),
    ],
)
def test_hiding_takes_a_time_that_grows_with_the_length(begin: str, unit: str) -> None:
    def hide(text: str) -> None:
        hidden(text, question("18"))
        hidden(text, question("x^2", "latex"))

    assert is_linear(hide, repeated(unit, begin), 20_000)


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
