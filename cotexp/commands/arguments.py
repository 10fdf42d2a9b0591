"""Arguments of the commands `cotexp NAME`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NoReturn

from cotexp.commands.argument_types import AddParser, add_outputs, number, path
from cotexp.commands.report_arguments import add_elasticity, add_forecast, add_report, add_runs, add_watch, add_workspace
from cotexp.settings.base import LARGEST, LARGEST_SEED
from cotexp.version import __version__

DTYPES = ("float32", "bfloat16")
"""Number formats of an exported model; the first one is the default."""


class _Parser(argparse.ArgumentParser):
    """Reports errors in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; `{self.prog} --help` lists its arguments\n")


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
        return path(text)
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
    add_runs(subparsers.add_parser)
    add_watch(subparsers.add_parser)
    _add_clean(subparsers.add_parser)
    add_report(subparsers.add_parser)
    add_forecast(subparsers.add_parser)
    add_elasticity(subparsers.add_parser)
    _add_fetch(subparsers.add_parser)
    _add_questions(subparsers.add_parser)
    _add_search(subparsers.add_parser)
    add_workspace(subparsers.add_parser)
    for command in subparsers.choices.values():
        command.add_argument("--config-dir", type=path, metavar="DIR", help="your own folder of settings files such as task/NAME.yaml")
    return parser, list(subparsers.choices)


def _add_encode(add: AddParser) -> None:
    encode = add("encode", help="print encoded training examples; supervised tokens are coloured")
    encode.add_argument("overrides", nargs="*", help="settings as for `cotexp run`, such as model=tiny compression=macc")
    encode.add_argument("--questions", type=number(1), default=1, help="number of training questions to show (default 1)")


def _add_export(add: AddParser) -> None:
    export = add(
        "export",
        help="write a run's fine-tuned model as a transformers folder, or its training set as a data set, each with a card; also to the hub",
        epilog="cotexp export macc/quickstart my_model; cotexp export macc/quickstart --data --push me/short-chains --private",
    )
    export.add_argument("run", help="a run's folder, its key or the first digits of the key, or an experiment's name for its newest finished run")
    export.add_argument(
        "folder", type=path, nargs="?", help="folder to write to; must not exist, or be an earlier export (default OUTPUTS/exports/KEY)"
    )
    export.add_argument("--data", action="store_true", help="write the examples of its training set, selected and compressed, not the model")
    export.add_argument("--dtype", choices=DTYPES, help=f"number format of the weights (default {DTYPES[0]})")
    export.add_argument("--push", default="", metavar="OWNER/NAME", help="push the folder to this repository of the Hugging Face hub (HF_TOKEN)")
    export.add_argument("--private", action="store_true", help="make the repository private if it does not exist yet")
    add_outputs(export)


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
    grade.add_argument("--gold-file", type=path, metavar="FILE", help="file with the gold answers (and options) of the ids, if FILE lacks them")
    grade.add_argument("--output", type=path, help="file for the labels (default: standard output for FILE, none for RUN)")
    grade.add_argument("--timeout", type=float, default=2.0, metavar="SECONDS", help="most seconds of processor time for one comparison (default 2)")
    add_outputs(grade)


def _add_compare(add: AddParser) -> None:
    compare = add("compare", help="compare two finished runs on the questions that both answered")
    compare.add_argument(
        "first", metavar="RUN", help="a run's folder, its key or the first digits of the key, or an experiment's name for its newest finished run"
    )
    compare.add_argument("second", metavar="RUN", help="the other run; differences are this one minus the first")
    compare.add_argument("--mode", help="base, truncate, full or compress, or one for each run such as full,compress (default: each run's last)")
    add_outputs(compare)


def _add_clean(add: AddParser) -> None:
    clean = add("clean", help="show the entries of the store that no run needs any more, and delete them with --delete")
    clean.add_argument("--delete", action="store_true", help="delete them; otherwise only their sizes are shown")
    clean.add_argument("--paid", action="store_true", help="include texts of paid servers that no run needs")
    add_outputs(clean)


def _add_fetch(add: AddParser) -> None:
    fetch = add("fetch", help="download benchmark files into a data folder")
    fetch.add_argument("tasks", nargs="*", metavar="TASK", help="tasks to download, such as multiarith; see --list")
    fetch.add_argument("--list", action="store_true", help="list every task with its rows, source and licence")
    fetch.add_argument("--folder", type=path, default=Path("outputs/data"), help="data folder to write to (default outputs/data)")
    fetch.add_argument("--force", action="store_true", help="also download files that are already complete")


def _add_questions(add: AddParser) -> None:
    questions = add("questions", help="show a task's questions: counts, what was left out, examples, overlap of train and test")
    questions.add_argument("overrides", nargs="*", help="settings as for `cotexp run`, such as task=gsm8k,svamp paths.data=FOLDER")
    questions.add_argument(
        "--overlap", type=number(1), nargs="?", const=13, metavar="WORDS", help="look for runs of this many words in train and test (13)"
    )
    questions.add_argument("--examples", type=number(0), default=1, help="prompts to show per task (default 1)")
    questions.add_argument(
        "--detect",
        type=path,
        metavar="FILE",
        help="print the settings that read this file, or hub:OWNER/NAME, and three rows as they are then seen",
    )


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
        "--trials", type=number(1), default=20, help="total number of trials, including those of earlier starts and other processes (default 20)"
    )
    objective = search.add_mutually_exclusive_group()
    objective.add_argument(
        "--metric",
        default="accuracy",
        help="accuracy (default), tokens, loss (of validation), or a name of metrics.json such as eval/full/accuracy",
    )
    objective.add_argument("--front", metavar="METRIC,METRIC", help="search the Pareto front of several metrics, such as accuracy,tokens:min")
    direction = search.add_mutually_exclusive_group()
    direction.add_argument(
        "--minimize", action="store_const", const="minimize", dest="direction", help="small is good (default for losses, lengths, times and costs)"
    )
    direction.add_argument("--maximize", action="store_const", const="maximize", dest="direction", help="large is good (default for all others)")
    search.add_argument(
        "--seed",
        type=number(0, LARGEST_SEED - LARGEST),
        default=0,
        help="seed of the choice of trials (default 0); the setting seed is separate",
    )
