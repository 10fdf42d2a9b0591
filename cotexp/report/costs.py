"""What arms cost: columns and a table of training, teacher, compressor and latency, how they are counted, and whether arms train equally."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from cotexp.report import latency, machines
from cotexp.report.arm_rows import ArmRow
from cotexp.report.document import Cell, Column, Row, Table
from cotexp.report.finished_runs import listed
from cotexp.report.stored import artifact_of, unless_broken
from cotexp.store.stored_files import read_json
from cotexp.teachers import TEACHERS

EQUAL_RATIO = 1.05
"""Arms whose training tokens or FLOPs differ by a larger factor are not compared at equal training."""
HOURS = {"training/core_hours": "core-hours", "training/gpu_hours": "GPU-hours"}
TOKENS, FLOPS, BATCH = "training/num_tokens_seen", "training/flops", "eval/latency_batch_size"
WRITTEN = ("teacher_tokens_in", "teacher_tokens_out", "compressor_tokens_in", "compressor_tokens_out", "teacher_dollars", "compressor_dollars")
"""Columns of what was written before the fine-tuning."""


class Counted(NamedTuple):
    """A column whose cells are a metric's mean over seeds, its title, and how numbers are written."""

    title: str
    metric: str
    form: str = ",.0f"


COUNTED: dict[str, Counted] = {
    "steps": Counted("steps", "training/num_steps"),
    "train_tokens": Counted("training tokens", TOKENS),
    "supervised_tokens": Counted("supervised tokens", "training/num_supervised_tokens_seen"),
    "flops": Counted("training FLOPs", FLOPS, ".3g"),
    "teacher_tokens_in": Counted("teacher: tokens read", "teacher/num_tokens_in"),
    "teacher_tokens_out": Counted("teacher: tokens written", "teacher/num_tokens_out"),
    "teacher_dollars": Counted("teacher: US dollars", "teacher/dollars", ",.4f"),
    "compressor_tokens_in": Counted("compressor: tokens read", "compressor/num_tokens_in"),
    "compressor_tokens_out": Counted("compressor: tokens written", "compressor/num_tokens_out"),
    "compressor_dollars": Counted("compressor: US dollars", "compressor/dollars", ",.4f"),
    "timed_tokens": Counted("tokens per timed question", "latency_tokens_batch1", ".1f"),
}


def metric_cell(row: ArmRow, name: str, form: str) -> Cell:
    """The mean of a metric over the row's seeds, with its deviation in free form (.4g); empty if a run lacks it."""
    spread = row.metric(name)
    if spread is None:
        return Cell()
    deviation = None if math.isnan(spread.deviation) else spread.deviation
    varies = f" ± {deviation:.2g}" if deviation and form == ".4g" else ""
    return Cell(text=f"{spread.mean:{form}}{varies}".replace("e+", "e"), value=spread.mean, deviation=deviation)


def hours_cell(row: ArmRow) -> Cell:
    """Hours of cores or of GPUs."""
    for name, unit in HOURS.items():
        if row.metric(name):
            cell = metric_cell(row, name, ".3g")
            return Cell(text=f"{cell.text} {unit}", value=cell.value, deviation=cell.deviation)
    return Cell()


def latency_cell(row: ArmRow, size: str, form: str) -> Cell:
    """Seconds per question: the median over passes, its mean over seeds, and the outermost quartiles. Empty if several machines timed the seeds."""
    name = f"latency_seconds_{size}"
    cell = metric_cell(row, name, form)
    if cell.value is not None and len(machines.timed_on(row)) > 1:
        return Cell()
    times = row.times
    if cell.value is None or not all(f"{name}_low" in time for time in times):
        return cell
    low, high = min(time[f"{name}_low"] for time in times), max(time[f"{name}_high"] for time in times)
    return Cell(text=f"{cell.text} ({low:{form}} to {high:{form}})", value=cell.value, deviation=cell.deviation, low=low, high=high)


def _counted(own: Counted) -> Callable[[ArmRow], Cell]:
    return lambda row: metric_cell(row, own.metric, own.form)


CELLS: dict[str, tuple[str, Callable[[ArmRow], Cell]]] = {
    **{name: (own.title, _counted(own)) for name, own in COUNTED.items()},
    "hours": ("training time of devices", hours_cell),
    "latency": ("seconds per question, batch 1", lambda row: latency_cell(row, "batch1", ".3f")),
    "latency_batch": ("seconds per question, batch N", lambda row: latency_cell(row, "batchN", ".4f")),
}
"""Column -> its title, and how a row fills it."""
ORDER = (
    *("steps", "train_tokens", "supervised_tokens", "flops", "hours"),
    *("teacher_tokens_in", "teacher_tokens_out", "teacher_dollars", "compressor_tokens_in", "compressor_tokens_out", "compressor_dollars"),
    *("latency", "latency_batch", "timed_tokens"),
)


