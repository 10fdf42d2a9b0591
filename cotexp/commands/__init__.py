"""Entry points for users: an experiment (run.py and `cotexp run`), and the commands for its results."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cotexp.settings.root import Settings

if TYPE_CHECKING:
    from cotexp.jobs.pipeline import Result

Use = Callable[[Iterable[str]], None]
"""Registers the keys that this process uses in the store."""


def run_experiment(settings: Settings, overrides: Sequence[str] = (), options: Mapping[str, str | None] | None = None) -> Result | None:
    """Plan or run one point: compute, report, show the table, publish. A plan has no result.

    `overrides` are the arguments of this point; `options` are the options of its slots and the name of its sweep.
    Raises: ConfigError or RunFailed, with what the user can do.
    """
    from cotexp.store import users
    from cotexp.store.disk import check_writable, explained_disk_errors

    if settings.plan:
        from cotexp.commands.plan import print_plan

        print_plan(settings)
        return None
    outputs = Path(settings.paths.outputs)
    with explained_disk_errors(outputs):
        check_writable(outputs)
        with users.registered(outputs) as use:
            if settings.compress_only:
                _compress(settings, use)
                return None
            return _run(settings, overrides, options or {}, use)


def _compress(settings: Settings, use: Use) -> None:
    """Run every stage before fine-tuning, and print one line about the result."""
    from cotexp import flow
    from cotexp.jobs import pipeline

    context = pipeline.prepare(settings)
    use(spec.key for spec in flow.specs_of(context).values())
    metrics = pipeline.compress(context)
    if "pairs/num_pairs" in metrics:
        ratio = metrics.get("pairs/compression_ratio")
        shorter = f", whose shorter rationales have {ratio:.1%} of the tokens" if ratio else ""
        print(f"{settings.name}: {metrics['pairs/num_pairs']:.0f} pairs{shorter}; nothing is fine-tuned")
        return
    perplexities = [metrics.get(f"compression/{name}") for name in ("perplexity", "original_perplexity")]
    kept, written = ("not measured" if each is None else f"{each:.4g}" for each in perplexities)
    quality = "perplexity not measured" if perplexities[0] is None else f"perplexity {kept} (as written {written})"
    print(
        f"{settings.name}: {metrics['compression/num_rationales']:.0f} chains compressed to {metrics['compression/compression_ratio']:.1%} of their "
        f"tokens, {metrics['compression/answer_kept_ratio']:.1%} keep their answer, {quality}; nothing is fine-tuned. "
        "Next: cotexp forecast NAME --candidates, with these overrides"
    )


def _run(settings: Settings, overrides: Sequence[str], options: Mapping[str, str | None], use: Use) -> Result | None:
    from cotexp import flow, report, tracking
    from cotexp.devices import rendezvous
    from cotexp.jobs import pipeline
    from cotexp.report import run_table

    tracking.check(settings, overrides)
    context = pipeline.prepare(settings)
    use(spec.key for spec in flow.specs_of(context).values())
    if rank := rendezvous.rank(settings.trainer):
        flow.assist(context)
        print(f"Machine {rank} has done its part; machine 0 reports.")
        return None
    run_key = pipeline.run_key(context)
    with pipeline.exclusive_run(context), tracking.tracker(settings, run_key, overrides=overrides, options=options) as tracker:
        context.on_metrics, context.on_curve = tracker.on_metrics, tracker.on_curve
        result = pipeline.run(context, overrides)
        if result.computed or not report.is_written(result.folder):
            report.write(result.folder)
        tracker.publish(result.folder, result.metrics)
    # After the tracker has closed the run: whoever reads this may have gone, which is no failure of the run.
    title = f"{settings.name}, run {run_key}{'' if result.computed else ' (already finished)'}"
    run_table.show(result.metrics, title, dataclasses.asdict(settings))
    print(f"Results, figures and examples: {result.folder}")
    return result
