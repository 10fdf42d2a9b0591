"""`cotexp fetch`: download benchmark files to a data folder."""

from __future__ import annotations

from pathlib import Path

from cotexp.report import terminal
from cotexp.report.document import text_table
from cotexp.settings.base import ConfigError
from cotexp.tasks.benchmarks import BENCHMARKS, Benchmark
from cotexp.tasks.pinned_files import RECIPES
from cotexp.tasks.sources import fetch, known_benchmark


def fetch_tasks(names: list[str], folder: Path, *, force: bool) -> None:
    """Download the tasks to `folder`, and print the written files. Complete files are kept, unless `force`.

    Raises: ConfigError for an unknown name (before anything is downloaded), or with every task that failed.
    """
    if not names:
        raise ConfigError("fetch must be given at least one task, or --list; for example: cotexp fetch multiarith")
    problems = []
    for name in names:
        try:
            known_benchmark(name, "fetch")
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(*problems)
    for name in names:
        try:
            written = fetch(name, folder, force=force)
        except ConfigError as error:
            problems += error.problems
            continue
        for path in written:
            print(f"{name}: wrote {path} ({path.read_bytes().count(10)} rows)")
        if not written:
            print(f"{name}: complete in {folder}, nothing to do (--force downloads again)")
    if problems:
        raise ConfigError(*problems)


def print_tasks() -> None:
    """A table of every task that can be fetched: type of answer, official rows, source and licence."""
    rows = []
    for name, benchmark in BENCHMARKS.items():
        counts = (benchmark.splits[split].num_rows if split in benchmark.splits else "-" for split in ("train", "validation", "test"))
        rows.append((name, benchmark.answer_type, " / ".join(map(str, counts)), "\n".join(sources_of(name, benchmark)), benchmark.licence))
    headings = ("task", "answer", "train / validation / test", "source", "licence")
    terminal.show(text_table("Tasks for cotexp fetch", headings, rows, left=headings))


def sources_of(name: str, benchmark: Benchmark) -> list[str]:
    """Sources of a benchmark's files: repositories at a commit, or hub copies."""
    if name in RECIPES:
        rows = RECIPES[name].rows
        return [f"{rows.repository}@{rows.commit[:10]}: {rows.path}"]
    copies = dict.fromkeys(split.hub for split in benchmark.splits.values() if split.hub)
    return list(dict.fromkeys(f"hub: {copy.name}{f' ({copy.config})' if copy.config else ''}" for copy in copies))
