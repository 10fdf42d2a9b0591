"""The machines on which the runs of an arm were timed: seconds per question are compared and averaged on one machine only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from cotexp.report.arm_rows import ArmRow
from cotexp.report.finished_runs import Run, listed
from cotexp.report.stored import artifact_of, unless_broken
from cotexp.store.stored_files import read_json, stages_of


def timed_on(row: ArmRow, rows: Sequence[ArmRow] = ()) -> list[str]:
    """The machines that timed the runs of `row` in its mode, as far as the store says. A base model was timed by a run of one of the other `rows`."""
    found = (unless_broken(run.folder, lambda folder: _machine(folder, row.mode), str) for run in _runs(row, rows))
    return sorted({machine for machine in found if machine})


def _runs(row: ArmRow, rows: Sequence[ArmRow]) -> list[Run]:
    if row.arm:
        return row.arm.runs
    return [run for other in rows if other.arm for run in other.arm.runs if run.metrics == row.metrics][:1]


def _machine(folder: Path, mode: str) -> str:
    """The machine that the identity of the times names, empty if it is not known: the accelerator, which may be in several nodes of a cluster, or
    the node if it has none, since the word cpu tells little.
    """
    stage = f"latency/{mode}"
    path = artifact_of(folder, stage) / "spec.json" if stage in stages_of(folder) else None
    machine = str(read_json(path).get("machine", "")) if path and path.exists() else ""
    hardware = machine.partition(" ")[2]
    return machine if hardware.startswith("cpu") else hardware


def notes(rows: Sequence[ArmRow]) -> Iterator[str]:
    """Which arms have no seconds, since their seeds were timed on several machines, and the machines of the others if they differ."""
    timed = [row for row in rows if row.metric("latency_seconds_batch1") or row.metric("latency_seconds_batchN")]
    by_machine: dict[str, list[str]] = {}
    for row, machines in ((row, timed_on(row, rows)) for row in timed):
        if len(machines) > 1:
            yield f"No seconds per question: {row.label}. Its seeds were timed on several machines, which have no mean: {listed(machines, '; ')}."
        elif machines:
            by_machine.setdefault(machines[0], []).append(row.label)
    if len(by_machine) > 1:
        where = "; ".join(f"{machine} ({listed(labels, '; ')})" for machine, labels in by_machine.items())
        yield f"Timed on several machines, whose seconds do not compare arms: {where}."
