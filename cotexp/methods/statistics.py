"""Metrics of predictions and of compression with their intervals; the only definition of each metric."""

from __future__ import annotations

import itertools
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from cotexp.methods.calculations import calculations, share_kept
from cotexp.methods.reasoning import THINKING
from cotexp.records import MOST_NATS, Compressed, Likelihood, Measured, Prediction, Rationale, Score, Selected

FEWEST_TEXTS = 5
"""Texts that the interval of a perplexity needs. A bootstrap draws only what was seen: of one text its interval has no width, and of a few it ends
at the smallest and largest of them."""


class Interval(NamedTuple):
    low: float
    high: float


class Spread(NamedTuple):
    """Mean and sample standard deviation (divisor n - 1) of n values; the deviation of a single value is nan."""

    mean: float
    deviation: float


def wilson(successes: int, total: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion; (0, 1) without observations."""
    from scipy.stats import binomtest

    if total == 0:
        return Interval(0.0, 1.0)
    interval = binomtest(successes, total).proportion_ci(confidence, method="wilson")
    return Interval(float(interval.low), float(interval.high))


def bootstrap_interval(
    values: Sequence[float], *, confidence: float = 0.95, seed: int = 0, num_resamples: int = 10_000, bounds: Interval | None = None
) -> Interval:
    """Percentile bootstrap interval of the mean of `values`; it contains the mean and does not depend on the order of `values`.

    Resamples of equal values are all equal. With `bounds`, the range of a value, the interval then allows a share of unseen values, up to
    Wilson's limit for none among n, at the far end of the range (for shares all 0 or all 1 this is Wilson's interval); without, it has
    no width. Raises: ValueError without values.
    """
    import numpy as np

    if not values:
        raise ValueError("an interval of a mean needs at least one value; got none")
    distinct, counts = np.unique(np.asarray(values, dtype=float), return_counts=True)
    if len(distinct) == 1:
        value, unseen = float(distinct[0]), wilson(0, len(values), confidence).high
        low, high = bounds or (value, value)
        return Interval(value - unseen * (value - low), value + unseen * (high - value))
    generator = np.random.default_rng(seed)
    # Draw the count of each distinct value instead of n values with replacement: the same distribution with far fewer numbers.
    sizes = [min(1000, num_resamples - first) for first in range(0, num_resamples, 1000)]
    means = np.concatenate([generator.multinomial(len(values), counts / len(values), size=size) @ distinct for size in sizes]) / len(values)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    centre = float(counts @ distinct) / len(values)
    return Interval(min(float(low), centre), max(float(high), centre))


def mean_and_deviation(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation of `values`, one per seed; of equal values exactly their value and 0. Raises: ValueError without values."""
    if not values:
        raise ValueError("a mean over seeds needs at least one value; got none")
    return Spread(float(statistics.mean(values)), statistics.stdev(values) if len(values) > 1 else math.nan)


def shares_correct(predictions: Sequence[Prediction], rule: str = "strict") -> dict[str, float]:
    """Share of correct samples of each question under a rule ("strict", "lenient" or "math_verify"), by the question's id."""
    labels: dict[str, list[bool]] = {}
    for each in predictions:
        labels.setdefault(each.question_id, []).append(bool(getattr(each, rule)))
    return {question: sum(of_question) / len(of_question) for question, of_question in labels.items()}


def counted_once(predictions: Sequence[Prediction]) -> list[Prediction]:
    """The answers of a run over all of its tasks: without those to a question that an earlier task asks already."""
    return [each for each in predictions if not each.same_as]


