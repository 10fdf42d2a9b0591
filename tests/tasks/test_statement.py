"""Which statement of a text answers: not a heading, a remark or a denial, and nothing behind a new question or in a thought."""

from __future__ import annotations

from fractions import Fraction

import pytest

from cotexp.tasks.answers import extract, number_of
from cotexp.tasks.statement import answer_part, first_sentence

STATED = [
    ("### Final Answer\n#### 18", "18"),
    ("#### Answer: 18", "18"),
    ("#### **Answer:** 18", "18"),
    ("#### The final answer is 18.", "18"),
    ("#### Final answer: $18", "18"),
    ("#### **18**", "18"),
    ("The answer is 18.\n\n#### Why this works\nBecause 9+9.", "18"),
    ("The answer is 18.\n\n#### Step-by-step check:\n1) 9+9 = 18", "18"),
    ("##### 18", "18"),
    ("The answer is 18.\n\n#### 3) Sanity check\nok", "18"),
    ("The answer is 18. The answer is correct because 9 + 9 = 18.", "18"),
    ("The answer is 18. This answer is greater than 10, as expected.", "18"),
    ("The answer is 18. Therefore the answer is valid.", "18"),
    ("The answer is 18. Hence the answer is less than 20 as required.", "18"),
    ("The answer is 18. My answer is final.", "18"),
    ("The answer is 18. The answer is in dollars, not the 5 cents.", "18"),
    ("The answer is 18. Note that the answer is rounded to 2 decimal places.", "18"),
    ("The answer is 18. The answer is given to 3 significant figures.", "18"),
    ("The answer is 18. The answer is unaffected by the 40 eggs.", "18"),
    ("The answer is 18. The answer is the same for 7 days.", "18"),
    ("The answer is 18. The answer is exactly what we expected from the 5 steps.", "18"),
    ("The answer is 18. The answer is between 10 and 20, so it is plausible.", "18"),
    ("The answer is 18. The answer is already simplified.", "18"),
    ("The answer is 18. The answer is positive since 3 > 2.", "18"),
    ("The answer is 18. The answer is found by adding 9 and 9.", "18"),
    ("The answer is 18. The answer is obtained after 2 steps.", "18"),
    ("The answer is 18. The answer is based on 3 assumptions.", "18"),
    ("Wait, the answer is not 18. The answer is 20.", "20"),
    ("The answer is 20. The answer is not 18.", "20"),
    ("The answer is 18. A common wrong answer is 20.", "18"),
    ("The answer is 18. If the answer is 20, then 3.", "18"),
    ("The answer is 18.\n\nQuestion: x\nThe answer is 5.", "18"),
    ("The answer is 18.\n\nQ: x\n#### 5", "18"),
    ("The answer is 18.\nUser: next?\nAssistant: The answer is 5.", "18"),
    ("The answer is 18.\n\n### Question:\nx\n### Answer:\nThe answer is 5", "18"),
    ("The answer is 18.\nHuman: more\nThe answer is 5.", "18"),
    ("The answer is 18.</s>The answer is 5.", "18"),
    ("The answer is 18.<|endoftext|>The answer is 5", "18"),
    ("The answer is 18.\n[INST] next [/INST] The answer is 5", "18"),
    ("\\boxed{18}\n\nProblem 2: x \\boxed{5}", "18"),
    ("\\boxed{18}\n\n**Question:** x \\boxed{5}", "18"),
    ("Question: how many?\nAnswer: The answer is 18.", "18"),
    ("Sure!\nQuestion: how many?\nThe answer is 18.", "18"),
    ("<|start_header_id|>assistant<|end_header_id|>\n\nThe answer is 18.<|eot_id|><|start_header_id|>user<|end_header_id|>The answer is 5", "18"),
    ("<start_of_turn>model\nThe answer is 18.<end_of_turn>\n<start_of_turn>user\nThe answer is 5", "18"),
    ("The answer is 18.\n\nQuestion 2: x\nThe answer is 5", "18"),
    ("Q: foo\nA: The answer is 18.\n\nQ: bar\nA: The answer is 5.", "18"),
    ("The answer is 18.\n\nInstruction: x\nThe answer is 5", "18"),
    ("Put it in \\boxed{}. The answer is 18.", "18"),
    ("\\boxed{18} (in \\boxed{...})", "18"),
    ("\\boxed{18} as \\boxed{answer}", "18"),
    ("\\boxed{18} as \\boxed{\\text{your answer}}", "18"),
]
SILENT = [
    "#### 3 Steps\nwe do it. So 18.",
    "#### Problem 3\n...",
    "#### Part 2\nfoo",
    "#### Day 3: 5 eggs\nfoo",
    "The answer is 18. Wait, the answer is not 18.",
    "If the answer is 18, we are done.",
    "A common wrong answer is 20.",
    "Check whether the answer is 20.",
    "9*2\n\nQuestion: y\nThe answer is 5.",
]


