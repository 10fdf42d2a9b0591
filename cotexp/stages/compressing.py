"""What each chain becomes under the compression of the settings: computed anew each time, so nothing is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cotexp.compressions.base import Tools
from cotexp.jobs.engines import load_encoder
from cotexp.methods import statistics
from cotexp.records import Compressed, Rationale, Round
from cotexp.stages.context import Context, is_deterministic
from cotexp.stages.training_set import TrainingSet


def add(context: Context, made: TrainingSet) -> None:
    """What each chain becomes; in a look nothing while rounds or importances are missing."""
    if context.look is None or not context.look.is_open:
        made.kept = compress(context, made.chains, made.rounds, made.importances)


def metrics(context: Context, made: TrainingSet) -> dict[str, float]:
    """The pairs of training questions that teach a compressor; nothing under a compression without pairs."""
    ids = {each.id for each in context.questions.train}
    rule = context.settings.compression
    found = statistics.pair_metrics(rule.pairs([each for each in made.chains if each.question_id in ids])) if rule.pairs_rationales else {}
    return {f"pairs/{name}": value for name, value in found.items()}


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
        rounds_are_recorded=bool(context.recorded_rounds),
    )
    kept: list[Compressed] = settings.compression.compress(chains, tools)
    return kept
