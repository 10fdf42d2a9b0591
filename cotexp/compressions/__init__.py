"""The compressions by name. A new one is a file here and a line below; one of another package registers as entry point `cotexp.compressions`."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from cotexp import extensions
from cotexp.compressions.base import Compression, StoredSettings
from cotexp.compressions.c3ot import C3ot
from cotexp.compressions.macc import Macc
from cotexp.compressions.none import NoCompression
from cotexp.compressions.prompt_only import PromptOnly
from cotexp.compressions.reference import ReferenceRounds
from cotexp.compressions.shortest_correct import ShortestCorrect
from cotexp.compressions.single_round import SingleRound
from cotexp.compressions.tokenskip import TokenSkip
from cotexp.compressions.truncate import Truncation

COMPRESSIONS: dict[str, type[Compression]] = {
    "none": NoCompression,
    "macc": Macc,
    "single_round": SingleRound,
    "shortest_correct": ShortestCorrect,
    "truncate": Truncation,
    "c3ot": C3ot,
    "tokenskip": TokenSkip,
    "prompt_only": PromptOnly,
    "reference": ReferenceRounds,
}


GROUP = "cotexp.compressions"
"""Entry points by which an installed package adds compressions."""


@functools.cache
def installed_compressions() -> Mapping[str, type[Compression]]:
    """Name -> settings class of the compressions that installed packages add.

    Raises: ConfigError with a line for each entry point that adds none.
    """
    return extensions.installed(GROUP, Compression, COMPRESSIONS)


def compression_of(settings: StoredSettings) -> type[Compression]:
    """The compression of a stored run; one that is no longer installed counts as any other that a mark asks for."""
    name = settings.get("compression", {}).get("name")
    return COMPRESSIONS.get(name) or installed_compressions().get(name, Compression)
