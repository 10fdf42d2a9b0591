"""The Python interface, for scripts and notebooks: what the commands do, with the same words, results and messages.

A mistake of a user raises ConfigError, and a run that cannot go on raises RunFailed; both are in `cotexp.settings.base`, and their text is the one
that the command prints. Nothing ends the process, and everything that a function changes in it (handlers of signals and of logging, variables of the
environment) is put back when it returns. Every command imports this file: what is heavy is imported by the function that needs it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pandas import DataFrame

    from cotexp.commands.plan import Plan
    from cotexp.commands.report import WrittenReport
    from cotexp.config.command_line import Command, Point
    from cotexp.jobs.pipeline import Result
    from cotexp.report.frames import TableName
    from cotexp.settings.root import Settings

Place = str | PathLike[str]
OUTPUTS = "outputs"


def compose(*overrides: str, config_dir: Place | None = None) -> Settings:
    """The checked settings of one run, for the words that follow `cotexp run`: `compose("experiment=macc/gsm8k", "seed=1").trainer.batch_size`.

    `config_dir` is a folder of your own settings files, here and below.
    Raises: ConfigError with every mistake in the words.
    """
    with _at_work(config_dir):
        return _one_point(overrides, "compose").settings


def plan(*overrides: str, config_dir: Place | None = None) -> Plan:
    """Print and return the stages of a run, what is stored of each and what would be computed. Nothing is computed.

    Raises: ConfigError with every mistake in the words.
    """
    with _at_work(config_dir):
        from cotexp.commands.plan import print_plan

        return print_plan(_one_point(overrides, "plan").settings)


def run(*overrides: str, config_dir: Place | None = None) -> Result | None:
    """Run an experiment as `cotexp run` does with these words, or continue it; a finished run is only read. Returns its folder and metrics.

    None with compress_only=true, which makes no run, and on each machine of trainer.num_nodes but the first.
    Raises: ConfigError before anything is computed; RunFailed; KeyboardInterrupt after an interrupt, from which the same call goes on.
    """
    with _at_work(config_dir):
        from cotexp.commands import run_experiment

        point = _one_point(overrides, "run")
        _refuse_plan(point, "run")
        return run_experiment(point.settings, _words_of(point), point.options)


def sweep(*overrides: str, config_dir: Place | None = None) -> list[Result]:
    """Run every point of a grid one after the other, as `cotexp run -m` does with these words: `sweep("compression=macc,none", "seed=0,1")`.

    Returns the finished runs in the order of the points. A point that fails does not end the sweep.
    Raises: ConfigError before anything is computed; RunFailed after the last point, if some failed; KeyboardInterrupt.
    """
    with _at_work(config_dir):
        from cotexp.config import command_line, sweep_agents
        from cotexp.config.sweeper import failed_line
        from cotexp.jobs import current_sweep, sweeps
        from cotexp.settings.base import RunFailed

        command = _read(overrides, "sweep", "-m")
        points = command_line.points_of(command.overrides, multirun=True)
        for point in points:
            _refuse_plan(point, "sweep")
        grid = [(tuple(_words_of(point)), point.settings) for point in points]
        sweeps.write(grid, command.words_of_sweep, command.grid)
        current_sweep.enter(grid)
        sweep_agents.leave()
        results = [_unless_failed(point) for point in points]
        if failed := [point.overrides for point, result in zip(points, results, strict=True) if isinstance(result, Exception)]:
            raise RunFailed(failed_line([point.overrides for point in points], failed))
        return [result for result in results if result is not None and not isinstance(result, Exception)]


def read(table: TableName, *patterns: str, outputs: Place = OUTPUTS) -> DataFrame:
    """A table of results as a data frame of pandas, whose rows begin with the experiment, the key and the seed of a run.

    "runs": one row per run, finished or not, with the settings that differ; "metrics": one per finished run, with the same settings and its
    metrics; "predictions": one per answer; "rounds": one per text of a compressed chain; "selections": one per rationale that a selection chose from.
    `patterns` name experiments or keys, also with * and ?, as in `cotexp runs`.
    Raises: ConfigError for an unknown table, without pandas, or if no run fits.
    """
    with _at_work():
        from cotexp.report import frames

        return frames.read(table, patterns, Path(outputs))


def write_report(
    *names: str,
    formats: str = "md",
    paper: str | None = None,
    outputs: Place = OUTPUTS,
    folder: Place | None = None,
    config_dir: Place | None = None,
) -> WrittenReport:
    """Print and write the report `cotexp report NAMES`. Returns its files and its figures by name, which a notebook shows.

    `names` are a declared report, with settings of its sweep, or experiments. `formats` are md, latex, csv and html, joined by commas, or all.
    `paper` is the style that tables and figures of latex fit, as of `cotexp report --paper`.
    Raises: ConfigError for an unknown name, format, style or setting, or an experiment without a finished run.
    """
    with _at_work(config_dir):
        from cotexp.commands import declared_reports
        from cotexp.commands.report import formats_of, report_experiments
        from cotexp.report.build import ReportOptions
        from cotexp.report.papers import USUAL
        from cotexp.settings.base import ConfigError

        experiments = [name for name in names if "=" not in name]
        if not experiments:
            raise ConfigError("write_report: name a declared report or an experiment, such as write_report('macc/quickstart')")
        declared_reports.grid.cache_clear()  # settings files may have changed since the last call
        options = ReportOptions(overrides=tuple(name for name in names if "=" in name))
        target = Path(folder) if folder is not None else None
        return report_experiments(
            experiments, outputs=Path(outputs), options=options, formats=formats_of(formats), folder=target, paper=paper or USUAL
        )


def export(run: str | Result, folder: Place, *, dtype: str = "float32", outputs: Place = OUTPUTS) -> Path:
    """Write the fine-tuned model of a finished run as a transformers folder with a model card, as `cotexp export` does, and return the folder.

    `run` is a result of `run` or `sweep`, a run's folder or key, or an experiment's name for its newest run. `dtype` is float32 or bfloat16.
    Raises: ConfigError if there is no such run, it trained nothing, or the folder holds something else.
    """
    with _at_work():
        from cotexp.commands.arguments import DTYPES
        from cotexp.commands.export import export_model
        from cotexp.settings.base import ConfigError

        if dtype not in DTYPES:
            raise ConfigError(f"export: dtype must be one of {', '.join(DTYPES)}; got {dtype!r}")
        export_model(run if isinstance(run, str) else str(run.folder), Path(folder), dtype=dtype, outputs=Path(outputs))
        return Path(folder)


def detect(file: Place, *overrides: str, config_dir: Place | None = None) -> dict[str, list[str]]:
    """Print how a file of yours would be read, with three of its rows, as `cotexp questions --detect` does, and return the words for `run`.

    They are under "questions", "rationales", or both: `run("experiment=...", *detect("sums.csv")["questions"])`. `overrides` replace what is found.
    Raises: ConfigError if nothing in the file looks like a question, nor like rationales with ids.
    """
    with _at_work(config_dir):
        from cotexp.commands.questions import print_detected

        return print_detected(os.fspath(file), list(overrides))


# --- one call ----------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _at_work(config_dir: Place | None = None) -> Iterator[None]:
    """While a function works: log lines are printed, an interrupt stops it without loss, and the user's folder of settings files is read."""
    from cotexp import signals
    from cotexp.config import search_path, sweep_agents
    from cotexp.jobs import current_sweep
    from cotexp.settings.root import CONFIG_DIR

    names = (CONFIG_DIR, current_sweep.VARIABLE, *sweep_agents.VARIABLES)
    before = {name: os.environ.get(name) for name in names}
    if "ipykernel" in sys.modules:
        from cotexp import notebook

        notebook.hush_tqdm()
    try:
        if config_dir is not None:
            search_path.use(os.fspath(config_dir))
        with _log_lines(), signals.handled(are_repeated=True):  # else a second interrupt would end the kernel of a notebook
            yield
    except signals.Stopped as stop:
        if stop.number != signal.SIGINT:
            raise
        raise KeyboardInterrupt("stopped; everything computed is kept, and the same call again goes on") from None
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _log_lines() -> Iterator[None]:
    """Print the log lines of this project, unless the program has handlers of its own that do."""
    from cotexp.visible import LogLines

    logger, level = logging.getLogger("cotexp"), logging.getLogger("cotexp").level
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(LogLines("%(asctime)s %(message)s", "%H:%M:%S"))
    if not logger.hasHandlers():
        logger.addHandler(handler)
    if level == logging.NOTSET:
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def _read(overrides: Sequence[str], function: str, *flags: str) -> Command:
    """The command with these words. Raises: ConfigError for what only the command takes."""
    from cotexp.config import command_line
    from cotexp.invocation import run_command
    from cotexp.settings.base import ConfigError, shortened

    for word in overrides:
        if not isinstance(word, str) or word.startswith("-"):
            raise ConfigError(f"{function} takes settings as texts, such as 'seed=1'; got {shortened(word)}")
    read = command_line.read_command([*flags, *overrides])
    if own := [each.partition("=")[0] for each in read.overrides if each.lstrip("+~").startswith("hydra")]:
        raise ConfigError(f"{function} runs in this process, without {own[0]}, which the command takes: {run_command(['-m'])} {own[0]}=...")
    return read


def _one_point(overrides: Sequence[str], function: str) -> Point:
    from cotexp.config import command_line

    return command_line.only_point(_read(overrides, function).overrides)


def _words_of(point: Point) -> list[str]:
    """The words that make this point by `cotexp run`."""
    from cotexp.config.grids import expand_sweep

    return list(expand_sweep(point.overrides))


def _refuse_plan(point: Point, function: str) -> None:
    from cotexp.settings.base import ConfigError

    if point.settings.plan:
        raise ConfigError(f"{function} computes; leave out plan=true, or call plan with these words")


def _unless_failed(point: Point) -> Any:
    """The result of a point of a sweep, or its error, which is printed."""
    from cotexp.commands import run_experiment
    from cotexp.jobs import sweeps
    from cotexp.settings.base import USER_ERRORS
    from cotexp.visible import format_error

    words = _words_of(point)
    try:
        with sweeps.failure_noted(point.settings):
            return run_experiment(point.settings, words, point.options)
    except USER_ERRORS as error:
        print(format_error(error), file=sys.stderr)
        return error
    except Exception as error:
        logging.getLogger("cotexp").exception("the point %s failed", " ".join(words))
        return error
