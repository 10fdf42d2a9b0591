"""The plan of a run: its stages, what of them is stored, and what would be computed. Nothing is computed or written here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cotexp import flow, progress
from cotexp.flow import Walk
from cotexp.jobs import costs, pipeline
from cotexp.models import identity
from cotexp.settings.root import Settings
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
    """The stages of a run with keys and missing rows; computes nothing and writes nothing."""
    with flow.looking(context) as look:
        if context.settings.trains:
            flow.training_set(context, Walk())
        flow.measured(context, Walk())
    specs = flow.specs_of(context)
    for name, spec in specs.items():
        if spec.stage in flow.FOLDERS:
            look.count(name, 1, int(not context.store.has_artifact(spec)))
    counted = {name: look.stages.get(name, Counted()) for name in specs}
    return [PlannedStage(name, spec, counted[name].num_wanted, counted[name].num_missing) for name, spec in specs.items()]


def print_plan(settings: Settings) -> None:
    """Print the stages with their keys, what is cached, and how many rows would be computed."""
    context = pipeline.make_context(settings, plan=True)
    from rich.table import Table

    table = Table(title=f"{settings.name}, run {pipeline.run_key(context)}: nothing is computed", title_justify="left")
    for column in ("stage", "key", "rows", "cached", "to compute"):
        table.add_column(column, justify="left" if column in ("stage", "key") else "right")
    planned = plan(context)
    for each in planned:
        total, missing = each.num_wanted, each.num_missing
        upper = "at most " if each.spec.stage in flow.BOUNDED and missing else ""
        table.add_row(each.name, each.spec.key, str(total), str(total - missing), f"{upper}{missing}" if missing else "nothing")
    console = progress.page()
    console.print(table)
    for cost in costs.estimate(context, [(each.name, each.spec, each.num_missing) for each in planned]):
        console.print(str(cost), markup=False)
    for name, path in _not_downloaded(context):
        console.print(f"{name} {path} is not downloaded yet: its weights are part of the keys, which will differ", markup=False)


def _not_downloaded(context: Context) -> Iterator[tuple[str, str]]:
    used = {"model": context.base, "compressor": context.compressor, "teacher": context.teacher, "classifier": context.classifier}
    for name, files in used.items():
        if files is not None and files.sha256.startswith(identity.NOT_DOWNLOADED):
            yield name, str(files.folder)
