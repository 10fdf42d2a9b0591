"""How long a model takes per question: several passes over the same questions, one measurement per machine at a time."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from filelock import FileLock, Timeout

from cotexp import progress, signals
from cotexp.models import identity
from cotexp.records import Question
from cotexp.settings.sampling import Sampling
from cotexp.stages import budgets, predictions
from cotexp.stages.context import Context, by_task, hash_of
from cotexp.stages.evaluation import Evaluation
from cotexp.stages.predictions import answering_engine, request_for
from cotexp.store.specs import Spec
from cotexp.store.stored_files import Row

if TYPE_CHECKING:
    from cotexp.inference.engine import Engine, Output, Request

log = logging.getLogger(__name__)

NAME = "latency"
VERSION = 2
READS = ("predictions",)
IS_ARTIFACT = False

LOCK = Path(tempfile.gettempdir()) / "cotexp-latency.lock"
LOCK_SECONDS = 1.0
"""Between two looks at the lock."""


def timed_modes(context: Context) -> list[str]:
    """The modes whose latency is measured: all in which a model writes."""
    evaluation = context.settings.evaluation
    return [mode for mode in evaluation.modes if mode != "truncate"] if evaluation.latency else []


def wanted(context: Context) -> list[str]:
    """Ids of the passes: batch size and number."""
    return [f"{size}/{number}" for size in ("batch1", "batchN") for number in range(context.settings.evaluation.latency_passes)]


def timed_questions(context: Context) -> list[Question]:
    """The test questions on which latency is measured: the first ones, so that another task to evaluate on leaves what was measured as it is."""
    return context.questions.test[: context.settings.evaluation.latency_questions]


def specs(context: Context, mode: str) -> dict[str, Spec]:
    """Nothing for a mode that is not timed."""
    return {f"latency/{mode}": spec(context, mode)} if mode in timed_modes(context) else {}


def spec(context: Context, mode: str) -> Spec:
    """Seconds per question in one mode, on this machine; a row is one pass."""
    evaluation = context.settings.evaluation
    own = {
        "predictions": [predictions.spec(context, mode, each).key for each in by_task(timed_questions(context))],
        "questions": hash_of(each.id for each in timed_questions(context)),
        "batch_size": evaluation.latency_batch_size,
        "machine": f"{platform.node()} {identity.device_name(identity.device_type(context.settings.model.device))}",
    }
    return Spec(NAME, {"version": VERSION, **own})


def add(context: Context, made: Evaluation) -> None:
    """The times of every mode."""
    for mode in timed_modes(context):
        make(context, mode)


def metrics(context: Context, made: Evaluation) -> dict[str, float]:
    """The times of every mode, and the batch size of those at batch N."""
    found: dict[str, float] = {"eval/latency_batch_size": _batch_size(context)}
    return found | {f"eval/{mode}/{name}": value for mode in timed_modes(context) for name, value in make(context, mode).items()}


def _batch_size(context: Context) -> int:
    most: int = context.settings.evaluation.latency_batch_size
    return min(most, len(timed_questions(context)))


def make(context: Context, mode: str) -> dict[str, float]:
    """Metrics of the seconds per question at batch 1 and batch N, sampled as the evaluation samples, after a warm-up.

    Of several passes: the median and the quartiles, so that a disturbed pass counts for little once there are more; tokens per question of
    what was timed, and how busy others kept the machine.
    """
    evaluation, questions = context.settings.evaluation, timed_questions(context)
    sizes = {"batch1": 1, "batchN": _batch_size(context)}
    ids = wanted(context)

    def compute(wanted: list[str], emit: Callable[[Row], None]) -> None:
        engine = answering_engine(context, mode)
        known = budgets.of(context, mode, questions)
        requests = [request_for(context, mode, f"{each.id}/0", each, known)._replace(expected=0) for each in questions]  # all of a batch at once
        with _alone(), progress.bar(f"times, {mode}", len(wanted) * len(questions)) as advance:
            for size in sizes:
                sampling = dataclasses.replace(evaluation, batch_size=sizes[size])
                own = [each for each in wanted if each.startswith(f"{size}/")]
                if own:
                    engine.generate(requests[: sizes[size]], sampling, lambda output: None)
                for each in own:
                    emit({"id": each, **_timed(engine, requests, sizes[size], sampling, advance)})

    rows = context.rows(f"latency/{mode}", spec(context, mode), ids, compute, chunk_size=len(ids), shown=None)
    if len(rows) < len(ids):
        return {}
    return {
        f"latency_{name}_{size}{end}": value
        for size in sizes
        for (name, end), value in _summary([rows[each] for each in ids if each.startswith(f"{size}/")]).items()
    }


def _timed(engine: Engine, requests: Sequence[Request], size: int, sampling: Sampling, advance: progress.Advance) -> Row:
    """One pass over the questions in batches of `size`."""
    lengths: list[int] = []

    def on_output(output: Output) -> None:
        lengths.append(output.num_tokens)
        advance()

    before, own_before, started = _busy_seconds(), _own_seconds(), time.perf_counter()
    for first in range(0, len(requests), size):
        engine.generate(requests[first : first + size], sampling, on_output)
    seconds = time.perf_counter() - started
    others = _busy_seconds() - before - (_own_seconds() - own_before)
    return {
        "seconds": seconds / len(requests),
        "num_questions": len(requests),
        "num_tokens": sum(lengths) / len(requests),
        "busy_ratio": min(1.0, max(0.0, others / (seconds * (psutil.cpu_count() or 1)))),
    }


def _busy_seconds() -> float:
    """Processor seconds that this machine has worked, whoever for."""
    times = psutil.cpu_times()
    return float(sum(times)) - sum(getattr(times, name, 0.0) for name in ("idle", "iowait", "guest", "guest_nice"))


def _own_seconds() -> float:
    """Processor seconds that this process and those it started have worked."""
    total = 0.0
    for each in (own := psutil.Process(), *own.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += sum(each.cpu_times()[:2])
    return total


def _summary(passes: Sequence[Row]) -> dict[tuple[str, str], float]:
    """(what, end of its name) -> number."""
    seconds = [each["seconds"] for each in passes]
    low, median, high = statistics.quantiles(seconds, n=4, method="inclusive") if len(seconds) > 1 else seconds * 3
    return {
        ("seconds", ""): median,
        ("seconds", "_low"): low,
        ("seconds", "_high"): high,
        ("tokens", ""): statistics.median([each["num_tokens"] for each in passes]),
        ("busy_ratio", ""): statistics.median([each["busy_ratio"] for each in passes]),
    }


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """While this holds, nobody else measures on this machine."""
    lock = FileLock(LOCK, mode=0o666)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.warning("times: another run measures on this machine; waiting until it has ended (evaluation.latency=false measures none)")
        while not lock.is_locked:
            signals.check()
            with contextlib.suppress(Timeout):
                lock.acquire(timeout=LOCK_SECONDS)
    try:
        yield
    finally:
        lock.release()
