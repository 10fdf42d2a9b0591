"""Seconds per question in tables: median and quartiles of several passes, and warnings if they are not reliable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

MOST_SPREAD_RATIO = 0.1
"""Interquartile range over median. If passes over the same texts differ by more, the median is not reliable."""
MOST_BUSY_RATIO = 0.1
"""Share of the machine's processor time that other processes may use during the measurement."""
SIZES = ("batch1", "batchN")


def seconds_text(values: Mapping[str, float], size: str, form: str) -> str:
    """The text of one batch size, from the metrics of a mode."""
    name = f"latency_seconds_{size}"
    if name not in values:
        return "not measured"
    median = format(values[name], form)
    if f"{name}_low" not in values:
        return median
    return f"{median} ({values[f'{name}_low']:{form}} to {values[f'{name}_high']:{form}})"


def tokens_text(values: Mapping[str, float]) -> str:
    """Mean tokens of the timed texts per question, as text."""
    return f"{values['latency_tokens_batch1']:.1f}" if "latency_tokens_batch1" in values else ""


def doubts(values: Mapping[str, float], label: str) -> Iterator[str]:
    """A line for each batch size whose passes differ too much, or during which other processes used too much of the machine."""
    for size in SIZES:
        name = f"latency_seconds_{size}"
        if f"{name}_low" not in values:
            continue
        spread = (values[f"{name}_high"] - values[f"{name}_low"]) / values[name]
        busy = values[f"latency_busy_ratio_{size}"]
        reasons = [f"passes over the same texts differ by {spread:.0%}"] if spread > MOST_SPREAD_RATIO else []
        reasons += [f"others used {busy:.0%} of the machine's processors"] if busy > MOST_BUSY_RATIO else []
        if reasons:
            of = "batch 1" if size == "batch1" else "batch N"
            yield (
                f"{label}: seconds at {of} are not reliable: {' and '.join(reasons)}; measure on an idle machine, with a larger "
                "evaluation.latency_passes, which adds passes to the stored ones."
            )
