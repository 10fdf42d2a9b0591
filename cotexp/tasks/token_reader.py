"""A place in a sequence of tokens, with methods to look at the next tokens and take them."""

from __future__ import annotations

from dataclasses import dataclass

from cotexp.tasks.latex import Token
from cotexp.tasks.unit_words import Unsure

DEEPEST = 60
"""Deepest nesting of a formula; answers are less deep."""


@dataclass(slots=True, kw_only=True)
class TokenReader:
    """Reads tokens from left to right. `unit` is the name of the value's unit so far."""

    tokens: list[Token]
    place: int = 0
    depth: int = 0
    unit: str | None = None

    def here(self, ahead: int = 0) -> Token:
        place = self.place + ahead
        return self.tokens[place] if place < len(self.tokens) else Token("end of formula", "")

    def next_is(self, *texts: str) -> bool:
        here = self.here()
        return here.kind in ("sign", "command") and here.text in texts

    def take(self, *texts: str) -> str | None:
        if not self.next_is(*texts):
            return None
        self.place += 1
        return self.tokens[self.place - 1].text

    def must(self, text: str) -> None:
        if self.take(text) is None:
            raise Unsure(f"{text} is missing before {self.here().text!r}")

    def word(self, *words: str) -> str | None:
        here = self.here()
        if here.kind == "text" and here.text.strip(" ,").lower() in words:
            self.place += 1
            return here.text.strip(" ,").lower()
        return None

    def argument_tokens(self) -> list[Token]:
        """The tokens of a braced argument, or the single token of an argument without braces."""
        if not self.next_is("{"):
            self.place += 1
            if self.place > len(self.tokens):
                raise Unsure("an argument is missing")
            return [self.tokens[self.place - 1]]
        end, depth = self.place, 0
        while end < len(self.tokens):
            text = self.tokens[end].text
            depth += (text == "{") - (text == "}")
            if depth == 0:
                break
            end += 1
        else:
            raise Unsure("a brace is missing")
        argument = self.tokens[self.place + 1 : end]
        self.place = end + 1
        return argument

    def set_unit(self, unit: str) -> None:
        if self.unit not in (None, unit):
            raise Unsure("two units")
        self.unit = unit
