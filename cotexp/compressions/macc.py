"""MACC: rewrite round by round until the text grows again (EMNLP 2025, arXiv 2509.22144)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cotexp.compressions.rewriting import Rewriting
from cotexp.methods.rounds import StopRule
from cotexp.settings.base import setting

WITH_NUMBER = ("fixed_k", "patience", "min_tokens")
"""Stop rules that have a number, which is the setting of the same name."""


@dataclass(slots=True, kw_only=True)
class Macc(Rewriting):
    """Rewrite round by round until the text grows again (MACC)."""

    name: str = setting("macc", "Name of the compression.", choices=("macc",))
    max_rounds: int | None = setting(None, "Round limit T (MACC studies 2 to 10, second-hand); by default compressor.rounds.", low=1, most=100)
    stop: str | None = setting(
        None,
        "Rule that ends the rounds besides the limit; by default the one whose number is given, and rebound if there is none.",
        choices=("rebound", "fixed_k", "patience", "min_tokens", "answer_kept"),
    )
    fixed_k: int | None = setting(None, "Number of rounds for stop=fixed_k.", low=1, most=100)
    patience: int | None = setting(None, "Rounds without a new shortest text before stop=patience ends.", low=1, most=100)
    min_tokens: int | None = setting(None, "For stop=min_tokens: a rewrite below this many tokens ends the rounds and is not kept.", low=1)
    fixed_point: str = setting(
        "auto", "Whether an unchanged text ends the rounds; auto: if the compressor does not sample.", choices=("auto", "stop", "continue")
    )

    @property
    def stop_rule(self) -> StopRule:
        assert self.stop is not None
        return StopRule(self.stop, self.max_rounds, self.fixed_k, self.patience, self.min_tokens, self.fixed_point)

    def __post_init__(self) -> None:
        if self.stop is None:
            self.stop = next((rule for rule in WITH_NUMBER if getattr(self, rule) is not None), "rebound")
        Rewriting.__post_init__(self)

    def complete(self, settings: Any) -> None:
        if self.max_rounds is None:
            self.max_rounds = max(settings.compressor.rounds, self.fixed_k or 1)

    def contradictions(self) -> Iterator[str]:
        yield from Rewriting.contradictions(self)
        for rule in WITH_NUMBER:
            value = getattr(self, rule)
            if self.stop == rule and value is None:
                yield f"{rule} must be set when stop={rule}; got None"
            if self.stop != rule and value is not None:
                yield f"{rule} is read only when stop={rule}; got {rule}={value} with stop={self.stop}"
        if self.fixed_k is not None and self.max_rounds is not None and self.fixed_k > self.max_rounds:
            yield f"fixed_k must not exceed max_rounds ({self.max_rounds}); got {self.fixed_k}"
