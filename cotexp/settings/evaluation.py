"""Settings of evaluation: in which modes, on which questions and how models answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cotexp.settings.base import setting
from cotexp.settings.sampling import Sampling

MODES = ("base", "truncate", "full", "compress")
"""In the order of the tables; the last one that a run has is what it is judged by."""

FINE_TUNED_MODES = ("full", "compress")

BASE = "base"
"""The mode before fine-tuning; as a baseline, what every run is measured against in itself."""


@dataclass(slots=True, kw_only=True)
class Evaluation(Sampling):
    """How models are measured."""

    modes: list[str] | None = setting(
        None,
        "base: before fine-tuning; truncate: its answers, cut; full: fine-tuned, asked for full chains; compress: for short ones. All that apply.",
        choices=MODES,
    )
    tasks: list[str] | None = setting(
        None, "Tasks whose test questions are answered, by name; by default those trained on, or `task` where it is evaluation only."
    )
    split: str = setting(
        "test",
        "Questions that are answered: those of the test; or validation, which a search may choose by and a paper must not report.",
        choices=("test", "validation"),
    )
    num_samples: int = setting(
        1, "Answers per question; accuracy is then avg@k, the mean over questions of the share of correct answers.", low=1, most=10_000
    )
    truncate_ratio: float | None = setting(
        None,
        "Adds mode truncate: one output budget per task, at which the base model's answers have this share of their tokens on average.",
        above=0,
        high=1,
    )
    ratio: float | None = setting(
        None, "With compression=tokenskip: which of its ratios mode compress asks for; the smallest by default.", above=0, high=1
    )
    latency: bool = setting(True, "Whether to measure seconds per question.")
    latency_questions: int = setting(32, "Test questions timed, after a warm-up.", low=1)
    latency_passes: int = setting(3, "Times that all of them are timed; tables show the median and, as spread, the quartiles.", low=1)
    latency_batch_size: int = setting(32, "Batch N of the batched latency; batch 1 is always measured.", low=1)

    def contradictions(self) -> Iterator[str]:
        yield from Sampling.contradictions(self)
        if self.modes == []:
            yield f"modes must name at least one of {', '.join(MODES)}; got []"
        if self.modes and len(set(self.modes)) < len(self.modes):
            yield f"modes must not repeat; got {self.modes}"
        if self.tasks is not None and len(set(self.tasks)) < max(1, len(self.tasks)):
            yield f"tasks must name at least one task, and none twice; got {self.tasks}"
        if self.num_samples > 1 and self.temperature == 0:
            yield f"num_samples must be 1 at temperature 0, where all answers are equal; got {self.num_samples}"
        if self.truncate_ratio is not None and self.temperature > 0:
            yield f"truncate_ratio needs temperature 0, where a smaller budget gives the same answer, cut; got temperature={self.temperature}"
