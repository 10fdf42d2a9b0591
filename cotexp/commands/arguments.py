"""Arguments of the commands `cotexp NAME`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from cotexp.jobs.status import FAILED, STATES
from cotexp.settings.base import LARGEST, LARGEST_SEED, broken_path
from cotexp.settings.evaluation import MODES
from cotexp.version import __version__

DTYPES = ("float32", "bfloat16")
"""Number formats of an exported model; the first one is the default."""
AddParser = Callable[..., argparse.ArgumentParser]
"""Adds a command by name, with the texts of its help."""


class _Parser(argparse.ArgumentParser):
    """Reports errors in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; `{self.prog} --help` lists its arguments\n")


def _number(low: int, high: int = LARGEST) -> Callable[[str], int]:
    """A parser of integers within bounds, both included."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be an integer; got {text[:40]!r}") from None
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"must be at {f'least {low}' if value < low else f'most {high}'}; got {text[:40]}")
        return value

    return read


def _path(text: str) -> Path:
    """The path that an argument names. Raises: ArgumentTypeError for a name that no file system accepts."""
    if problem := broken_path(text):
        raise argparse.ArgumentTypeError(f"{problem}; got {text[:40]!r}")
    return Path(text)


def parse(argv: list[str]) -> argparse.Namespace:
    """The parsed arguments of a command. `settings` holds the overrides after `--`, which `search` accepts.

    Wrong arguments end the process with the status 2 and an error of one line.
    """
    parser, _ = _made()
    end = argv.index("--") if argv[:1] == ["search"] and "--" in argv else len(argv)
    options, left = parser.parse_known_args(argv[:end], argparse.Namespace(settings=argv[end + 1 :]))
    if options.command == "export" and options.folder is None and len(left) == 1 and not left[0].startswith("-"):
        options.folder, left = _folder_after_options(parser, left[0]), []
    if left:
        parser.error(f"unrecognized arguments: {' '.join(left)}")
    return options


def _folder_after_options(parser: _Parser, text: str) -> Path:
    """The folder of an export: argparse finds no positional argument that may be left out after an option."""
    try:
        return _path(text)
    except argparse.ArgumentTypeError as error:
        parser.error(f"argument folder: {error}")


def commands() -> list[str]:
    """The names of the commands."""
    return _made()[1]


def _made() -> tuple[_Parser, list[str]]:
    """The parser of the command line, and the names of its commands."""
    parser = _Parser(prog="cotexp", description="Runs experiments, and works with their results in outputs/.")
    parser.add_argument("--version", action="version", version=f"cotexp {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    subparsers.add_parser("run", add_help=False, help="run an experiment or a sweep; see cotexp run --help")
    _add_encode(subparsers.add_parser)
    _add_export(subparsers.add_parser)
    _add_grade(subparsers.add_parser)
    _add_compare(subparsers.add_parser)
    _add_runs(subparsers.add_parser)
    _add_watch(subparsers.add_parser)
    _add_clean(subparsers.add_parser)
    _add_report(subparsers.add_parser)
    _add_forecast(subparsers.add_parser)
    _add_elasticity(subparsers.add_parser)
    _add_fetch(subparsers.add_parser)
    _add_questions(subparsers.add_parser)
    _add_search(subparsers.add_parser)
    _add_workspace(subparsers.add_parser)
    for command in subparsers.choices.values():
        command.add_argument("--config-dir", type=_path, metavar="DIR", help="your own folder of settings files such as task/NAME.yaml")
    return parser, list(subparsers.choices)


def _add_formats(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", default="md", metavar="FORMATS", help="md, latex, csv, html, several joined by commas, or all (default md)")
    parser.add_argument(
        "--paper",
        default="acl",
        metavar="STYLE",
        help="acl, icml, neurips or iclr: the paper whose column and text the tables and the PDF of --format latex fit (default acl, also for EMNLP)",
    )


def _add_outputs(command: argparse.ArgumentParser) -> None:
    command.add_argument("--outputs", type=_path, default=Path("outputs"), help="folder of the store and of the runs (default outputs)")


def _add_encode(add: AddParser) -> None:
    encode = add("encode", help="print encoded training examples; supervised tokens are coloured")
    encode.add_argument("overrides", nargs="*", help="settings as for `cotexp run`, such as model=tiny compression=macc")
    encode.add_argument("--questions", type=_number(1), default=1, help="number of training questions to show (default 1)")


def _add_export(add: AddParser) -> None:
    export = add(
        "export",
        help="write a run's fine-tuned model as a transformers folder, or its training set as a data set, each with a card; also to the hub",
        epilog="cotexp export macc/quickstart my_model; cotexp export macc/quickstart --data --push me/short-chains --private",
    )
    export.add_argument("run", help="a run's folder, its key or the first digits of the key, or an experiment's name for its newest finished run")
    export.add_argument(
        "folder", type=_path, nargs="?", help="folder to write to; must not exist, or be an earlier export (default OUTPUTS/exports/KEY)"
    )
    export.add_argument("--data", action="store_true", help="write the examples of its training set, selected and compressed, not the model")
    export.add_argument("--dtype", choices=DTYPES, help=f"number format of the weights (default {DTYPES[0]})")
    export.add_argument("--push", default="", metavar="OWNER/NAME", help="push the folder to this repository of the Hugging Face hub (HF_TOKEN)")
    export.add_argument("--private", action="store_true", help="make the repository private if it does not exist yet")
    _add_outputs(export)


def _add_grade(add: AddParser) -> None:
    grade = add(
        "grade",
        help="label answers under three rules: those of a run, or of a file with rows of id, gold and text, or other fields",
        description="FIELD may be a path such as doc.answer or messages.assistant. Three rows are shown as they are read.",
        epilog="cotexp grade --task gsm8k samples_gsm8k.jsonl --id-field doc_id --gold-field target --text-field 'resps.*.*'",
    )
    grade.add_argument(
        "answers",
        metavar="RUN|FILE",
        help="a run's folder, key or experiment; with --task a JSON, JSON Lines, CSV or Parquet file, or hub:OWNER/NAME",
    )
    grade.add_argument(
        "--task", help="the task whose rules grade FILE, such as gsm8k, or a type of answers: integer, decimal, latex, choice, boolean"
    )
    for name, what in {
        "text": "the answer's text, or a list of texts (default text)",
        "gold": "the gold answer (default gold)",
        "id": "what the labels' rows begin with (default id)",
        "options": "the options of multiple choice, as a task's (default options, with letters)",
        "finish-reason": "how a text ended, or a list (default finish_reason)",
    }.items():
        grade.add_argument(f"--{name}-field", metavar="FIELD", help=f"field of FILE with {what}")
    grade.add_argument("--gold-file", type=_path, metavar="FILE", help="file with the gold answers (and options) of the ids, if FILE lacks them")
    grade.add_argument("--output", type=_path, help="file for the labels (default: standard output for FILE, none for RUN)")
    grade.add_argument("--timeout", type=float, default=2.0, metavar="SECONDS", help="most seconds of processor time for one comparison (default 2)")
    _add_outputs(grade)


def _add_compare(add: AddParser) -> None:
    compare = add("compare", help="compare two finished runs on the questions that both answered")
    compare.add_argument(
        "first", metavar="RUN", help="a run's folder, its key or the first digits of the key, or an experiment's name for its newest finished run"
    )
    compare.add_argument("second", metavar="RUN", help="the other run; differences are this one minus the first")
    compare.add_argument("--mode", help="base, truncate, full or compress, or one for each run such as full,compress (default: each run's last)")
    _add_outputs(compare)


def _add_clean(add: AddParser) -> None:
    clean = add("clean", help="show the entries of the store that no run needs any more, and delete them with --delete")
    clean.add_argument("--delete", action="store_true", help="delete them; otherwise only their sizes are shown")
    clean.add_argument("--paid", action="store_true", help="include texts of paid servers that no run needs")
    _add_outputs(clean)


def _add_fetch(add: AddParser) -> None:
    fetch = add("fetch", help="download benchmark files into a data folder")
    fetch.add_argument("tasks", nargs="*", metavar="TASK", help="tasks to download, such as multiarith; see --list")
    fetch.add_argument("--list", action="store_true", help="list every task with its rows, source and licence")
    fetch.add_argument("--folder", type=_path, default=Path("outputs/data"), help="data folder to write to (default outputs/data)")
    fetch.add_argument("--force", action="store_true", help="also download files that are already complete")


def _add_questions(add: AddParser) -> None:
    questions = add("questions", help="show a task's questions: counts, what was left out, examples, overlap of train and test")
    questions.add_argument("overrides", nargs="*", help="settings as for `cotexp run`, such as task=gsm8k,svamp paths.data=FOLDER")
    questions.add_argument(
        "--overlap", type=_number(1), nargs="?", const=13, metavar="WORDS", help="look for runs of this many words in train and test (13)"
    )
    questions.add_argument("--examples", type=_number(0), default=1, help="prompts to show per task (default 1)")
    questions.add_argument(
        "--detect",
        type=_path,
        metavar="FILE",
        help="print the settings that read this file, or hub:OWNER/NAME, and three rows as they are then seen",
    )


def _add_runs(add: AddParser) -> None:
    runs = add(
        "runs",
        help="list runs with state, progress, metrics and cost; show one, compare two, restart failed ones",
        epilog="cotexp runs; cotexp runs macc/quickstart; cotexp runs 3f2a; cotexp runs 3f2a 91bc; cotexp runs --failed --relaunch",
    )
    runs.add_argument(
        "runs", nargs="*", metavar="RUN", help="experiments, run keys or their first digits, NAME/KEY, patterns such as 'macc/*'; all by default"
    )
    runs.add_argument("--state", action="append", default=[], choices=STATES, help="only runs in this state; may be repeated")
    runs.add_argument("--failed", action="store_true", help=f"only those that {', '.join(FAILED[:-1])} or were {FAILED[-1]}")
    runs.add_argument("--relaunch", action="store_true", help="restart the listed runs that neither finished nor are running, one after another")
    _add_outputs(runs)


def _add_watch(add: AddParser) -> None:
    watch = add(
        "watch",
        help="show all points of a sweep, live: stage, rate, time left, failures, and those not begun",
        description="Reads the manifest that every `cotexp run -m` writes, and the files of runs, also those of other processes and machines. On a "
        "terminal the table is drawn anew until all points have finished; Ctrl-C ends the watch alone. ? means that nothing was measured yet.",
        epilog="cotexp watch; cotexp watch macc/stop_rules; cotexp watch macc/quickstart --once",
    )
    watch.add_argument(
        "name", nargs="?", metavar="NAME", help="a named grid, an experiment, or the first digits of a sweep's key (default: the sweep started last)"
    )
    watch.add_argument("--once", action="store_true", help="print it once, as without a terminal")
    _add_outputs(watch)


def _add_report(add: AddParser) -> None:
    report = add(
        "report",
        help="runs as tables and figures: a declared report, or all finished runs of experiments with an arm per row",
        description="Reads only files under OUTPUTS: no network, no model. conf/report/NAME.yaml declares a report: the runs that it expects, "
        "columns, baseline. Missing runs are listed with the commands that compute them.",
        epilog="cotexp report macc/quickstart_ablation --format all; cotexp report morsd/arithmetic --baseline selection=random",
    )
    report.add_argument(
        "names",
        nargs="+",
        metavar="NAME",
        help="a declared report, or experiments with runs in OUTPUTS/runs/NAME; "
        "overrides such as task.num_train=600 with which the sweep of a declared report was started; the report then expects those runs",
    )
    report.add_argument(
        "--runs", nargs="+", default=[], metavar="RUN", help="only these: experiments, run keys, NAME/KEY, or patterns such as 'macc/*'"
    )
    report.add_argument(
        "--baseline",
        metavar="SETTINGS",
        help='arm to compare with, by its label such as "selection=random", or base for the model that each arm was fine-tuned from '
        "(default: what the runs declare as their baseline, or random over all, or the first)",
    )
    report.add_argument("--mode", choices=MODES, help="evaluated mode (default: as declared, or each run's last)")
    report.add_argument(
        "--columns",
        nargs="+",
        default=[],
        metavar="COLUMN",
        help="columns of the tables, in order (default: as declared, or the usual ones): seeds, accuracy, tokens, ratio, difference, p, flops, ..., "
        "accuracy:TASK, or any number of metrics.json such as compression/num_rounds_mean; docs/reports.md lists them",
    )
    _add_formats(report)
    report.add_argument("--output", type=_path, metavar="DIR", help="folder to write to (default OUTPUTS/reports/NAME)")
    _add_outputs(report)


def _add_forecast(add: AddParser) -> None:
    forecast = add(
        "forecast",
        help="predict accuracy and tokens of a fine-tuned model from its compressed training set; rank candidates",
        description="Fits Bayesian ridge and a random forest on finished runs, and reports their errors on runs with unseen compressed training "
        "sets, next to two trivial baselines. With --candidates it ranks configurations whose rounds are in the store and whose model is "
        "not fine-tuned yet. It computes only these fits and loads no model.",
        epilog="cotexp forecast macc/quickstart_ablation; "
        "cotexp forecast macc/quickstart_ablation --candidates macc/quickstart_ablation compression.max_rounds=3,5 mixture.full_ratio=0.5",
    )
    forecast.add_argument("names", nargs="+", metavar="NAME", help="experiments to learn from, with runs in OUTPUTS/runs/NAME, or 'macc/*'")
    forecast.add_argument(
        "--candidates",
        nargs="+",
        default=[],
        metavar="SWEEP",
        help="a named grid, and overrides that replace or add to its settings, as after `cotexp run -m`",
    )
    _add_formats(forecast)
    forecast.add_argument("--output", type=_path, metavar="DIR", help="folder to write to (default OUTPUTS/reports/NAME/forecast)")
    _add_outputs(forecast)


def _add_elasticity(add: AddParser) -> None:
    elasticity = add(
        "elasticity",
        help="draw the length and accuracy of answers against the budget of tokens in the prompt; find where lengths turn",
        description="Reads finished runs of compression=budget that differ in the budget alone: answers under each budget, and those without one. "
        "Writes a table, a figure and a line per question. It loads no model.",
        epilog="cotexp run -m sweep=macc/budgets; cotexp elasticity macc/quickstart",
    )
    elasticity.add_argument("runs", nargs="+", metavar="RUN", help="experiments, run keys, NAME/KEY, or patterns such as 'macc/*'")
    _add_formats(elasticity)
    elasticity.add_argument("--output", type=_path, metavar="DIR", help="folder to write to (default OUTPUTS/reports/NAME/elasticity)")
    _add_outputs(elasticity)


def _add_workspace(add: AddParser) -> None:
    workspace = add(
        "workspace",
        help="make a Weights & Biases workspace for a sweep or an experiment: its runs grouped by what varies, and charts of what they logged",
        description="Reads the runs that W&B keeps in OUTPUTS/wandb, prints the workspace as names and keys, and writes it to OUTPUTS/workspaces. "
        "With --push it is saved at W&B, beside the runs.",
        epilog="cotexp workspace macc/stop_rules; cotexp workspace sweep-3f0a55d2c1e4 --push",
    )
    workspace.add_argument("name", metavar="NAME", help="a sweep's name, an ad hoc sweep's id, another tag of its runs, or an experiment")
    workspace.add_argument("--push", action="store_true", help="save it at W&B, as the user of WANDB_API_KEY or `wandb login`")
    _add_outputs(workspace)


def _add_search(add: AddParser) -> None:
    search = add(
        "search",
        help="let Optuna choose settings: every trial is a run",
        usage="cotexp search NAME --space KEY=VALUES ... [--trials N] [--metric METRIC | --front METRIC,METRIC] [--seed N] [-- SETTING ...]",
        description="The same command continues where it stopped, and several processes may work on one search. Trials answer validation questions "
        "unless evaluation.split=test is given after --.",
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
        "--trials", type=_number(1), default=20, help="total number of trials, including those of earlier starts and other processes (default 20)"
    )
    objective = search.add_mutually_exclusive_group()
    objective.add_argument(
        "--metric",
        default="accuracy",
        help="accuracy (default), tokens, loss (of validation), or a name of metrics.json such as eval/full/accuracy",
    )
    objective.add_argument("--front", metavar="METRIC,METRIC", help="search the Pareto front of several metrics, such as accuracy,tokens")
    direction = search.add_mutually_exclusive_group()
    direction.add_argument(
        "--minimize", action="store_const", const="minimize", dest="direction", help="small is good (default for losses, lengths and times)"
    )
    direction.add_argument("--maximize", action="store_const", const="maximize", dest="direction", help="large is good (default for all others)")
    search.add_argument(
        "--seed",
        type=_number(0, LARGEST_SEED - LARGEST),
        default=0,
        help="seed of the choice of trials (default 0); the setting seed is separate",
    )
