"""Tables, figures and examples of finished runs. This package reads only files under outputs/."""

from __future__ import annotations

from pathlib import Path

from cotexp.report import compression_examples, funnel, markdown, question_groups, run_figures, run_table, survival
from cotexp.report.compression_texts import mode_labels
from cotexp.report.document import Report, Table
from cotexp.report.stored import unless_broken
from cotexp.report.style import picture
from cotexp.store.stored_files import metrics_of, settings_of


def write(folder: Path) -> None:
    """Write results.md, examples.md and figures/*.png and *.svg into the folder of a finished run."""
    (folder / "figures").mkdir(exist_ok=True)
    for name, content in markdown.files(_report(folder), "results.md").items():
        (folder / name).write_bytes(content)
    (folder / "examples.md").write_text(compression_examples.markdown(compression_examples.pick(folder)))


def _report(folder: Path) -> Report:
    """The results of one run, with what its selection and each of its rounds kept, and its accuracy by difficulty of the question."""
    metrics, settings = metrics_of(folder), settings_of(folder)
    by_difficulty: list[Table] = unless_broken(folder, lambda folder: question_groups.of_run(folder, mode_labels(settings)), list)
    rounds: dict[str, list[survival.Survival]] = {"": unless_broken(folder, survival.read, list)}
    tables = [run_table.table(metrics, settings), *funnel.tables(metrics, settings), *survival.tables(rounds), *by_difficulty]
    drawings = [*run_figures.drawings(folder), *survival.drawings(rounds), *question_groups.drawings(by_difficulty)]
    name = settings["name"]
    return Report(name=name, title=f"{name}, run {folder.name}", tables=tuple(tables), figures=tuple(map(picture, drawings)))


def is_written(folder: Path) -> bool:
    """Whether the report is as new as the metrics."""
    report, metrics = folder / "examples.md", folder / "metrics.json"
    return report.is_file() and report.stat().st_mtime >= metrics.stat().st_mtime