def table(rows: Sequence[ArmRow], name: str) -> Table | None:
    """The costs of the rows that have any, in the columns that one of them fills; None if there is no more than a number of steps."""
    shown = [row for row in rows if row.answers and any(cell(row).text for _, cell in CELLS.values())]
    filled = [column for column in ORDER if any(CELLS[column][1](row).text for row in shown)]
    if not set(filled) - {"steps"}:
        return None
    return Table(
        name=f"{name}-costs",
        title="What the arms cost",
        columns=tuple(Column(name=column, title=CELLS[column][0]) for column in filled),
        rows=tuple(_row(row, [CELLS[column][1] for column in filled]) for row in shown),
        notes=tuple(notes(shown, filled)),
    )


def _row(row: ArmRow, cells: Sequence[Callable[[ArmRow], Cell]]) -> Row:
    return Row(label=row.label, kind="arm" if row.arm else "base", cells=tuple(cell(row) for cell in cells), seeds=tuple(row.seeds))


def notes(rows: Sequence[ArmRow], columns: Sequence[str]) -> Iterator[str]:
    """How the numbers of these columns are counted, on which devices, and which rows lack them."""
    if not set(columns) & {*ORDER}:
        return
    yield from (sentence for names, sentence in COUNTING.items() if set(names) & set(columns))
    if "hours" in columns:
        yield from _devices(rows)
    if set(columns) & {"train_tokens", "supervised_tokens", "flops", "hours"}:
        yield from _not_stored(rows)
    if set(columns) & {*WRITTEN}:
        yield from _not_counted(rows)
    if set(columns) & {"latency", "latency_batch", "timed_tokens"}:
        yield _timing(rows)
        yield from machines.notes(rows)
    if set(columns) & {"latency", "latency_batch"}:
        yield from (line for row in rows for line in dict.fromkeys(line for times in row.times for line in latency.doubts(times, row.label)))


COUNTING: dict[tuple[str, ...], str] = {
    ("train_tokens", "supervised_tokens"): (
        "Training tokens are those of all steps, prompts included and padding not; supervised tokens are those of them that have a loss."
    ),
    ("flops",): (
        "Training FLOPs: 6 for each trained weight and token and 4 for each frozen one, 12 for each pair of tokens of a text and unit of the "
        "attention's width; embeddings do not count, and the head does for the tokens whose logits are made. Padding, validations, and activations "
        "that are computed twice do not count."
    ),
    ("hours",): (
        "Training time: wall time of the fine-tuning with its validations and checkpoints, times its devices (a core for each thread). What a kill "
        "undid is not in it."
    ),
    WRITTEN: (
        "Teacher and compressor: all texts that a run reads, also rationales that its selection drops. Arms that read the same stored texts each "
        "count them in full, though they were written and paid once. A server's tokens and dollars are its own account, others are counted with the "
        "tokenizer and template of the model that is trained, without the thinking of a compressor on this machine and without the answer that TALE "
        "writes after its chain."
    ),
}
"""Columns -> how they are counted."""


def _timing(rows: Sequence[ArmRow]) -> str:
    """What seconds per question are, and the batch size N of the runs that say it."""
    sizes = sorted({metrics[BATCH] for row in rows for metrics in row.run_metrics if BATCH in metrics})
    return (
        "Seconds per question: median of several passes over the same questions, and the outermost quartiles of its seeds; tokens per timed question "
        "are those that were written in these passes." + (f" N is {' or '.join(f'{size:.0f}' for size in sizes)}." if sizes else "")
    )


def _devices(rows: Sequence[ArmRow]) -> Iterator[str]:
    """The devices of the fine-tunings, with the rows that differ if there are several."""
    found: dict[str, list[str]] = {}
    for row in rows:
        for run in row.arm.runs if row.arm else []:
            if any(name in run.metrics for name in HOURS) and (device := unless_broken(run.folder, _device, str)):
                found.setdefault(device, []).append(row.label)
    arms = {device: listed(list(dict.fromkeys(labels)), "; ") for device, labels in found.items()}
    if arms:
        yield f"Fine-tuned on {', '.join(device if len(arms) == 1 else f'{device} ({labels})' for device, labels in arms.items())}."


def _device(folder: Path) -> str:
    return str(read_json(artifact_of(folder, "checkpoint") / "training.json").get("device", ""))


