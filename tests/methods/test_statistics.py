"""Metrics against cases computed by hand and formulas written out."""

from __future__ import annotations

from math import sqrt
from typing import Any

import pytest

from cotexp.methods.statistics import accuracy_metrics, compression_metrics, mean, ratio_metrics, wilson
from cotexp.records import Compressed, Prediction


def prediction(question: str, *, correct: bool = False, num_cot_tokens: int = 10, extracted: str | None = "7", finish: Any = "stop") -> Prediction:
    return Prediction(
        id=f"{question}/0",
        question_id=question,
        task="stories",
        mode="full",
        sample=0,
        text="",
        extracted=extracted,
        extracted_by="boxed",
        correct=correct,
        num_tokens=num_cot_tokens + 6,
        num_cot_tokens=num_cot_tokens,
        finish_reason=finish,
    )


def compressed(reason: Any, *, num_tokens: int = 50, original: int = 100, kept: int = 1, run: int = 2) -> Compressed:
    return Compressed(
        rationale_id="q/0",
        text="",
        kept_round=kept,
        num_tokens=num_tokens,
        num_tokens_original=original,
        stop_reason=reason,
        num_rounds_run=run,
    )


def test_wilsons_interval_of_81_in_263_is_the_one_in_the_literature() -> None:
    """Source: R. G. Newcombe (1998), Statistics in Medicine 17, 857-872, table I: 0.2553 to 0.3662."""
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


@pytest.mark.parametrize(("successes", "total"), [(0, 20), (1, 29), (15, 148), (250, 500), (500, 500), (1, 1)])
def test_wilsons_interval_solves_its_quadratic(successes: int, total: int) -> None:
    z, p = 1.959963984540054, successes / total
    middle, spread = p + z**2 / (2 * total), z * sqrt(p * (1 - p) / total + z**2 / (4 * total**2))
    expected = ((middle - spread) / (1 + z**2 / total), (middle + spread) / (1 + z**2 / total))
    assert wilson(successes, total) == pytest.approx(expected, abs=1e-9)


def test_wilsons_interval_without_observations_is_everything() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


def test_a_wider_confidence_gives_a_wider_interval() -> None:
    assert wilson(30, 60, 0.99).low < wilson(30, 60).low < wilson(30, 60).high < wilson(30, 60, 0.99).high


def test_accuracy_counts_every_question_in_the_denominator() -> None:
    metrics = accuracy_metrics(
        [
            prediction("a", correct=True, num_cot_tokens=10),
            prediction("b", correct=True, num_cot_tokens=20),
            prediction("c", num_cot_tokens=30),
            prediction("d", num_cot_tokens=60, extracted=None, finish="length"),
            prediction("e", num_cot_tokens=80, extracted=None),
        ]
    )
    assert metrics["accuracy"] == 2 / 5
    assert (metrics["num_questions"], metrics["num_unparsable"], metrics["num_truncated"]) == (5, 2, 1)
    assert (metrics["num_cot_tokens"], metrics["num_tokens"]) == (40, 46)
    assert (metrics["accuracy_low"], metrics["accuracy_high"]) == wilson(2, 5)


def test_the_compression_ratio_is_a_ratio_of_means_and_the_other_a_mean_of_ratios() -> None:
    base = [prediction("a", num_cot_tokens=100), prediction("b", num_cot_tokens=20), prediction("unasked", num_cot_tokens=999)]
    short = [prediction("b", num_cot_tokens=20), prediction("a", num_cot_tokens=40)]
    metrics = ratio_metrics(short, base)
    assert metrics["compression_ratio"] == pytest.approx(60 / 120)
    assert metrics["compression_ratio_per_sample"] == pytest.approx((20 / 20 + 40 / 100) / 2)


def test_an_empty_chain_of_the_base_model_has_no_ratio_of_its_own() -> None:
    base = [prediction("a", num_cot_tokens=0), prediction("b", num_cot_tokens=40)]
    metrics = ratio_metrics([prediction("a", num_cot_tokens=10), prediction("b", num_cot_tokens=10)], base)
    assert metrics["compression_ratio"] == pytest.approx(20 / 40)
    assert metrics["compression_ratio_per_sample"] == pytest.approx(10 / 40)


def test_every_stop_reason_is_counted_once() -> None:
    kept = [
        compressed("rebound", num_tokens=10, original=100, kept=1, run=2),
        compressed("rebound", num_tokens=20, original=100, kept=2, run=3),
        compressed("limit", num_tokens=30, original=50, kept=10, run=10),
        compressed("fixed_point", num_tokens=15, original=20, kept=4, run=5),
        compressed("failed", num_tokens=5, original=5, kept=0, run=1),
        compressed("answer_lost", num_tokens=10, original=10, kept=0, run=1),
        compressed("patience", num_tokens=10, original=15, kept=1, run=6),
    ]
    metrics = compression_metrics(kept, num_dropped=2)
    counts = {name: metrics[name] for name in ("num_rebounds", "num_limits", "num_fixed_points", "num_failed", "num_other_stops")}
    assert counts == {"num_rebounds": 2, "num_limits": 1, "num_fixed_points": 1, "num_failed": 3, "num_other_stops": 2}
    assert sum(counts.values()) == metrics["num_rationales"] + metrics["num_dropped"] == 9
    assert metrics["compression_ratio"] == pytest.approx(100 / 300)
    assert metrics["num_rounds_mean"] == pytest.approx(28 / 7)
    assert metrics["num_kept_round_mean"] == pytest.approx(18 / 7)


def test_a_mean_of_nothing_is_zero() -> None:
    assert mean([]) == 0
    assert mean([1, 2, 6]) == 3
