"""Reading an estimated budget, and asking with it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from cotexp.compressions.tale_ep import TaleEp
from cotexp.config.command_line import check_command_line
from cotexp.records import Question
from cotexp.settings.base import ConfigError
from cotexp.stages import budgets


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("[[50]]", 50),
        ("Budget: [[ 12 ]]", 12),
        ("At first [[80]], but [[40]] is enough.", 40),
        ("About 60 tokens.", 60),
        ("**60**", 60),
        ("It has 3 steps, so 45", None),
        ("So Natalia sold 72 clips altogether.", None),
        ("First 8 * 3 = 24.\n2. Then 24 - 20 = 4.\n3", None),
        ("[[35]] for 4 steps", 35),
        ("[[0]]", None),
        ("0", None),
        ("as few as possible", None),
        ("2.5", None),
        ("1,200", 1200),
        ("1,2", None),
        ("", None),
        ("[[12.5]]", None),
        ("9" * 400, None),
    ],
)
def test_the_budget_is_the_last_number_in_brackets_or_else_the_one_number_that_is_the_text(text: str, budget: int | None) -> None:
    assert TaleEp().budget_in(text) == budget


def test_a_question_is_asked_with_its_own_budget_or_without_one() -> None:
    within = TaleEp().ask_within("Q?", 40)
    assert within == ("Q?\nLet's think step by step and use less than 40 tokens:", False, None)
    assert [TaleEp().ask(form, "Q?") for form in ("base", "compress")] == [("Q?", False, None)] * 2


def test_who_estimates_a_budget_sees_the_options_of_a_choice() -> None:
    context: Any = SimpleNamespace(settings=SimpleNamespace(compression=TaleEp(estimate="How long? {question}")))
    choice = Question(id="q", text="Which {one}?", answer="B", task="aqua", answer_type="choice", options={"A": "one", "B": "two"})
    assert budgets._prompt(context, choice) == "How long? Which {one}?\n(A) one\n(B) two"
    assert budgets._prompt(context, Question(id="q", text="How many?", answer="7", task="sums")) == "How long? How many?"


@pytest.mark.parametrize(
    ("word", "problem"),
    [
        ("compression.estimate=How long?", r"compression\.estimate must contain \{question\}"),
        ("compression.instruction=Be brief.", r"compression\.instruction must contain \{budget\}"),
        ("compression.estimate='{question} {budget}'", r"compression\.estimate allows only question in braces"),
    ],
)
def test_words_without_their_placeholder_are_refused_by_name(word: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        check_command_line(["compression=tale_ep", word], multirun=False)