@pytest.mark.parametrize(("text", "value"), STATED)
def test_the_statement_that_answers_is_read(text: str, value: str) -> None:
    found = extract(text).text
    assert found is not None
    assert number_of(found) == Fraction(value)


@pytest.mark.parametrize("text", SILENT)
def test_a_heading_a_denial_or_a_doubt_states_nothing(text: str) -> None:
    assert extract(text).text is None


RUN_ONS = [
    "\n\nQuestion: And {}?",
    "\nQ: And {}?",
    "\n\n**Question:** {}",
    "<|im_end|>\n<|im_start|>user\n{}",
    "</s>{}",
    "\nUser: {}",
    "\n[INST] {} [/INST]",
    "\n\nProblem 2: {}",
]
OTHERS = ["The answer is 5.", "#### 5", "\\boxed{5}", "The answer is (A).", "The answer is no."]


@pytest.mark.parametrize("run_on", RUN_ONS)
@pytest.mark.parametrize("other", OTHERS)
def test_what_follows_a_new_question_or_turn_belongs_to_another_one(run_on: str, other: str) -> None:
    options = {"A": "cat", "B": "dog"}
    behind = run_on.format(other)
    assert extract(f"9 + 9 = 18. The answer is 18.{behind}").text == "18"
    assert extract(f"So \\boxed{{18}}.{behind}", "latex").text == "18"
    assert extract(f"The answer is (B).{behind}", "choice", options).text == "B"
    assert extract(f"The answer is yes.{behind}", "boolean").text == "yes"


def test_a_question_that_the_text_begins_by_repeating_is_no_new_one() -> None:
    for begin in ("Question: How many?\nAnswer: ", "Sure, let us see:\n\nQuestion: How many?\n", "<|im_start|>assistant\nQ: How many?\nA: "):
        assert extract(f"{begin}The answer is 18.").text == "18"


THOUGHTS = [
    *(
        "<think>{}</think>",
        "<thinking>{}</thinking>",
        "<thought>\n{}\n</thought>",
        "<reasoning>{}</reasoning>",
        "[THINK]{}[/THINK]",
        "◁think▷{}◁/think▷",
    ),
    *("<|begin_of_thought|>{}<|end_of_thought|>", "<seed:think>{}</seed:think>", "<THINK>{}</THINK>", "< think >{}</ think >", "{}</think>"),
    *("<|channel|>analysis<|message|>{}<|end|><|start|>assistant<|channel|>final<|message|>", "analysis{}assistantfinal"),
    *(
        "<|START_THINKING|>{}<|END_THINKING|>",
        "<think>a</think> <think>{}</think>",
        "Sure!\n<think>{}</think>",
        "<|im_start|>assistant\n<think>{}</think>",
    ),
]


@pytest.mark.parametrize("thought", THOUGHTS)
def test_what_is_thought_holds_no_answer_in_the_marks_of_any_family(thought: str) -> None:
    for inner in ("The answer is 20.", "So \\boxed{20}."):
        assert extract(f"{thought.format(inner)}I cannot tell.").text is None
        assert extract(f"{thought.format(inner)}The answer is 18.").text == "18"


@pytest.mark.parametrize(
    "begin",
    ["<think>", "<thinking>", "[THINK]", "Sure!\n<think>\n", "Assistant: <reasoning>", "<think>a</think><think>", "<|channel|>analysis<|message|>"],
)
def test_thinking_that_never_ends_holds_no_answer(begin: str) -> None:
    text = f"{begin}The answer is 20, so \\boxed{{20}}. Wait"
    assert extract(text).text is None
    assert answer_part(text).begin == len(text)


def test_a_mark_of_thinking_that_is_only_spoken_of_hides_nothing() -> None:
    assert extract("As asked, no `<think>` tag. The answer is 18.").text == "18"
    assert extract("Analysis of the steps: 9 + 9. The answer is 18.").text == "18"
    assert extract("[Reasoning] 9 + 9. The answer is 18.").text == "18"


@pytest.mark.parametrize(
    ("piece", "sentence"),
    [
        ("approx. 18 eggs. Done.", "approx. 18 eggs"),
        ("Rs. 1,200. That is all", "Rs. 1,200"),
        ("6 in. That is half a foot.", "6 in"),
        ("B. Done.", "B"),
        ("3! = 6. Done", "3! = 6"),
        ("No. 10 is right. Yes", "No. 10 is right"),
        ("2 : 3, i.e. A.", "2 : 3, i.e. A"),
        ("18\nmore", "18"),
    ],
)
def test_a_sentence_ends_at_a_full_stop_that_is_no_abbreviation_s(piece: str, sentence: str) -> None:
    assert first_sentence(piece) == sentence
