"""A log without a terminal shows rate, money and time left."""

from __future__ import annotations

import itertools
import logging
import re
from types import SimpleNamespace

import pytest

from cotexp import progress


def test_a_log_shows_rate_money_and_time_left_as_rows_come(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(progress, "NOTE_SECONDS", -1.0)
    with caplog.at_level(logging.INFO, logger="cotexp"), progress.bar("texts", 4) as advance:
        for _ in range(4):
            advance({"id": "a", "usage": {"cost": 0.25}})
    first, *_, last, summary = caplog.messages
    assert re.fullmatch(r"texts: 1 of 4, [\d.]+/s, 0\.25 dollars, \d:\d\d:\d\d left", first)
    assert re.fullmatch(r"texts: 4 of 4, [\d.]+/s, 1\.00 dollars, 0:00:00 left", last)
    assert re.fullmatch(r"texts: 4 computed in [\d.]+ s for 1\.0000 dollars", summary)


def test_rows_without_a_price_and_bars_without_a_total_are_shown_without(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(progress, "NOTE_SECONDS", -1.0)
    with caplog.at_level(logging.INFO, logger="cotexp"), progress.bar("training", 0) as advance:
        advance({"step": 1.0})
        advance({"step": 2.0}, total=8, completed=2)
    assert re.fullmatch(r"training: 1 of None, [\d.]+/s", caplog.messages[0])
    assert re.fullmatch(r"training: 2 of 8, [\d.]+/s, \d:\d\d:\d\d left", caplog.messages[1])
    assert "dollars" not in caplog.text


def test_a_total_alone_counts_no_row_and_the_time_left_follows_from_it(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(progress, "NOTE_SECONDS", -1.0)
    times = itertools.count(step=2.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(times)))
    with caplog.at_level(logging.INFO, logger="cotexp"), progress.bar("texts", 1000) as advance:
        advance(total=4)
        advance({"id": "a"})
    assert caplog.messages[0] == "texts: 1 of 4, 2.0 s each, 0:00:06 left"


def test_a_step_and_the_validation_after_it_count_once_also_in_a_resumed_fine_tuning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="cotexp"), progress.bar("training", 0) as advance:
        for step in (41, 42, 42, 43, 44, 44):
            advance({"step": float(step)}, total=44, completed=step)
    assert re.fullmatch(r"training: 4 computed in [\d.]+ s", caplog.messages[-1])


@pytest.mark.parametrize(("seconds", "pace"), [(0.125, "8.0/s"), (20.0, "20.0 s each")])
def test_slow_rows_are_shown_in_seconds_for_each(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, seconds: float, pace: str
) -> None:
    monkeypatch.setattr(progress, "NOTE_SECONDS", -1.0)
    times = itertools.count(step=seconds)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(times)))
    with caplog.at_level(logging.INFO, logger="cotexp"), progress.bar("texts", 4) as advance:
        advance()
    assert caplog.messages[0].startswith(f"texts: 1 of 4, {pace}, ")


def test_nothing_is_said_of_what_is_cached(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="cotexp"), progress.bar("texts", 4):
        pass
    assert caplog.messages == []
