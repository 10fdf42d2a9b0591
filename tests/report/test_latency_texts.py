"""Seconds per question as tables show them."""

from __future__ import annotations

import pytest

from cotexp.report import latency


def passes(low: float, median: float, high: float, busy: float = 0.0, size: str = "batch1") -> dict[str, float]:
    name = f"latency_seconds_{size}"
    return {name: median, f"{name}_low": low, f"{name}_high": high, f"latency_tokens_{size}": 91.75, f"latency_busy_ratio_{size}": busy}


def test_a_cell_holds_the_median_and_the_spread() -> None:
    assert latency.seconds_text(passes(0.158, 0.161, 0.19), "batch1", ".3f") == "0.161 (0.158 to 0.190)"
    assert latency.seconds_text({"latency_seconds_batch1": 0.2}, "batch1", ".3f") == "0.200", "one pass of an earlier version"
    assert latency.seconds_text({}, "batchN", ".4f") == "not measured"
    assert latency.tokens_text(passes(1, 1, 1)) == "91.8"
    assert latency.tokens_text({}) == ""


@pytest.mark.parametrize("measured", [passes(0.96, 1.0, 1.05), passes(1.0, 1.0, 1.0, busy=0.1)])
def test_seconds_of_like_passes_on_an_idle_machine_need_no_remark(measured: dict[str, float]) -> None:
    assert list(latency.doubts(measured, "base")) == []


@pytest.mark.parametrize(
    ("measured", "reason"),
    [
        (passes(0.158, 0.161, 0.190), "passes over the same texts differ by 20%"),
        (passes(1.0, 1.0, 1.0, busy=0.5), "others used 50% of the machine's processors"),
        (passes(0.5, 1.0, 1.0, busy=0.9), "passes over the same texts differ by 50% and others used 90% of the machine's processors"),
    ],
)
def test_seconds_are_worth_nothing_where_passes_differ_or_others_work(measured: dict[str, float], reason: str) -> None:
    (line,) = latency.doubts(measured, "base")
    assert line.startswith(f"base: seconds at batch 1 are not reliable: {reason};")


def test_each_batch_size_is_judged_by_itself() -> None:
    lines = list(latency.doubts({**passes(1, 1, 1), **passes(1, 2, 3, size="batchN")}, "base"))
    assert [line.split(" are ")[0] for line in lines] == ["base: seconds at batch N"]
    assert list(latency.doubts({"latency_seconds_batch1": 0.2}, "base")) == []
