"""The store compared with plain files: appending rows, reading them, and a plan over a store with many rows.

    python benchmarks/store.py [--append 100000] [--read 1000000] [--rounds 3]

Appending is compared with plain writes of the same lines, flushed one by one and synced once a second; reading with `orjson.loads` of the lines.
Goal: at most twice the peer's time, cost linear in rows, and a process that appends to a large ledger needs no more memory than with an empty one.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import orjson
from measure import Row, exponent, in_turns, keep, run

from cotexp.store.specs import Spec
from cotexp.store.store import Store

TEXT = "He has 3 apples and buys 4 more, so he has 3 + 4 = 7 apples. " * 4


def content(number: int) -> dict[str, object]:
    """A row like that of a rationale: a text of about 250 characters and some fields."""
    return {"id": f"q{number // 8}/{number % 8}", "text": TEXT, "num_tokens": 70, "finish_reason": "stop", "correct": True, "seconds": 0.01}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--append", type=int, default=100_000)
    parser.add_argument("--read", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        append(folder, options.append, options.rounds)
        read(folder, options.read, options.rounds)
        plan(folder, options.read, options.rounds)
        memory(folder, options.read)


def by_ledger(folder: Path, count: int) -> int:
    """Append `count` rows to an empty ledger in chunks of 1,000. Returns the number of its rows."""
    shutil.rmtree(folder, ignore_errors=True)
    rows = {each["id"]: each for each in map(content, range(count))}
    ledger = Store(folder).ledger(Spec("rationales", {"count": count}))
    return len(ledger.fill(list(rows), lambda ids, emit: [emit(rows[each]) for each in ids] and None, chunk_size=1000))


def by_writes(path: Path, count: int) -> int:
    """The same rows as lines of one file."""
    rows, synced = list(map(content, range(count))), time.monotonic()
    with path.open("wb") as file:
        for row in rows:
            file.write(orjson.dumps({**row, "written": time.time()}) + b"\n")
            file.flush()
            if time.monotonic() - synced > 1:
                os.fsync(file.fileno())
                synced = time.monotonic()
        os.fsync(file.fileno())
    return len(rows)


def append(folder: Path, count: int, rounds: int) -> None:
    seconds, done = in_turns({"ours": lambda: by_ledger(folder / "store", count), "peer": lambda: by_writes(folder / "lines.jsonl", count)}, rounds)
    slope = exponent({size: median(lambda size=size: by_ledger(folder / "store", size), rounds) for size in (count // 4, count // 2, count)})
    ratio = seconds["peer"] / seconds["ours"]
    keep(Row("store_append", "s", seconds["ours"], seconds["peer"], ratio, 0.5, done["ours"] == done["peer"] == count, {"rows": count}, slope))


def median(work: Callable[[], object], rounds: int) -> float:
    return in_turns({"it": work}, rounds)[0]["it"]


def lines_of(folder: Path, count: int) -> Path:
    """A ledger's folder with `count` rows in one file."""
    place = folder / f"read/rationales/{count}"
    place.mkdir(parents=True, exist_ok=True)
    with (place / "rows-w.jsonl").open("wb") as file:
        for number in range(count):
            file.write(orjson.dumps({**content(number), "written": 1.0}) + b"\n")
    return place


def read(folder: Path, count: int, rounds: int) -> None:
    def ours(size: int) -> int:
        ledger = Store(folder).ledger(Spec("rationales", {}))
        ledger.folder = folder / f"read/rationales/{size}"
        return len(ledger.read())

    def peer() -> int:
        content = (folder / f"read/rationales/{count}/rows-w.jsonl").read_bytes()
        return len({row["id"]: row for row in map(orjson.loads, content.split(b"\n")[:-1])})

    sizes = (count // 4, count // 2, count)
    for size in sizes:
        lines_of(folder, size)
    seconds, done = in_turns({"ours": lambda: ours(count), "peer": peer}, rounds)
    slope = exponent({size: median(lambda size=size: ours(size), rounds) for size in sizes})
    ratio = seconds["peer"] / seconds["ours"]
    keep(Row("store_read", "s", seconds["ours"], seconds["peer"], ratio, 0.5, done["ours"] == done["peer"] == count, {"rows": count}, slope))


PLAN = [
    "task.num_train=8",
    "task.num_validation=4",
    "task.num_test=4",
    "compression=none",
    "tracking=none",
    "trainer.max_epochs=1",
    "evaluation.latency=false",
]


def plan(folder: Path, count: int, rounds: int) -> None:
    """A plan of a small run whose ledger of rationales has `count` more rows, compared with reading these lines."""
    words = [sys.executable, "run.py", *PLAN, "evaluation.max_new_tokens=16", f"paths.outputs={folder / 'outputs'}", "trainer.tuning=full"]
    run(words)
    before = run([*words, "plan=true"])
    (ledger,) = (folder / "outputs/store/rationales").glob("*/")
    without = median(lambda: run([*words, "plan=true"]), rounds)
    shutil.copy(folder / f"read/rationales/{count}/rows-w.jsonl", ledger / "rows-more.jsonl")
    seconds, done = in_turns(
        {"ours": lambda: run([*words, "plan=true"]), "peer": lambda: run([sys.executable, "-c", LOADS, str(ledger / "rows-more.jsonl")])}, rounds
    )
    ours = seconds["ours"] - without
    keep(Row("store_plan", "s", ours, seconds["peer"], seconds["peer"] / ours, 0.5, done["ours"] == before, {"rows": count, "without": without}))


LOADS = "import sys, orjson; print(sum(1 for line in open(sys.argv[1], 'rb') if orjson.loads(line)))"


def memory(folder: Path, count: int) -> None:
    """Peak memory of a process that appends 1,000 rows to a ledger with `count` rows, compared with an empty ledger."""
    empty = folder / "read/rationales/0"
    empty.mkdir(parents=True, exist_ok=True)
    full, none = (float(run([sys.executable, "-c", APPENDS, str(each)])) for each in (folder / f"read/rationales/{count}", empty))
    keep(Row("store_append_memory", "MB", full, none, none / full, 0.9, agrees=True, sizes={"rows before": count, "rows appended": 1000}))


APPENDS = """
import sys
from pathlib import Path
sys.path.insert(0, "benchmarks")
from store import content
from cotexp.store.specs import Spec
from cotexp.store.store import Store
ledger = Store(Path(sys.argv[1])).ledger(Spec("rationales", {}))
ledger.folder = Path(sys.argv[1])
rows = {f"new{number}/0": {**content(number), "id": f"new{number}/0"} for number in range(1000)}
assert len(ledger.fill(list(rows), lambda ids, emit: [emit(rows[each]) for each in ids] and None, chunk_size=100)) == 1000
status = Path("/proc/self/status").read_text()  # a child inherits ru_maxrss from its parent, also across exec
print(int(status.split("VmHWM:")[1].split()[0]) / 1024)
"""

if __name__ == "__main__":
    main()