def accuracy_metrics(predictions: Sequence[Prediction]) -> dict[str, float]:
    """Accuracy over *all* questions with its 95 % interval, mean tokens, and the counts of failures.

    With several samples per question (`num_samples`, their mean number) `accuracy` is avg@k: the mean over questions of the share of
    correct samples, with equal weights of questions. The interval is Wilson's for one sample, else a bootstrap over questions.
    `num_unparsable`, `num_truncated`, `num_timed_out` and `num_flips_*` count answers, not questions. A metric of math-verify exists
    only if that rule applies: the accuracy if it applies to every answer, the flips if to at least one. `num_cut` exists if answers were cut
    on purpose. Raises: ValueError without predictions.
    """
    if not predictions:
        raise ValueError("an accuracy needs at least one prediction; got none")
    shares = shares_correct(predictions)
    one_sample = len(shares) == len(predictions)
    low, high = wilson(sum(each.strict for each in predictions), len(shares)) if one_sample else share_interval(list(shares.values()))
    verified = [each for each in predictions if each.math_verify is not None]
    metrics: dict[str, float] = {
        "accuracy": mean(list(shares.values())),
        "accuracy_low": low,
        "accuracy_high": high,
        "accuracy_lenient": mean(list(shares_correct(predictions, "lenient").values())),
        "num_questions": len(shares),
        "num_samples": len(predictions) / len(shares),
        "num_tokens": mean([each.num_tokens for each in predictions]),
        "num_cot_tokens": mean([each.num_cot_tokens for each in predictions]),
        "num_unparsable": sum(each.extracted is None for each in predictions),
        "num_truncated": sum(each.finish_reason == "length" for each in predictions),
        "num_timed_out": sum(each.timed_out for each in predictions),
        "num_flips_lenient": sum(each.strict != each.lenient for each in predictions),
    }
    if len(verified) == len(predictions):
        metrics["accuracy_math_verify"] = mean(list(shares_correct(predictions, "math_verify").values()))
    if any(each.num_thinking_tokens for each in predictions):
        metrics["num_thinking_tokens"] = mean([each.num_thinking_tokens for each in predictions])
    if num_cut := sum(each.finish_reason == "budget" for each in predictions):
        metrics["num_cut"] = num_cut
    if verified:
        metrics["num_flips_math_verify"] = sum(each.strict != each.math_verify for each in verified)
    return metrics


def share_interval(shares: Sequence[float]) -> Interval:
    """95 % bootstrap interval of the mean of `shares`, each in [0, 1]."""
    return bootstrap_interval(shares, bounds=Interval(0.0, 1.0))


def ratio_metrics(short: Sequence[Prediction], base: Sequence[Prediction]) -> dict[str, float]:
    """Chain-of-thought tokens against the base model's: ratio of means, and mean of ratios, over common pairs.

    A pair (`num_ratio_pairs`) is the same sample of the same question; an answer without a partner is left out. There is no ratio if
    the base model wrote no token in the pairs.
    """
    by_answer = {(each.question_id, each.sample): each.num_cot_tokens for each in base}
    pairs = [(each.num_cot_tokens, by_answer[each.question_id, each.sample]) for each in short if (each.question_id, each.sample) in by_answer]
    ratios = [ours / theirs for ours, theirs in pairs if theirs]
    result: dict[str, float] = {"num_ratio_pairs": len(pairs)}
    if ratios:
        result["compression_ratio"] = sum(ours for ours, _ in pairs) / sum(theirs for _, theirs in pairs)
        result["compression_ratio_per_sample"] = mean(ratios)
    return result


