"""What a compression makes of one chain, its rounds given."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cotexp.compressions.base import Compression, Encoder, Tools
from cotexp.records import Compressed, Rationale, Round


def no_encoder() -> Encoder:
    raise AssertionError("this compression counts no tokens of its own")


def keep(
    chain: Rationale, rounds: Sequence[Round], rule: Compression, *, deterministic: bool = False, encoder: Callable[[], Encoder] = no_encoder
) -> Compressed | None:
    """The compressed chain, None where it is dropped."""
    tools = Tools(rounds={chain.id: rounds}, importances={}, encoder=encoder, deterministic=deterministic, seed=0)
    return next(iter(rule.compress([chain], tools)), None)
