"""What a compressor is: the model that rewrites the chains of thought, with the settings of its sampling."""

from __future__ import annotations

from dataclasses import dataclass

from cotexp.settings.base import setting
from cotexp.settings.sampling import Sampling
from cotexp.settings.writers import Writer


@dataclass(slots=True, kw_only=True)
class Compressor(Writer, Sampling):
    """Base of the settings class of each compressor. Its traits are those of a `Writer`."""

    name: str = setting("compressor", "Name of the compressor.")
    temperature: float = setting(0.7, "Sampling temperature; 0 takes the likeliest token (MACC does not state its own).", low=0, high=5)
    rounds: int = setting(10, "Round limit T that suits this compressor, used where no limit is given.", low=1, most=100, keyed=False)
