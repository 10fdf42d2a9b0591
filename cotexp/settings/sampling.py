"""Settings of sampling."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cotexp.settings.base import IF_SET, LARGEST_SEED, Section, keyed, setting

UNRESTRICTED = {"top_k": None, "top_p": 1.0, "min_p": 0.0}
"""Restrictions of sampling in their order, each with the value that restricts nothing."""


@dataclass(slots=True, kw_only=True)
class Sampling(Section):
    """How texts are drawn from a model. The restrictions apply in the order top_k, top_p, min_p, to the probabilities at the temperature."""

    temperature: float = setting(0.0, "Sampling temperature; 0 takes the likeliest token.", low=0, high=5)
    top_k: int | None = setting(None, "Sampling is from the k likeliest tokens; from all by default.", low=1, keyed=IF_SET)
    top_p: float = setting(
        1.0, "Sampling is from the likeliest tokens that together reach this probability; 1 restricts nothing.", above=0, high=1, keyed=IF_SET
    )
    min_p: float = setting(
        0.0, "Sampling is from tokens with at least this share of the likeliest one's probability; 0 restricts nothing.", low=0, high=1, keyed=IF_SET
    )
    max_new_tokens: int = setting(512, "Most tokens generated per text.", low=1, most=10_000_000)
    seed: int = setting(0, "Seed of sampling; each text has its own generator.", low=0, most=LARGEST_SEED)
    batch_size: int = setting(64, "Texts generated at once.", low=1, keyed=False)

    @property
    def restrictions(self) -> dict[str, float]:
        """top_k, top_p and min_p if they are set, by name."""
        return {name: value for name, default in UNRESTRICTED.items() if (value := getattr(self, name)) != default}

    def contradictions(self) -> Iterator[str]:
        if self.temperature == 0:
            for name, value in self.restrictions.items():
                yield f"{name} is read only with a temperature above 0; got {name}={value} with temperature=0"


def sampling_key(sampling: Sampling) -> dict[str, Any]:
    """What of these settings, which may be those of a larger section, decides a text."""
    names = {each.name for each in dataclasses.fields(Sampling)}
    return {name: value for name, value in keyed(sampling).items() if name in names}
