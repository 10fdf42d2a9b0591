"""Pairs of rationales of one question, longer and shorter: training data for a compressor, from whatever teachers wrote."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby
from typing import Any, ClassVar

from cotexp.compressions.base import StoredSettings
from cotexp.compressions.teaching import Teaching
from cotexp.methods.calculations import calculations, has_equation
from cotexp.methods.reasoning import THINKING
from cotexp.records import Rationale
from cotexp.settings.base import setting


@dataclass(slots=True, kw_only=True)
class RationalePairs(Teaching):
    """Teach a compressor by pairs of correct rationales of the same question: the longer one is rewritten as the shorter one (ours)."""

    pairs_rationales: ClassVar[bool] = True

    name: str = setting("pairs", "Name of the compression.", choices=("pairs",))
    keep_calculations: bool = setting(
        True,
        "Whether pairs are left out whose shorter rationale lacks a calculation of the longer one, as another way to the answer does, "
        "or whose longer one has equations but no calculation of numbers, so that nobody can tell.",
    )

    def complete(self, settings: Any) -> None:
        if settings.mixture.full_ratio is None:
            settings.mixture.full_ratio = 0.0

    def run_contradictions(self, settings: Any) -> Iterator[str]:
        if settings.teacher.num_samples == 1:
            yield f"teacher must give several rationales per question with compression=pairs; got {settings.teacher.name!r}, which gives one"
        chosen = settings.selection
        for name in ("k", "max_rationales"):
            if (most := getattr(chosen, name)) == 1:
                yield f"selection.{name} must be at least 2 with compression=pairs, which pairs rationales of one question; got {most}"

    def pairs(self, chains: Sequence[Rationale]) -> list[tuple[Rationale, Rationale]]:
        ordered = sorted((each for each in chains if each.correct), key=lambda each: (_kind(each), -each.num_cot_tokens, each.id))
        alike = [{each.cot.strip(): each for each in group}.values() for _, group in groupby(ordered, key=_kind)]
        shorter = [(long, short) for group in alike for long, short in combinations(group, 2) if short.num_cot_tokens < long.num_cot_tokens]
        return [pair for pair in shorter if _keeps_calculations(*pair)] if self.keep_calculations else shorter

    @classmethod
    def taught(cls, settings: StoredSettings) -> str:
        return (
            f"{1 - settings['mixture']['full_ratio']:.0%} of its examples were rewrites: a correct rationale of a training question by "
            f"teacher={settings['teacher']['name']} becomes a shorter correct one of the same question"
            f"{' with all of its calculations' if settings['compression'].get('keep_calculations') else ''}"
        )


def _keeps_calculations(long: Rationale, short: Rationale) -> bool:
    """Whether the shorter chain has every calculation of the longer one. No, if it has equations of which none is read."""
    wanted = set(calculations(long.cot))
    return wanted <= set(calculations(short.cot)) if wanted else not has_equation(long.cot)


def _kind(chain: Rationale) -> tuple[str, bool]:
    """Chains that may be paired: of one question, thinking with thinking."""
    return chain.question_id, chain.id.endswith(f"/{THINKING}")
