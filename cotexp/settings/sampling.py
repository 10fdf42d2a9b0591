"""Settings of sampling."""

from __future__ import annotations

from dataclasses import dataclass

from cotexp.settings.base import LARGEST_SEED, Section, setting


@dataclass(slots=True, kw_only=True)
class Sampling(Section):
    """How texts are drawn from a model."""

    temperature: float = setting(0.0, "Sampling temperature; 0 takes the likeliest token.", low=0, high=5)
    max_new_tokens: int = setting(512, "Most tokens generated per text.", low=1, most=10_000_000)
    seed: int = setting(0, "Seed of sampling; each text has its own generator.", low=0, most=LARGEST_SEED)
    batch_size: int = setting(64, "Texts generated at once.", low=1, keyed=False)
