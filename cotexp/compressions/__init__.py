"""The compressions by name. A new one is a file here and a line below; one of another package registers as entry point `cotexp.compressions`."""

from __future__ import annotations

from cotexp.compressions.base import Compression, StoredSettings
from cotexp.extensions import Registry

COMPRESSIONS = Registry(
    "cotexp.compressions",
    Compression,
    {
        "none": "cotexp.compressions.none:NoCompression",
        "macc": "cotexp.compressions.macc:Macc",
        "macc_budget": "cotexp.compressions.macc_budget:MaccBudget",
        "single_round": "cotexp.compressions.single_round:SingleRound",
        "shortest_correct": "cotexp.compressions.shortest_correct:ShortestCorrect",
        "truncate": "cotexp.compressions.truncate:Truncation",
        "c3ot": "cotexp.compressions.c3ot:C3ot",
        "tokenskip": "cotexp.compressions.tokenskip:TokenSkip",
        "prompt_only": "cotexp.compressions.prompt_only:PromptOnly",
        "budget": "cotexp.compressions.budget:Budget",
        "answer_only": "cotexp.compressions.answer_only:AnswerOnly",
        "step_by_step": "cotexp.compressions.step_by_step:StepByStep",
        "tale": "cotexp.compressions.tale:Tale",
        "tale_ep": "cotexp.compressions.tale_ep:TaleEp",
        "reference": "cotexp.compressions.reference:ReferenceRounds",
        "pairs": "cotexp.compressions.pairs:RationalePairs",
    },
)


def compression_of(settings: StoredSettings) -> type[Compression]:
    """The compression of a stored run; one that is no longer installed counts as any other that a mark asks for."""
    return COMPRESSIONS.stored(settings.get("compression", {}).get("name"))
