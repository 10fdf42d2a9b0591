"""One rewrite of each chain: the control of MACC's rounds."""

from __future__ import annotations

from dataclasses import dataclass

from cotexp.compressions.rewriting import Rewriting
from cotexp.settings.base import setting


@dataclass(slots=True, kw_only=True)
class SingleRound(Rewriting):
    """One rewrite, kept whatever its length."""

    name: str = setting("single_round", "Name of the compression.", choices=("single_round",))