def compression_metrics(compressed: Sequence[Compressed], num_dropped: int, num_unrecorded: int = 0) -> dict[str, float]:
    """Results of compressing the training chains, and counts of stop reasons; also by part and by pruning ratio if there are any.

    Of the `num_dropped` chains, `num_unrecorded` have no recorded rounds; the others failed.
    """
    reasons = Counter(each.stop_reason for each in compressed)
    thinking = [each for each in compressed if each.rationale_id.endswith(f"/{THINKING}")]
    answers = [each for each in compressed if not each.rationale_id.endswith(f"/{THINKING}")]
    apart = {"compression_ratio_thinking": _ratio(thinking), "compression_ratio_answer": _ratio(answers)} if thinking else {}
    asked = sorted({each.ratio for each in compressed if each.ratio is not None})
    apart |= {f"compression_ratio_at_{ratio:g}": _ratio([each for each in compressed if each.ratio == ratio]) for ratio in asked}
    apart |= {"num_unrecorded": num_unrecorded} if num_unrecorded else {}
    apart |= {"num_protected": reasons["protected"]} if asked else {}
    return apart | {
        "compression_ratio": _ratio(compressed),
        "num_tokens_original_mean": mean([each.num_tokens_original for each in compressed]),
        "num_rationales": len(compressed),
        "num_dropped": num_dropped,
        "num_rebounds": reasons["rebound"],
        "num_limits": reasons["limit"],
        "num_fixed_points": reasons["fixed_point"],
        "num_failed": reasons["failed"] + num_dropped - num_unrecorded,
        "num_other_stops": len(compressed) - sum(reasons[each] for each in ("rebound", "limit", "fixed_point", "failed")),
        "num_rounds_mean": mean([each.num_rounds_run for each in compressed]),
        "num_kept_round_mean": mean([each.kept_round for each in compressed]),
    }


def pair_metrics(pairs: Sequence[tuple[Rationale, Rationale]]) -> dict[str, float]:
    """What teaches a compressor: number of pairs, tokens of the shorter over those of the longer chains as a ratio of means, and the mean share of
    a longer chain's calculations that the shorter one has, over those with calculations."""
    shares = [share_kept(calculations(long.cot), calculations(short.cot)) for long, short in pairs]
    kept = [each for each in shares if each is not None]
    ratio = sum(short.num_cot_tokens for _, short in pairs) / sum(long.num_cot_tokens for long, _ in pairs) if pairs else None
    found = {"num_pairs": len(pairs), "compression_ratio": ratio, "calculations_kept_ratio": mean(kept) if kept else None}
    return {name: value for name, value in found.items() if value is not None}


def perplexity(likelihoods: Iterable[Likelihood | None]) -> float | None:
    """exp(total negative log-likelihood / total tokens) of a set of texts; None if there are no tokens."""
    read = [(each.nll, each.num_tokens) for each in likelihoods if each is not None and each.nll is not None]
    total = sum(count for _, count in read)
    return math.exp(min(math.fsum(nll for nll, _ in read) / total, MOST_NATS)) if total else None


def perplexity_interval(texts: Sequence[Likelihood], *, seed: int = 0, num_resamples: int = 10_000) -> Interval | None:
    """95 % percentile bootstrap interval, over texts, of their perplexity; texts that could not be read do not count.

    None of fewer than `FEWEST_TEXTS`. Raises: ValueError without tokens.
    """
    import numpy as np

    read = np.array(sorted((each.nll, each.num_tokens) for each in texts if each.nll is not None and each.num_tokens), dtype=float)
    if not len(read):
        raise ValueError("an interval of a perplexity needs at least one token; got none")
    if len(read) < FEWEST_TEXTS:
        return None
    generator = np.random.default_rng(seed)
    sizes = [min(1000, num_resamples - first) for first in range(0, num_resamples, 1000)]
    sums = np.concatenate([generator.multinomial(len(read), [1 / len(read)] * len(read), size=size) @ read for size in sizes])
    low, high = np.exp(np.minimum(np.quantile(sums[:, 0] / sums[:, 1], [0.025, 0.975]), MOST_NATS))
    return Interval(float(low), float(high))


def perplexity_metrics(kept: Sequence[Likelihood], rounds: Sequence[Sequence[Likelihood | None]]) -> dict[str, float]:
    """Perplexities under the model before fine-tuning: of the kept texts, of the chains as written, and of the rewrites of every round.

    `rounds` holds for each chain its text as written, round 1, 2, ...; None for an unusable rewrite.
    """
    named = _by_round("perplexity", kept, rounds)
    counts = {"num_perplexity_chains": len(kept), "num_beyond_context": sum(each.nll is None for each in kept)}
    return {name: value for name, value in named.items() if value is not None} | counts


