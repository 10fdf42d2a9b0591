"""A W&B workspace for an ablation: its runs grouped by what varies, with charts of the keys that they have. Made from the files that W&B keeps."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from cotexp.credentials import without_user
from cotexp.settings.base import ConfigError, suggestion
from cotexp.settings.evaluation import MODES
from cotexp.tracking import wandb_run
from cotexp.tracking.wandb_files import KeptRun

FLAT = "ablation/"
"""Prefix of the flat settings in the config of a run."""
EXPERIMENT = f"{FLAT}experiment"
"""W&B's filters take the config's own `name` for the id of a run."""
CURVES = (("Training", "train/step", "train/"), ("Validation", "validation/step", "validation/"), ("Rounds", "rounds/round", "rounds/"))
"""Title, axis and prefix of the curves of each phase."""
RESULTS = ("accuracy", "num_tokens")
DELTAS = ("delta/accuracy", "delta/num_tokens")


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart, table or gallery of these keys. `axis`: the key of the x-axis of a curve or a scatter plot."""

    kind: Literal["scatter", "bars", "curve", "table", "images"]
    title: str
    keys: tuple[str, ...]
    axis: str = ""


@dataclass(frozen=True, slots=True)
class Layout:
    """A workspace as names and keys. `tag` or else `experiment` chooses its runs; `grouped_by` and `columns` are keys of config and summary."""

    name: str
    project: str
    entity: str
    tag: str
    experiment: str
    runs: tuple[str, ...]
    grouped_by: tuple[str, ...]
    columns: tuple[str, ...]
    sections: dict[str, tuple[Panel, ...]]

    @property
    def as_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def layout(name: str, kept: Sequence[KeptRun]) -> Layout:
    """The workspace of the runs with this tag, or of this experiment. Raises: ConfigError if there are none."""
    tagged = [run for run in kept if name in run.tags]
    runs = tagged or [run for run in kept if run.config.get(EXPERIMENT) == name]
    if not runs:
        known = sorted({str(word) for run in kept for word in (*run.tags, run.config.get(EXPERIMENT)) if word})
        raise ConfigError(
            f"workspace: NAME must be a tag or experiment of runs that W&B keeps here: {', '.join(known)}; got {name!r}{suggestion(name, known)}"
        )
    varied = _varied(runs)
    modes = [mode for mode in MODES if any(f"eval/{mode}/accuracy" in run.summary for run in runs)]
    measured = [f"eval/{mode}/{metric}" for mode in modes[-1:] for metric in RESULTS]
    shown = [each for each in (*measured, DELTAS[0], f"{DELTAS[0]}_p_value") if any(each in run.summary for run in runs)]
    columns = (*(f"config:{path}" for path in varied), *(f"summary:{each}" for each in shown))
    return Layout(
        name=name,
        project=runs[-1].project,
        entity=runs[-1].entity,
        tag=name if tagged else "",
        experiment="" if tagged else name,
        runs=tuple(run.name for run in runs),
        grouped_by=tuple(path for path in varied if path != "seed"),
        columns=columns,
        sections={title: panels for title, panels in _sections(runs, modes).items() if panels},
    )


def _varied(runs: Sequence[KeptRun]) -> list[str]:
    """The flat settings, and the seed, that differ between the runs. A slot whose option does not vary is left out."""
    paths = dict.fromkeys(path for run in runs for path in run.config if path.startswith(FLAT) or path == "seed")
    return [path for path in paths if len({repr(run.config.get(path)) for run in runs}) > 1]


def _sections(runs: Sequence[KeptRun], modes: Sequence[str]) -> dict[str, tuple[Panel, ...]]:
    drawn = list(dict.fromkeys(name for run in runs for name in run.charts))
    logged = dict.fromkeys(name for run in runs for name in run.logged)
    return {
        "Accuracy and tokens": tuple(_results(modes, drawn)),
        "Against the baseline": tuple(Panel("bars", name, (name,)) for name in DELTAS if name in drawn),
        **{title: tuple(Panel("curve", keys[0], keys, axis) for keys in _together(_of(drawn, prefix))) for title, axis, prefix in CURVES},
        "Answers and rounds": tuple(Panel("table", name, (name,)) for name in logged if name.startswith("tables/")),
        "Figures": tuple(Panel("images", "figures", keys) for keys in [_of(logged, "figures/")] if keys),
    }


