"""Tables, figures and examples of a finished run; reads only what lies under outputs/."""

from __future__ import annotations

from pathlib import Path

from cotexp.jobs.stored_files import metrics_of, settings_of
from cotexp.report import compression_examples, funnel, run_figures, run_table
from cotexp.report.disclosures import disclosures
from cotexp.report.markdown import plain
from cotexp.visible import visible_lines


def write(folder: Path) -> None:
    """Write results.md, examples.md and figures/*.png and *.svg into a finished run's folder."""
    metrics, settings = metrics_of(folder), settings_of(folder)
    shown = compression_examples.pick(folder)
    figure_names = run_figures.write(folder)
    lines = [f"# {plain(settings['name'])}, run {folder.name}", ""]
    lines += [run_table.markdown(metrics, settings), "", *run_table.notes(metrics, settings), *(f"- {each}" for each in disclosures([settings])), ""]
    lines += funnel.markdown(metrics, settings)
    lines += [f"![{name}](figures/{name})" for name in figure_names]
    (folder / "results.md").write_text(visible_lines("\n".join(lines)) + "\n")
    (folder / "examples.md").write_text(compression_examples.markdown(shown))


def is_written(folder: Path) -> bool:
    """Whether the report is as new as the metrics."""
    report, metrics = folder / "examples.md", folder / "metrics.json"
    return report.is_file() and report.stat().st_mtime >= metrics.stat().st_mtime
