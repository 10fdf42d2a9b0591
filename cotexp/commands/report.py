"""`cotexp report`: all finished runs of some experiments as one table with a figure, an arm per row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from cotexp.jobs.progress import page
from cotexp.report import arm_figure
from cotexp.report.arm_table import ArmTable, cells, columns, make_table, markdown, notes, task_cells
from cotexp.report.arms import arms_of, baseline_of, find_runs

TABLE = "table.md"
FIGURE = "accuracy_against_rationales.png"
PART = ", "
"""Between the settings in a label."""


def report_experiments(names: Sequence[str], *, outputs: Path, baseline: str | None, mode: str | None, folder: Path | None) -> None:
    """Print the table of the named experiments' arms, and write it with its figure to `folder`, by default OUTPUTS/reports/NAME.

    `baseline` chooses an arm by its label or by settings in it; `mode` is the evaluated mode, by default each run's last one.
    Raises: ConfigError for an experiment without a finished run, an unknown mode or baseline.
    """
    found = find_runs(names, outputs, mode=mode)
    arms, replaced = arms_of(found.runs)
    table = make_table(arms, baseline_of(arms, baseline))
    remarks = [*notes(table), *(f"Left out: {each}" for each in (*found.left_out, *replaced))]
    title = " and ".join(dict.fromkeys(names))
    _print(title, table, remarks)
    target = folder or outputs / "reports" / _folder_name(names)
    target.mkdir(parents=True, exist_ok=True)
    drawn = arm_figure.write(target / FIGURE, table)
    lines = [f"# {title}", "", *markdown(table), "", *(f"- {each}" for each in remarks), *(["", f"![accuracy]({FIGURE})"] if drawn else [])]
    (target / TABLE).write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"Table{' and figure' if drawn else ''}: {target}")


def _folder_name(names: Sequence[str]) -> str:
    own = list(dict.fromkeys(names))
    return own[0] if len(own) == 1 else "+".join(each.replace("/", "-") for each in own)


def _print(title: str, table: ArmTable, remarks: Sequence[str]) -> None:
    console = page()
    console.print(_shown(title, columns(table), [cells(each, table) for each in table.rows]))
    if table.tasks:
        console.print(_shown("Accuracy by task, %", ["arm", *table.tasks], [[each.label, *task_cells(each, table)] for each in table.rows]))
    for each in remarks:
        console.print(f"- {each}", markup=False, highlight=False, soft_wrap=True)


def _shown(title: str, names: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table for a terminal: headings are wrapped, and labels have a line for each of their settings."""
    shown = Table(title=escape(title), title_justify="left")
    for index, name in enumerate(names):
        width = max(len(row[index]) for row in rows)
        shown.add_column(name.replace(" ", "\n", 1), justify="right" if index else "left", overflow="fold", min_width=width if index else None)
    for label, *others in rows:
        shown.add_row(escape(label.replace(PART, ",\n")), *map(escape, others))
    return shown
