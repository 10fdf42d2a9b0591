"""`cotexp workspace`: a W&B workspace for a sweep or an experiment."""

from __future__ import annotations

from pathlib import Path

from cotexp import extras
from cotexp.report.terminal import say
from cotexp.settings.base import ConfigError
from cotexp.store.stored_files import write_json
from cotexp.tracking import environment, workspace
from cotexp.tracking.wandb_files import kept_runs
from cotexp.tracking.workspace import Layout, Panel


def make_workspace(name: str, *, outputs: Path, push: bool) -> None:
    """Print and write the workspace of the runs with this tag or of this experiment, and save it at W&B with `push`.

    Raises: ConfigError without such runs; with `push` also without a login or if W&B refuses it.
    """
    extras.check("wandb", "cotexp workspace")
    if push:
        workspace.check_login()
    folder = environment.folder(str(outputs))
    kept = kept_runs(folder)
    if not kept:
        raise ConfigError(f"workspace: W&B keeps no run in {folder}; run with tracking=wandb, or give --outputs")
    plan = workspace.layout(name, kept)
    workspace.made(plan, plan.entity or "me")  # so that what W&B's own classes refuse is told here
    _show(plan)
    path = outputs / "workspaces" / Path(*(part for part in f"{name}.json".split("/") if part not in ("", "..")))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, plan.as_json)
    say(f"Wrote {path}")
    if push:
        say(f"Saved at W&B: {workspace.push(plan)}")
    else:
        say("Not saved at W&B; after `wandb sync`, --push does that")


def _show(plan: Layout) -> None:
    say(f"{plan.name}: {len(plan.runs)} runs of project {plan.project} {f'tagged {plan.tag}' if plan.tag else f'of experiment {plan.experiment}'}")
    for run in plan.runs:
        say(f"  {run}")
    say(f"grouped by {', '.join(plan.grouped_by) or 'nothing, since nothing varies'}")
    say(f"columns {', '.join(plan.columns)}")
    for title, panels in plan.sections.items():
        say(f"{title}")
        for panel in panels:
            say(f"  {panel.kind:8}{_keys(panel)}")


def _keys(panel: Panel) -> str:
    keys = ", ".join(panel.keys)
    return f"{keys} over {panel.axis}" if panel.axis else keys
