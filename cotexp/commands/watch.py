"""`cotexp watch`: the points of a sweep, those not begun too, live on a terminal or once."""

from __future__ import annotations

import functools
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

from cotexp import signals
from cotexp.invocation import run_command
from cotexp.jobs.sweeps import Sweep, manifests, sweeps_in
from cotexp.progress import pace
from cotexp.report import terminal
from cotexp.report.arms import labels
from cotexp.report.document import Cell, Table, text_table
from cotexp.report.finished_runs import name_of, run_folders
from cotexp.report.run_list import rows_done
from cotexp.report.terminal import say
from cotexp.report.watched import ENDED_BADLY, NOT_BEGUN, Runs, WatchedPoint, WatchedSweep, watch, watch_runs
from cotexp.settings.base import ConfigError, shortened, suggestion

REFRESH_SECONDS = 2.0
LINES_AROUND = 9
"""Lines of a terminal that a table takes besides its rows, with those below it."""
FIRST_SHOWN = ("running", *ENDED_BADLY, NOT_BEGUN, "finished")
"""States in the order in which points are shown if not all fit."""
MOST_FAILURES = 5
"""Failed points that are told line by line on a terminal; --once tells all."""


def show_watch(name: str | None, *, outputs: Path, once: bool) -> None:
    """Print the points of the sweeps that fit `name`, by default of the one started last and of others at work; on a terminal again and again until
    all have finished.

    Raises: ConfigError if nothing fits.
    """
    runs = Runs(outputs)
    chosen = _choose(name, runs)
    if once or not sys.stdout.isatty():
        for sweep in chosen():
            terminal.show_titled(_table(sweep, outputs))
            for line in _lines(sweep, outputs, len(sweep.points)):
                say(line)
        return
    try:
        terminal.follow(lambda height: _draw(chosen(), outputs, height), REFRESH_SECONDS)
    except signals.Stopped as stop:
        if stop.number != signal.SIGINT:
            raise


def _choose(name: str | None, runs: Runs) -> Callable[[], list[WatchedSweep]]:
    """A function that reads how the named sweeps stand, later ones too: those with points at work, or else the one that was started last. Without
    a name it is the one that was started last, and others with points at work.
    """
    sweeps, problems = sweeps_in(runs.outputs)
    for line in problems:
        say(line)
    names = {name_of(folder, runs.outputs) for folder in run_folders(runs.outputs)}
    if name is None and not sweeps:
        raise ConfigError(
            f"watch: no sweep was started with -m under {runs.outputs}; name an experiment with runs ({', '.join(sorted(names)) or 'none yet'})"
        )
    if name is not None and name not in names and not any(_fits(each, name) for each in sweeps):
        known = sorted({*names, *(each.name for each in sweeps if each.name)})
        there = f"{suggestion(name, known)}; there are {', '.join(known) or 'none'}"
        raise ConfigError(f"watch: no sweep and no experiment under {runs.outputs} is named {shortened(name)}{there}")
    newest_first = functools.lru_cache(maxsize=1)(lambda _: sweeps_in(runs.outputs)[0])
    return lambda: _chosen(newest_first(manifests(runs.outputs)), name, runs)


def _chosen(sweeps: Sequence[Sweep], name: str | None, runs: Runs) -> list[WatchedSweep]:
    if name is None:
        others = [watch(each, runs) for each in sweeps[1:] if each.may_be_alive]
        return [*(watch(each, runs) for each in sweeps[:1]), *(each for each in others if each.count("running"))]
    fitting = [watch(each, runs) for each in sweeps if _fits(each, name)]
    return [each for each in fitting if each.count("running")] or fitting[:1] or [watch_runs(name, runs)]


def _fits(sweep: Sweep, name: str) -> bool:
    experiments = {each.settings["name"] for each in sweep.points}
    return any(fnmatch(each, name) for each in {sweep.name, *experiments}) or (len(name) > 3 and sweep.key.startswith(name))


