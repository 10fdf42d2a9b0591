"""Benchmarks: what each form of row says, refusals of malformed ones, and the real files where they are at hand."""

from __future__ import annotations

import copy
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from cotexp.records import Question
from cotexp.settings.base import ConfigError
from cotexp.tasks.answers import split_solution
from cotexp.tasks.benchmarks import BENCHMARKS, FileQuestions, read_split
from cotexp.tasks.closings import closing

NESTED = {"question": {"stem": "Which?", "choices": [{"text": " iron ", "label": "A"}, {"text": "wood", "label": "B"}]}, "answerKey": "B"}
FLAT = {"question": "Which?", "choices": {"label": ["A", "B"], "text": ["iron", "wood"]}, "answerKey": "B"}
AQUA = {"question": "How many?", "options": ["A)1", "B) 2 m", "C)3"], "rationale": "One and one.", "correct": "B"}
DATE = {"input": "Which day?", "target_scores": {"05/01/2021": 1, "02/23/2021": 0, "03/11/2021": 0}}
GSM = {"question": "How many? ", "answer": "He has 2*3=<<2*3=6>>6 eggs.\nThat is $<<6*200=1200>>1,200.\n#### 1,200"}
MATH = {"problem": "Find $x$.", "solution": "First $\\boxed{1}$, so $\\boxed{\\frac{1}{2}}$."}
SVAMP = {"Body": "He has 5 eggs", "Question": "How many?", "Answer": 5.0}
MAWPS = {"sQuestion": " How many? ", "lSolutions": [2.5]}
STRATEGY = {"input": "Is it?", "target_scores": {"Yes": 0, "No": 1}, "target": "No. It is not."}
AIME = {"problem": "Find.", "answer": "025", "solution": "x"}

ROWS = {
    "gsm8k": GSM,
    "math500": MATH,
    "aime24": AIME,
    "svamp": SVAMP,
    "multiarith": MAWPS,
    "addsub": MAWPS,
    "singleeq": MAWPS,
    "aqua": AQUA,
    "commonsense_qa": NESTED,
    "strategyqa": STRATEGY,
    "date_understanding": DATE,
    "tracking_shuffled_objects": DATE,
    "arc_challenge": FLAT,
}


def read(folder: Path, name: str, *rows: dict[str, Any], is_test: bool = False) -> FileQuestions:
    path = folder / "train.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return read_split(name, BENCHMARKS[name], path, is_test=is_test)


def one(folder: Path, name: str, row: dict[str, Any]) -> Question:
    (question,) = read(folder, name, row).questions
    return question


