"""What each chain becomes under the compression of the settings: computed anew each time, so nothing is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cotexp.compressions.base import Tools
from cotexp.jobs.engines import load_encoder
from cotexp.records import Compressed, Rationale, Round
from cotexp.stages.context import Context, is_deterministic
from cotexp.stages.training_set import TrainingSet


def add(context: Context, made: TrainingSet) -> None:
    """What each chain becomes; in a look nothing while rounds or importances are missing."""
    if context.look is None or not context.look.is_open:
        made.kept = compress(context, made.chains, made.rounds, made.importances)


def compress(
    context: Context, chains: Sequence[Rationale], rounds: Mapping[str, Sequence[Round]], importances: Mapping[str, Sequence[float]]
) -> list[Compressed]:
    """What each chain becomes under this run's compression, which may drop some."""
    settings = context.settings
    tools = Tools(
        rounds=rounds,
        importances=importances,
        encoder=lambda: load_encoder(context),
        deterministic=is_deterministic(settings) if settings.compression.asks_compressor else True,
        seed=settings.seed,
    )
    kept: list[Compressed] = settings.compression.compress(chains, tools)
    return kept
