"""Builds the report that a declaration describes from the files under outputs/."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from cotexp.invocation import run_command
from cotexp.report import arm_figures, baselines, costs, question_groups, rounds, survival
from cotexp.report.arm_rows import ArmRow, ComparedArms, measure_arms
from cotexp.report.arm_table import TASK, column_named, make_table
from cotexp.report.arms import arms_of
from cotexp.report.declared import DeclaredReport, DeclaredTable, Published
from cotexp.report.disclosures import disclosures
from cotexp.report.document import Gap, Report, Table, UsedRun
from cotexp.report.expected_runs import (
    ExpectedArm,
    ExpectedArms,
    GridPoint,
    budget_of,
    check_where,
    chosen,
    distinct,
    expected_of,
    match_runs,
    named,
    of_same_content,
    place_of,
    renamed,
    stored_runs,
    unexpected,
    unfinished_gap,
    unfinished_of,
)
from cotexp.report.finished_runs import find_runs, fits, name_of, run_folders
from cotexp.report.published_numbers import published_rows
from cotexp.report.short_names import short_names, shortened
from cotexp.report.style import Drawing, picture
from cotexp.report.swept_arms import expected_by_sweeps, with_missing
from cotexp.settings.base import ConfigError, suggestion

Grid = Callable[[tuple[str, ...]], list[GridPoint]]
"""Overrides of a command line -> the points of its grid."""
FindPublished = Callable[[str], Published]
"""Name of a file of published numbers -> its content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """Options of the command, see `cotexp report --help`."""

    baseline: str | None = None
    mode: str | None = None
    columns: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()


def joined_name(names: Sequence[str]) -> str:
    """Name of a report on these experiments."""
    distinct = list(dict.fromkeys(names))
    return distinct[0] if len(distinct) == 1 else "+".join(name.replace("/", "-") for name in distinct)


class Part(NamedTuple):
    """One table of a report and what belongs to it."""

    table: Table
    more_tables: list[Table]
    drawings: list[Drawing]
    runs: list[UsedRun]
    settings: list[dict[str, Any]]
    left_out: list[str]
    takes_part: Mapping[str, bool]
    sources: list[str]


def report_of(name: str, report: DeclaredReport, outputs: Path, options: ReportOptions, *, grid: Grid, published: FindPublished) -> Report:
    """The report that a declaration describes. Raises: ConfigError for an unknown mode or baseline, or settings that no run has."""
    plans = [named(_plan(table, outputs, options, grid), table.labels) for table in report.tables]
    requested = baselines.requested(plans, [options.baseline and renamed(options.baseline, table.labels) for table in report.tables])
    chosen_ones = [ours or declared for ours, declared in zip(requested, baselines.declared(name, report.tables, plans), strict=True)]
    overrides = [*options.overrides, *place_of(outputs)]
    parts = [
        _part(f"{number}", *table, report.title, overrides, published, options.columns)
        for number, table in enumerate(zip(report.tables, plans, chosen_ones, strict=True), 1)
    ]
    sources = [note for part in parts for note in part.sources]
    settings = [of_run for part in parts for of_run in part.settings]
    return Report(
        name=name,
        title=report.title,
        tables=tuple(table for part in parts for table in (part.table, *part.more_tables)),
        figures=tuple(picture(drawing.of_table(part.table, len(parts))) for part in parts for drawing in part.drawings),
        footnotes=tuple(dict.fromkeys((*report.footnotes, *sources, *disclosures(settings)))),
        left_out=tuple(dict.fromkeys((*(line for part in parts for line in part.left_out), *unexpected(part.takes_part for part in parts)))),
        runs=tuple(run for part in parts for run in part.runs),
    )


def _part(
    name: str,
    settings: DeclaredTable,
    plan: ExpectedArms,
    baseline: str | None,
    title: str,
    overrides: Sequence[str],
    published: FindPublished,
    columns: Sequence[str],
) -> Part:
    compared = baselines.comparisons(plan, baseline, settings.labels)
    rows = _rows(plan.arms, compared.groups)
    _check_columns(columns, rows)
    table = make_table(name, settings.title or title, rows, columns or settings.columns)
    by_difficulty = question_groups.of_arms(rows, name)
    sets = arm_figures.compressed_sets(rows, settings.labels)
    kept = survival.of_sets(sets)
    rows_of_others = [published_rows(rows, published(rows.file), table.columns) for rows in settings.published]
    notes = (*settings.notes, *table.notes, *baselines.notes(compared, rows), *_missing(table, settings, overrides))
    return Part(
        table=replace(table, rows=(*table.rows, *(row for added in rows_of_others for row in added.rows)), notes=notes),
        more_tables=[*([spent] if (spent := costs.table(rows, name)) else []), *survival.tables(kept, f"{name}-"), *by_difficulty],
        drawings=_drawings(rows, sets, kept, by_difficulty),
        runs=list(_runs_of(rows, name)),
        settings=[row.arm.runs[0].settings for row in rows if row.arm],
        left_out=plan.left_out,
        takes_part=plan.takes_part,
        sources=[note for added in rows_of_others for note in added.notes],
    )


def _drawings(rows: Sequence[ArmRow], sets: Sequence[rounds.CompressedSet], kept: survival.BySet, by_difficulty: Sequence[Table]) -> list[Drawing]:
    """All figures of a table, with short names of settings."""
    names = short_names(row.label for row in rows)
    shown = [replace(row, label=shortened(row.label, names)) for row in rows]
    short_sets = [replace(each, label=shortened(each.label, names)) for each in sets]
    groups = [replace(each, rows=tuple(replace(row, label=shortened(row.label, names)) for row in each.rows)) for each in by_difficulty]
    return [
        *arm_figures.drawings(shown, short_sets),
        *survival.drawings({shortened(label, names): of_set for label, of_set in kept.items()}),
        *question_groups.drawings(groups),
    ]


