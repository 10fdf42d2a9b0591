"""`cotexp runs`: list runs with their states, show one, compare two, and restart failed ones."""

from __future__ import annotations

import functools
import subprocess
import sys
import time
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from cotexp.invocation import run_command
from cotexp.jobs.sweeps import Sweep
from cotexp.report import terminal
from cotexp.report.arms import labels
from cotexp.report.document import Cell, Table, text_table
from cotexp.report.run_list import ListedRun, differing, list_runs, metrics_side_by_side, progress
from cotexp.report.stored import unless_broken
from cotexp.report.terminal import say
from cotexp.report.watched import NOT_BEGUN, WatchedPoint, not_begun
from cotexp.settings.base import RunFailed
from cotexp.settings.root import outputs_words
from cotexp.store.stored_files import STAGES, stages_of


def show_runs(patterns: Sequence[str], *, outputs: Path, states: Sequence[str], relaunch: bool) -> None:
    """Print the selected runs: one named run in full, two side by side, otherwise one line each. With `relaunch`, restart them.

    Raises: ConfigError if a pattern fits no run; RunFailed if a restarted run fails.
    """
    runs, broken = list_runs(outputs, patterns, states)
    if broken and not runs and patterns:
        raise RunFailed("\n".join(f"runs: {line}" for line in broken))
    if relaunch:
        _relaunch(runs, outputs)
    elif not states and len(patterns) == len(runs) == 1:
        _show(runs[0], outputs)
    elif not states and len(patterns) == len(runs) == 2:
        ordered = [list_runs(outputs, [pattern]).runs[0] for pattern in patterns]
        _compare(ordered[0], ordered[1], outputs)
    else:
        _list(runs, outputs, [] if states else not_begun(outputs, runs, lambda name: _names(patterns, name)))
    for line in broken:
        say(line)


# --- many runs -------------------------------------------------------------------------------------------------------------


def _names(patterns: Sequence[str], name: str) -> bool:
    """Whether the patterns name a whole experiment."""
    return not patterns or any(fnmatch(name, each) for pattern in patterns for each in (pattern, f"{pattern}/*"))


def _list(runs: Sequence[ListedRun], outputs: Path, missing: Sequence[tuple[Sweep, Sequence[WatchedPoint]]]) -> None:
    if not runs:
        say("No run is in this state.")
    waiting = [each for _, points in missing for each in points]
    for name in dict.fromkeys(each.name for each in (*runs, *waiting)):
        of_experiment = [run for run in runs if run.name == name]
        terminal.show(_table(name, of_experiment, [each for each in waiting if each.name == name], outputs))
        for run in of_experiment:
            if run.status.error and run.status.state != "finished":
                say(f"{run.key} {run.status.state} in {run.status.stage or 'its beginning'}: {_line(run.status.error)}")
            if run.status.state in ("failed", "diverged", "killed", "stopped"):
                say(f"    {command(run, outputs)}")
        for point in (each for each in waiting if each.name == name and each.why):
            say(f"seed {point.seed} {point.state} before it had a folder: {point.why}")
            say(f"    {run_command(point.overrides)}")
    for sweep, points in missing:
        say(f"{len(points)} of {len(sweep.points)} points of a sweep are missing; `cotexp watch {sweep.key}` shows it, this computes them:")
        say(f"    {run_command(sweep.command)}")
        say(f"    (to forget that sweep, remove {sweep.path})")


def _table(name: str, runs: Sequence[ListedRun], waiting: Sequence[WatchedPoint], outputs: Path) -> Table:
    """A line for each run of one experiment, the newest last, then one for each point without a run; without empty columns."""
    of_runs, of_points = (labels([*runs, *waiting])[part] for part in (slice(len(runs)), slice(len(runs), None)))
    rows = [_cells(run, "" if label == name else label, outputs) for run, label in zip(runs, of_runs, strict=True)]
    rows += [_cells_of_point(point, "" if label == name else label) for point, label in zip(waiting, of_points, strict=True)]
    headings = [heading for heading in rows[0] if any(row[heading].text for row in rows)]
    cells = ([row[heading] if heading != "run" else row[heading].text for heading in headings] for row in rows)
    counted = _counts([*(run.status.state for run in runs), *(point.state for point in waiting)])
    return text_table(f"{name}: {counted}", headings, cells, left=("settings", "state"))


def _cells_of_point(point: WatchedPoint, label: str) -> dict[str, Cell]:
    """The cells of a point without a run."""
    cells = dict.fromkeys(("run", "settings", "seed", "state", "accuracy", "tokens", "time", "cost", "age"), Cell())
    state = "missing" if point.state == NOT_BEGUN else point.state
    return cells | {
        "settings": Cell(text=label.replace(", ", "\n")),
        "seed": Cell(text=str(point.seed)),
        "state": Cell(text=point.state, state=state),  # type: ignore[arg-type]
    }


def _counts(states: Sequence[str]) -> str:
    return ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys((*terminal.COLOURS, *states)) if state in states)


