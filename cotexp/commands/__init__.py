"""What a user can start: an experiment (run.py) and the `cotexp NAME` commands."""

from __future__ import annotations

from cotexp.settings import ConfigError, RunFailed, Settings

USER_ERRORS: tuple[type[Exception], ...] = (ConfigError, RunFailed)
"""Errors that a user can put right; shown as one line, without a traceback."""


def run_experiment(settings: Settings, run_key: str) -> float | None:
    """Plan or run one point: compute, report, show the table, publish. Returns the objective."""
    from cotexp.jobs import pipeline

    if settings.plan:
        pipeline.print_plan(settings, run_key)
        return None
    from cotexp import report, tracking
    from cotexp.report import tables

    with tracking.tracker(settings, run_key) as tracker:
        result = pipeline.run(settings, run_key, tracker.on_curve)
        if result.computed or not report.is_written(result.folder):
            report.write(result.folder)
        tables.show(result.metrics, f"{settings.name}, run {run_key}{'' if result.computed else ' (was finished already)'}")
        print(f"Results, figures and examples: {result.folder}")
        tracker.publish(result.folder, result.metrics)
    return result.objective