def _check_columns(columns: Sequence[str], rows: Sequence[ArmRow]) -> None:
    """Raises: ConfigError for a requested column that does not exist, or that no row of a table with finished runs fills."""
    known = sorted({name for row in rows for metrics in row.run_metrics for name in metrics})
    tasks = sorted({task for row in rows for task in row.accuracy_of})
    for name in columns:
        try:
            column_named(name)
        except ValueError as error:
            raise ConfigError(f"report: --columns {error}") from None
        if "/" in name and known and name not in known:
            raise ConfigError(f"report: --columns: no run has {name!r} in its metrics.json{suggestion(name, known)}")
        if name.startswith(TASK) and tasks and name.removeprefix(TASK) not in tasks:
            raise ConfigError(f"report: --columns: no run answers this task; tasks: {', '.join(tasks)}; got {name!r}")


def _missing(table: Table, settings: DeclaredTable, overrides: Sequence[str]) -> Iterator[str]:
    """The command of the sweep, with these further overrides, which fills all gaps at once. It computes only the missing runs."""
    gaps = [gap for row in table.rows for gap in row.gaps]
    if gaps and settings.sweep and not settings.where:
        sweep = run_command(["-m", f"sweep={settings.sweep}", *settings.overrides, *overrides])
        num_runs = len(gaps) + sum(len(row.seeds) for row in table.rows)
        yield f"{len(gaps)} of {num_runs} expected runs are missing; all of them: {sweep}"


def _plan(table: DeclaredTable, outputs: Path, options: ReportOptions, grid: Grid) -> ExpectedArms:
    """The arms of a table; the seeds of each answered the same questions."""
    plan = _arms_of(table, outputs, options, grid)
    return plan._replace(arms=[of_same_content(arm, outputs) for arm in plan.arms])


def _arms_of(table: DeclaredTable, outputs: Path, options: ReportOptions, grid: Grid) -> ExpectedArms:
    mode = options.mode or table.mode
    if table.sweep is None:
        return _arms_of_runs(table, outputs, mode, options)
    expected = expected_of(grid((f"sweep={table.sweep}", *table.overrides, *options.overrides)), mode, outputs)
    check_where(table.where, expected)
    expected = [run for run in expected if chosen(run, table.where)]
    names = {run.name for run in expected}
    folders = [
        folder for folder in run_folders(outputs) if (fits(folder, options.only, outputs) if options.only else name_of(folder, outputs) in names)
    ]
    stored = [run for run in stored_runs(folders, outputs, mode) if chosen(run, table.where)]
    return match_runs(expected, stored, outputs, any_name=bool(options.only))


def _arms_of_runs(table: DeclaredTable, outputs: Path, mode: str | None, options: ReportOptions) -> ExpectedArms:
    """The arms of all existing runs, with the seeds that each lacks."""
    finished = find_runs(table.runs, outputs, mode=mode, only=options.only)
    check_where(table.where, finished.runs)
    arms, replaced = arms_of([run for run in finished.runs if chosen(run, table.where)])
    unfinished = stored_runs(finished.unfinished, outputs, mode)
    gaps = unfinished_of(arms, unfinished, outputs)
    for arm in arms:
        named = {*arm.seeds, *(gap.seed for gap in gaps[arm.label])}
        gaps[arm.label] += [Gap(row=arm.label, seed=seed, state="missing") for seed in table.seeds if seed not in named]
    planned = [
        ExpectedArm(label=arm.label, mode=arm.runs[0].mode, arm=arm, budget=budget_of(arm.runs[0]), gaps=tuple(gaps[arm.label])) for arm in arms
    ]
    if not options.only:
        expected = expected_by_sweeps(table.runs, outputs, mode, table.where)
        planned = with_missing(planned, finished.runs, unfinished, expected, outputs)
    begun = {gap.folder for arm in planned for gap in arm.gaps}
    others = [folder for folder in finished.unfinished if str(folder.relative_to(outputs)) not in begun]
    left_out = [*(_begun(folder, outputs) for folder in others), *finished.left_out, *replaced]
    return ExpectedArms(planned, left_out, distinct(run.settings.get("baseline", "") for arm in arms for run in arm.runs))


def _begun(folder: Path, outputs: Path) -> str:
    gap = unfinished_gap(folder, outputs)
    why = f"{gap.state} {gap.reason}".rstrip() if gap.state != "unfinished" else "not finished"
    return f"{folder.relative_to(outputs / 'runs')}: {why}{f'; {gap.command}' if gap.command else ''}"


def _rows(planned: Sequence[ExpectedArm], groups: Sequence[ComparedArms]) -> list[ArmRow]:
    """Base models first, then every arm in the expected order. An arm without a finished run has only gaps."""
    measured = measure_arms(groups)
    by_label = {row.label: row for row in measured if row.arm}
    rows = [by_label.get(arm.label, ArmRow(label=arm.label, mode=arm.mode)) for arm in planned]
    return [*(row for row in measured if not row.arm), *(replace(row, gaps=arm.gaps) for row, arm in zip(rows, planned, strict=True))]


def _runs_of(rows: Sequence[ArmRow], table: str) -> Iterator[UsedRun]:
    """The runs of all rows, in their order."""
    for row in rows:
        for run in row.arm.runs if row.arm else []:
            yield UsedRun(table=table, row=row.label, name=run.name, key=run.key, seed=run.seed, folder=run.folder)
