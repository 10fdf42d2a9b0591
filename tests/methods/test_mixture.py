"""Which examples training sees, in which form and in which share."""

from __future__ import annotations

from itertools import pairwise

import pytest
from sample_records import compressed, rationale

from cotexp.compressions.c3ot import C3ot
from cotexp.compressions.macc import Macc
from cotexp.compressions.rewriting import DEFAULT_REWRITE_PROMPT
from cotexp.compressions.step_by_step import StepByStep
from cotexp.methods.mixture import compressed_examples, full_examples, label_examples, mix, rewrite_examples
from cotexp.records import Example
from cotexp.settings.training import Mixture
from cotexp.tasks import QuestionSets, StoriesTask, load_questions

NUM = 200
QUESTIONS = [f"q{number}" for number in range(NUM)]
PROMPTS = {each: f"prompt of {each}" for each in QUESTIONS}


FULL = full_examples([rationale(each) for each in QUESTIONS], PROMPTS, Macc())
SHORT = compressed_examples([rationale(each) for each in QUESTIONS], [compressed(each) for each in QUESTIONS], PROMPTS, Macc())


def of_form(examples: list[Example], form: str) -> list[str]:
    return [each.question_id for each in examples if each.form == form]


def test_half_and_half_shows_every_question_in_both_forms() -> None:
    mixed = mix(FULL, SHORT, Mixture(full_ratio=0.5), seed=3)
    assert sorted(of_form(mixed, "full")) == sorted(of_form(mixed, "compress")) == sorted(QUESTIONS)


def test_half_and_half_shows_the_same_questions_in_both_forms_when_some_were_dropped() -> None:
    mixed = mix(FULL, SHORT[20:], Mixture(full_ratio=0.5), seed=3)
    assert len(of_form(mixed, "full")) == len(of_form(mixed, "compress")) == NUM - 20
    assert set(of_form(mixed, "full")) == set(of_form(mixed, "compress"))


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.25, 1 / 3, 0.49, 0.6, 0.75, 0.9, 0.99, 1.0])
def test_the_share_of_full_examples_is_exact_to_one_example(ratio: float) -> None:
    mixed = mix(FULL, SHORT, Mixture(full_ratio=ratio), seed=0)
    assert abs(len(of_form(mixed, "full")) - ratio * len(mixed)) <= 1
    whole = max(len(of_form(mixed, "full")), len(of_form(mixed, "compress")))
    assert whole == NUM, "one form is used whole"
    assert len({each.id for each in mixed}) == len(mixed)


@pytest.mark.parametrize("ratio", [0.01, 0.9, 0.99])
def test_a_small_split_keeps_an_example_of_each_form(ratio: float) -> None:
    forms = [each.form for each in mix(FULL[:4], SHORT[:4], Mixture(full_ratio=ratio), seed=0)]
    assert sorted(map(forms.count, ("full", "compress"))) == [1, 4]


def test_without_compression_everything_is_full() -> None:
    assert mix(FULL, [], Mixture(full_ratio=1.0), seed=0) == FULL


def test_subsets_are_nested_and_depend_on_the_seed() -> None:
    def chosen(ratio: float, seed: int, form: str) -> set[str]:
        return set(of_form(mix(FULL, SHORT, Mixture(full_ratio=ratio), seed=seed), form))

    for form, ratios in (("full", (0.1, 0.2, 0.35, 0.5)), ("compress", (0.95, 0.8, 0.6, 0.5))):
        for smaller, larger in pairwise(ratios):
            assert chosen(smaller, 0, form) < chosen(larger, 0, form)
            assert chosen(smaller, 0, form) != chosen(smaller, 1, form)
            assert chosen(smaller, 0, form) == chosen(smaller, 0, form)


def test_a_full_example_is_the_rationale_as_it_was_written() -> None:
    example = full_examples([rationale("q1", cot="a  chain \n ", closing="The answer is 7. \n")], PROMPTS, Macc())[0]
    assert example.completion == "a  chain \n The answer is 7. \n"
    assert (example.prompt, example.form, example.compressed) == ("prompt of q1", "full", False)


