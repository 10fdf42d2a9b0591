"""A log without a terminal shows rate, money and time left."""

from __future__ import annotations

import itertools
import logging
import re
from types import SimpleNamespace

import pytest

from cotexp import progress


@pytest.fixture
def two_seconds_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seconds pass before each row, and every row is logged."""
    times = itertools.count(step=2.0)
    monkeypatch.setattr(progress, "NOTE_SECONDS", -1.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(times)))


@pytest.mark.usefixtures("two_seconds_each")
def test_a_log_shows_rate_money_and_time_left_as_rows_come(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="cotexp"), progress.bar("texts", 4) as advance:
        for _ in range(4):
            advance({"id": "a", "usage": {"cost": 0.25}})
    assert caplog.messages == [
        "texts: 1 of 4, 0.25 dollars",  # which may be one of many that come at once
        "texts: 2 of 4, 2.0 s each, 0.50 dollars, 0:00:04 left",
        "texts: 3 of 4, 2.0 s each, 0.75 dollars, 0:00:02 left",
        "texts: 4 of 4, 2.0 s each, 1.00 dollars, 0:00:00 left",
        "texts: 4 computed in 10.0 s for 1.0000 dollars",
    ]


@pytest.mark.usefixtures("two_seconds_each")
def test_rows_without_a_price_and_bars_without_a_total_are_shown_without(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="cotexp"), progress.bar("training", 0) as advance:
        advance({"step": 1.0})
        advance({"step": 2.0}, total=8, completed=2)
    assert caplog.messages[:2] == ["training: 1 of None", "training: 2 of 8, 2.0 s each, 0:00:12 left"]
    assert "dollars" not in caplog.text


@pytest.mark.usefixtures("two_seconds_each")
def test_a_total_alone_counts_no_row_and_the_time_left_follows_from_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="cotexp"), progress.bar("texts", 1000) as advance:
        advance(total=4)
        advance({"id": "a"})
        advance({"id": "b"})
    assert caplog.messages[1] == "texts: 2 of 4, 2.0 s each, 0:00:04 left"


def test_the_first_batch_has_no_rate_since_its_rows_come_at_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A model is loaded and writes eight rows in 60 s, and eight more in 20 s."""
    times = iter([0.0, *[60.0] * 8, *[80.0] * 8, 80.0])
    monkeypatch.setattr(progress, "NOTE_SECONDS", -1.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(times)))
    place = progress.Place("stage 2 of 3", 75.0)
    with (
        caplog.at_level(logging.INFO, logger="cotexp"),
        progress.watched(lambda reached: None, lambda reached: place),
        progress.bar("texts", 32) as advance,
    ):
        for _ in range(16):
            advance()
    assert caplog.messages[7] == "stage 2 of 3, texts: 8 of 32, whole run 0:01:15"
    assert caplog.messages[15] == "stage 2 of 3, texts: 16 of 32, whole run 0:01:15", "a third of the time alone is no measure yet"


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
        advance()
    assert caplog.messages[1].startswith(f"texts: 2 of 4, {pace}, ")


def test_nothing_is_said_of_what_is_cached(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="cotexp"), progress.bar("texts", 4):
        pass
    assert caplog.messages == []
