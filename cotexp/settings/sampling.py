"""Settings of sampling."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cotexp.settings.base import IF_SET, LARGEST_SEED, Section, keyed, setting

UNRESTRICTED = {"top_k": None, "top_p": 1.0, "min_p": 0.0}
"""Restrictions of sampling in the order in which they apply, with the value that disables each."""


@dataclass(slots=True, kw_only=True)
class Sampling(Section):
    """How texts are sampled. The restrictions apply in the order top_k, top_p, min_p, to the probabilities at the temperature."""

    temperature: float = setting(0.0, "Sampling temperature. At 0 the most likely token is taken.", low=0, high=5)
    top_k: int | None = setting(None, "Sample from the k most likely tokens. Default: from all.", low=1, keyed=IF_SET)
    top_p: float = setting(
        1.0, "Sample from the smallest set of most likely tokens that reaches this total probability; 1 disables it.", above=0, high=1, keyed=IF_SET
    )
    min_p: float = setting(
        0.0, "Sample from tokens with at least this share of the most likely token's probability; 0 disables it.", low=0, high=1, keyed=IF_SET
    )
    max_new_tokens: int = setting(512, "Most generated tokens per text.", low=1, most=10_000_000)
    seed: int = setting(0, "Seed of sampling. Each text has its own random generator.", low=0, most=LARGEST_SEED)
    batch_size: int = setting(64, "Number of texts generated at once.", low=1, keyed=False)

    @property
    def restrictions(self) -> dict[str, float]:
        """top_k, top_p and min_p if they are set, by name."""
        return {name: value for name, default in UNRESTRICTED.items() if (value := getattr(self, name)) != default}

    def contradictions(self) -> Iterator[str]:
        if self.temperature == 0:
            for name, value in self.restrictions.items():
                yield f"{name} needs a temperature above 0; got {name}={value} with temperature=0"


def sampling_key(sampling: Sampling) -> dict[str, Any]:
    """The keyed settings of sampling alone, also if `sampling` is a larger section."""
    names = {field.name for field in dataclasses.fields(Sampling)}
    return {name: value for name, value in keyed(sampling).items() if name in names}
