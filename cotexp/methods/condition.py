"""How a model is asked for each form of an answer, in training and in evaluation alike.

Source: MACC for the `<compress>` mark; C3oT for two instructions, one for long chains and one for short ones, whose words are ours; TokenSkip
for a ratio.
"""

from __future__ import annotations

from typing import NamedTuple

from cotexp.sections import Section

INSTRUCTIONS = {"full": "long_instruction", "compress": "instruction"}
"""Form or mode -> the setting of a compression that holds the words by which it is asked for, where there are some."""


class Asked(NamedTuple):
    """How a model is asked for one form of an answer: what the user says, and whether the `<compress>` mark or a ratio follows."""

    prompt: str
    compressed: bool
    ratio: float | None = None


def ask(rule: Section, form: str, prompt: str, ratio: float | None = None) -> Asked:
    """How a model is asked for a form or mode under the compression `rule`; training and evaluation both ask here.

    An instruction stands on a line of its own behind the task's `prompt` (ours: where peers put theirs is not known to us). Without one
    the mark asks for "compress", or in its place a `ratio` where there is one, and nothing but the prompt for everything else.
    """
    if form == "compress" and ratio is not None:
        return Asked(prompt, False, ratio)
    instruction = instruction_of(rule, form)
    return Asked(f"{prompt}\n{instruction}", False) if instruction else Asked(prompt, form == "compress")


def instruction_of(rule: Section, form: str) -> str | None:
    """The words that ask for a form or mode under the compression `rule`, None where there are none."""
    return getattr(rule, INSTRUCTIONS.get(form, ""), None)
