"""`cotexp COMMAND`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cotexp import signals
from cotexp.invocation import while_read
from cotexp.settings.base import USER_ERRORS, ConfigError, shortened
from cotexp.visible import format_error


def main(argv: list[str] | None = None) -> None:
    """Run the command in `argv`, by default that of the command line."""
    words = sys.argv[1:] if argv is None else argv
    is_for_shell = words[:1] in (["-sc"], ["--shell-completion"])  # the shell asks the program, without the command
    if words[:1] == ["run"] or is_for_shell:
        from cotexp.commands import run

        run.main(words if is_for_shell else words[1:])
    else:
        with while_read():
            _work_with_results(words)


def _work_with_results(words: list[str]) -> None:
    from cotexp.commands import arguments
    from cotexp.config import search_path

    try:
        words, folders = search_path.split(words)
        options = arguments.parse(words)
        search_path.use(options.config_dir, folders)
        with signals.handled():
            _RUN[options.command](options)
    except USER_ERRORS as error:
        sys.exit(format_error(error))
    except OSError as error:
        if error.filename is None:
            raise
        sys.exit(f"cotexp: {options.command}: {str(error.filename)!r} cannot be used ({error.strerror}); name another file or folder")
    except signals.Stopped as stop:
        print(f"cotexp: {stop}", file=sys.stderr)
        raise


def _search(options: argparse.Namespace) -> None:
    from cotexp.commands.search import run_search

    metrics = options.front.split(",") if options.front else [options.metric]
    if options.front and len(metrics) < 2:
        raise ConfigError(f"--front needs two metrics or more, joined by commas; got {options.front}")
    if options.front and options.direction:
        raise ConfigError(f"--front has a direction for each metric, such as accuracy:max,training/core_hours:min; leave --{options.direction} out")
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
    if options.private and not options.push:
        raise ConfigError("--private makes a new repository of --push OWNER/NAME private; add --push, or leave it out")
    if options.data:
        from cotexp.commands.export_data import export_data

        if options.dtype:
            raise ConfigError(f"--dtype is the number format of a model's weights, which --data does not write; got {options.dtype}")
        export_data(options.run, options.folder, outputs=options.outputs, push=options.push, private=options.private)
        return
    from cotexp.commands.export import export_model

    export_model(options.run, options.folder, dtype=options.dtype or "float32", outputs=options.outputs, push=options.push, private=options.private)


def _grade(options: argparse.Namespace) -> None:
    from cotexp.commands.answer_rows import AnswerFields
    from cotexp.commands.export import find_run
    from cotexp.commands.grade import grade_file, grade_run

    named = {name: value for name in ("id", "gold", "text", "options", "finish_reason") if (value := getattr(options, f"{name}_field")) is not None}
    if options.task:
        fields = AnswerFields(**named, gold_file=options.gold_file)
        grade_file(options.task, options.answers, output=options.output, fields=fields, timeout_seconds=options.timeout)
    elif named or options.gold_file or options.answers.startswith("hub:") or Path(options.answers).is_file():
        raise ConfigError(f"grade: a file needs --task TASK, such as --task gsm8k; got {shortened(options.answers)} without it")
    else:
        grade_run(find_run(options.answers, options.outputs), output=options.output, timeout_seconds=options.timeout)


def _compare(options: argparse.Namespace) -> None:
    from cotexp.commands.compare import compare_runs

    compare_runs(options.first, options.second, outputs=options.outputs, mode=options.mode)


def _runs(options: argparse.Namespace) -> None:
    from cotexp.commands.runs import show_runs
    from cotexp.jobs.status import FAILED

    show_runs(options.runs, outputs=options.outputs, states=[*options.state, *(FAILED if options.failed else ())], relaunch=options.relaunch)


def _watch(options: argparse.Namespace) -> None:
    from cotexp.commands.watch import show_watch

    show_watch(options.name, outputs=options.outputs, once=options.once)


def _clean(options: argparse.Namespace) -> None:
    from cotexp.commands.clean import clean_store

    clean_store(options.outputs, delete=options.delete, paid=options.paid)


def _report(options: argparse.Namespace) -> None:
    from cotexp.commands.report import formats_of, paper_of, report_experiments
    from cotexp.report.build import ReportOptions

    report_experiments(
        [name for name in options.names if "=" not in name],
        outputs=options.outputs,
        options=ReportOptions(
            baseline=options.baseline,
            mode=options.mode,
            columns=tuple(options.columns),
            only=tuple(options.runs),
            overrides=tuple(name for name in options.names if "=" in name),
        ),
        formats=formats_of(options.format),
        folder=options.output,
        paper=paper_of(options.paper),
    )


def _forecast(options: argparse.Namespace) -> None:
    from cotexp.commands.forecast import forecast_experiments
    from cotexp.commands.report import formats_of, paper_of

    forecast_experiments(
        options.names,
        outputs=options.outputs,
        candidates=options.candidates,
        formats=formats_of(options.format),
        folder=options.output,
        paper=paper_of(options.paper),
    )


def _elasticity(options: argparse.Namespace) -> None:
    from cotexp.commands.elasticity import show_elasticity
    from cotexp.commands.report import formats_of, paper_of

    show_elasticity(options.runs, outputs=options.outputs, formats=formats_of(options.format), folder=options.output, paper=paper_of(options.paper))


def _fetch(options: argparse.Namespace) -> None:
    from cotexp.commands.fetch import fetch_tasks, print_tasks

    if options.list:
        print_tasks()
    else:
        fetch_tasks(options.tasks, options.folder, force=options.force)


def _workspace(options: argparse.Namespace) -> None:
    from cotexp.commands.workspace import make_workspace

    make_workspace(options.name, outputs=options.outputs, push=options.push)


def _questions(options: argparse.Namespace) -> None:
    from cotexp.commands.questions import print_detected, print_questions

    if options.detect is not None:
        print_detected(str(options.detect), options.overrides)
        return
    print_questions(options.overrides, overlap=options.overlap, examples=options.examples)


_RUN = {
    "encode": _encode,
    "export": _export,
    "grade": _grade,
    "compare": _compare,
    "clean": _clean,
    "runs": _runs,
    "watch": _watch,
    "report": _report,
    "forecast": _forecast,
    "elasticity": _elasticity,
    "fetch": _fetch,
    "questions": _questions,
    "search": _search,
    "workspace": _workspace,
}
