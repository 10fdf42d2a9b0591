"""`plan=true`: the stages of a run, how much of each is stored, and how much would be computed."""

from __future__ import annotations

from cotexp import flow
from cotexp.jobs import pipeline, planning
from cotexp.report import terminal
from cotexp.report.document import text_table
from cotexp.settings.root import Settings


def print_plan(settings: Settings) -> None:
    """Print the stages with their keys, what is cached, and how many rows would be computed."""
    context = pipeline.make_context(settings, plan=True)
    planned, rows = planning.plan(context), []
    for each in planned:
        most = "at most " if each.spec.stage in flow.BOUNDED else ""
        missing = f"{most}{each.num_missing}" if each.num_missing else "nothing"
        rows.append((each.name, each.spec.key, str(each.num_wanted), str(each.num_wanted - each.num_missing), missing))
    title = f"{settings.name}, run {pipeline.run_key(context)}: nothing is computed"
    terminal.show(text_table(title, ("stage", "key", "rows", "cached", "to compute"), rows, left=("key",)))
    for line in planning.remarks(context, planned):
        terminal.say(line)
