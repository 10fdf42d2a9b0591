"""How each form is asked for, by every compression there is."""

from __future__ import annotations

from typing import Any

import pytest

from cotexp.compressions.answer_only import AnswerOnly
from cotexp.compressions.base import Compression
from cotexp.compressions.budget import Budget
from cotexp.compressions.c3ot import C3ot
from cotexp.compressions.macc import Macc
from cotexp.compressions.none import NoCompression
from cotexp.compressions.prompt_only import PromptOnly
from cotexp.compressions.reference import ReferenceRounds
from cotexp.compressions.single_round import SingleRound
from cotexp.compressions.step_by_step import StepByStep
from cotexp.compressions.tokenskip import TokenSkip
from cotexp.compressions.truncate import Truncation
from cotexp.settings.base import ConfigError

BOTH = C3ot(instruction="Be brief.", long_instruction="Be thorough.")
TOLD = PromptOnly(instruction="Be concise.")
LIMITED = Budget(budget=25)
DIRECT = AnswerOnly(instruction="Just answer.")
TASKS = StepByStep(instruction="Just answer.", long_instruction="Explain.")


@pytest.mark.parametrize(
    "rule",
    [NoCompression(), Macc(), SingleRound(), Truncation(), ReferenceRounds(), BOTH, TOLD, LIMITED, DIRECT, TASKS],
    ids=lambda each: each.name,
)
@pytest.mark.parametrize("form", ["base", "truncate", "rewrite"])
def test_what_is_no_form_of_a_compression_is_asked_for_by_the_prompt_alone(rule: Compression, form: str) -> None:
    assert (rule.ask(form, "Q?").prompt, rule.ask(form, "Q?").compressed) == ("Q?", False)


@pytest.mark.parametrize(
    ("rule", "full", "short"),
    [
        (Macc(), ("Q?", False), ("Q?", True)),
        (SingleRound(), ("Q?", False), ("Q?", True)),
        (Truncation(), ("Q?", False), ("Q?", True)),
        (BOTH, ("Q?\nBe thorough.", False), ("Q?\nBe brief.", False)),
        (TOLD, ("Q?", False), ("Q?\nBe concise.", False)),
        (DIRECT, ("Q?", False), ("Q?\nJust answer.", False)),
        (TASKS, ("Q?\nExplain.", False), ("Q?\nJust answer.", False)),
        (LIMITED, ("Q?", False), ("Q?\nLet's think step by step and use less than 25 tokens:", False)),
    ],
    ids=lambda each: getattr(each, "name", ""),
)
def test_the_mark_or_an_instruction_on_its_own_line_asks_for_the_short_form(
    rule: Compression, full: tuple[str, bool], short: tuple[str, bool]
) -> None:
    for form, expected in (("full", full), ("compress", short)):
        asked = rule.ask(form, "Q?")
        assert (asked.prompt, asked.compressed) == expected


def test_a_ratio_asks_for_the_short_form_in_place_of_the_mark() -> None:
    assert TokenSkip().ask("compress", "Q?", 0.6) == ("Q?", False, 0.6)
    assert [TokenSkip().ask(form, "Q?", 0.6) for form in ("base", "full", "truncate")] == [("Q?", False, None)] * 3


def test_only_compressions_that_say_something_have_an_instruction() -> None:
    assert [BOTH.instruction_for(form) for form in ("base", "full", "compress")] == [None, "Be thorough.", "Be brief."]
    assert [Macc().instruction_for(form) for form in ("base", "full", "compress")] == [None, None, None]


def test_the_words_of_a_budget_are_filled_in_from_settings_and_from_a_stored_run_alike() -> None:
    own = Budget(budget=7, instruction="At most {budget} tokens, {{really}} {budget}.")
    stored = {"name": "budget", "budget": 7, "instruction": "At most {budget} tokens, {{really}} {budget}."}
    assert own.instruction_for("compress") == Budget.words_for("compress", stored) == "At most 7 tokens, {really} 7."
    assert own.instruction_for("full") is None


def test_two_tasks_that_nothing_tells_apart_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^long_instruction must differ from instruction, or nothing tells the two tasks apart; got ' Answer. '$"):
        StepByStep(instruction="Answer.", long_instruction=" Answer. ")
    for settings in ({"instruction": " "}, {"long_instruction": "\n"}):
        with pytest.raises(ConfigError, match=rf"^{next(iter(settings))} must not be blank; got "):
            StepByStep(**settings)
    with pytest.raises(ConfigError, match=r"^instruction must not be blank; got ''$"):
        AnswerOnly(instruction="")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"budget": 0}, r"^budget must be at least 1; got 0$"),
        ({"instruction": "Be brief."}, r"^instruction must contain \{budget\}; got 'Be brief.'$"),
        ({"instruction": ""}, r"^instruction must contain \{budget\}; got ''$"),
        ({"instruction": "{budget} of {question}"}, r"^instruction allows only budget in braces \(double all other braces\); got \['question'\]$"),
        ({"instruction": "{budget:,}"}, r"^instruction must have placeholders without a format, such as \{budget\}; got a format for budget$"),
        ({"instruction": "{budget} {"}, r"^instruction must double every brace that is not a placeholder"),
        ({"instruction": "{}"}, r"^instruction allows only budget in braces"),
    ],
)
def test_a_budget_needs_a_number_and_a_place_in_its_words(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Budget(**settings)
