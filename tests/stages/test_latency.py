"""Seconds per question are measured on the evaluation's own answers, in several passes, by one process of a machine at a time."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest
from filelock import FileLock

from cotexp.commands import run_experiment
from cotexp.config.command_line import check_command_line
from cotexp.stages import latency
from cotexp.store.stored_files import read_json

SIZES = ("debug=fast", "tracking=none", "evaluation.modes=[base]", "evaluation.temperature=0.7", "evaluation.max_new_tokens=120")


def rows_below(folder: Path) -> dict[str, dict]:
    import orjson

    return {row["id"]: row for path in folder.rglob("rows-*.jsonl") for row in map(orjson.loads, path.read_bytes().splitlines())}


@pytest.mark.slow
def test_what_is_timed_is_what_is_evaluated_and_passes_are_added_to_those_there_are(tmp_path: Path) -> None:
    words = [*SIZES, "evaluation.latency_questions=3", "evaluation.latency_batch_size=2", f"paths.outputs={tmp_path}"]
    result = run_experiment(check_command_line(words, multirun=False)[0])
    (ledger,) = (tmp_path / "store" / "latency").iterdir()
    timed = rows_below(ledger)
    assert set(timed) == {f"{size}/{number}" for size in ("batch1", "batchN") for number in range(3)}
    answers = rows_below(tmp_path / "store" / "predictions")
    asked = [name for own in read_json(result.folder / "questions.json")["test"].values() for name in own][:3]
    tokens = sum(answers[name]["num_tokens"] for name in asked) / 3
    assert {round(row["num_tokens"], 6) for row in timed.values()} == {round(tokens, 6)}, "sampled, and the very texts of the evaluation"
    assert all(0 <= row["busy_ratio"] <= 1 and row["num_questions"] == 3 for row in timed.values())
    least, median, most = sorted(timed[f"batch1/{number}"]["seconds"] for number in range(3))
    names = ["latency_seconds_batch1_low", "latency_seconds_batch1", "latency_seconds_batch1_high"]
    quartiles = [(least + median) / 2, median, (median + most) / 2]
    assert [result.metrics[f"eval/base/{name}"] for name in names] == pytest.approx(quartiles)
    assert result.metrics["eval/base/latency_tokens_batchN"] == pytest.approx(tokens)

    run_experiment(check_command_line([*words, "evaluation.latency_passes=4"], multirun=False)[0])
    more = rows_below(ledger)
    assert len(more) == 8
    assert all(more[name] == row for name, row in timed.items())


def test_a_measurement_waits_for_another_one_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(latency, "LOCK", tmp_path / "lock")
    other, entered, said = FileLock(tmp_path / "lock"), threading.Event(), threading.Event()

    class Told(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.set()

    def measure() -> None:
        with latency._alone():
            entered.set()

    handler = Told()
    latency.log.addHandler(handler)
    try:
        with other:
            thread = threading.Thread(target=measure)
            thread.start()
            assert said.wait(600)
            assert not entered.is_set()
        thread.join()
    finally:
        latency.log.removeHandler(handler)
    assert entered.is_set()
    assert "another run measures on this machine" in caplog.text


def test_work_of_this_process_is_not_that_of_others() -> None:
    before, own_before = latency._busy_seconds(), latency._own_seconds()
    total = 0
    while latency._own_seconds() - own_before < 0.3:
        total += sum(range(10_000))
    own, busy = latency._own_seconds() - own_before, latency._busy_seconds() - before
    assert own >= 0.3
    assert busy >= own - 0.2, "the machine's clock ticks in hundredths"
