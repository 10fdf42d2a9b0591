"""Results of runs as data frames: runs, metrics, answers, rounds of chains and selections of rationales. Reads only files under outputs/."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cotexp import extras
from cotexp.report import compression_examples
from cotexp.report.finished_runs import Flat
from cotexp.report.run_examples import Written
from cotexp.report.run_list import ListedRun, list_runs, progress
from cotexp.report.stored import unless_broken
from cotexp.settings.base import ConfigError, suggestion
from cotexp.stages.grades import predictions_of_run
from cotexp.store.stored_files import Row, compressed_of, questions_of, selection_of

if TYPE_CHECKING:
    from pandas import DataFrame

log = logging.getLogger(__name__)

TableName = Literal["runs", "metrics", "predictions", "rounds", "selections"]
RD = ("plain", "masked", "hidden")


def read(table: str, patterns: Sequence[str], outputs: Path) -> DataFrame:
    """A table of the runs that fit one of `patterns`, by default of all. Its first columns are the experiment, the key and the seed of a run.

    Raises: ConfigError for an unknown table, without pandas, or if no run fits.
    """
    if table not in _ROWS:
        raise ConfigError(f"read: the table must be one of {', '.join(_ROWS)}{suggestion(str(table), list(_ROWS))}; got {table!r}")
    extras.check("pandas", "cotexp.read")
    import pandas

    runs, broken = list_runs(outputs, patterns)
    for line in broken:
        log.warning("%s", line)
    rows = [{"name": run.name, "key": run.key, "seed": run.seed, **row} for run, row in _ROWS[table](runs, outputs)]
    return pandas.DataFrame(rows, columns=None if rows else ["name", "key", "seed"])


RunRows = Iterator[tuple[ListedRun, Row]]


def _runs(runs: Sequence[ListedRun], outputs: Path) -> RunRows:
    """A row per run: the settings that differ, its state, its times in seconds since the epoch, its cost and its folder."""
    varied = _varied(runs)
    for run in runs:
        status = run.status
        state = {"state": status.state, "progress": progress(run, outputs), "error": status.error, "started": status.started, "ended": status.ended}
        spent = {"seconds": run.seconds, "dollars": run.dollars, "folder": str(run.folder)}
        yield run, {**{path: _value(run, path) for path in varied}, **state, **spent}


def _metrics(runs: Sequence[ListedRun], outputs: Path) -> RunRows:
    """A row per finished run: the settings that differ, and its metrics."""
    finished = [run for run in runs if run.metrics]
    varied = _varied(finished)
    for run in finished:
        yield run, {**{path: _value(run, path) for path in varied}, **run.metrics}


def _varied(runs: Sequence[ListedRun]) -> list[str]:
    """The options of slots, and the settings that can change a result, that differ between the runs."""
    flats = [{**{f"{slot}.name": name for slot, name in run.names.items()}, **run.identity} for run in runs]
    paths = dict.fromkeys(path for flat in flats for path in flat)
    return [path for path in paths if len({flat.get(path) for flat in flats}) > 1 and not _is_of_the_task(path, flats)]


def _is_of_the_task(path: str, flats: Sequence[Flat]) -> bool:
    """Whether `tasks.NAME.SETTING` says of all runs what `task.SETTING` says."""
    section, _, setting = path.partition(".")
    own = f"task.{setting.partition('.')[2]}"
    return section == "tasks" and all(flat.get(path) in (None, flat.get(own)) for flat in flats)


def _value(run: ListedRun, path: str) -> Any:
    """A setting as the run has it, None if it has none of that name."""
    value: Any = run.settings
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _predictions(folder: Path) -> Iterator[Row]:
    """A row per answer: its question, mode, text, gold answer, labels and lengths."""
    questions = questions_of(folder)[1]
    for answers in predictions_of_run(folder).values():
        for each in answers:
            row = dataclasses.asdict(each)
            yield {"mode": row.pop("mode"), "task": row.pop("task"), "question": questions.get(each.question_id, {}).get("text"), **row}


def _rounds(folder: Path) -> Iterator[Row]:
    """A row per text of a compressed chain: round 0 is the chain as it was written. A chain whose tokens were cut has one round."""
    for chain in compression_examples.read_chains(folder, compressed_of(folder)):
        of_chain = {"task": chain.task, "question_id": chain.question_id, "rationale_id": chain.id, "stop_reason": chain.stop_reason}
        for number, text in enumerate(chain.texts):
            measured = {"num_tokens": chain.num_tokens[number], "perplexity": chain.perplexities[number], "remark": chain.remarks[number]}
            yield {**of_chain, "round": number, "kept": number == chain.kept_round, **measured, "text": text}


def _selections(folder: Path) -> Iterator[Row]:
    """A row per rationale that a selection chose from, with its scores if the run has some."""
    written = Written.read(folder)
    for outcome in selection_of(folder):
        for each in written.of_question(outcome):
            row = {name: value for name, value in dataclasses.asdict(each).items() if name not in ("cot", "closing")}  # the parts of its text
            scored = written.score_of(each)
            values = {f"rd_{kind}": scored.rd(kind) for kind in RD} | {"perplexity": scored.perplexity} if scored else {}
            yield {"task": written.tasks[each.question_id], "kept": each.id in outcome["kept"], **row, "text": each.text, **values}


def _of_each(rows_of: Callable[[Path], Iterator[Row]]) -> Callable[[Sequence[ListedRun], Path], RunRows]:
    """The rows of all finished runs. What cannot be read of one is told, and left out."""

    def rows(runs: Sequence[ListedRun], outputs: Path) -> RunRows:
        for run in (run for run in runs if run.metrics):
            found: list[Row] = unless_broken(run.folder, lambda folder: list(rows_of(folder)), list)
            yield from ((run, row) for row in found)

    return rows


_ROWS: dict[str, Callable[[Sequence[ListedRun], Path], RunRows]] = {
    "runs": _runs,
    "metrics": _metrics,
    "predictions": _of_each(_predictions),
    "rounds": _of_each(_rounds),
    "selections": _of_each(_selections),
}
