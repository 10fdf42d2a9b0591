"""The engine against a server that fails in every way at once, and against its own process being killed: nothing lost, nothing paid twice.

COTEXP_SOAK=10000 asks for that many rows (`make soak`) and prints what happened.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
from fault_client import MOST_IN_FLIGHT, SPEC
from fault_server import served, told

from cotexp.store.store import Store

HERE = Path(__file__).resolve().parent
NUM_ROWS = int(os.environ.get("COTEXP_SOAK", "1000"))
TRANSIENT = ("too_many", "server_error", "reset", "hang", "invalid", "no_choice")


def start(store: Path, url: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(HERE / "fault_client.py"), str(store), f"{url}/v1", str(NUM_ROWS)]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent.parent)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def killed_after(store: Path, url: str, num_answered: int) -> float:
    """Start the client and kill it once the server has answered so many requests in all; returns the time of its death."""
    client = start(store, url)
    while told(url, "counts")["answered"] < num_answered:
        assert client.poll() is None, client.communicate()
        time.sleep(0.05)
    client.send_signal(signal.SIGKILL)
    client.communicate()
    died = time.time()
    while told(url, "counts")["in_flight"]:
        time.sleep(0.05)
    return died


def finished(store: Path, url: str) -> None:
    output, errors = start(store, url).communicate()
    assert output.strip() == str(NUM_ROWS), errors


@pytest.mark.slow
def test_no_row_is_lost_and_none_paid_twice_whatever_fails_and_whoever_is_killed(tmp_path: Path) -> None:
    started = time.monotonic()
    with served(seed=1) as url:
        deaths = [killed_after(tmp_path, url, share * NUM_ROWS // 3) for share in (1, 2)]
        finished(tmp_path, url)
        requests = told(url, "requests")
        most_in_flight = told(url, "counts")["most"]
        finished(tmp_path, url)
        assert told(url, "counts")["requests"] == len(requests), "a second run asks for nothing"
    rows = Store(tmp_path).ledger(SPEC).read()
    of_row: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for each in requests:
        of_row[each["row"]].append(each)

    outcomes = {"ok": "stop", "filtered": "filtered", "length": "length"}
    assert {f"row {name}": row["finish_reason"] for name, row in rows.items()} == {name: outcomes[own[-1]["kind"]] for name, own in of_row.items()}
    assert all(row["text"] == ("" if row["finish_reason"] == "filtered" else f"answer to row {name}") for name, row in rows.items())

    flushed = {f"row {name}": row["written"] for name, row in rows.items()}
    assert [each["row"] for each in requests if each["arrived"] > flushed[each["row"]]] == [], "asked for again after its answer was flushed"
    num_paid_again = sum(sum(each["answered"] is not None for each in own) - 1 for own in of_row.values())
    assert num_paid_again <= 2 * MOST_IN_FLIGHT, "per kill at most the rows then in flight"

    faults = Counter(each["kind"] for each in requests if each["kind"] in TRANSIENT)
    num_retries = len(requests) - len(of_row) - num_paid_again
    assert len(faults) == len(TRANSIENT), "every kind of fault occurred"
    assert num_retries <= 1.3 * sum(faults.values())
    pairs = [(one, other) for own in of_row.values() for one, other in itertools.pairwise(own)]
    pairs = [(one, other) for one, other in pairs if not any(one["arrived"] < died < other["arrived"] for died in deaths)]  # a new client cannot know
    assert [one["row"] for one, other in pairs if other["arrived"] < one["not_before"]] == [], "a retry came before Retry-After"
    assert sum(one["not_before"] > 0 for one, _ in pairs) > NUM_ROWS / 50
    assert 8 <= most_in_flight <= MOST_IN_FLIGHT + faults["hang"]

    endings = Counter(row["finish_reason"] for row in rows.values())
    num_faults = sum(faults.values())
    num_faults, seconds = sum(faults.values()), time.monotonic() - started
    print(
        f"\n{len(rows)} rows {dict(sorted(endings.items()))}, {len(requests)} requests, {num_faults} faults {dict(sorted(faults.items()))}, "
        f"{num_retries} retries = {num_retries / num_faults:.3f} x faults; two SIGKILLs, {num_paid_again} answers paid again, "
        f"0 after they were flushed; 0 retries before Retry-After; second run: 0 requests; {seconds:.0f} s"
    )