def _results(modes: Sequence[str], drawn: Sequence[str]) -> Iterator[Panel]:
    """Accuracy against tokens of the last mode, and each of the two for all modes."""
    for mode in modes[-1:]:
        accuracy, tokens = (f"eval/{mode}/{metric}" for metric in RESULTS)
        if {accuracy, tokens} <= set(drawn):
            yield Panel("scatter", "accuracy against tokens", (accuracy,), tokens)
    for metric in RESULTS:
        keys = tuple(name for mode in modes if (name := f"eval/{mode}/{metric}") in drawn)
        if keys:
            yield Panel("bars", metric, keys)


def _together(names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The names of each chart: train/loss with train/loss_full, since both have one scale, and without train/learning_rate."""
    leaders = [name for name in names if not any(name.startswith((f"{other}_", f"{other}/")) for other in names)]
    for leader in leaders:
        yield tuple(name for name in names if name == leader or name.startswith((f"{leader}_", f"{leader}/")))


def _of(names: Sequence[str] | Mapping[str, None], prefix: str) -> tuple[str, ...]:
    return tuple(name for name in names if name.startswith(prefix))


# --- as W&B's own objects ------------------------------------------------------------------------------------------------


def made(plan: Layout, entity: str) -> Any:
    """The workspace as an object of wandb-workspaces; nothing is sent."""
    ws: Any = import_module("wandb_workspaces.workspaces")
    by = [ws.Config(path) for path in plan.grouped_by]
    chosen = ws.Tags().isin([plan.tag]) if plan.tag else ws.Config(EXPERIMENT) == plan.experiment
    sections = [
        ws.Section(name=title, panels=[_panel(each, plan.grouped_by) for each in panels], is_open=True) for title, panels in plan.sections.items()
    ]
    settings = ws.RunsetSettings(filters=[chosen], groupby=by, pinned_columns=list(plan.columns))
    return ws.Workspace(entity=entity, project=plan.project, name=plan.name, sections=sections, runset_settings=settings)


def _panel(panel: Panel, grouped_by: Sequence[str]) -> Any:
    wr: Any = import_module("wandb_workspaces.reports.v2")
    by = wr.Config(grouped_by[0]) if grouped_by else None
    if panel.kind == "scatter":
        return wr.ScatterPlot(title=panel.title, x=wr.SummaryMetric(panel.axis), y=wr.SummaryMetric(panel.keys[0]))
    if panel.kind == "bars":
        return wr.BarPlot(title=panel.title, metrics=list(panel.keys), groupby=by)
    if panel.kind == "curve":
        return wr.LinePlot(title=panel.title, x=panel.axis, y=list(panel.keys))
    if panel.kind == "table":
        return wr.WeavePanelSummaryTable(table_name=panel.keys[0])
    return wr.MediaBrowser(title=panel.title, media_keys=list(panel.keys))


def check_login() -> None:
    """Raises: ConfigError if nobody is logged in to W&B, or its server does not answer."""
    if not wandb_run.has_api_key():
        raise ConfigError("workspace: --push needs a login of W&B: set WANDB_API_KEY, or run `wandb login`; without --push it is only written here")
    if not wandb_run.is_reachable():
        raise ConfigError(f"workspace: W&B ({without_user(wandb_run.address())}) cannot be reached; run the same command again when it can")


def push(plan: Layout) -> str:
    """Save the workspace at W&B and return its address. Raises: ConfigError if W&B refuses it."""
    import wandb

    try:
        entity = plan.entity or wandb.Api().default_entity or ""
        return str(made(plan, entity).save().url)
    except Exception as error:  # noqa: BLE001 - W&B's client raises many kinds
        told = without_user(" ".join(str(error).split()) or type(error).__name__)
        raise ConfigError(f"workspace: W&B did not save {plan.name!r}: {told[:300]}; sync its runs first, and see that you may write there") from None