def answer_perplexity_metrics(answers: Sequence[Measured]) -> dict[str, float]:
    """Perplexities of the chains' own answers under the model before fine-tuning: after the kept texts, the chains as written, and the rewrites of
    every round, and without any chain. `answer_likelier_ratio`: share of kept texts that make their answer likelier than no chain does.
    """
    if not answers:
        return {}
    pairs = [(each.kept.nll, each.alone.nll) for each in answers if each.alone is not None]
    likelier = [kept < alone for kept, alone in pairs if kept is not None and alone is not None]
    named = {
        "answer_perplexity_without_chain": perplexity(each.alone for each in answers),
        "answer_likelier_ratio": mean(likelier) if likelier else None,
    }
    counts = {"num_answer_perplexity_chains": len(answers), "num_answers_beyond_context": sum(each.kept.nll is None for each in answers)}
    named |= _by_round("answer_perplexity", [each.kept for each in answers], [each.rounds for each in answers])
    return {name: value for name, value in named.items() if value is not None} | counts


def _by_round(name: str, kept: Sequence[Likelihood], rounds: Sequence[Sequence[Likelihood | None]]) -> dict[str, float | None]:
    by_round = [perplexity(of_round) for of_round in itertools.zip_longest(*rounds)]
    return {name: perplexity(kept), f"original_{name}": by_round[0]} | {f"{name}_round_{n}": value for n, value in enumerate(by_round) if n}


def difficulty_metrics(rationales: Sequence[Rationale], scores: Mapping[str, Score]) -> dict[str, float]:
    """How well a low Rationale Difficulty separates correct from wrong rationales: the area under the ROC curve, by kind of RD.

    It is the share of all pairs of a correct and a wrong rationale in which the correct one has the lower RD; ties count half. Empty if there are
    no correct or no wrong rationales.
    """
    from scipy.stats import mannwhitneyu

    groups = [[scores[each.id] for each in rationales if each.id in scores and each.correct == correct] for correct in (True, False)]
    if not all(groups):
        return {}
    num_pairs = len(groups[0]) * len(groups[1])
    kinds = ("plain", "masked", "hidden")
    return {
        f"auc_rd_{kind}": 1 - float(mannwhitneyu(*([each.rd(kind) for each in scores_of] for scores_of in groups)).statistic) / num_pairs
        for kind in kinds
    }


def _ratio(compressed: Sequence[Compressed]) -> float:
    return sum(each.num_tokens for each in compressed) / max(1, sum(each.num_tokens_original for each in compressed))


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean, independent of the order; 0 without values."""
    return math.fsum(values) / len(values) if values else 0.0


def selection_metrics(outcomes: Sequence[Selected], chosen: Sequence[Rationale], *, k: int | None = None) -> dict[str, float]:
    """Numbers of training rationales that every filter kept and dropped, and of questions that have none left.

    `chosen` may also contain validation rationales. With `k`, questions are counted that have some left, but fewer than `k`, before budgets.
    """
    words = dict.fromkeys(word for each in outcomes for word in each.counts)
    counts = {word: sum(each.counts[word] for each in outcomes) for word in words} | {"kept": sum(len(each.kept) for each in outcomes)}
    metrics: dict[str, float] = {f"num_{step}": count for step, count in counts.items()}
    for before, after in itertools.pairwise(counts):
        metrics[f"num_dropped_{after}"] = counts[before] - counts[after]
    kept = {name for each in outcomes for name in each.kept}
    return metrics | {
        "num_questions": len(outcomes),
        "num_questions_without": sum(not each.kept for each in outcomes),
        "num_tokens": sum(each.num_tokens for each in chosen if each.id in kept),
        **({} if k is None else {"num_questions_below_k": sum(0 < list(each.counts.values())[-1] < k for each in outcomes)}),
    }
