"""The trials of a search as table and figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cotexp.report import markdown, terminal
from cotexp.report.document import Report, text_table
from cotexp.report.style import COLOURS, Drawing, legend_below, panels, picture

TABLE = "trials.md"
FIGURE = "trials"


def counts(trial: Any) -> bool:
    """Whether an Optuna trial counts. It does not if it waits, or if its process died and its values were tried again."""
    return trial.state.name in ("RUNNING", "COMPLETE") or (trial.state.name == "FAIL" and "error" in trial.user_attrs)


def best_of(study: Any) -> list[Any]:
    """The best trial, the first of equal ones; with several metrics the Pareto front."""
    best = sorted(study.best_trials, key=lambda trial: trial.number)
    return best[:1] if len(study.directions) == 1 else best


def write_report(folder: Path, name: str, metrics: Sequence[str], study: Any) -> list[Any]:
    """Print the trials, write them with a figure to `folder`, and return the best ones, see `best_of`."""
    trials = [trial for trial in study.get_trials(deepcopy=False) if counts(trial) and "values" in trial.user_attrs]
    complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
    best = best_of(study) if complete else []
    paths = list(dict.fromkeys(path for trial in trials for path in trial.user_attrs["values"]))
    headings = ["trial", *paths, *metrics, "state", "seconds", "run"]
    rows = [_row(trial, paths, len(metrics), trial in best) for trial in trials]
    table = text_table(f"Search {name}", headings, rows, left=(*paths, "state", "run"))
    terminal.show(table)
    legend = f"* best{' (no other trial beats it in every metric)' if len(metrics) > 1 else ''}"
    (folder / TABLE).write_text(markdown.markdown(Report(name=name, title=table.title, tables=(replace(table, notes=(legend,)),))))
    if complete:
        drawing = Drawing(FIGURE, f"Trials of {name}", "Every trial of the search.", lambda figure: _draw(figure, metrics, complete, best, study))
        drawn = picture(drawing)
        (folder / f"{FIGURE}.png").write_bytes(drawn.png)
        (folder / f"{FIGURE}.svg").write_bytes(drawn.svg)
    print(f"Table{' and figure' if complete else ''}: {folder}")
    return best


def _row(trial: Any, paths: Sequence[str], num_metrics: int, is_best: bool) -> list[str]:
    values = [f"{value:.6g}" for value in trial.values] if trial.values else [""] * num_metrics
    state = {"COMPLETE": "finished", "FAIL": "failed", "RUNNING": "running"}.get(trial.state.name, trial.state.name.lower())
    error = trial.user_attrs.get("error", "")
    return [
        f"{trial.number}{' *' if is_best else ''}",
        *(trial.user_attrs["values"].get(path, "") for path in paths),
        *values,
        f"{state}: {error}" if error else state,
        f"{trial.duration.total_seconds():.0f}" if trial.duration else "",
        Path(trial.user_attrs["run"]).name if "run" in trial.user_attrs else "",
    ]


def _draw(figure: Any, metrics: Sequence[str], trials: Sequence[Any], best: Sequence[Any], study: Any) -> None:
    (axes,) = panels(figure, [1], height=3.0)
    red = {"color": COLOURS["red"], "marker": "o"}
    if len(metrics) == 1:
        minimized = study.directions[0].name == "MINIMIZE"
        reached: list[float] = []
        for trial in trials:
            reached.append((min if minimized else max)([*reached[-1:], trial.value]))
        numbers = [trial.number for trial in trials]
        axes.plot(numbers, [trial.value for trial in trials], linestyle="none", marker="o", color=COLOURS["blue"], label="trial")
        axes.step(numbers, reached, where="post", linestyle="--", color=COLOURS["red"], label="best so far")
        axes.set(xlabel="trial", ylabel=metrics[0])
        axes.xaxis.get_major_locator().set_params(integer=True)
    else:
        front = sorted(best, key=lambda trial: (trial.values[1], trial.values[0]))
        axes.plot(
            [trial.values[1] for trial in trials],
            [trial.values[0] for trial in trials],
            linestyle="none",
            marker="o",
            color=COLOURS["blue"],
            label="trial",
        )
        axes.plot([trial.values[1] for trial in front], [trial.values[0] for trial in front], linestyle="--", label="Pareto front", **red)
        for trial in front:
            axes.annotate(str(trial.number), (trial.values[1], trial.values[0]), xytext=(4, 5), textcoords="offset points", fontsize="small")
        axes.set(xlabel=metrics[1], ylabel=metrics[0])
    legend_below(figure)
