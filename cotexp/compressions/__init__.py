"""The compressions by name. A new one is a file here and a line below; one of another package registers as entry point `cotexp.compressions`."""

from __future__ import annotations

from cotexp.compressions.base import Compression, StoredSettings
from cotexp.compressions.c3ot import C3ot
from cotexp.compressions.macc import Macc
from cotexp.compressions.none import NoCompression
from cotexp.compressions.prompt_only import PromptOnly
from cotexp.compressions.reference import ReferenceRounds
from cotexp.compressions.single_round import SingleRound
from cotexp.compressions.tokenskip import TokenSkip
from cotexp.compressions.truncate import Truncation

COMPRESSIONS: dict[str, type[Compression]] = {
    "none": NoCompression,
    "macc": Macc,
    "single_round": SingleRound,
    "truncate": Truncation,
    "c3ot": C3ot,
    "tokenskip": TokenSkip,
    "prompt_only": PromptOnly,
    "reference": ReferenceRounds,
}


def compression_of(settings: StoredSettings) -> type[Compression]:
    """The compression of a stored run; one that is not installed here counts as any other with a mark."""
    return COMPRESSIONS.get(settings.get("compression", {}).get("name"), Compression)