def _cells(run: ListedRun, label: str, outputs: Path) -> dict[str, Cell]:
    """Heading -> cell."""
    state, how_far = run.status.state, progress(run, outputs)
    accuracy, tokens, seconds = run.metric("accuracy"), run.metric("num_tokens"), run.seconds
    texts = {
        "run": run.key,
        "settings": label.replace(", ", "\n"),
        "seed": str(run.seed),
        "state": f"{state} ({how_far})" if how_far else state,
        "accuracy": "" if accuracy is None else f"{accuracy:.1%}",
        "tokens": "" if tokens is None else f"{tokens:.1f}",
        "time": "" if seconds is None else duration(seconds),
        "cost": "" if run.dollars is None else f"${run.dollars:.2f}",
        "age": duration(time.time() - run.modified),
    }
    return {heading: Cell(text=text, state=state if heading == "state" else "ok") for heading, text in texts.items()}  # type: ignore[arg-type]


def duration(seconds: float) -> str:
    """A duration in the largest unit that gives at least two: 48s, 12m, 5h, 3d."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"


def _line(text: str) -> str:
    return " ".join(text.split())


# --- restarting --------------------------------------------------------------------------------------------------------


def arguments_of(run: ListedRun, outputs: Path) -> list[str]:
    """The arguments of this run in `outputs`, even if that folder had another name before."""
    arguments = [argument for argument in run.status.overrides if not argument.startswith("paths.outputs=")]
    return [*arguments, *outputs_words(outputs)]


def command(run: ListedRun, outputs: Path) -> str:
    """The command that continues a run."""
    return run_command(arguments_of(run, outputs))


def _relaunch(runs: Sequence[ListedRun], outputs: Path) -> None:
    """Run the commands of all runs that neither finished nor are running, one after another. Each continues where it stopped."""
    to_run = [run for run in runs if run.status.state not in ("finished", "running") and (run.folder / "status.json").is_file()]
    if not to_run:
        say("There is no run to restart.")
    failed = []
    for number, run in enumerate(to_run, 1):
        say(f"{number} of {len(to_run)}: {command(run, outputs)}")
        code = subprocess.run([sys.executable, "-m", "cotexp", "run", *arguments_of(run, outputs)], check=False).returncode
        if code:
            failed.append(run.key)
        if code > 128 or code < 0:
            break
    if failed:
        raise RunFailed(f"runs: {len(failed)} of {len(to_run)} did not finish: {', '.join(failed)}; `cotexp runs --failed` shows their errors")


# --- one run, two runs -----------------------------------------------------------------------------------------------------


def _show(run: ListedRun, outputs: Path) -> None:
    from cotexp.report import run_table

    status = run.status
    how_far = progress(run, outputs)
    say(f"{run.name}/{run.key}: {status.state}{f', {how_far}' if how_far else ''}")
    if status.error and status.state != "finished":
        say(f"  error    {_line(status.error)}")
    if status.started is not None:
        say(f"  began    {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(status.started))}")
    if run.seconds is not None:
        spent = {name.removeprefix("seconds/"): value for name, value in run.metrics.items() if name.startswith("seconds/")}
        say(f"  took     {duration(run.seconds)}{f' ({_listed(spent)})' if spent else ''}")
    if run.dollars is not None:
        say(f"  cost     ${run.dollars:.4f} for all texts of servers that the run reads")
    if (run.folder / "status.json").is_file():
        say(f"  command  {command(run, outputs)}")
    say(f"  folder   {run.folder}")
    stages: dict[str, dict[str, Any]] = (
        unless_broken(run.folder, functools.partial(stages_of, complete=True), dict) if (run.folder / STAGES).exists() else {}
    )
    for name, stage in stages.items():
        say(f"  {name:40} {stage['path']}")
    if run.metrics:
        unless_broken(run.folder, lambda _: run_table.show(run.metrics, f"{run.name}, run {run.key}", run.settings), lambda: None)


def _listed(seconds: dict[str, float]) -> str:
    return ", ".join(f"{name} {duration(value)}" for name, value in seconds.items() if value >= 1)


def _compare(first: ListedRun, second: ListedRun, outputs: Path) -> None:
    """Print differing settings, metrics side by side and, if both have answers, the paired test of `cotexp compare`."""
    from cotexp.commands.compare import compare_runs

    say(f"First:  {first.name}/{first.key}, {first.status.state}\nSecond: {second.name}/{second.key}, {second.status.state}")
    _side_by_side("Settings that differ", "setting", differing(first, second))
    rows = [(name, *(_number(value) for value in values)) for name, values in metrics_side_by_side((first, second))]
    _side_by_side("Metrics", "metric", [(name, ours, theirs) for name, ours, theirs in rows])
    if first.metrics and second.metrics:
        compare_runs(str(first.folder), str(second.folder), outputs=outputs, mode=None)


def _side_by_side(title: str, what: str, rows: Sequence[tuple[str, str, str]]) -> None:
    if rows:
        terminal.show(text_table(title, (what, "first", "second"), rows, left=("first", "second")))
    else:
        say(f"{title}: none")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
