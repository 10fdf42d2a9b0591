"""`plan=true`: the stages of a run, how much of each is stored, and how much would be computed."""

from __future__ import annotations

from dataclasses import dataclass, field

from cotexp import flow
from cotexp.jobs import pipeline, planning
from cotexp.jobs.planning import PlannedStage
from cotexp.report import terminal
from cotexp.report.document import text_table
from cotexp.settings.root import Settings


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of a run: its experiment and key, its stages with what is stored of each, and remarks on costs and downloads."""

    name: str
    key: str
    stages: list[PlannedStage] = field(repr=False)
    remarks: list[str]


def print_plan(settings: Settings) -> Plan:
    """Print the stages with their keys, what is cached, and how many rows would be computed; return them."""
    context = pipeline.make_context(settings, plan=True)
    planned, rows = planning.plan(context), []
    for each in planned:
        most = "at most " if each.spec.stage in flow.BOUNDED else ""
        missing = f"{most}{each.num_missing}" if each.num_missing else "nothing"
        rows.append((each.name, each.spec.key, str(each.num_wanted), str(each.num_wanted - each.num_missing), missing))
    found = Plan(settings.name, pipeline.run_key(context), planned, list(planning.remarks(context, planned)))
    title = f"{found.name}, run {found.key}: nothing is computed"
    terminal.show(text_table(title, ("stage", "key", "rows", "cached", "to compute"), rows, left=("key",)))
    for line in found.remarks:
        terminal.say(line)
    return found