@pytest.mark.parametrize(("cot", "separator"), [("chain\n", "\n"), ("chain \n\n", " \n\n"), ("chain. ", " "), ("chain", "\n")])
def test_a_compressed_example_is_chain_separator_and_original_closing(cot: str, separator: str) -> None:
    example = compressed_examples([rationale("q1", cot=cot, closing="The answer is \\boxed{7}.")], [compressed("q1", text="3+4=7")], PROMPTS, Macc())[
        0
    ]
    assert example.completion == f"3+4=7{separator}The answer is \\boxed{{7}}."
    assert (example.prompt, example.form, example.compressed) == ("prompt of q1", "compress", True)


def test_each_form_is_asked_for_as_its_compression_says() -> None:
    rule = C3ot(instruction="Be brief.", long_instruction="Be thorough.")
    long, short = full_examples([rationale("q1")], PROMPTS, rule)[0], compressed_examples([rationale("q1")], [compressed("q1")], PROMPTS, rule)[0]
    assert (long.prompt, long.form, long.compressed) == ("prompt of q1\nBe thorough.", "full", False)
    assert (short.prompt, short.form, short.compressed) == ("prompt of q1\nBe brief.", "compress", False)


def test_an_answer_example_says_the_gold_answer_whatever_its_rationale_concludes() -> None:
    rule, labels = StepByStep(instruction="Just answer.", long_instruction="Explain."), {"q1": "The answer is \\boxed{7}."}
    wrong = rationale("q1", cot="3 + 4 = 8\n", closing="The answer is 8.")
    label, long = label_examples([wrong], labels, PROMPTS, rule)[0], full_examples([wrong], PROMPTS, rule)[0]
    assert (label.prompt, label.completion, label.form, label.compressed) == ("prompt of q1\nJust answer.", labels["q1"], "compress", False)
    assert (long.prompt, long.completion, long.form) == ("prompt of q1\nExplain.", "3 + 4 = 8\nThe answer is 8.", "full")
    assert label.id == "q1/0/compress"
    assert mix([long], [label], Mixture(full_ratio=0.5), seed=0) == [long, label], "the two tasks of one rationale are paired"


def test_rewriting_examples_never_lengthen_and_never_begin_with_the_tersest_level(small_questions: QuestionSets) -> None:
    questions = {each.id: each for each in small_questions.train}
    examples = rewrite_examples([rationale(each) for each in questions], questions, "{question}|{rationale}|{answer}", 300)
    assert len(examples) == len({each.id for each in examples}) == 300
    levels = set()
    for example in examples:
        question = questions[example.question_id]
        chains = [reference.rsplit("\n", 1)[0] for reference in question.references]
        text, chain, answer = example.prompt.split("|")
        assert (text, answer, example.form) == (question.text, question.answer, "rewrite")
        assert len(example.completion.split()) <= len(chain.split())
        assert example.completion in chains
        assert chain != chains[-1]
        assert chains[chains.index(chain) + 1] == example.completion
        levels.add(chains.index(chain))
    assert levels == set(range(8)), "every level but the last is an input"


def test_a_task_with_rewrites_of_its_own_teaches_these_and_nothing_else() -> None:
    task = StoriesTask(num_train=40, num_validation=8, num_test=8, rewrites="elastic")
    questions = {each.id: each for each in load_questions(task).train}
    examples = rewrite_examples([rationale(each) for each in questions], questions, "{question}|{rationale}|{answer}", 1600)
    seen = {(example.question_id, example.prompt.split("|")[1], example.completion) for example in examples}
    assert seen == {(each.id, before, after) for each in questions.values() for before, after in each.rewrites}
    assert {
        example.prompt.split("|")[::2] == [questions[example.question_id].text, questions[example.question_id].answer] for example in examples
    } == {True}


def test_more_rewriting_examples_hold_the_fewer(small_questions: QuestionSets) -> None:
    questions = {each.id: each for each in small_questions.train}
    few, many = (rewrite_examples([rationale(each) for each in questions], questions, DEFAULT_REWRITE_PROMPT, count) for count in (30, 130))
    assert many[:30] == few
