"""Metrics of predictions and of compression, one definition each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from cotexp.records import Compressed, Prediction


class Interval(NamedTuple):
    low: float
    high: float


def wilson(successes: int, total: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion; (0, 1) without observations."""
    from scipy.stats import binomtest

    if total == 0:
        return Interval(0.0, 1.0)
    interval = binomtest(successes, total).proportion_ci(confidence, method="wilson")
    return Interval(float(interval.low), float(interval.high))


def accuracy_metrics(predictions: Sequence[Prediction]) -> dict[str, float]:
    """Accuracy over *all* predictions, mean tokens, and the counts of what could not be read."""
    total = len(predictions)
    correct = sum(each.correct for each in predictions)
    low, high = wilson(correct, total)
    return {
        "accuracy": correct / total,
        "accuracy_low": low,
        "accuracy_high": high,
        "num_questions": total,
        "num_tokens": mean([each.num_tokens for each in predictions]),
        "num_cot_tokens": mean([each.num_cot_tokens for each in predictions]),
        "num_unparsable": sum(each.extracted is None for each in predictions),
        "num_truncated": sum(each.finish_reason == "length" for each in predictions),
    }


def ratio_metrics(short: Sequence[Prediction], base: Sequence[Prediction]) -> dict[str, float]:
    """Chain-of-thought tokens against the base model's on the same questions: ratio of means, and mean of ratios."""
    by_question = {(each.question_id, each.sample): each.num_cot_tokens for each in base}
    pairs = [(each.num_cot_tokens, by_question[each.question_id, each.sample]) for each in short]
    ratios = [ours / theirs for ours, theirs in pairs if theirs]
    result = {"compression_ratio": sum(ours for ours, _ in pairs) / max(1, sum(theirs for _, theirs in pairs))}
    return {**result, "compression_ratio_per_sample": mean(ratios)} if ratios else result


def compression_metrics(compressed: Sequence[Compressed], num_dropped: int) -> dict[str, float]:
    """What the rounds did to the training chains, with every stop reason counted."""
    reasons = Counter(each.stop_reason for each in compressed)
    return {
        "compression_ratio": sum(each.num_tokens for each in compressed) / max(1, sum(each.num_tokens_original for each in compressed)),
        "num_rationales": len(compressed),
        "num_dropped": num_dropped,
        "num_rebounds": reasons["rebound"],
        "num_limits": reasons["limit"],
        "num_fixed_points": reasons["fixed_point"],
        "num_failed": reasons["failed"] + num_dropped,
        "num_other_stops": len(compressed) - sum(reasons[each] for each in ("rebound", "limit", "fixed_point", "failed")),
        "num_rounds_mean": mean([each.num_rounds_run for each in compressed]),
        "num_kept_round_mean": mean([each.kept_round for each in compressed]),
    }


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean; 0 for no values."""
    return sum(values) / len(values) if values else 0.0
