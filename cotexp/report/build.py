"""From runs under outputs/ to a report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from cotexp.report import arm_figure
from cotexp.report.arm_rows import OWN_BASE, ArmRow, rows_of
from cotexp.report.arm_table import make_table
from cotexp.report.arms import arms_of, baseline_of, find_runs
from cotexp.report.content import Figure, Report, UsedRun


def of_experiments(names: Sequence[str], outputs: Path, *, baseline: str | None = None, mode: str | None = None) -> Report:
    """All finished runs of the named experiments, an arm per row.

    `baseline` chooses an arm by its label or by settings in it; `mode` is the evaluated mode, by default each run's last one.
    Raises: ConfigError for an experiment without a finished run, an unknown mode or baseline.
    """
    found = find_runs(names, outputs, mode=mode)
    arms, replaced = arms_of(found.runs)
    rows = rows_of(arms, None if baseline == OWN_BASE else baseline_of(arms, baseline))
    title = " and ".join(dict.fromkeys(names))
    return Report(
        name=_name(names),
        title=title,
        tables=(make_table("arms", title, rows),),
        figures=tuple(figures(rows)),
        left_out=(*found.left_out, *replaced),
        runs=tuple(runs_of(rows)),
    )


def _name(names: Sequence[str]) -> str:
    own = list(dict.fromkeys(names))
    return own[0] if len(own) == 1 else "+".join(each.replace("/", "-") for each in own)


def figures(rows: Sequence[ArmRow]) -> Iterator[Figure]:
    """What there is to draw of the rows."""
    if drawn := arm_figure.accuracy_against_rationales(rows):
        yield drawn


def runs_of(rows: Sequence[ArmRow]) -> Iterator[UsedRun]:
    """The runs behind the rows, in their order."""
    for row in rows:
        if row.arm:
            yield from (UsedRun(row=row.label, name=run.name, key=run.key, seed=run.seed, folder=run.folder) for run in row.arm.runs)