def _not_stored(rows: Sequence[ArmRow]) -> Iterator[str]:
    """The rows whose tokens, FLOPs or hours are empty, and why."""
    trained = [row for row in rows if row.metric("training/num_steps")]
    earlier = [row.label for row in trained if not row.metric(TOKENS)]
    if earlier:
        yield f"No training tokens, FLOPs and time: {listed(earlier, '; ')}. Fine-tuned by an earlier version, which did not store them."
    uncounted = [row.label for row in trained if row.metric(TOKENS) and not row.metric(FLOPS)]
    if uncounted:
        yield f"No FLOPs: {listed(uncounted, '; ')}. The model has layers other than attention, whose FLOPs are not counted."
    untimed = [row.label for row in trained if row.metric(TOKENS) and not any(row.metric(name) for name in HOURS)]
    if untimed:
        yield f"No training time: {listed(untimed, '; ')}. A part of it ran under an earlier version, or its seeds ran on devices of several kinds."


def _not_counted(rows: Sequence[ArmRow]) -> Iterator[str]:
    """The fine-tuned rows of which a part of the tokens that teacher and compressor wrote is not stored, and why."""
    roles: dict[str, Callable[[ArmRow], bool]] = {"teacher": _has_teacher, "compressor": lambda row: bool(row.metric("rounds/num_written"))}
    for role, works in roles.items():
        empty = [row.label for row in rows if row.metric("training/num_steps") and works(row) and not row.metric(f"{role}/num_tokens_out")]
        if empty:
            yield (
                f"No tokens of the {role}: {listed(empty, '; ')}. Finished by an earlier version, which did not count them (its command does, "
                "without training), or the server does not report them."
            )


def _has_teacher(row: ArmRow) -> bool:
    """Whether texts of a teacher are read, in place of a task's worked solutions, which cost nothing."""
    name = row.arm.runs[0].settings.get("teacher", {}).get("name") if row.arm else None
    return name is not None and not TEACHERS.stored(name).needs_references


# --- equal training ------------------------------------------------------------------------------------------------------


def equality(rows: Sequence[ArmRow]) -> Iterator[str]:
    """Whether the arms of a table are compared at equal training tokens and FLOPs; nothing if they do not say."""
    trained = [row for row in rows if row.answers and row.arm and row.metric(TOKENS)]
    if len(trained) < 2:
        return
    by_label = {row.label: row for row in trained}
    pairs = [(row, by_label[row.baseline]) for row in trained if row.baseline in by_label and row.baseline != row.label]
    if not pairs:
        yield f"{_among(trained)}{_unknown(rows)}"
        return
    unequal = [f"{row.label} ({', '.join(parts)})" for row, baseline in pairs if (parts := [*_factors(row, baseline)])]
    if unequal:
        yield (
            f"Not at equal training, against the baseline: {'; '.join(unequal)}. trainer.max_tokens or trainer.max_petaflops makes arms equal; "
            f"trainer.max_steps fixes the steps.{_unknown(rows)}"
        )
    else:
        yield f"At equal training: {_equal(trained)} are within {EQUAL_RATIO - 1:.0%} of the baseline's.{_unknown(rows)}"


def _equal(rows: Sequence[ArmRow]) -> str:
    """What is known to be equal: FLOPs only if those of every row are counted."""
    return "tokens and FLOPs" if all(row.metric(FLOPS) for row in rows) else "tokens (not all have their FLOPs counted)"


def _unknown(rows: Sequence[ArmRow]) -> str:
    """A sentence that names the fine-tuned rows whose tokens are not known; empty if there are none."""
    unknown = [row.label for row in rows if row.answers and row.arm and row.metric("training/num_steps") and not row.metric(TOKENS)]
    return f" Not known of {listed(unknown, '; ')}." if unknown else ""


def _factors(row: ArmRow, baseline: ArmRow) -> Iterator[str]:
    """By how much training tokens and FLOPs differ from the baseline's, where they do by more than EQUAL_RATIO."""
    for name, what in ((TOKENS, "tokens"), (FLOPS, "FLOPs")):
        own, other = row.metric(name), baseline.metric(name)
        if own and other and not 1 / EQUAL_RATIO <= own.mean / other.mean <= EQUAL_RATIO:
            yield f"{what} × {own.mean / other.mean:.2f}"


def _among(rows: Sequence[ArmRow]) -> str:
    """The range of tokens and FLOPs over arms of which none is the baseline."""
    parts = []
    for name, what in ((TOKENS, "tokens"), (FLOPS, "FLOPs")):
        numbers = [spread.mean for row in rows if (spread := row.metric(name))]
        if numbers and max(numbers) > EQUAL_RATIO * min(numbers):
            parts.append(f"{what} from {min(numbers):.3g} to {max(numbers):.3g}")
    if parts:
        return f"Not at equal training: {', '.join(parts)} over the arms. trainer.max_tokens or trainer.max_petaflops makes arms equal."
    return f"At equal training: {_equal(rows)} of the arms are within {EQUAL_RATIO - 1:.0%} of each other."