def _draw(sweeps: Sequence[WatchedSweep], outputs: Path, height: int) -> tuple[list[Table], list[str], bool]:
    """(tables that fit on a terminal of this height, lines below them, whether all is over)."""
    most = max(3, height // max(1, len(sweeps)) - LINES_AROUND)
    lines = [line for each in sweeps for line in _lines(each, outputs, MOST_FAILURES)]
    return [_table(each, outputs, most) for each in sweeps], lines, all(each.is_over for each in sweeps)


# --- what is shown ---------------------------------------------------------------------------------------------------------


def _table(sweep: WatchedSweep, outputs: Path, most: int | None = None) -> Table:
    """A line for each point, in the order of the grid; if there are more than `most`, those that matter now."""
    of_points = list(zip(labels(sweep.points), sweep.points, strict=True)) if sweep.points else []
    names = {each.name for each in sweep.points}
    shown = sorted(of_points, key=lambda each: FIRST_SHOWN.index(each[1].state) if each[1].state in FIRST_SHOWN else 0)[:most]
    rows = [_row("" if label in names and len(names) == 1 else label, point, outputs) for label, point in of_points if (label, point) in shown]
    headings = [each for each in (rows[0] if rows else {}) if any(row[each].text for row in rows)] or ["point"]
    hidden = len(of_points) - len(rows)
    notes = [f"{hidden} more points are not shown here; --once prints all"] if hidden else []
    cells = ([row[each].text if each == headings[0] else row[each] for each in headings] for row in rows)
    return text_table(_title(sweep), headings, cells, left=("state", "stage", "done"), notes=notes)


def _row(label: str, point: WatchedPoint, outputs: Path) -> dict[str, Cell]:
    """Heading -> cell."""
    run, status = point.run, point.run.status if point.run else None
    is_running, stage = point.state == "running", status.stage if status and point.state != "finished" else None
    counted = f"{status.done:,} of {status.total:,}" if status and status.done is not None and status.total else ""
    place = status.place.replace(" of ", "/") if status and stage else ""
    texts = {
        "point": label,
        "seed": str(point.seed),
        "run": run.key[:6] if run else "",
        "state": point.state,
        "stage": f"{place} {stage}".strip() if stage else "",
        "done": (counted or rows_done(run, stage, outputs)) if run and stage else "",
        "rate": "" if not is_running else pace(status.rate) if status and status.rate else "?",
        "left": "" if not is_running else clock(point.seconds_left),
        "took": "" if point.took is None else clock(point.took),
    }
    state = point.state if point.state != NOT_BEGUN else "missing"
    return {heading: Cell(text=text, state=state if heading == "state" else "ok") for heading, text in texts.items()}  # type: ignore[arg-type]


def _title(sweep: WatchedSweep) -> str:
    states = [each.state for each in sweep.points]
    known = (*terminal.COLOURS, NOT_BEGUN)
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys((*known, *states)) if state in states)
    title = f"{sweep.name}: {len(states)} {'point' if sweep.sweep else 'run'}{'s' * (len(states) != 1)}: {counts}"
    is_going = sweep.sweep and sweep.is_alive and sweep.count("running", NOT_BEGUN)
    return f"{title}; {clock(sweep.seconds_left)} left" if is_going else title


def clock(seconds: float | None) -> str:
    """A duration as h:mm:ss; "?" if it is not known."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _lines(sweep: WatchedSweep, outputs: Path, most_failures: int) -> Iterator[str]:
    """Lines below the table: what failed and why, and what to do."""
    failed = [each for each in sweep.points if each.state in ENDED_BADLY]
    for label, point in ((label, each) for label, each in zip(labels(sweep.points), sweep.points, strict=True) if each in failed[:most_failures]):
        stage = point.run.status.stage if point.run else None
        yield f"{label}, seed {point.seed}, {point.state}{f' in {stage}' if stage else ''}: {point.why or 'it left no word'}"
        yield f"    {run_command([*point.overrides])}"
    if len(failed) > most_failures:
        yield f"{len(failed) - most_failures} more failed; --once names all"
    if sweep.sweep is None:
        yield "No manifest of a sweep names these runs: agents and searches have no fixed grid, so what is still to come is not known."
        return
    began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(sweep.sweep.began))
    yield f"Sweep {sweep.sweep.key}, begun {began}{f' at commit {sweep.sweep.commit[:12]}' if sweep.sweep.commit else ''}"
    if not sweep.is_over and not sweep.is_alive:
        queued = ", unless jobs still wait in a queue" if sweep.count(NOT_BEGUN) and any("submitit" in each for each in sweep.sweep.command) else ""
        yield f"No point is at work{queued}. What is missing is computed by"
        yield f"    {run_command(sweep.sweep.command)}"
