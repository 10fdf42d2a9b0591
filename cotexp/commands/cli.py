"""`cotexp NAME`: the commands beside run.py."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from cotexp import stopping
from cotexp.commands import USER_ERRORS
from cotexp.sections import LARGEST, LARGEST_SEED, ConfigError, broken_path
from cotexp.settings import MODES
from cotexp.visible import visible


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; `{self.prog} --help` lists what it takes\n")


def _number(low: int, high: int = LARGEST) -> Callable[[str], int]:
    """Reads an integer within bounds."""

    def read(word: str) -> int:
        try:
            value = int(word)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be an integer; got {word[:40]!r}") from None
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"must be at {f'least {low}' if value < low else f'most {high}'}; got {word[:40]}")
        return value

    return read


def _place(word: str) -> Path:
    """Reads the name of a file or folder."""
    if problem := broken_path(word):
        raise argparse.ArgumentTypeError(f"{problem}; got {word[:40]!r}")
    return Path(word)


def main(arguments: list[str] | None = None) -> None:
    parser = _Parser(prog="cotexp", description="Commands beside `python run.py`.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    encode = commands.add_parser("encode", help="print encoded training examples; supervised tokens are coloured")
    encode.add_argument("overrides", nargs="*", help="settings as for run.py, such as model=tiny compression=macc")
    encode.add_argument("--questions", type=_number(1), default=1, help="number of training questions to show (default 1)")
    export = commands.add_parser("export", help="write a run's fine-tuned model as an ordinary transformers folder with a model card")
    export.add_argument("run", help="a run's folder, its key or the first digits of it, or an experiment's name for its newest finished run")
    export.add_argument("folder", type=_place, help="where to write; must not exist or be an earlier export")
    export.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="number format of the weights")
    export.add_argument("--outputs", type=_place, default=Path("outputs"), help="folder of the store and of the runs (default outputs)")
    grade = commands.add_parser("grade", help="label answers under three rules: those of a run, or of a file with rows of id, gold and text")
    grade.add_argument("answers", metavar="RUN|FILE", help="a run's folder, key or experiment; with --task a JSON Lines file")
    grade.add_argument("--task", help="the task whose rules grade FILE, such as gsm8k; its answer type decides")
    grade.add_argument("--output", type=_place, help="write the labels here (FILE: standard output by default; RUN: no labels by default)")
    grade.add_argument("--timeout", type=float, default=2.0, metavar="SECONDS", help="most seconds of processor time for one comparison (default 2)")
    grade.add_argument("--outputs", type=_place, default=Path("outputs"), help="folder of the store and of the runs (default outputs)")
    compare = commands.add_parser("compare", help="compare two finished runs on the questions that both answered")
    compare.add_argument(
        "first", metavar="RUN", help="a run's folder, its key or the first digits of it, or an experiment's name for its newest finished run"
    )
    compare.add_argument("second", metavar="RUN", help="the other run; differences are this one minus the first")
    compare.add_argument("--mode", help="base, truncate, full or compress, or one for each run such as full,compress (default: each run's last)")
    compare.add_argument("--outputs", type=_place, default=Path("outputs"), help="folder of the store and of the runs (default outputs)")
    _add_runs(commands)
    clean = commands.add_parser("clean", help="show what of the store no run needs any more, and delete it when told to")
    clean.add_argument("--delete", action="store_true", help="delete it; without this word only sizes are shown")
    clean.add_argument("--paid", action="store_true", help="also texts that a server was paid for and no run needs")
    clean.add_argument("--outputs", type=_place, default=Path("outputs"), help="folder of the store and of the runs (default outputs)")
    _add_report(commands)
    _add_forecast(commands)
    fetch = commands.add_parser("fetch", help="download benchmark files into a data folder")
    fetch.add_argument("tasks", nargs="*", metavar="TASK", help="tasks to download, such as multiarith; see --list")
    fetch.add_argument("--list", action="store_true", help="list every task with its rows, source and licence")
    fetch.add_argument("--folder", type=_place, default=Path("outputs/data"), help="data folder to write to (default outputs/data)")
    fetch.add_argument("--force", action="store_true", help="download files that are there and complete as well")
    questions = commands.add_parser("questions", help="show a task's questions: counts, what was left out, examples, overlap of train and test")
    questions.add_argument("overrides", nargs="*", help="settings as for run.py, such as task=gsm8k,svamp paths.data=FOLDER")
    questions.add_argument(
        "--overlap", type=_number(1), nargs="?", const=13, metavar="WORDS", help="look for runs of this many words in train and test (13)"
    )
    questions.add_argument("--examples", type=_number(0), default=1, help="prompts to show per task (default 1)")
    _add_search(commands)
    for each in commands.choices.values():
        each.add_argument("--config-dir", type=_place, metavar="DIR", help="your own folder of settings files such as task/NAME.yaml")
    words = sys.argv[1:] if arguments is None else arguments
    end = words.index("--") if words[:1] == ["search"] and "--" in words else len(words)
    options = parser.parse_args(words[:end], argparse.Namespace(settings=words[end + 1 :]))
    try:
        if options.config_dir:
            from cotexp.overrides import use_config_dir

            use_config_dir(options.config_dir)
        with stopping.handled():
            _RUN[options.command](options)
    except USER_ERRORS as error:
        sys.exit("\n".join(f"cotexp: {visible(line)}" for line in str(error).splitlines()))
    except OSError as error:
        if error.filename is None:
            raise
        sys.exit(f"cotexp: {options.command}: {str(error.filename)!r} cannot be used ({error.strerror}); name another file or folder")
    except stopping.Stopped as stop:
        print(f"cotexp: {stop}", file=sys.stderr)
        raise


def _add_runs(commands: Any) -> None:
    from cotexp.jobs.status import FAILED, STATES

    runs = commands.add_parser(
        "runs",
        help="list runs with state, progress, metrics and cost; show one, compare two, start failed ones again",
        epilog="cotexp runs; cotexp runs macc/quickstart; cotexp runs 3f2a; cotexp runs 3f2a 91bc; cotexp runs --failed --relaunch",
    )
    runs.add_argument(
        "runs", nargs="*", metavar="RUN", help="experiments, run keys or their first digits, NAME/KEY, patterns such as 'macc/*'; all by default"
    )
    runs.add_argument("--state", action="append", default=[], choices=STATES, help="only runs in this state; may be given again")
    runs.add_argument("--failed", action="store_true", help=f"only those that {', '.join(FAILED[:-1])} or were {FAILED[-1]}")
    runs.add_argument("--relaunch", action="store_true", help="start those listed again that neither finished nor run, one after another")
    runs.add_argument("--outputs", type=_place, default=Path("outputs"), help="folder of the store and of the runs (default outputs)")


def _add_report(commands: Any) -> None:
    report = commands.add_parser(
        "report",
        help="runs as tables and figures: a declared report, or all finished runs of experiments with an arm per row",
        description="Reads what lies under OUTPUTS alone: no network, no model. conf/report/NAME.yaml declares a report: the runs that it expects, "
        "columns, baseline; what is missing is named with the command that fills it.",
        epilog="cotexp report macc/quickstart_ablation --format all; cotexp report morsd/arithmetic --baseline selection=random",
    )
    report.add_argument(
        "names",
        nargs="+",
        metavar="NAME",
        help="a declared report, or experiments as their runs lie in OUTPUTS/runs/NAME; "
        "words such as task.num_train=600 that stood beside the sweep of a declared report: its runs are expected with them",
    )
    report.add_argument(
        "--runs", nargs="+", default=[], metavar="RUN", help="only these: experiments, run keys, NAME/KEY, or patterns such as 'macc/*'"
    )
    report.add_argument(
        "--baseline",
        metavar="SETTINGS",
        help='arm to measure against, by its label such as "selection=random", or base for the model that each arm was made of '
        "(default: what the runs declare as their baseline, or random over all, or the first)",
    )
    report.add_argument("--mode", choices=MODES, help="evaluated mode (default: as declared, or each run's last)")
    report.add_argument("--format", default="md", metavar="FORMATS", help="md, latex, csv, html, several joined by commas, or all (default md)")
    report.add_argument("--output", type=_place, metavar="DIR", help="folder to write to (default OUTPUTS/reports/NAME)")
    report.add_argument("--outputs", type=_place, default=Path("outputs"), help="folder of the store and of the runs (default outputs)")


def _add_forecast(commands: Any) -> None:
    forecast = commands.add_parser(
        "forecast",
        help="how well finished runs foretell accuracy and tokens of a fine-tuned model from its compressed training set; rank candidates",
        description="Fits Bayesian ridge and a random forest on finished runs and says how far they miss runs of compressed training sets that they "
        "have not seen, beside two trivial baselines. With --candidates it ranks configurations whose rounds are in the store and whose model is "
        "not fine-tuned yet. Computes nothing but these fits: no model is loaded.",
        epilog="cotexp forecast macc/quickstart_ablation; "
        "cotexp forecast macc/quickstart_ablation --candidates macc/quickstart_ablation compression.max_rounds=3,5 mixture.full_ratio=0.5",
    )
    forecast.add_argument("names", nargs="+", metavar="NAME", help="experiments to learn from, as their runs lie in OUTPUTS/runs/NAME, or 'macc/*'")
    forecast.add_argument(
        "--candidates",
        nargs="+",
        default=[],
        metavar="SWEEP",
        help="a named grid, and words that replace or add to its settings, as behind `python run.py -m`",
    )
    forecast.add_argument("--format", default="md", metavar="FORMATS", help="md, latex, csv, html, several joined by commas, or all (default md)")
    forecast.add_argument("--output", type=_place, metavar="DIR", help="folder to write to (default OUTPUTS/reports/NAME/forecast)")
    forecast.add_argument("--outputs", type=_place, default=Path("outputs"), help="folder of the store and of the runs (default outputs)")


def _add_search(commands: Any) -> None:
    search = commands.add_parser(
        "search",
        help="let Optuna choose settings: every trial is a run",
        usage="cotexp search NAME --space KEY=VALUES ... [--trials N] [--metric METRIC | --front METRIC,METRIC] [--seed N] [-- SETTING ...]",
        description="The same command goes on where it stopped, and several processes may work on one search. Trials answer validation questions "
        "unless evaluation.split=test stands behind --.",
        epilog="cotexp search learning_rate --trials 20 --space trainer.learning_rate=log:1e-4,1e-2 compression.max_rounds=int:2,8 -- "
        "experiment=macc/quickstart",
    )
    search.add_argument("name", metavar="NAME", help="name of the search and of its runs: OUTPUTS/searches/NAME, OUTPUTS/runs/NAME")
    search.add_argument(
        "--space",
        nargs="+",
        required=True,
        metavar="KEY=VALUES",
        help="settings to vary: KEY=A,B,C, KEY=int:LOW,HIGH, KEY=float:LOW,HIGH, or KEY=log:LOW,HIGH on a logarithmic scale",
    )
    search.add_argument(
        "--trials", type=_number(1), default=20, help="trials in all, those of earlier starts and of other processes included (default 20)"
    )
    wanted = search.add_mutually_exclusive_group()
    wanted.add_argument(
        "--metric",
        default="accuracy",
        help="accuracy (default), tokens, loss (of validation), or a name of metrics.json such as eval/full/accuracy",
    )
    wanted.add_argument("--front", metavar="METRIC,METRIC", help="search the front of several metrics, such as accuracy,tokens")
    direction = search.add_mutually_exclusive_group()
    direction.add_argument(
        "--minimize", action="store_const", const="minimize", dest="direction", help="small is good (default for losses, lengths and times)"
    )
    direction.add_argument("--maximize", action="store_const", const="maximize", dest="direction", help="large is good (default for all others)")
    search.add_argument(
        "--seed",
        type=_number(0, LARGEST_SEED - LARGEST),
        default=0,
        help="seed of the trials that are tried (default 0); the setting seed is another one",
    )


def _search(options: argparse.Namespace) -> None:
    from cotexp.commands.search import run_search

    metrics = options.front.split(",") if options.front else [options.metric]
    if options.front and len(metrics) < 2:
        raise ConfigError(f"--front needs two metrics or more, joined by commas; got {options.front}")
    run_search(
        options.name,
        options.settings,
        space=options.space,
        metrics=metrics,
        direction=options.direction,
        num_trials=options.trials,
        seed=options.seed,
    )


def _encode(options: argparse.Namespace) -> None:
    from cotexp.commands.encode import print_encoded

    print_encoded(options.overrides, num_questions=options.questions)


def _export(options: argparse.Namespace) -> None:
    from cotexp.commands.export import export_model

    export_model(options.run, options.folder, dtype=options.dtype, outputs=options.outputs)


def _grade(options: argparse.Namespace) -> None:
    from cotexp.commands.export import find_run
    from cotexp.commands.grade import grade_file, grade_run

    if options.task:
        grade_file(options.task, Path(options.answers), output=options.output, timeout_seconds=options.timeout)
    else:
        grade_run(find_run(options.answers, options.outputs), output=options.output, timeout_seconds=options.timeout)


def _compare(options: argparse.Namespace) -> None:
    from cotexp.commands.compare import compare_runs

    compare_runs(options.first, options.second, outputs=options.outputs, mode=options.mode)


def _runs(options: argparse.Namespace) -> None:
    from cotexp.commands.runs import show_runs
    from cotexp.jobs.status import FAILED

    show_runs(options.runs, outputs=options.outputs, states=[*options.state, *(FAILED if options.failed else ())], relaunch=options.relaunch)


def _clean(options: argparse.Namespace) -> None:
    from cotexp.commands.clean import clean_store

    clean_store(options.outputs, delete=options.delete, paid=options.paid)


def _report(options: argparse.Namespace) -> None:
    from cotexp.commands.report import formats_of, report_experiments
    from cotexp.report.build import Wanted

    report_experiments(
        [each for each in options.names if "=" not in each],
        outputs=options.outputs,
        wanted=Wanted(
            baseline=options.baseline,
            mode=options.mode,
            only=tuple(options.runs),
            overrides=tuple(each for each in options.names if "=" in each),
        ),
        formats=formats_of(options.format),
        folder=options.output,
    )


def _forecast(options: argparse.Namespace) -> None:
    from cotexp.commands.forecast import forecast_experiments
    from cotexp.commands.report import formats_of

    forecast_experiments(
        options.names, outputs=options.outputs, candidates=options.candidates, formats=formats_of(options.format), folder=options.output
    )


def _fetch(options: argparse.Namespace) -> None:
    from cotexp.commands.fetch import fetch_tasks, print_tasks

    if options.list:
        print_tasks()
    else:
        fetch_tasks(options.tasks, options.folder, force=options.force)


def _questions(options: argparse.Namespace) -> None:
    from cotexp.commands.questions import print_questions

    print_questions(options.overrides, overlap=options.overlap, examples=options.examples)


_RUN = {
    "encode": _encode,
    "export": _export,
    "grade": _grade,
    "compare": _compare,
    "clean": _clean,
    "runs": _runs,
    "report": _report,
    "forecast": _forecast,
    "fetch": _fetch,
    "questions": _questions,
    "search": _search,
}
