"""How each form is asked for, by every compression there is."""

from __future__ import annotations

import pytest

from cotexp.compression_settings import C3ot, Macc, NoCompression, PromptOnly, ReferenceRounds, SingleRound, TokenSkip, Truncation
from cotexp.methods.condition import ask, instruction_of
from cotexp.sections import Section

BOTH = C3ot(instruction="Be brief.", long_instruction="Be thorough.")
TOLD = PromptOnly(instruction="Be concise.")


@pytest.mark.parametrize("rule", [NoCompression(), Macc(), SingleRound(), Truncation(), ReferenceRounds(), BOTH, TOLD], ids=lambda each: each.name)
@pytest.mark.parametrize("form", ["base", "truncate", "rewrite"])
def test_what_is_no_form_of_a_compression_is_asked_for_by_the_prompt_alone(rule: Section, form: str) -> None:
    assert (ask(rule, form, "Q?").prompt, ask(rule, form, "Q?").compressed) == ("Q?", False)


@pytest.mark.parametrize(
    ("rule", "full", "short"),
    [
        (Macc(), ("Q?", False), ("Q?", True)),
        (SingleRound(), ("Q?", False), ("Q?", True)),
        (Truncation(), ("Q?", False), ("Q?", True)),
        (BOTH, ("Q?\nBe thorough.", False), ("Q?\nBe brief.", False)),
        (TOLD, ("Q?", False), ("Q?\nBe concise.", False)),
    ],
    ids=lambda each: getattr(each, "name", ""),
)
def test_the_mark_or_an_instruction_on_its_own_line_asks_for_the_short_form(rule: Section, full: tuple[str, bool], short: tuple[str, bool]) -> None:
    for form, expected in (("full", full), ("compress", short)):
        asked = ask(rule, form, "Q?")
        assert (asked.prompt, asked.compressed) == expected


def test_a_ratio_asks_for_the_short_form_in_place_of_the_mark() -> None:
    assert ask(TokenSkip(), "compress", "Q?", 0.6) == ("Q?", False, 0.6)
    assert [ask(TokenSkip(), form, "Q?", 0.6) for form in ("base", "full", "truncate")] == [("Q?", False, None)] * 3


def test_only_compressions_that_say_something_have_an_instruction() -> None:
    assert [instruction_of(BOTH, form) for form in ("base", "full", "compress")] == [None, "Be thorough.", "Be brief."]
    assert [instruction_of(Macc(), form) for form in ("base", "full", "compress")] == [None, None, None]