def changed(row: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A copy with other fields; None takes a field away."""
    merged = {**copy.deepcopy(row), **fields}
    return {name: value for name, value in merged.items() if value is not None}


# --- what rows say ----------------------------------------------------------------------------------------------------------


def test_a_gsm8k_solution_loses_marks_and_states_its_answer_in_a_sentence(tmp_path: Path) -> None:
    question = one(tmp_path, "gsm8k", GSM)
    assert (question.text, question.answer, question.answer_type) == ("How many?", "1200", "decimal")
    assert question.references == ["He has 2*3=6 eggs.\nThat is $1,200.\nThe answer is \\boxed{1200}."]


def test_math_takes_the_answer_beside_the_solution_or_else_the_last_box(tmp_path: Path) -> None:
    question = one(tmp_path, "math500", MATH)
    assert (question.answer, question.references) == ("\\frac{1}{2}", [MATH["solution"]])
    assert one(tmp_path, "math500", changed(MATH, answer="\\frac12")).answer == "\\frac12"


def test_a_box_without_braces_is_read_and_an_empty_one_counts_as_unanswered(tmp_path: Path) -> None:
    bare = changed(MATH, solution="So $x = \\boxed 2$.")
    assert (one(tmp_path, "math500", bare).answer, one(tmp_path, "math500", bare).references) == ("2", ["So $x = \\boxed{2}$."])
    empty = changed(MATH, solution="So there are $\\boxed{}$ primes.")
    found = read(tmp_path, "math500", empty, MATH)
    assert (len(found.questions), found.num_unanswered) == (1, 1)
    with pytest.raises(ConfigError, match="line 1: field 'solution' must not be empty"):
        read(tmp_path, "math500", empty, MATH, is_test=True)


def test_aime_answers_are_integers_without_padding(tmp_path: Path) -> None:
    question = one(tmp_path, "aime24", AIME)
    assert (question.answer, question.answer_type, question.references) == ("25", "integer", [])


@pytest.mark.parametrize(
    ("body", "text"),
    [("He has 5 eggs", "He has 5 eggs. How many?"), ("He has 5 eggs. ", "He has 5 eggs. How many?"), ("He has 5!", "He has 5! How many?")],
)
def test_a_missing_full_stop_of_svamp_is_put_in(tmp_path: Path, body: str, text: str) -> None:
    question = one(tmp_path, "svamp", changed(SVAMP, Body=body))
    assert (question.text, question.answer) == (text, "5")


@pytest.mark.parametrize(("solutions", "answer"), [([2.5], "2.5"), (["43"], "43"), ([40.0], "40"), (["0.67"], "0.67")])
def test_the_first_solution_counts_as_number_or_text(tmp_path: Path, solutions: list[Any], answer: str) -> None:
    question = one(tmp_path, "addsub", changed(MAWPS, lSolutions=solutions))
    assert (question.text, question.answer) == ("How many?", answer)


def test_both_forms_of_aqua_say_the_same(tmp_path: Path) -> None:
    other = {"question": "How many?\nOptions:\n(A) 1\n(B) 2 m\n(C) 3", "answer": "(B)", "chain_of_thought": "One and one."}
    question = one(tmp_path, "aqua", AQUA)
    assert question == one(tmp_path, "aqua", other)
    assert (question.answer, question.options) == ("B", {"A": "1", "B": "2 m", "C": "3"})
    assert question.references == ["One and one.\nThe answer is (B)."]
    assert one(tmp_path, "aqua", changed(AQUA, rationale=" ")).references == []


@pytest.mark.parametrize(
    ("name", "changes", "has_closing"),
    [
        ("aqua", {"rationale": "One and one.\nThe answer is B."}, True),
        ("aqua", {"rationale": "One and one.\nAnswer:B"}, False),
        ("aqua", {"rationale": "So (B) is the correct answer."}, True),
        ("aqua", {"rationale": "Hence the answer is A."}, False),
        ("aqua", {"rationale": "The answer is B.\nCheck: one and one."}, False),
        ("aqua", {"rationale": "P(A/B) = 0.2"}, False),
        ("gsm8k", {"answer": "1 + 1 = 2\nSo the answer is $2.\n#### 2"}, True),
        ("gsm8k", {"answer": "The answer is not 3.\n#### 2"}, False),
    ],
)
def test_a_solution_that_ends_in_its_answer_gets_no_second_closing_sentence(
    tmp_path: Path, name: str, changes: dict[str, Any], has_closing: bool
) -> None:
    question = one(tmp_path, name, changed(ROWS[name], **changes))
    own = next(iter(changes.values())).split("\n####")[0]
    assert question.references == [own if has_closing else f"{own}\n{closing(question.answer, question.answer_type)}"]


@pytest.mark.parametrize("name", ["commonsense_qa", "arc_challenge"])
def test_nested_and_flat_choices_say_the_same(tmp_path: Path, name: str) -> None:
    question = one(tmp_path, name, NESTED)
    assert question == one(tmp_path, name, FLAT)
    assert (question.answer, question.options, question.answer_type) == ("B", {"A": "iron", "B": "wood"}, "choice")


def test_numbered_options_become_letters(tmp_path: Path) -> None:
    row = changed(FLAT, choices={"label": ["1", "2"], "text": ["iron", "wood"]}, answerKey="2")
    assert one(tmp_path, "arc_challenge", row) == one(tmp_path, "arc_challenge", FLAT)


def test_options_listed_right_one_first_are_put_into_a_fixed_order(tmp_path: Path) -> None:
    rows = [changed(DATE, target_scores={f"{n}/01": 1, f"{n}/02": 0, f"{n}/03": 0, f"{n}/04": 0}) for n in range(200)]
    questions = read(tmp_path, "date_understanding", *rows).questions
    assert all(each.options[each.answer].endswith("/01") for each in questions)
    counts = Counter(each.answer for each in questions)
    assert min(counts[letter] for letter in "ABCD") > 30, "hashes spread the right option over the letters"
    turned = changed(rows[0], target_scores=dict(reversed(rows[0]["target_scores"].items())))
    assert one(tmp_path, "date_understanding", turned) == questions[0]


def test_the_facts_of_strategyqa_become_a_solution_that_states_the_answer(tmp_path: Path) -> None:
    question = one(tmp_path, "strategyqa", STRATEGY)
    assert (question.answer, question.references) == ("no", ["It is not.\nThe answer is no."])
    assert one(tmp_path, "strategyqa", changed(STRATEGY, target="No.")).references == []
    assert one(tmp_path, "strategyqa", changed(STRATEGY, target="Nothing is.")).references == ["Nothing is.\nThe answer is no."]
    assert one(tmp_path, "strategyqa", changed(STRATEGY, target=None)).references == []


@pytest.mark.parametrize(
    ("gold", "answer_type", "sentence"),
    [
        ("25", "integer", "The answer is \\boxed{25}."),
        ("2.5", "decimal", "The answer is \\boxed{2.5}."),
        ("C", "choice", "The answer is (C)."),
        ("no", "boolean", "The answer is no."),
        ("x", "latex", ""),
    ],
)
def test_a_closing_sentence_states_the_answer_in_the_tasks_format(gold: str, answer_type: Any, sentence: str) -> None:
    assert closing(gold, answer_type) == sentence


# --- malformed rows ---------------------------------------------------------------------------------------------------------

BROKEN: list[tuple[str, dict[str, Any], str]] = [
    ("gsm8k", changed(GSM, question=None), "field 'question' is missing"),
    ("gsm8k", {"Question": "x", "answer": "#### 1"}, "field 'question' is missing (did you mean 'Question'?)"),
    ("gsm8k", changed(GSM, question=3), "field 'question' must be a text; got int"),
    ("gsm8k", changed(GSM, answer="He has\n#### many"), "field 'answer' must hold one number"),
    ("gsm8k", changed(GSM, answer=["x"]), "field 'answer' must be a text; got list"),
    ("math500", changed(MATH, solution="no box"), "field 'solution' must state its answer in \\boxed{...}"),
    ("math500", changed(MATH, solution="cut \\boxed{1"), "field 'solution' must state its answer in \\boxed{...}"),
    ("math500", changed(MATH, answer="  "), "field 'answer' must not be empty"),
    ("aime24", changed(AIME, answer="25.5"), "field 'answer' must be an integer"),
    ("aime24", changed(AIME, answer=None), "field 'answer' is missing"),
    ("svamp", changed(SVAMP, Body=None), "field 'Body' is missing"),
    ("svamp", changed(SVAMP, Question=" "), "field 'Question' must not be empty"),
    ("svamp", changed(SVAMP, Answer=True), "field 'Answer' must be a number"),
    ("multiarith", changed(MAWPS, lSolutions=[]), "field 'lSolutions' must not be an empty list"),
    ("addsub", changed(MAWPS, lSolutions=["x"]), "field 'lSolutions' must hold one number"),
    ("singleeq", changed(MAWPS, sQuestion=["x"]), "field 'sQuestion' must be a text; got list"),
    ("aqua", changed(AQUA, correct="D"), "field 'correct' must name one of the options A, B, C"),
    ("aqua", changed(AQUA, correct=None), "field 'correct' is missing"),
    ("aqua", changed(AQUA, options=["A)1", "C)2"]), "field 'options' must give option B as 'B)...'; got 'C)2'"),
    ("aqua", changed(AQUA, options=["A)1"]), "field 'options' must hold at least two options; got 1"),
    ("aqua", changed(AQUA, options="A)1 B)2"), "field 'options' must be a list of texts"),
    ("aqua", changed(AQUA, options=["A)1", 2]), "field 'options' must be a list of texts"),
    ("aqua", changed(AQUA, rationale=5), "field 'rationale' must be a text; got int"),
    ("aqua", changed(AQUA, options=None), "field 'question' must list its options below a line 'Options:'"),
    ("arc_challenge", changed(FLAT, answerKey="E"), "field 'answerKey' must name one of the options A, B; got 'E'"),
    ("arc_challenge", changed(FLAT, choices={"label": ["A", "B"], "text": ["x"]}), "field 'choices' must hold two lists of the same length"),
    ("arc_challenge", changed(FLAT, choices={"label": ["A", "B"]}), "in 'choices': field 'text' is missing"),
    ("arc_challenge", changed(FLAT, choices={"label": ["A", "C"], "text": ["x", "y"]}), "must be labelled A, B, ... or 1, 2, ... in order; got A, C"),
    ("arc_challenge", changed(FLAT, choices={"label": ["A", "B"], "text": ["x", 2]}), "field 'choices' must hold texts only; got 'B' and 2"),
    ("arc_challenge", changed(FLAT, choices="x"), "field 'choices' must be a list of objects"),
    ("arc_challenge", changed(FLAT, choices=[]), "field 'choices' must hold at least two options; got 0"),
    ("commonsense_qa", changed(NESTED, answerKey=""), "field 'answerKey' must not be empty"),
    ("commonsense_qa", changed(NESTED, question={"stem": "x", "choices": [{"label": "A"}]}), "choice 1: field 'text' is missing"),
    ("commonsense_qa", changed(NESTED, question={"choices": []}), "in 'question': field 'stem' is missing"),
    ("strategyqa", changed(STRATEGY, target_scores={"Yes": 1, "No": 1}), "field 'target_scores' must score exactly one option with 1; 2 have it"),
    ("strategyqa", changed(STRATEGY, target_scores={"Maybe": 1}), "field 'target_scores' must be yes, no, true or false"),
    ("date_understanding", changed(DATE, target_scores={"x": 0, "y": 0}), "field 'target_scores' must score exactly one option with 1; 0 have it"),
    ("date_understanding", changed(DATE, target_scores=["x"]), "field 'target_scores' must be an object; got list"),
    ("date_understanding", changed(DATE, target_scores={"x": 1}), "field 'target_scores' must hold at least two options; got 1"),
]


@pytest.mark.parametrize(("name", "row", "expected"), BROKEN, ids=range(len(BROKEN)))
def test_a_malformed_row_is_refused_with_file_line_and_field(tmp_path: Path, name: str, row: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError) as error:
        read(tmp_path, name, ROWS[name], row)
    message = str(error.value)
    assert f"{tmp_path.name}/train.jsonl, line 2" in message
    assert expected in message


def test_every_benchmark_has_a_row_here_and_an_empty_file_is_refused(tmp_path: Path) -> None:
    assert ROWS.keys() == BENCHMARKS.keys()
    for name, row in ROWS.items():
        assert one(tmp_path, name, row).answer
        with pytest.raises(ConfigError, match="must hold at least one question"):
            read(tmp_path, name)


# --- the real files ---------------------------------------------------------------------------------------------------------

REAL = [(name, split) for name, benchmark in BENCHMARKS.items() for split in benchmark.splits]
SAMPLED = {("gsm8k", "test"), ("math500", "test"), ("svamp", "test"), ("commonsense_qa", "test"), ("arc_challenge", "test"), ("aqua", "train")}
"""Files that a data folder may hold in part: their count is at most the official one."""


@pytest.fixture(scope="module")
def real(benchmark_data: Path) -> dict[tuple[str, str], FileQuestions]:
    result = {}
    for name, split in REAL:
        benchmark = BENCHMARKS[name]
        paths = [benchmark_data / each for each in benchmark.splits[split].files if (benchmark_data / each).is_file()]
        assert paths, f"{name} {split}"
        result[name, split] = read_split(name, benchmark, paths[0], is_test=split == "test")
    return result


def test_real_files_hold_the_official_rows(real: dict[tuple[str, str], FileQuestions]) -> None:
    assert len(real) == 27
    for (name, split), found in real.items():
        official, num_rows = BENCHMARKS[name].splits[split].num_rows, len(found.questions) + found.num_unanswered
        assert num_rows <= official if (name, split) in SAMPLED else num_rows == official, (name, split)
    assert {place: each.num_unanswered for place, each in real.items() if each.num_unanswered} == {("math500", "train"): 2}


def test_real_options_run_from_a_and_hold_the_answer(real: dict[tuple[str, str], FileQuestions]) -> None:
    numbers = {"aqua": {5}, "commonsense_qa": {5}, "date_understanding": {5, 6}, "tracking_shuffled_objects": {3}, "arc_challenge": {3, 4, 5}}
    for (name, _), found in real.items():
        for each in found.questions:
            assert list(each.options) == list("ABCDEF"[: len(each.options)])
            assert not each.options or each.answer in each.options
            assert all(each.options.values()), each
        assert {len(each.options) for each in found.questions} == numbers.get(name, {0}) or name == "arc_challenge"


@pytest.mark.slow
def test_real_worked_solutions_state_their_gold_answer_and_carry_no_marks(real: dict[tuple[str, str], FileQuestions]) -> None:
    num_solved = {place: sum(bool(each.references) for each in found.questions) for place, found in real.items()}
    assert {name for (name, _), count in num_solved.items() if count} == {"gsm8k", "math500", "aqua", "strategyqa"}
    for (name, split), found in real.items():
        for each in found.questions:
            for solution in each.references:
                _, stated = split_solution(solution, each.answer_type, each.options)
                # a gold of several boxes is all of them, each of which stands in the text
                assert all(part in stated for part in each.answer.split(", ")), (name, split, each.id)
                assert name != "gsm8k" or ("<<" not in solution and "####" not in solution)


def test_real_date_answers_are_not_mostly_one_letter(real: dict[tuple[str, str], FileQuestions]) -> None:
    questions = real["date_understanding", "train"].questions
    assert max(Counter(each.answer for each in questions).values()) < 0.3 * len(questions)
