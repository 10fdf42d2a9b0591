"""The plan of a run: its stages, what of them is stored, and what would be computed. Nothing is computed or written here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cotexp import flow
from cotexp.flow import Walk
from cotexp.jobs import costs
from cotexp.jobs.checks import check_compresses
from cotexp.models import identity
from cotexp.stages.context import Context, Counted
from cotexp.store.specs import Spec


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """One line of a plan: rows, or one for a folder. Upper bounds while earlier stages decide how many rows there will be."""

    name: str
    spec: Spec
    num_wanted: int
    num_missing: int


def plan(context: Context) -> list[PlannedStage]:
    """The stages of a run with keys and missing rows, of a run with compress_only those before fine-tuning; computes nothing and writes nothing.

    Raises: RunFailed with compress_only if nothing would be compressed.
    """
    is_all = not context.settings.compress_only
    if not is_all:
        check_compresses(context.settings)
    with flow.looking(context) as look:
        if context.settings.trains:
            flow.training_set(context, Walk())
        if is_all:
            flow.measured(context, Walk())
    specs = flow.specs_of(context) if is_all else flow.specs_before_training(context)
    for name, spec in specs.items():
        if spec.stage in flow.FOLDERS:
            look.count(name, 1, int(not context.store.has_artifact(spec)))
    counted = {name: look.stages.get(name, Counted()) for name in specs}
    return [PlannedStage(name, spec, counted[name].num_wanted, counted[name].num_missing) for name, spec in specs.items()]


def remarks(context: Context, planned: Sequence[PlannedStage]) -> Iterator[str]:
    """Lines below a plan: what its requests to servers will cost, and which models are not downloaded."""
    yield from map(str, costs.estimate(context, [(each.name, each.spec, each.num_missing) for each in planned]))
    used = {"model": context.base, "compressor": context.compressor, "teacher": context.teacher, "classifier": context.classifier}
    for name, files in used.items():
        if files is not None and files.sha256.startswith(identity.NOT_DOWNLOADED):
            yield f"{name} {files.folder} is not downloaded yet: its weights are part of the keys, which will differ"
