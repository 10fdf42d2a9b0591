"""How each form is asked for, by every compression there is."""

from __future__ import annotations

import pytest

from cotexp.compressions.base import Compression
from cotexp.compressions.c3ot import C3ot
from cotexp.compressions.macc import Macc
from cotexp.compressions.none import NoCompression
from cotexp.compressions.prompt_only import PromptOnly
from cotexp.compressions.reference import ReferenceRounds
from cotexp.compressions.single_round import SingleRound
from cotexp.compressions.tokenskip import TokenSkip
from cotexp.compressions.truncate import Truncation

BOTH = C3ot(instruction="Be brief.", long_instruction="Be thorough.")
TOLD = PromptOnly(instruction="Be concise.")


@pytest.mark.parametrize("rule", [NoCompression(), Macc(), SingleRound(), Truncation(), ReferenceRounds(), BOTH, TOLD], ids=lambda each: each.name)
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
