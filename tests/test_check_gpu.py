"""`make check-gpu`: what it says without a GPU, and that each of its outcomes can come out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import forked
import pytest

from cotexp.models import identity

ROOT = Path(__file__).resolve().parent.parent

sys.path.insert(0, str(ROOT / "benchmarks"))
import check_gpu  # noqa: E402 - the folder is no package

sys.path.remove(str(ROOT / "benchmarks"))

CHECKS = {each.name: each for each in check_gpu.CHECKS}


def gpus(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(identity, "has_cuda", lambda: number > 0)
    monkeypatch.setattr(identity, "num_devices", lambda kind: number)


def packages(monkeypatch: pytest.MonkeyPatch, *, are_there: bool) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if are_there else None)


def checked(*options: str) -> list[list[str]]:
    """Outcome, name and the rest of each line."""
    done = forked.run(["benchmarks/check_gpu.py", *options], cwd=ROOT)
    rows = [line.split("  ", 1) for line in done.stdout.splitlines()]
    assert done.returncode == any(row[0].strip() == "failed" for row in rows), done.stderr
    return [[row[0].strip(), *(part.strip() for part in row[1].strip().split("  ", 1))] for row in rows]


def test_without_a_gpu_nothing_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 0)
    assert list(check_gpu.lines(check_gpu.CHECKS, "cuda", [], 5)) == [
        ("not tried", name, "no GPU that this machine's build of torch can use") for name in CHECKS
    ]


def test_what_one_gpu_or_a_missing_package_does_not_allow_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 1)
    packages(monkeypatch, are_there=False)
    reasons = {name: check_gpu.obstacle(each, "cuda") for name, each in CHECKS.items()}
    several = "needs 2 GPUs, and there is 1"
    assert {name: reason for name, reason in reasons.items() if reason} == {
        "nf4": "needs the package bitsandbytes",
        "flash_attention_2": "needs the package flash-attn",
        "flash_attention_3": "needs the package flash-attn-interface",
        "vllm": "needs the package vllm",
        **dict.fromkeys(["texts on two devices", "ddp", "fsdp", "deepspeed"], several),
    }
    gpus(monkeypatch, 2)
    packages(monkeypatch, are_there=True)
    assert not any(check_gpu.obstacle(each, "cuda") for each in CHECKS.values())
    assert {name for name, each in CHECKS.items() if check_gpu.obstacle(each, "cpu")} == {"flash_attention_2", "flash_attention_3", "flex_attention"}


def test_a_number_away_from_that_of_a_plain_run_is_a_failure() -> None:
    ddp = CHECKS["ddp"]
    assert check_gpu.verdict(ddp, {check_gpu.LOSS: 2.0001}, 2.0) == "training/best_validation_loss 2.0001"
    assert check_gpu.verdict(ddp, {check_gpu.LOSS: 7.0}, None), "no plain run was made"
    for loss in (2.1, float("nan")):
        with pytest.raises(LookupError, match=r"^training/best_validation_loss is .*, and that of a plain run 2$"):
            check_gpu.verdict(ddp, {check_gpu.LOSS: loss}, 2.0)
    with pytest.raises(LookupError, match="the run has no eval/full/latency_seconds_batch1"):
        check_gpu.verdict(CHECKS["latency"], {check_gpu.LOSS: 2.0}, 2.0)


def test_every_number_is_compared_with_that_of_the_plain_run_of_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    def tried(check: Any, device: str, own: list[str], seconds: float) -> dict[str, float]:
        if check.name == "bfloat16":
            raise LookupError("RuntimeError: no kernel")
        return {check_gpu.LOSS: 2.0 + (check.name == "ddp"), check_gpu.ACCURACY: 0.5 * (check.name != "vllm"), check_gpu.LATENCY: 0.1}

    gpus(monkeypatch, 2)
    packages(monkeypatch, are_there=True)
    monkeypatch.setattr(check_gpu, "tried", tried)
    rows = {name: (outcome, said) for outcome, name, said in check_gpu.lines(check_gpu.CHECKS, "cuda", [], 5)}
    assert {name: said for name, (outcome, said) in rows.items() if outcome != "worked"} == {
        "bfloat16": "RuntimeError: no kernel",
        "ddp": "training/best_validation_loss is 3, and that of a plain run 2",
        "vllm": "eval/full/accuracy is 0, and that of a plain run 0.5",
    }
    assert rows["latency"][1].endswith("eval/full/latency_seconds_batch1 0.1")


def test_when_the_minutes_are_over_nothing_more_is_tried_and_what_is_at_work_has_failed() -> None:
    [row] = check_gpu.lines([CHECKS["one device"]], "cpu", [], 0)
    assert row == ("not tried", "one device", "the 0 minutes were over")
    for name in ("one device", "kill and resume"):
        with pytest.raises(subprocess.TimeoutExpired):
            check_gpu.tried(CHECKS[name], "cpu", [], 0.01)


@pytest.mark.slow
def test_on_processors_the_runs_work_and_a_killed_one_ends_as_an_undisturbed_one() -> None:
    one, resumed = checked("--device", "cpu", "--only", "one device", "--only", "kill and resume", "--minutes", "14")
    assert [one[:2], resumed[:2]] == [["worked", "one device"], ["worked", "kill and resume"]]
    loss = one[2].split()[-1]
    assert resumed[2].split()[-1] == loss
    assert 1 < float(loss) < 10, "from random weights"


@pytest.mark.slow
def test_a_run_that_fails_is_told_with_the_last_line_of_its_error() -> None:
    [row] = checked("--device", "cpu", "--only", "one device", "trainer.max_length=1")
    assert row[:2] == ["failed", "one device"]
    assert "trainer.max_length must be at least 8; got 1" in row[2]


def test_the_table_of_what_was_not_run_names_every_check() -> None:
    text = (ROOT / "docs" / "not_run.md").read_text(encoding="utf-8")
    assert [name for name in CHECKS if f"`{name}`" not in text] == []
