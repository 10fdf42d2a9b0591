"""Arguments of the commands that show runs and make reports of them."""

from __future__ import annotations

from cotexp.commands.argument_types import AddParser, add_formats, add_outputs, path
from cotexp.jobs.status import FAILED, STATES
from cotexp.settings.evaluation import MODES


def add_runs(add: AddParser) -> None:
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
    add_outputs(runs)


def add_watch(add: AddParser) -> None:
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
    add_outputs(watch)


def add_report(add: AddParser) -> None:
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
    add_formats(report)
    report.add_argument("--output", type=path, metavar="DIR", help="folder to write to (default OUTPUTS/reports/NAME)")
    add_outputs(report)


def add_forecast(add: AddParser) -> None:
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
    add_formats(forecast)
    forecast.add_argument("--output", type=path, metavar="DIR", help="folder to write to (default OUTPUTS/reports/NAME/forecast)")
    add_outputs(forecast)


def add_elasticity(add: AddParser) -> None:
    elasticity = add(
        "elasticity",
        help="draw the length and accuracy of answers against the budget of tokens in the prompt; find where lengths turn",
        description="Reads finished runs of compression=budget that differ in the budget alone: answers under each budget, and those without one. "
        "Writes a table, a figure and a line per question. It loads no model.",
        epilog="cotexp run -m sweep=macc/budgets; cotexp elasticity macc/quickstart",
    )
    elasticity.add_argument("runs", nargs="+", metavar="RUN", help="experiments, run keys, NAME/KEY, or patterns such as 'macc/*'")
    add_formats(elasticity)
    elasticity.add_argument("--output", type=path, metavar="DIR", help="folder to write to (default OUTPUTS/reports/NAME/elasticity)")
    add_outputs(elasticity)


def add_workspace(add: AddParser) -> None:
    workspace = add(
        "workspace",
        help="make a Weights & Biases workspace for a sweep or an experiment: its runs grouped by what varies, and charts of what they logged",
        description="Reads the runs that W&B keeps in OUTPUTS/wandb, prints the workspace as names and keys, and writes it to OUTPUTS/workspaces. "
        "With --push it is saved at W&B, beside the runs.",
        epilog="cotexp workspace macc/stop_rules; cotexp workspace sweep-3f0a55d2c1e4 --push",
    )
    workspace.add_argument("name", metavar="NAME", help="a sweep's name, an ad hoc sweep's id, another tag of its runs, or an experiment")
    workspace.add_argument("--push", action="store_true", help="save it at W&B, as the user of WANDB_API_KEY or `wandb login`")
    add_outputs(workspace)
